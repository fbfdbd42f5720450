"""Live training: the one seam between the pages and whatever advances the trainers. Knows no Streamlit.

A page only starts and pauses, and reads snapshots. The training itself is done by a worker, a process of its own: it
does not hold this interpreter up, and if it dies, every training goes on in a new one from its last saved state.

live.py            what pages hold          scheduler.py        shares the worker's time out
worker_process.py  the way to the worker    training_job.py     what is trained
snapshots.py       what is seen of it       training_worker.py  the process around both
transport.py       how messages travel      cpu_affinity.py     on which processor
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import torch

from toydiff.data import user_data
from toydiff.data.images import Images
from toydiff.data.user_data import UserDataset
from toydiff.diffusion.exact import Model
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
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
from toydiff.server.trained_network import EvalSettings, JobSpec, Saved
from toydiff.server.training_job import CROWD
from toydiff.server.worker_process import WATCH, Died, WorkerProcess
from toydiff.text import words

EVAL_SETTINGS = EvalSettings()
SAMPLES, IMAGES = EVAL_SETTINGS.samples, EVAL_SETTINGS.images

PARKED = 60.0  # seconds without anybody after which a training gives its memory back
DEATHS = 2  # of a worker, at work on one training, without a state in between: it is not tried again by itself
ATTEMPTS = 10  # to get an answer, each from a new worker

_keys = itertools.count()


@cache
def _links() -> tuple[WorkerProcess, ...]:
    """One for each worker."""
    return tuple(WorkerProcess() for _ in range(limits().workers))


class Training:
    """Networks that train side by side, always the same number of steps: start, pause, one step. A reset is a new
    one. It is dropped, with all its memory, once nobody holds this any more.

    ValueError, with a sentence, if it cannot be trained at all.
    """

    def __init__(self, spec: JobSpec, alive: Callable[[], bool]) -> None:
        self._spec, self._alive = spec, alive
        self._key, self._link = next(_keys), min(_links(), key=lambda link: len(link.listeners()))
        self._record = Record(len(spec.experiments))
        self._saved: Saved | None = None  # the last state; None: the worker has only just been told
        self._wanted, self._command = False, 0  # what was said last, and the number of that
        self._lost: int | None = None
        self._deaths = 0
        self._parked: Future[Any] | None = None  # the worker does not have it, or will not from now on
        self._left: float | None = None  # since when nobody is there
        self._waiting = 0  # how many wait for an answer
        self._known: tuple[tuple[Model, ...], int] | None = None
        self._link.start()
        self._link.listen(self._key, self)
        weakref.finalize(self, self._link.send, "drop", self._key).atexit = False
        self._device: str = self._ask("new", lambda: (spec,))

    @property
    def step(self) -> int:
        return self._newest.step

    @property
    def diverged_at(self) -> int | None:
        return next((lane.diverged_at for lane in self._record.now[1] if lane.diverged_at is not None), None)

    @property
    def running(self) -> bool:
        """Whether it is to train: what was said last, until the worker has heard it."""
        command, lanes = self._record.now
        return lanes[0].running if lanes and command == self._command else self._wanted

    @running.setter
    def running(self, wanted: bool) -> None:
        with self._link.lock:
            self._say("start" if wanted else "stop")

    def start(self) -> None:
        self._wake()
        self._forgive()
        self.running = self.diverged_at is None

    def pause(self, patience: float | None = None) -> None:
        """No step more. Returns when there is a picture of the network as it is, or after so many seconds: then that
        is still to come."""
        with self._link.lock:
            self._say("stop")
            if self._parked is not None:
                return
        self._forgive()
        if patience is not None:
            with suppress(Exception):  # the snapshot says why
                self._link.ask("pause", self._key, self._command).result(patience)
            return
        with suppress(Failed):
            self._ask("pause", lambda: (self._command,))

    def advance(self, n: int, picture: bool = True) -> None:
        """n steps, while the caller waits. Without the picture, if more is to follow at once. Failed if it cannot."""
        self._forgive()
        end = self.step + n
        self._ask("advance", lambda: (end - self.step, picture))
        problem = self._newest.problem
        if problem is not None:
            raise Failed(problem.sentence)

    # ---------------------------------------------------------------- for the link

    def heard(self, what: str, *more: Any) -> None:
        """News from the worker."""
        (news,) = more
        if isinstance(news, Update):
            self._record.apply(news)
        elif isinstance(news, Saved):
            self._saved, self._deaths = news, 0
        elif isinstance(news, Trouble):
            self._give_up(news)

    def revive(self, guilty: bool) -> None:
        """There is a new worker: go on in it. guilty: the old one died at work on this very training."""
        self._deaths += guilty
        if self._saved is None or self._parked is not None:
            return  # whoever waits for it asks again
        if self._deaths < DEATHS:
            self._load()
        else:
            self._back(self._saved)
            self._give_up(Trouble("live.deadly", {}))

    def look_after(self) -> None:
        """Where nobody is there it does not train, and after a while gives its memory back."""
        there, now = True, time.monotonic()
        with suppress(Exception):  # a session that ends while it is asked about
            there = self._alive()
        with self._link.lock:
            if there and self._left is not None:
                self._left = None
                if self._parked is None:
                    self._link.send("there", self._key, True)
                elif self._newest.problem is None:
                    threading.Thread(target=self._wake, daemon=True).start()  # it may have to wait
            elif not there and self._left is None:
                self._left = now
                self._link.send("there", self._key, False)
            elif self._left is not None and now - self._left > PARKED and self._parked is None and not self._waiting:
                self._parked = self._link.ask("park", self._key)

    # ---------------------------------------------------------------- how

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
        """Start or stop, without waiting."""
        self._command += 1
        self._wanted = what == "start"
        self._link.send(what, self._key, self._command)

    def _ask(self, what: str, more: Callable[[], tuple[Any, ...]] = tuple) -> Any:
        """The worker's answer; if it dies before, that of the next one. Failed, with a sentence."""
        with self._link.lock:
            self._waiting += 1  # from now on it is not parked
        try:
            for _ in range(ATTEMPTS):
                if what != "new":
                    self._wake()
                try:
                    return self._link.ask(what, self._key, *more()).result()
                except Died:
                    if self._deaths >= DEATHS:
                        raise Failed(words("live.deadly")) from None
                except Unknown:
                    problem = self._newest.problem or Trouble("live.failed", {})
                    raise Failed(problem.sentence) from None
            raise Failed(words("live.no_process"))
        finally:
            with self._link.lock:
                self._waiting -= 1

    def _wake(self) -> None:
        """Make sure that the worker has it."""
        parked = self._parked
        if parked is None:
            return
        wait([parked])
        with self._link.lock:
            if self._parked is parked:
                self._parked = None
                self._load()

    def _load(self) -> None:
        """Give it to the worker as it was when it was saved last."""
        assert self._saved is not None
        wanted, saved = self.running, self._saved
        self._back(saved)
        there = {point.step for point in self._newest.evaluations}
        marks = tuple(mark for mark in saved.marks if mark[0] in there)
        saved = saved._replace(marks=marks, losses=self._record.losses(saved.step))
        self._link.send("new", self._key, self._spec._replace(saved=saved))
        if self._left is not None:
            self._link.send("there", self._key, False)
        self._say("start" if wanted else "stop")

    def _back(self, saved: Saved) -> None:
        lost = self.step - saved.step
        if lost > 0:
            self._record.cut(saved.step, saved.seconds)
            self._lost = lost

    def _give_up(self, problem: Trouble) -> None:
        """The worker has it no more, and only a person can bring it back."""
        self._wanted = False
        self._record.stop(problem)
        self._parked = Future()
        self._parked.set_result(None)

    def _forgive(self) -> None:
        """A person acts: what was said before is read."""
        self._lost, self._deaths = None, 0


class _OneLane(Training):
    """The training of one network."""

    def snapshot(self) -> Snapshot:
        """The run as it was lately. Never waits: a page that asks is not held up by training."""
        return self._snapshots()[0]

    def predictor(self) -> tuple[Model, int]:
        """The averaged network as it is now, on the CPU, and after how many steps."""
        (network,), step = self._networks
        return network, step

    def packed(self, lesson: Experiment | ImageExperiment | None = None) -> bytes:
        """All of it as a file, `checkpoint.pack`. lesson: the settings to put in, if not those of the training."""
        content: bytes = self._ask("file", lambda: (lesson,))
        return content


class Run(_OneLane):
    """The training of one experiment. state: of a Trainer, to go on from there."""

    def __init__(
        self,
        experiment: Experiment,
        alive: Callable[[], bool] = lambda: True,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.experiment = experiment
        super().__init__(JobSpec((experiment,), EVAL_SETTINGS, user_data=_user_data(experiment), state=state), alive)


class ImageRun(_OneLane):
    """The training of one experiment on images. state: of a Trainer, to go on from there."""

    def __init__(
        self,
        experiment: ImageExperiment,
        images: Images,
        alive: Callable[[], bool] = lambda: True,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.experiment, self.images = experiment, images
        spec = JobSpec((experiment,), EVAL_SETTINGS, user_data=_user_data(experiment), images=images, state=state)
        super().__init__(spec, alive)
        self.device = torch.device(self._device)  # the worker's: this process never touches a graphics card


class Race(Training):
    """The training of several experiments, to compare them step by step."""

    def __init__(self, *experiments: Experiment, alive: Callable[[], bool] = lambda: True) -> None:
        self.experiments = experiments
        super().__init__(JobSpec(experiments, EVAL_SETTINGS, compared=True, user_data=_user_data(*experiments)), alive)

    def snapshot(self) -> RaceSnapshot:
        """The race as it was lately. Never waits."""
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

    trainings: int  # that somebody holds,
    running: int  # and those of them that are to train
    steps: float  # per second, of all together
    memory: tuple[int | None, ...]  # bytes that each worker holds, where that can be known


def prepare() -> None:
    """Start the workers: it takes them seconds until they can train."""
    for link in _links():
        link.start()
    if cpu_affinity.possible() and limits().workers == limits().threads == 1:
        _share_out()


@cache
def _share_out() -> None:
    """From now on keep the app and its worker apart while a class trains."""
    threading.Thread(target=_share, args=_links(), name="places", daemon=True).start()


def _share(link: WorkerProcess) -> None:
    while True:
        time.sleep(WATCH)
        cpu_affinity.arrange(load().running > CROWD, link.pid)


def trainings() -> list[Training]:
    """All that somebody holds."""
    return [training for link in _links() for training in link.listeners()]


def load() -> Load:
    """What the server is doing, lately."""
    held, beats = trainings(), [link.beat for link in _links()]
    running = sum(training.running for training in held)
    return Load(len(held), running, sum(beat.steps for beat in beats), tuple(beat.memory for beat in beats))


def _user_data(*experiments: Experiment | ImageExperiment) -> tuple[UserDataset, ...]:
    """The data of somebody's own that these name: the worker cannot find it."""
    keys = {getattr(experiment, experiment.user_field) for experiment in experiments}
    return tuple(user_data.find(key) for key in keys if user_data.is_key(key))
