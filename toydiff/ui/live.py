"""Live training: the one seam between the pages and whatever advances the trainers. Knows no Streamlit.

One thread trains for all sessions, in turn, a slice of time each: a thread per student would fight for the
interpreter. A page only starts and pauses, and reads snapshots.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toydiff import checkpoint
from toydiff.exact import Model
from toydiff.experiment import Experiment
from toydiff.field import Probe
from toydiff.image_experiment import ImageExperiment, usual_device
from toydiff.images import Images
from toydiff.judge import Judge
from toydiff.metrics import Ruler
from toydiff.trajectory import Trajectory

SLICE = 0.05  # seconds of training before it is another run's turn
REFRESH = 1.0  # seconds between two checkpoints
CHECKPOINTS = 60  # at most; then every second one of the older half goes
SAMPLES = 2000  # that the quality is measured with
JUMPS = 100  # of the DDPM runs behind the checkpoints, where T is larger
IMAGES, IMAGE_JUMPS = 36, 25  # the same for images: how many are shown and judged, and the jumps that they take


class Checkpoint(NamedTuple):
    """What the network could do after `step` steps."""

    step: int
    seconds: float  # of training until then, sampling included
    samples: Tensor  # (particles, 2), or (IMAGES, C, H, W): DDPM, always from the same x_T with the same z
    ratio: float  # distance of SAMPLES samples from the data, as a multiple of the floor; of images, `Judge.share`
    error: float  # measured in a race: root mean square of |eps_theta - eps*| over all t and x_t ~ q(x_t); else nan


class Snapshot(NamedTuple):
    """A run, or one lane of a race, at one moment."""

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


class RaceSnapshot(NamedTuple):
    """A race at one moment. What stands here, and the steps of the checkpoints, is the same for all lanes."""

    step: int
    seconds: float
    speed: float
    running: bool
    diverged_at: int | None  # where a lane diverged: all of them stopped there
    lanes: tuple[Snapshot, ...]


class _Lane:
    """One network that trains, and what its pictures are made and measured with."""

    stride = 10  # steps between two looks at the clock
    refresh = REFRESH

    def __init__(self, experiment: Experiment, compared: bool) -> None:
        self.experiment = experiment
        self.trainer = experiment.trainer()
        self.start = experiment.start(SAMPLES)
        self._ruler = _ruler(experiment.dataset, experiment.points, experiment.seed, SAMPLES)
        self._probe = _probe(experiment) if compared else None

    def picture(self) -> tuple[Tensor, float, float]:
        """Samples (particles, 2), their ratio, and the error: the last three of a Checkpoint."""
        experiment, predictor = self.experiment, self.trainer.predictor
        brief = replace(experiment, steps=min(experiment.T, JUMPS))
        samples = brief.reverse(predictor, "ddpm", self.start).end
        error = self._probe.error(predictor).square().mean().sqrt().item() if self._probe else math.nan
        return samples[: experiment.particles], self._ruler.ratio(samples), error


class _ImageLane:
    """The same for images: steps and pictures are slow, so there are fewer of both."""

    stride = 1
    refresh = 5 * REFRESH

    def __init__(self, experiment: ImageExperiment, images: Images, state: dict[str, Any] | None = None) -> None:
        self.experiment, self.images = experiment, images
        self.trainer = experiment.trainer(images, usual_device())
        if state is not None:
            self.trainer.load_state_dict(state)
        self.start = experiment.start(IMAGES, images.shape).to(self.trainer.device)

    def picture(self) -> tuple[Tensor, float, float]:
        """Samples (IMAGES, C, H, W) and, of digits, how much the judge takes them for such; else nan."""
        predictor, steps = self.trainer.predictor, min(self.experiment.T, IMAGE_JUMPS)
        samples = self.experiment.reverse(predictor, "ddpm", self.start, steps).end.cpu()
        share = judge().share(self.images, samples) if self.experiment.data == "digits" else math.nan
        return samples, share, math.nan


class Training:
    """Networks that train side by side, always the same number of steps: start, pause, one step. A reset is a new
    one."""

    def __init__(self, *lanes: _Lane | _ImageLane, alive: Callable[[], bool]) -> None:
        self.running = False
        self._alive = alive  # is anybody there to watch? asked before every slice
        self._lock = threading.RLock()
        self._lanes = lanes
        self._seconds = self._speed = 0.0
        self._checkpoints: list[tuple[Checkpoint, ...]] = []  # at each moment one of every lane
        self._checkpoint()
        self._publish()

    @property
    def step(self) -> int:
        return self._lanes[0].trainer.step

    @property
    def diverged_at(self) -> int | None:
        return next((at for lane in self._lanes if (at := lane.trainer.diverged_at) is not None), None)

    def start(self) -> None:
        self.running = self.diverged_at is None
        _workshop.add(self)

    def pause(self) -> None:
        self.running = False
        with self._lock:  # waits for the slice at hand
            self._checkpoint()
            self._publish()

    def advance(self, n: int, picture: bool = True) -> None:
        """n steps here and now, while the caller waits. Without the picture, if more is to follow at once."""
        with self._lock:
            began = time.monotonic()
            self._advance(n)
            self._seconds += time.monotonic() - began
            if self.diverged_at is not None:
                self.running = False
            if picture:
                self._checkpoint()
            self._publish()

    def work(self) -> bool:
        """One slice of training, if it is wanted: the workshop calls this. False: there was nothing to do."""
        if not (self.running and self._alive()):
            return False
        with self._lock:
            began, first = time.monotonic(), self.step
            while self.running and self.diverged_at is None and time.monotonic() - began < SLICE:
                self._advance(self._lanes[0].stride)
            seconds = time.monotonic() - began
            self._seconds += seconds
            speed = (self.step - first) / seconds
            self._speed = 0.8 * self._speed + 0.2 * speed if self._speed else speed
            newest = self._checkpoints[-1][0]
            # the very first seconds are the most exciting ones: two pictures more
            refresh = self._lanes[0].refresh
            due = refresh if newest.seconds >= refresh else refresh / 3
            stops = not self.running or self.diverged_at is not None
            if self._seconds - newest.seconds >= due or stops:
                self._checkpoint()
            self._publish()
            if stops:  # said last: who sees it finds the last picture published
                self.running = False
        return True

    def _advance(self, n: int) -> None:
        """n steps in every lane. Where the loss of one explodes, all stop at that step."""
        if self.diverged_at is not None:
            return
        *others, last = (lane.trainer for lane in self._lanes)
        before = [trainer.state_dict() for trainer in others]
        end = self.step + n
        for trainer in (*others, last):
            trainer.advance(end - trainer.step)
            end = trainer.step
        for trainer, state in zip(others, before, strict=True):
            if trainer.step > end:  # it did not know yet: back, and the same steps again, up to there
                trainer.load_state_dict(state)
                trainer.advance(end - trainer.step)

    def _publish(self) -> None:
        # losses are only ever added: what a view of them shows does not change
        self._published = tuple(
            Snapshot(
                self.step,
                self._seconds,
                self._speed,
                self.running,
                lane.trainer.diverged_at,
                lane.trainer.losses,
                checkpoints,
            )
            for lane, checkpoints in zip(self._lanes, zip(*self._checkpoints, strict=True), strict=True)
        )

    def _checkpoint(self) -> None:
        if self._checkpoints and self._checkpoints[-1][0].step == self.step:
            return
        began = time.monotonic()
        pictures = [lane.picture() for lane in self._lanes]
        if self._checkpoints:  # the picture of the untrained network is not training time
            self._seconds += time.monotonic() - began
        self._checkpoints.append(tuple(Checkpoint(self.step, self._seconds, *picture) for picture in pictures))
        if len(self._checkpoints) > CHECKPOINTS:
            half = CHECKPOINTS // 2
            self._checkpoints = self._checkpoints[:half:2] + self._checkpoints[half:]


class _OneLane(Training):
    """The training of one network."""

    def predictor(self) -> tuple[Model, int]:
        """The averaged network as it is now, and after how many steps."""
        with self._lock:
            return self._lanes[0].trainer.predictor, self.step

    def snapshot(self) -> Snapshot:
        """The run as it was after the last slice. Never waits: a page that asks is not held up by training."""
        return self._published[0]._replace(running=self.running)


class Run(_OneLane):
    """The training of one experiment."""

    def __init__(self, experiment: Experiment, alive: Callable[[], bool] = lambda: True) -> None:
        self.experiment = experiment
        super().__init__(_Lane(experiment, compared=False), alive=alive)


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
        lane = _ImageLane(experiment, images, state)
        self.device = lane.trainer.device
        super().__init__(lane, alive=alive)

    def predictor(self) -> tuple[Model, int]:
        """The averaged network as it is now, on the CPU, and after how many steps."""
        network, step = super().predictor()
        return network.cpu() if isinstance(network, nn.Module) else network, step

    def packed(self) -> bytes:
        """All of it as a file, `checkpoint.pack`."""
        with self._lock:
            return checkpoint.pack(self._lanes[0].trainer, self.experiment)


class Race(Training):
    """The training of several experiments, to compare them step by step."""

    def __init__(self, *experiments: Experiment, alive: Callable[[], bool] = lambda: True) -> None:
        self.experiments = experiments
        super().__init__(*(_Lane(experiment, compared=True) for experiment in experiments), alive=alive)

    def snapshot(self) -> RaceSnapshot:
        """The race as it was after the last slice. Never waits."""
        lanes = self._published  # read once: the training thread puts a new one in its place
        stopped = [lane.diverged_at for lane in lanes if lane.diverged_at is not None]
        step, seconds, speed, *_ = lanes[0]
        return RaceSnapshot(step, seconds, speed, self.running, stopped[0] if stopped else None, lanes)

    def predictors(self) -> tuple[tuple[Model, ...], int]:
        """The averaged network of each lane as it is now, and after how many steps."""
        with self._lock:
            return tuple(lane.trainer.predictor for lane in self._lanes), self.step


@lru_cache(maxsize=16)  # half a second each: not again for the other lane, not again for a reset
def _ruler(dataset: str, points: int, seed: int, n: int) -> Ruler:
    return Ruler(Experiment(dataset=dataset, points=points, seed=seed).data(), n)


@lru_cache(maxsize=1)
def judge() -> Judge:
    """Half a second to train it: once per server."""
    return Judge()


def _probe(experiment: Experiment) -> Probe:
    """About SAMPLES noisy points, of every t as many, and the exact answers for them."""
    times, n = torch.arange(1, experiment.T + 1), max(1, SAMPLES // experiment.T)
    return Probe(experiment.exact(), experiment.noise_schedule(), experiment.data(), times, n)


class _Workshop:
    """The thread that trains: every run or race that wants it gets a slice, one after the other."""

    def __init__(self) -> None:
        self._runs: weakref.WeakSet[Training] = weakref.WeakSet()  # one nobody holds any more is gone
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        atexit.register(self.close)  # a thread that dies inside torch takes the whole process down with it

    def add(self, run: Training) -> None:
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
            worked = [_turn(run) for run in runs if not self._closed]
            del runs  # or this thread would keep the last one alive
            if not any(worked):
                self._wake.clear()
                self._wake.wait(0.2)


def _turn(run: Training) -> bool:
    """One slice of one run. What goes wrong in it, say too little memory, ends this run and no other."""
    try:
        return run.work()
    except Exception:
        run.running = False
        logging.getLogger(__name__).exception("a training stopped")
        return False


_workshop = _Workshop()
