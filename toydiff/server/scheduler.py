"""Where networks are trained: everything that wants to train gets a slice of time in turn.

Plain objects, no thread and no process of their own: `training_worker.py` runs them in one. Knows no Streamlit.
"""

from __future__ import annotations

import logging

import torch

from toydiff.server.snapshots import Trouble
from toydiff.server.trained_network import JobSpec
from toydiff.server.training_job import TrainingJob

PROMPT = 1.0  # seconds of work on what somebody waits for that come before everything else


class Scheduler:
    """All jobs, each under a number. Equal shares of time, but a second soon for what somebody waits for."""

    def __init__(self) -> None:
        self.jobs: dict[int, TrainingJob] = {}
        self.steps = 0  # of all of them, so far
        self._clock = 0.0  # what the one has used whose turn it is
        self._prompt = False  # was the last turn one of those that could not wait?

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return any(job.wants for job in self.jobs.values())

    def next(self) -> int | None:
        """Whose turn it is; None: there is nothing to do."""
        wanting = {key: job for key, job in self.jobs.items() if job.wants}
        waiting = {key: job for key, job in wanting.items() if job.asked and job.spent < PROMPT}
        self._prompt = bool(waiting) and (not self._prompt or len(waiting) == len(wanting))
        if not wanting:
            return None
        # who has used least; who did not want any for a while has no claim on that
        chosen = waiting if self._prompt else wanting
        key = min(chosen, key=lambda key: max(chosen[key].used, self._clock))
        job = chosen[key]
        job.used = max(job.used, self._clock)
        if not self._prompt:
            self._clock = job.used
        return key

    def add(self, key: int, spec: JobSpec) -> TrainingJob:
        """A new job. Whatever error it takes to say that this cannot be trained."""
        _use(1)
        self.jobs[key] = job = TrainingJob(spec)
        return job

    def drop(self, key: int) -> None:
        """Forget a job, if it is there, and give its memory back."""
        self.jobs.pop(key, None)
        _tidy()

    def work(self, key: int) -> None:
        """A slice of one job. What goes wrong in it, say too little memory, ends this one and no other; but after a
        graphics card has failed, no program can use it until it is started again."""
        job = self.jobs[key]
        job.company = sum(other.running and other.there for other in self.jobs.values()) - job.running
        before, problem = job.step, None
        _use(job.threads)
        try:
            job.work()
        except torch.AcceleratorError:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("a training stopped")
            problem = trouble(error)
        if problem is not None:  # the error is gone, and with it what it held
            job.fail(problem)
            _tidy()
        self.steps += max(0, job.step - before)


def _use(threads: int) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _tidy() -> None:
    """Give the memory of the graphics card back that nobody uses."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def trouble(error: Exception) -> Trouble:
    """An error in words for people."""
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError) or "mps backend out of memory" in text:
        return Trouble("live.no_gpu_memory", {})
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return Trouble("live.no_memory", {})
    return Trouble("live.failed", {})
