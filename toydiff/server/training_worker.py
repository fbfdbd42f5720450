"""A training worker: a scheduler in a process of its own. It reads commands and writes what becomes of them.

`python -m toydiff.server.training_worker`, started by `supervisor.py`. It ends when the app has ended.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    # Ctrl-C is for the app, which then ends this process. Set first: to load torch takes seconds.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

import logging
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, BinaryIO

import torch

from toydiff.server import child_main, transport
from toydiff.server.memory import used_bytes
from toydiff.server.scheduler import Scheduler, trouble
from toydiff.server.snapshots import Beat, Failed, Unknown
from toydiff.server.training_job import TrainingJob

UPDATE_SECONDS = 0.1  # seconds between two updates of a job
TRAINING_BEAT_SECONDS = 1.0  # seconds between two signs of life
TRAINING_NICE = 10  # below the app


class Worker:
    """Reads messages between two slices of work.

    What comes in: (what, job, number of a request or None, ...). What goes out: ("update", job, Update),
    ("saved", job, Saved), ("trouble", job, Trouble), ("turn", job or None): whose slice begins,
    ("answer", request, value, error or None), ("beat", Beat).
    """

    def __init__(self, out: BinaryIO) -> None:
        self.inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._out = out
        self._scheduler = Scheduler()
        self._published: dict[int, float] = {}  # when the last update of each job went out
        self._turn: int | None = None
        self._beat, self._steps = time.monotonic(), 0

    def run(self) -> None:
        """Work until the process ends."""
        self._send("beat", Beat(0.0, used_bytes()))
        while True:
            with suppress(Empty):  # take all messages; if no job has work, wait for the next one
                while True:
                    busy = self._scheduler.busy
                    if not busy:
                        self._now_at(None)
                    self._take(self.inbox.get(not busy, TRAINING_BEAT_SECONDS))
            key = self._scheduler.next()
            if key is not None:
                self._now_at(key)
                self._scheduler.work(key)
                self._report(key)
            self._live()

    def _take(self, message: tuple[Any, ...]) -> None:
        what, key, request, *more = message
        self._now_at(key)
        try:
            if what == "new":
                job = self._scheduler.add(key, *more)
                if request is not None:
                    job.ask(request)
                self._report(key)
            elif what == "drop":
                self._drop(key)
            elif key in self._scheduler.jobs:
                self._tell(self._scheduler.jobs[key], what, key, request, *more)
            else:
                raise Unknown(key)
        except torch.AcceleratorError:
            raise
        except Exception as error:
            if not isinstance(error, Unknown | ValueError):
                logging.getLogger(__name__).exception("a training could not do what it was told")
            if request is not None:
                expected = isinstance(error, Unknown | ValueError)
                self._answer(request, None, error if expected else Failed(trouble(error).sentence))
            elif what == "new":
                self._send("trouble", key, trouble(error))

    def _tell(self, job: TrainingJob, what: str, key: int, request: int | None, *more: Any) -> None:
        if what in ("start", "stop", "pause"):
            (job.command,) = more
            getattr(job, what)()
        elif what == "advance":
            job.advance(*more)
        elif what == "there":
            (job.there,) = more
        if what in ("pause", "advance"):
            assert request is not None
            job.ask(request)
        if what in ("predictors", "file"):
            self._answer(request, getattr(job, what)(*more))
        else:
            self._report(key, at_once=True)

    def _report(self, key: int, at_once: bool = False) -> None:
        """Send what is new of a job, at most every UPDATE_SECONDS seconds unless it is important."""
        job, now = self._scheduler.jobs[key], time.monotonic()
        done = bool(job.asked) and job.settled
        if done or at_once or job.news or now - self._published.get(key, -UPDATE_SECONDS) >= UPDATE_SECONDS:
            self._published[key] = now
            self._send("update", key, job.update())
        if job.due or (done and job.unsaved):
            self._send("saved", key, job.save())
        if done:
            stillborn = Failed(job.problem.sentence) if job.problem is not None and job.blank else None
            for request in job.asked:
                self._answer(request, str(job.device), stillborn)
            job.asked.clear()
            if stillborn is not None:
                self._drop(key)

    def _drop(self, key: int) -> None:
        job = self._scheduler.jobs.get(key)
        for request in job.asked if job is not None else []:
            self._answer(request, None, Unknown(key))
        self._scheduler.drop(key)
        self._published.pop(key, None)

    def _now_at(self, key: int | None) -> None:
        """Say which job is at work: if the process ends in it, the app knows which one."""
        if key != self._turn:
            self._turn = key
            self._send("turn", key)

    def _live(self) -> None:
        now = time.monotonic()
        if now - self._beat >= TRAINING_BEAT_SECONDS:
            self._send("beat", Beat((self._scheduler.steps - self._steps) / (now - self._beat), used_bytes()))
            self._beat, self._steps = now, self._scheduler.steps

    def _answer(self, request: int | None, value: object, error: Exception | None = None) -> None:
        self._send("answer", request, value, error)

    def _send(self, *message: object) -> None:
        transport.send(self._out, message)


def main() -> None:
    """Run until the app has ended."""
    source, out = child_main.begin(TRAINING_NICE)
    worker = Worker(out)
    threading.Thread(target=child_main.read, args=(source, worker.inbox.put), daemon=True).start()
    with suppress(BrokenPipeError):
        worker.run()


if __name__ == "__main__":
    main()
