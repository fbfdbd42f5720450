"""Live training: what pages hold of a training, the one seam between them and the worker that trains.

A page starts, pauses and reads snapshots. A worker process trains, so that pages are never held up. If it dies, every
training is resumed in a new process from its last saved state.

live.py            what pages hold          scheduler.py        shares out the worker's time
supervisor.py      the way to the worker    training_job.py     what is trained
snapshots.py       what is seen of it       training_worker.py  the process around both
transport.py       how messages travel      cpu_affinity.py     on which processor
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import torch

from toydiff.data.images import Images
from toydiff.diffusion.exact import Model
from toydiff.experiments.experiment import PointTraining
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.experiments.settings import user_datasets
from toydiff.server import cpu_affinity
from toydiff.server.limits import limits
from toydiff.server.snapshots import (
    Failed,
    RaceSnapshot,
    Record,
    Snapshot,
    Trouble,
    Unknown,
    Update,
)
from toydiff.server.supervisor import WATCH_SECONDS, Died, WorkerProcess
from toydiff.server.trained_network import EvalSettings, JobSpec, Saved
from toydiff.server.training_job import MANY_JOBS
from toydiff.text import words

EVAL_SETTINGS = EvalSettings()
MEASURED_SAMPLES, SHOWN_SAMPLES, JUDGED_IMAGES = EVAL_SETTINGS.samples, EVAL_SETTINGS.shown, EVAL_SETTINGS.images

MAX_DEATHS = 2  # of workers in one training without a saved state in between: then it is not resumed by itself
MAX_REQUESTS = 10  # to get an answer, each from a new process

_keys = itertools.count()


@cache
def _workers() -> tuple[WorkerProcess, ...]:
    """The training workers of this server."""
    return tuple(WorkerProcess() for _ in range(limits().workers))


class Training:
    """Networks that train side by side, always the same number of steps. A reset is a new Training.

    The worker drops its job when this object is deleted. ValueError, with a sentence, if it cannot be trained.
    """

    def __init__(self, spec: JobSpec, alive: Callable[[], bool]) -> None:
        self._spec, self._alive = spec, alive
        self._key, self._worker = next(_keys), min(_workers(), key=lambda worker: len(worker.listeners()))
        self._record = Record(len(spec.experiments))
        self._saved: Saved | None = None  # the last state; None until the first one comes
        self._wanted, self._command = False, 0  # the last command, start or stop, and its number
        self._lost: int | None = None
        self._deaths = 0
        self._dropped = False  # whether the worker has dropped the job
        self._there = True  # whether a browser is there
        self._known: tuple[tuple[Model, ...], int] | None = None
        self._worker.start()
        self._worker.listen(self._key, self)
        weakref.finalize(self, self._worker.send, "drop", self._key).atexit = False
        self._device: str = self._ask("new", lambda: (spec,))

    @property
    def step(self) -> int:
        return self._newest.step

    @property
    def diverged_at(self) -> int | None:
        return next((lane.diverged_at for lane in self._record.now[1] if lane.diverged_at is not None), None)

    @property
    def running(self) -> bool:
        """Whether it trains. Until the worker has received the last command: what that says."""
        command, lanes = self._record.now
        return lanes[0].running if lanes and command == self._command else self._wanted

    @running.setter
    def running(self, wanted: bool) -> None:
        with self._worker.lock:
            self._say("start" if wanted else "stop")

    def start(self) -> None:
        self._reload()
        self._forgive()
        self.running = self.diverged_at is None

    def pause(self, patience: float | None = None) -> None:
        """Stop at once. Waits for the last evaluation, for `patience` seconds at most; then it comes later."""
        with self._worker.lock:
            self._say("stop")
            if self._dropped:
                return
        self._forgive()
        if patience is not None:
            with suppress(Exception):  # the snapshot says why
                self._worker.ask("pause", self._key, self._command).result(patience)
            return
        with suppress(Failed):
            self._ask("pause", lambda: (self._command,))

    def advance(self, n: int, picture: bool = True) -> None:
        """Train n steps while the caller waits. picture: evaluate after them. Failed if it cannot go on."""
        self._forgive()
        end = self.step + n
        self._ask("advance", lambda: (end - self.step, picture))
        problem = self._newest.problem
        if problem is not None:
            raise Failed(problem.sentence)

    # ---------------------------------------------------------------- called by WorkerProcess

    def heard(self, what: str, *more: Any) -> None:
        """Take a message of the worker."""
        (news,) = more
        if isinstance(news, Update):
            self._record.apply(news)
        elif isinstance(news, Saved):
            self._saved, self._deaths = news, 0
        elif isinstance(news, Trouble):
            self._give_up(news)

    def revive(self, guilty: bool) -> None:
        """Resume in a new process. guilty: the old one died while it worked for this training."""
        self._deaths += guilty
        if self._saved is None or self._dropped:
            return  # the callers that wait will ask again
        if self._deaths < MAX_DEATHS:
            self._load()
        else:
            self._back(self._saved)
            self._give_up(Trouble("live.deadly", {}))

    def look_after(self) -> None:
        """Suspend it while no browser is there."""
        there = True
        with suppress(Exception):  # the session may end meanwhile
            there = self._alive()
        with self._worker.lock:
            if there != self._there:
                self._there = there
                self._worker.send("there", self._key, there)

    # ---------------------------------------------------------------- commands to the worker

    @property
    def _newest(self) -> Snapshot:
        return self._record.now[1][0]

    @property
    def _networks(self) -> tuple[tuple[Model, ...], int]:
        known = self._known
        if known is None or self.running or known[1] != self.step:
            known = self._known = self._ask("predictors")
        return known

    def _snapshots(self) -> tuple[Snapshot, ...]:
        running, lost = self.running, self._lost
        return tuple(lane._replace(running=running, lost=lost) for lane in self._record.now[1])

    def _say(self, what: str) -> None:
        """Send start or stop, without waiting."""
        self._command += 1
        self._wanted = what == "start"
        self._worker.send(what, self._key, self._command)

    def _ask(self, what: str, more: Callable[[], tuple[Any, ...]] = tuple) -> Any:
        """The worker's answer; if it dies first, that of the next process. Failed, with a sentence."""
        for _ in range(MAX_REQUESTS):
            if what != "new":
                self._reload()
            try:
                return self._worker.ask(what, self._key, *more()).result()
            except Died:
                if self._deaths >= MAX_DEATHS:
                    raise Failed(words("live.deadly")) from None
            except Unknown:
                problem = self._newest.problem or Trouble("live.failed", {})
                raise Failed(problem.sentence) from None
        raise Failed(words("live.no_process"))

    def _reload(self) -> None:
        """Send the job to the worker again if it was dropped."""
        with self._worker.lock:
            if self._dropped:
                self._dropped = False
                self._load()

    def _load(self) -> None:
        """Send the last saved state to the worker as a new job."""
        assert self._saved is not None
        wanted, saved = self.running, self._saved
        self._back(saved)
        there = {point.step for point in self._newest.evaluations}
        marks = tuple(mark for mark in saved.marks if mark[0] in there)
        saved = saved._replace(marks=marks, losses=self._record.losses(saved.step))
        self._worker.send("new", self._key, self._spec._replace(saved=saved))
        if not self._there:
            self._worker.send("there", self._key, False)
        self._say("start" if wanted else "stop")

    def _back(self, saved: Saved) -> None:
        lost = self.step - saved.step
        if lost > 0:
            self._record.cut(saved.step, saved.seconds)
            self._lost = lost

    def _give_up(self, problem: Trouble) -> None:
        """The worker has dropped it. Only a person starts it again."""
        self._wanted = False
        self._record.stop(problem)
        self._dropped = True

    def _forgive(self) -> None:
        """A person acts: forget earlier failures."""
        self._lost, self._deaths = None, 0


class _OneLane(Training):
    """The training of one network."""

    def snapshot(self) -> Snapshot:
        """The latest snapshot. Never waits."""
        return self._snapshots()[0]

    def predictor(self) -> tuple[Model, int]:
        """The averaged network as it is now, on the CPU, and after how many steps."""
        (network,), step = self._networks
        return network, step

    def packed(self, lesson: PointTraining | ImageExperiment | None = None) -> bytes:
        """The training as a file, `checkpoint.pack`. lesson: the settings to store instead of its own."""
        content: bytes = self._ask("file", lambda: (lesson,))
        return content


class Run(_OneLane):
    """The training of one experiment. state: of a Trainer, to resume from."""

    def __init__(
        self,
        experiment: PointTraining,
        alive: Callable[[], bool] = lambda: True,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.experiment = experiment.training
        spec = JobSpec((self.experiment,), EVAL_SETTINGS, user_data=user_datasets([experiment]), state=state)
        super().__init__(spec, alive)


class ImageRun(_OneLane):
    """The training of one experiment on images. state: of a Trainer, to resume from."""

    def __init__(
        self,
        experiment: ImageExperiment,
        images: Images,
        alive: Callable[[], bool] = lambda: True,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.experiment, self.images = experiment, images
        spec = JobSpec((experiment,), EVAL_SETTINGS, user_data=user_datasets([experiment]), images=images, state=state)
        super().__init__(spec, alive)
        self.device = torch.device(self._device)  # that of the worker: this process never uses a graphics card


class Race(Training):
    """The training of several experiments, to compare them step by step."""

    def __init__(self, *experiments: PointTraining, alive: Callable[[], bool] = lambda: True) -> None:
        self.experiments = tuple(one.training for one in experiments)
        spec = JobSpec(self.experiments, EVAL_SETTINGS, compared=True, user_data=user_datasets(experiments))
        super().__init__(spec, alive)

    def snapshot(self) -> RaceSnapshot:
        """The latest snapshot. Never waits."""
        lanes = self._snapshots()
        stopped = [lane.diverged_at for lane in lanes if lane.diverged_at is not None]
        step, seconds, speed, running, *_ = first = lanes[0]
        diverged_at = stopped[0] if stopped else None
        return RaceSnapshot(step, seconds, speed, running, diverged_at, lanes, first.problem, first.lost)

    def predictors(self) -> tuple[tuple[Model, ...], int]:
        """The averaged network of each lane as it is now, and after how many steps."""
        return self._networks


class Load(NamedTuple):
    """What the server is doing."""

    trainings: int  # all that sessions hold
    running: int  # those that train
    steps: float  # per second, of all trainings
    memory: tuple[int | None, ...]  # bytes that each worker uses; None where the system does not say


def prepare() -> None:
    """Start the workers. They take seconds until they can train."""
    for worker in _workers():
        worker.start()
    if cpu_affinity.possible() and limits().workers == limits().threads == 1:
        _share_out()


@cache
def _share_out() -> None:
    """From now on, give the app and its worker a processor each while a class trains."""
    threading.Thread(target=_share, args=_workers(), name="cpu affinity", daemon=True).start()


def _share(worker: WorkerProcess) -> None:
    while True:
        time.sleep(WATCH_SECONDS)
        cpu_affinity.arrange(load().running > MANY_JOBS, worker.pid)


def trainings() -> list[Training]:
    """All trainings that sessions hold."""
    return [training for worker in _workers() for training in worker.listeners()]


def load() -> Load:
    """What the server has done in the last second."""
    held, beats = trainings(), [worker.beat for worker in _workers()]
    running = sum(training.running for training in held)
    return Load(len(held), running, sum(beat.steps for beat in beats), tuple(beat.memory for beat in beats))
