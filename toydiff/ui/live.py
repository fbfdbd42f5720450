"""Live training: the one seam between the pages and whatever advances the trainers. Knows no Streamlit.

One thread trains for all sessions, in turn, a slice of time each: a thread per student would fight for the
interpreter. A page only starts and pauses a run, and reads snapshots.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.exact import Model
from toydiff.experiment import Experiment
from toydiff.metrics import Ruler
from toydiff.trajectory import Trajectory

SLICE = 0.05  # seconds of training before it is another run's turn
REFRESH = 1.0  # seconds between two checkpoints
CHECKPOINTS = 60  # at most; then every second one of the older half goes
SAMPLES = 2000  # that the quality is measured with
JUMPS = 100  # of the DDPM runs behind the checkpoints, where T is larger


class Checkpoint(NamedTuple):
    """What the network could do after `step` steps."""

    step: int
    seconds: float  # of training until then, sampling included
    samples: Tensor  # (particles, 2): DDPM, always from the same x_T with the same z
    ratio: float  # distance of SAMPLES samples from the data, as a multiple of the floor


class Snapshot(NamedTuple):
    """A run at one moment."""

    step: int
    seconds: float
    speed: float  # steps per second, lately
    running: bool
    diverged_at: int | None
    losses: Tensor  # (step,)
    checkpoints: tuple[Checkpoint, ...]

    @property
    def trajectory(self) -> Trajectory:
        """The checkpoints as a film: the clock counts training steps, each frame is what the samples were then."""
        x = torch.stack([point.samples for point in self.checkpoints])
        return Trajectory(torch.tensor([point.step for point in self.checkpoints]), x, x, x)


class Run:
    """The training of one experiment: start, pause, one step, snapshot. A reset is a new Run."""

    def __init__(self, experiment: Experiment, alive: Callable[[], bool] = lambda: True) -> None:
        self.experiment = experiment
        self.running = False
        self._alive = alive  # is anybody there to watch? asked before every slice
        self._lock = threading.RLock()
        self._trainer = experiment.trainer()
        self._ruler = Ruler(self._trainer.data, SAMPLES)
        self._start = experiment.start(SAMPLES)
        self._seconds = self._speed = 0.0
        self._checkpoints: list[Checkpoint] = []
        self._checkpoint()
        self._publish()

    @property
    def step(self) -> int:
        return self._trainer.step

    @property
    def diverged_at(self) -> int | None:
        return self._trainer.diverged_at

    def predictor(self) -> tuple[Model, int]:
        """The averaged network as it is now, and after how many steps."""
        with self._lock:
            return self._trainer.predictor, self._trainer.step

    def start(self) -> None:
        self.running = self._trainer.diverged_at is None
        _workshop.add(self)

    def pause(self) -> None:
        self.running = False
        with self._lock:  # waits for the slice at hand
            self._checkpoint()
            self._publish()

    def advance(self, n: int) -> None:
        """n steps here and now, while the caller waits."""
        with self._lock:
            began = time.monotonic()
            self._trainer.advance(n)
            self._seconds += time.monotonic() - began
            if self._trainer.diverged_at is not None:
                self.running = False
            self._checkpoint()
            self._publish()

    def snapshot(self) -> Snapshot:
        """The run as it was after the last slice. Never waits: a page that asks is not held up by training."""
        return self._published._replace(running=self.running)

    def work(self) -> bool:
        """One slice of training, if it is wanted: the workshop calls this. False: there was nothing to do."""
        if not (self.running and self._alive()):
            return False
        with self._lock:
            began, first = time.monotonic(), self.step
            while self.running and self.diverged_at is None and time.monotonic() - began < SLICE:
                self._trainer.advance(10)
            seconds = time.monotonic() - began
            self._seconds += seconds
            speed = (self.step - first) / seconds
            self._speed = 0.8 * self._speed + 0.2 * speed if self._speed else speed
            newest = self._checkpoints[-1]
            # the very first seconds are the most exciting ones: two pictures more
            due = REFRESH if newest.seconds >= REFRESH else REFRESH / 3
            stops = not self.running or self.diverged_at is not None
            if self._seconds - newest.seconds >= due or stops:
                self._checkpoint()
            self._publish()
            if stops:  # said last: who sees it finds the last picture published
                self.running = False
        return True

    def _publish(self) -> None:
        trainer = self._trainer
        # losses are only ever added: what a view of them shows does not change
        self._published = Snapshot(
            trainer.step,
            self._seconds,
            self._speed,
            self.running,
            trainer.diverged_at,
            trainer.losses,
            tuple(self._checkpoints),
        )

    def _checkpoint(self) -> None:
        trainer = self._trainer
        if self._checkpoints and self._checkpoints[-1].step == trainer.step:
            return
        began = time.monotonic()
        experiment = self.experiment
        brief = replace(experiment, steps=min(experiment.T, JUMPS))
        samples = brief.reverse(trainer.predictor, "ddpm", self._start).end
        ratio = self._ruler.ratio(samples)
        if self._checkpoints:  # the picture of the untrained network is not training time
            self._seconds += time.monotonic() - began
        self._checkpoints.append(Checkpoint(trainer.step, self._seconds, samples[: experiment.particles], ratio))
        if len(self._checkpoints) > CHECKPOINTS:
            half = CHECKPOINTS // 2
            self._checkpoints = self._checkpoints[:half:2] + self._checkpoints[half:]


class _Workshop:
    """The thread that trains: every run that wants it gets a slice, one after the other."""

    def __init__(self) -> None:
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()  # a run nobody holds any more is gone
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)  # a thread that dies inside torch takes the whole process down with it

    def add(self, run: Run) -> None:
        with self._lock:
            self._runs.add(run)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="training", daemon=True)
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """End the thread, after the slice at hand."""
        self._closed = True
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _work(self) -> None:
        torch.set_num_threads(1)  # faster than two for networks this small, and a core is left to the app
        while not self._closed:
            with self._lock:
                runs = list(self._runs)
            worked = [run.work() for run in runs if not self._closed]
            del runs  # or this thread would keep the last one alive
            if not any(worked):
                self._wake.clear()
                self._wake.wait(0.2)


_workshop = _Workshop()
