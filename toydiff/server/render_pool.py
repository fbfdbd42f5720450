"""The render pool: processes that make the pictures that take long, in the order in which they are asked for.

The app stays prompt meanwhile. Two people who ask for the same picture wait for one job and both get its result. While
no worker is up yet, the page that asks makes the picture itself.

Reading a user's pictures one by one may take a minute. A pool of its own does that, so that no slider waits for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from math import inf
from typing import Any

from toydiff.data.user_data import DatasetNotFound, UserDataset
from toydiff.experiments.settings import Settings, user_datasets
from toydiff.server.limits import limits
from toydiff.server.render_worker import finished
from toydiff.server.snapshots import Failed
from toydiff.server.supervisor import Answer, Died, WorkerProcess
from toydiff.server.transport import packed
from toydiff.text import words

KEPT_PICTURES, KEPT_BYTES = 16, 80_000_000  # shared pictures that are done: the newest of them stay
NO_WORKER_SECONDS = 60.0  # without any worker: then a job that has killed one is given up
BUSY_SECONDS = 6.0  # on one picture: if all workers are busy for longer, the spare one is started
SPARE_IDLE_SECONDS = 30.0  # without work: then the spare worker is ended
MOST_DEATHS = 2  # of workers, that one job may cause


class RenderJob:
    """One picture to be made, for all pages that wait for it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make: Callable[[], Any] | None = make  # None once it is made
        self.picture = Answer()
        self.watchers = 0  # pages that wait for it
        self.asked: Answer | None = None  # a worker's answer; `picture` itself if a page makes it; None: not begun
        self.begun_at = inf  # time.monotonic()
        self.deaths = 0  # of workers, while they made it
        self.user_data: tuple[UserDataset, ...] = ()  # data sets that the worker has to be sent along


class RenderPool:
    """Render workers, and the queue of jobs. A spare worker is started when all others have been busy for BUSY_SECONDS:
    so a picture of half a minute does not hold up one of half a second. In a pool of 0 workers the spare one does
    everything: it is there only while there is work."""

    def __init__(self, workers: int) -> None:
        self._workers = [_new_worker() for _ in range(workers)]
        self._spare, self._spare_idle_since = _new_worker(), inf
        self._at_work: dict[WorkerProcess, RenderJob] = {}
        self._waiting: list[RenderJob] = []
        self._kept: OrderedDict[object, RenderJob] = OrderedDict()
        self._lock = threading.RLock()

    def start(self) -> None:
        """Start the workers. They take a second or two until they can render."""
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        """End all workers."""
        for worker in (*self._workers, self._spare):
            worker.close()

    @property
    def ready(self) -> bool:
        """Whether a worker is up, or the spare one on its way."""
        return any(worker.born for worker in self._workers) or self._spare.pid is not None

    @contextmanager
    def requested(self, make: Callable[[], Any], key: object = None) -> Iterator[RenderJob]:
        """The job for a picture, while the caller waits inside. A job that no caller waits for is not begun. Calls with
        the same key share one job."""
        with self._lock:
            job = self._kept.get(key) if key is not None else None
            if job is None or (job.picture.done() and job.picture.exception()):
                job = RenderJob(make)
                if key is not None:
                    self._kept[key] = job
            if key is not None:
                self._kept.move_to_end(key)
                self._drop_oldest()
            job.watchers += 1
            if job.asked is None and not job.picture.done() and job not in self._waiting:
                self._queue(job)
        try:
            yield job
        finally:
            with self._lock:
                job.watchers -= 1
                if not job.watchers and job in self._waiting:
                    self._waiting.remove(job)

    def clear(self) -> None:
        """Forget the pictures that are kept."""
        with self._lock:
            self._kept.clear()

    def _drop_oldest(self) -> None:
        made = [key for key, job in self._kept.items() if job.picture.done()]
        room = sum(self._kept[key].picture.size for key in made)
        while len(made) > KEPT_PICTURES or (len(made) > 1 and room > KEPT_BYTES):
            room -= self._kept.pop(made.pop(0)).picture.size

    def ahead(self, job: RenderJob) -> int:
        """How many jobs come before this one in the queue."""
        with self._lock:
            return self._waiting.index(job) if job in self._waiting else 0

    def go_on(self, job: RenderJob, tell: Callable[[float], object]) -> None:
        """Hand jobs to free workers. If no worker is up, make this picture here, unless it has killed a worker before.
        tell: is called with how much is done, 0 ... 1."""
        with self._lock:
            self._hand_out()
            if job.asked is not None or job.picture.done() or self.ready:
                return
            if job.deaths and time.monotonic() - job.begun_at < NO_WORKER_SECONDS:  # a new worker may be up soon
                return
            self._waiting.remove(job)
            if job.deaths:
                job.picture.set_exception(Failed(words("studio.died")))
                return
            job.asked = job.picture
        assert job.make is not None
        try:
            picture = finished(job.make(), tell)
            job.picture.size = len(packed(picture))
            job.picture.set_result(picture)
            job.make = None
            with self._lock:
                self._drop_oldest()
        except Exception as error:
            job.picture.set_exception(error)
        except BaseException:  # the page that makes it ends here; another one may wait for it
            with self._lock:
                job.asked = None
                if job.watchers > 1:
                    self._queue(job, first=True)
            raise

    def _queue(self, job: RenderJob, first: bool = False) -> None:
        self._waiting.insert(0 if first else len(self._waiting), job)

    def _hand_out(self) -> None:
        """Begin each waiting job for which a worker is free."""
        for job in list(self._waiting):
            worker = self._free()
            if worker is not None:
                self._waiting.remove(job)
                self._begin(worker, job)

    def _free(self) -> WorkerProcess | None:
        """A worker that is up and has nothing to do."""
        idle = (worker for worker in self._workers if worker.born and worker not in self._at_work)
        free = next(idle, None)
        if free is None and self._all_busy():
            self._start_spare()
            free = self._spare if self._spare.born and self._spare not in self._at_work else None
        return free

    def _all_busy(self) -> bool:
        """Whether every worker has been at the same job for BUSY_SECONDS."""
        begun = max((job.begun_at for job in self._at_work.values()), default=inf)
        return not self._workers or time.monotonic() - begun > BUSY_SECONDS

    def _start_spare(self) -> None:
        if self._spare.pid is None:
            with suppress(OSError, RuntimeError):  # no memory or no process left for one more
                self._spare.start()
            self._let_spare_rest()

    def _let_spare_rest(self) -> None:
        """End the spare worker later, unless it has worked by then."""
        self._spare_idle_since = time.monotonic()
        rest = threading.Timer(SPARE_IDLE_SECONDS, self._end_spare, [self._spare])
        rest.daemon = True
        rest.start()

    def _end_spare(self, worker: WorkerProcess) -> None:
        """End the spare worker if it has been idle."""
        with self._lock:
            idle = time.monotonic() - self._spare_idle_since
            unused = worker is self._spare and worker not in self._at_work and idle >= SPARE_IDLE_SECONDS
            if unused:
                self._spare = _new_worker()
        if unused:
            worker.close()

    def _begin(self, worker: WorkerProcess, job: RenderJob) -> None:
        job.asked, job.begun_at = job.picture, time.monotonic()
        try:
            asked = worker.ask("paint", 0, packed(job.make), job.user_data)
        except Exception as error:
            job.picture.set_exception(error)
            return
        job.asked = asked
        self._at_work[worker] = job
        asked.add_done_callback(partial(self._answered, worker, job))

    def _answered(self, worker: WorkerProcess, job: RenderJob, answer: Answer) -> None:
        error = answer.exception()
        with self._lock:
            del self._at_work[worker]
            if worker is self._spare:
                self._let_spare_rest()
            again = False
            if isinstance(error, Died):
                job.deaths += 1
                again = job.deaths < MOST_DEATHS
                error = Failed(words("studio.died"))
            elif isinstance(error, DatasetNotFound) and not job.user_data:
                with suppress(DatasetNotFound):  # this process does not have it either
                    job.user_data = _user_data(job.make)
                again = bool(job.user_data)
            if again:
                job.asked = None
                if job.watchers:
                    self._queue(job, first=True)
            else:  # drop what it was made of
                job.picture.share, job.asked, job.make, job.user_data = 1.0, job.picture, None, ()
                job.picture.size = answer.size
        if not again and error is None:
            job.picture.set_result(answer.result())
        elif not again:
            job.picture.set_exception(error)
        with self._lock:
            self._drop_oldest()
            self._hand_out()


def _new_worker() -> WorkerProcess:
    return WorkerProcess("toydiff.server.render_worker")


@cache
def render_pool() -> RenderPool:
    """The pool of this server."""
    return RenderPool(limits().painters)


@cache
def upload_pool() -> RenderPool:
    """The process that reads what users bring, one user's pictures after another."""
    return RenderPool(0)


def _user_data(make: Callable[[], Any] | None) -> tuple[UserDataset, ...]:
    """The data sets of users that its arguments name: a worker lacks them. DatasetNotFound if this process does too."""
    if not isinstance(make, partial):
        return ()
    arguments = (*make.args, *make.keywords.values(), getattr(make.func, "__self__", None))
    settings = (one if isinstance(one, Settings) else getattr(one, "experiment", None) for one in arguments)
    return user_datasets(one for one in settings if isinstance(one, Settings))
