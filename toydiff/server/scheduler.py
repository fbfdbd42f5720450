"""The scheduler of a training worker: each training job gets a slice of time in turn.

Plain objects, without a thread or a process of their own: `training_worker.py` runs them.
"""

from __future__ import annotations

import logging

import torch

from toydiff.server.snapshots import Trouble
from toydiff.server.trained_network import JobSpec
from toydiff.server.training_job import TrainingJob

PROMPT_SECONDS = 1.0  # seconds of work that a job with a waiting request may do before all others


class Scheduler:
    """All jobs, by number. They share the time equally, but a waiting request gets up to PROMPT_SECONDS first."""

    def __init__(self) -> None:
        self.jobs: dict[int, TrainingJob] = {}
        self.steps = 0  # of all jobs so far
        self._clock = 0.0  # virtual time, in seconds: the usage of the job that was scheduled last
        self._prompt = False  # whether the last turn went to a job with a waiting request

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return any(job.wants for job in self.jobs.values())

    def next(self) -> int | None:
        """The number of the job whose turn it is; None if no job has work."""
        wanting = {key: job for key, job in self.jobs.items() if job.wants}
        waiting = {key: job for key, job in wanting.items() if job.asked and job.spent < PROMPT_SECONDS}
        self._prompt = bool(waiting) and (not self._prompt or len(waiting) == len(wanting))
        if not wanting:
            return None
        # the job with the least usage; idle jobs earn no credit
        chosen = waiting if self._prompt else wanting
        key = min(chosen, key=lambda key: max(chosen[key].used, self._clock))
        job = chosen[key]
        job.used = max(job.used, self._clock)
        if not self._prompt:
            self._clock = job.used
        return key

    def add(self, key: int, spec: JobSpec) -> TrainingJob:
        """A new job. Any error if it cannot be trained."""
        _use(1)
        self.jobs[key] = job = TrainingJob(spec)
        return job

    def drop(self, key: int) -> None:
        """Remove a job, if it is here, and free its memory."""
        self.jobs.pop(key, None)
        _tidy()

    def work(self, key: int) -> None:
        """Run a slice of one job. An error, such as too little memory, ends this job and no other. An error of the
        graphics card is raised: only a new process can use the card again."""
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
        if problem is not None:  # outside of `except`, so that the error no longer holds memory
            job.fail(problem)
            _tidy()
        self.steps += max(0, job.step - before)


def _use(threads: int) -> None:
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def _tidy() -> None:
    """Free unused memory of the graphics card."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def trouble(error: Exception) -> Trouble:
    """The error as a sentence for people."""
    text = str(error).lower()
    if isinstance(error, torch.OutOfMemoryError) or "mps backend out of memory" in text:
        return Trouble("live.no_gpu_memory", {})
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return Trouble("live.no_memory", {})
    return Trouble("live.failed", {})
