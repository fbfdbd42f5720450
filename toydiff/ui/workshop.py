"""Where networks are trained: everything that wants to train gets a slice of time in turn.

Plain objects, no thread and no process of their own: `worker.py` runs them in one. Knows no Streamlit.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor, nn

from toydiff import checkpoint, own
from toydiff.exact import Model
from toydiff.experiment import Experiment
from toydiff.field import Probe
from toydiff.image_experiment import ImageExperiment, usual_device
from toydiff.images import Images
from toydiff.judge import Judge
from toydiff.limits import limits
from toydiff.metrics import Ruler
from toydiff.own import Own
from toydiff.samplers import WAYS, reverse
from toydiff.ui.pipe import packed, unpacked
from toydiff.ui.snapshots import Checkpoint, Trouble, Update

SLICE = 0.05  # seconds of work before it is another's turn
CROWD = 4  # others that train: from then on pictures are fewer
PROMPT = 1.0  # seconds of work on what somebody waits for that come before everything else
BITE = 2e8  # examples times weights between two looks at the clock: some 25 ms
STRIDE = 10  # training steps between two looks at the clock, at most
UNTRAINED = 64  # pictures of untrained networks that are kept: a class opens the same page at the same time


class Pace(NamedTuple):
    """How much is measured, and how often."""

    refresh: float = 1.0  # seconds between two checkpoints
    checkpoints: int = 60  # at most; then every second one of the older half goes
    samples: int = 2000  # that the quality is measured with
    jumps: int = 100  # of the DDPM runs behind the checkpoints, where T is larger
    images: int = 36  # the same for images: how many are shown and judged,
    image_jumps: int = 25  # and the jumps that they take
    save: float = 10.0  # seconds of training between two states to go on from


class Saved(NamedTuple):
    """All that a training needs to go on."""

    step: int
    seconds: float
    marks: tuple[tuple[int, float], ...]  # step and seconds of every checkpoint
    states: bytes | None  # packed: of every lane a `Trainer.state_dict()` without its losses; None: as it began
    losses: tuple[Tensor, ...] = ()  # of every lane, (step,)


class Order(NamedTuple):
    """What is to be trained: all that it takes, so that any process can do it."""

    experiments: tuple[Experiment, ...] | tuple[ImageExperiment]
    pace: Pace
    compared: bool = False  # measured against the exact predictor too
    brought: tuple[Own, ...] = ()  # data of somebody's own that the experiments name
    images: Images | None = None
    state: dict[str, Any] | None = None  # of a Trainer, to go on from there
    saved: Saved | None = None  # or from here


Picture = tuple[Tensor, float, float]  # samples, their ratio, and the error: the last three of a Checkpoint


class _Lane:
    """One network that trains, and what its pictures are made and measured with."""

    refresh = save = threads = 1  # between pictures and between states, as a multiple; threads for a step

    def __init__(self, experiment: Experiment, order: Order) -> None:
        self.experiment = experiment
        self.trainer = experiment.trainer()
        if order.state is not None:
            self.trainer.load_state_dict(order.state)
        self.start = experiment.start(order.pace.samples)
        self.jumps = min(experiment.T, order.pace.jumps)
        self.untrained: object = experiment, order.pace, order.compared  # all that the picture at step 0 depends on
        weights = sum(p.numel() for p in self.trainer.model.parameters())
        self.stride = max(1, min(STRIDE, int(BITE / (weights * experiment.batch))))
        self._ruler = _ruler(experiment.dataset, experiment.points, experiment.seed, order.pace.samples)
        self._probe = _probe(_task(experiment), order.pace.samples) if order.compared else None

    def measured(self, x: Tensor, predictor: Model) -> Picture:
        error = self._probe.error(predictor).square().mean().sqrt().item() if self._probe else math.nan
        return x[: self.experiment.particles], self._ruler.ratio(x), error


class _ImageLane:
    """The same for images: steps and pictures are slow, so there are fewer of both."""

    refresh, save, stride = 5, 3, 1

    def __init__(self, experiment: ImageExperiment, order: Order) -> None:
        assert order.images is not None
        self.experiment, self._images = experiment, _shared(order.images)
        self.threads = limits().threads
        self.trainer = experiment.trainer(self._images, usual_device())
        if order.state is not None:
            self.trainer.load_state_dict(order.state)
        self.start = experiment.start(order.pace.images, self._images.shape).to(self.trainer.device)
        self.jumps = min(experiment.T, order.pace.image_jumps)
        self.untrained: object = experiment, order.pace

    def measured(self, x: Tensor, predictor: Model) -> Picture:
        samples = x.cpu()
        share = judge().share(self._images, samples) if self.experiment.data == "digits" else math.nan
        return samples, share, math.nan


def _lane(experiment: Experiment | ImageExperiment, order: Order) -> _Lane | _ImageLane:
    return _Lane(experiment, order) if isinstance(experiment, Experiment) else _ImageLane(experiment, order)


def _picture(lane: _Lane | _ImageLane) -> Generator[None, None, Picture]:
    """Make samples and measure them; there is a yield wherever it may be interrupted."""
    untrained = lane.trainer.step == 0
    if untrained and lane.untrained in _untrained:
        return _untrained[lane.untrained]
    predictor, (sampler, noise) = lane.trainer.predictor, WAYS["ddpm"]
    schedule, z = lane.experiment.noise_schedule(), lane.experiment.generator(2)
    x = lane.start
    for frame in reverse(predictor, schedule, x, sampler, steps=lane.jumps, noise=noise, generator=z):
        x = frame.x
        yield
    picture = lane.measured(x, predictor)
    if untrained:
        while len(_untrained) >= UNTRAINED:
            del _untrained[next(iter(_untrained))]
        _untrained[lane.untrained] = picture
    return picture


_untrained: dict[object, Picture] = {}


@lru_cache(maxsize=16)  # half a second each: not again for the other lane, not again for a reset
def _ruler(dataset: str, points: int, seed: int, n: int) -> Ruler:
    return Ruler(Experiment(dataset=dataset, points=points, seed=seed).data(), n)


@lru_cache(maxsize=16)
def _probe(experiment: Experiment, n: int) -> Probe:
    """About n noisy points, of every t as many, and the exact answers for them."""
    times, each = torch.arange(1, experiment.T + 1), max(1, n // experiment.T)
    return Probe(experiment.exact(), experiment.noise_schedule(), experiment.data(), times, each)


def _task(experiment: Experiment) -> Experiment:
    """The same without the network: equal for all that have to learn the same."""
    usual = Experiment()
    return replace(
        experiment, **{name: getattr(usual, name) for name in ("network", "target", "width", "depth", "batch", "lr")}
    )


@lru_cache(maxsize=1)
def judge() -> Judge:
    """Half a second to train it: once per process."""
    return Judge()


_images: WeakSet[Images] = WeakSet()


def _shared(images: Images) -> Images:
    """The same images, if another training has them already: one copy in memory for a whole class."""
    for known in _images:
        if known.x.equal(images.x):
            return known
    _images.add(images)
    return images


class Job:
    """Networks that train side by side, always the same number of steps: start, pause, advance. A reset is a new one.

    Nothing happens until `work`, which does some of what is wanted.
    """

    def __init__(self, order: Order) -> None:
        self.running = False
        self.there = True  # is anybody there to watch?
        self.company = 0  # how many others train at the same time
        self.command = 0  # the number of the last command
        self.problem: Trouble | None = None
        self.used = 0.0  # seconds of work, for whoever shares out the turns
        self.asked: list[int] = []  # the numbers of requests to be answered once it is `settled`,
        self.spent = 0.0  # and the seconds of work on them
        self._brought = [own.keep(one.name, one.data) for one in order.brought]  # findable as long as this lives
        self._pace = order.pace
        self._lanes = [_lane(experiment, order) for experiment in order.experiments]
        self._seconds = self._speed = 0.0
        self._sent, self._told = 0, False  # how many losses were in an update, and whether it was running
        self._marks: list[tuple[int, float]] = []  # step and seconds of each checkpoint
        self._fresh: list[tuple[Checkpoint, ...]] = []  # those nobody has heard of: at each moment one of every lane
        self._todo, self._look_then = 0, False  # steps that were asked for, and whether a picture was
        self._drawing: Iterator[None] | None = None  # a picture half done
        self._moved = False  # has it made a step, here or before?
        if order.saved is not None:
            self._load(order.saved)
        self._saved = -1, self._seconds  # step and seconds of the last state,
        self._rest = 0.0  # and the seconds until the next one, at least
        self._look()

    @property
    def step(self) -> int:
        return min(lane.trainer.step for lane in self._lanes)

    @property
    def diverged_at(self) -> int | None:
        return next((at for lane in self._lanes if (at := lane.trainer.diverged_at) is not None), None)

    @property
    def device(self) -> torch.device:
        return self._lanes[0].trainer.device

    @property
    def threads(self) -> int:
        """For one of its steps."""
        return self._lanes[0].threads if self.device.type == "cpu" else 1

    @property
    def settled(self) -> bool:
        """Whether all that was asked for is done."""
        return not self._todo and self._drawing is None

    @property
    def wants(self) -> bool:
        """Whether there is anything to do."""
        return not self.settled or (self.running and self.there)

    @property
    def due(self) -> bool:
        """Whether it is time to save it."""
        return self.unsaved and self._seconds - self._saved[1] >= max(self._pace.save * self._lanes[0].save, self._rest)

    @property
    def unsaved(self) -> bool:
        """Whether `save` would say anything new."""
        return self._saved[0] != self.step

    @property
    def news(self) -> bool:
        """Whether there is something that should be known at once."""
        return bool(self._fresh) or self.running != self._told

    @property
    def blank(self) -> bool:
        """Whether there is no picture of it yet."""
        return not self._marks

    # ---------------------------------------------------------------- what it can be told

    def ask(self, number: int) -> None:
        """A request that is to be answered when all is done."""
        if not self.asked:
            self.spent = 0.0
        self.asked.append(number)

    def start(self) -> None:
        self.problem = None
        self.running = self.diverged_at is None

    def stop(self) -> None:
        """No step more."""
        self.running, self._todo, self._look_then = False, 0, False

    def pause(self) -> None:
        """No step more, and a picture of the network as it is."""
        self.stop()
        self._look()

    def advance(self, n: int, picture: bool = True) -> None:
        """n steps, running or not. Without the picture, if more is to follow at once."""
        if n > 0 and self.diverged_at is None:
            self.problem = None
            self._todo += n
            self._look_then |= picture

    def work(self, seconds: float = SLICE) -> None:
        """Do what is wanted, for about so long: a bite, at least."""
        began = now = time.monotonic()
        trained, steps = 0.0, 0
        while self.wants and (now == began or now - began < seconds):
            first, before, counted = self.step, now, bool(self._marks)
            self._bite()
            now = time.monotonic()
            if counted:  # the picture of the untrained network is not training time
                self._seconds += now - before
            if self.step > first:
                trained, steps = trained + now - before, steps + self.step - first
        if steps and self.running:
            speed = steps / trained
            self._speed = 0.8 * self._speed + 0.2 * speed if self._speed else speed
        self.used += now - began
        self.spent += now - began

    def fail(self, problem: Trouble) -> None:
        """It cannot go on as it is. What it has learned is kept."""
        self.stop()
        self._drawing, self.problem = None, problem
        for lane in self._lanes:
            lane.trainer.model.zero_grad()  # the gradients go

    # ---------------------------------------------------------------- what it can tell

    def update(self) -> Update:
        """What is new since the last one."""
        step, since, self._sent, self._told = self.step, self._sent, self.step, self.running
        kept = tuple(step for step, _ in self._marks)
        fresh, self._fresh = tuple(moment for moment in self._fresh if moment[0].step in kept), []
        return Update(
            self.command,
            step,
            self._seconds,
            self._speed,
            self.running,
            tuple(lane.trainer.diverged_at for lane in self._lanes),
            since,
            tuple(lane.trainer.losses[since:step] for lane in self._lanes),
            kept,
            fresh,
            self.problem,
        )

    def save(self) -> Saved:
        """All that it takes to go on from here, but for the losses: those are in the updates."""
        began, self._saved = time.monotonic(), (self.step, self._seconds)
        states = [lane.trainer.state_dict() for lane in self._lanes] if self._moved else None
        for state in states or []:
            del state["losses"]
        content = None if states is None else packed(states)
        self._rest = 20 * (time.monotonic() - began)  # of a large network less often
        return Saved(self.step, self._seconds, tuple(self._marks), content)

    def predictors(self) -> tuple[tuple[Model, ...], int]:
        """The averaged network of each lane as it is now, on the CPU, and after how many steps."""
        networks = (lane.trainer.predictor for lane in self._lanes)
        return tuple(one.cpu() if isinstance(one, nn.Module) else one for one in networks), self.step

    def file(self, lesson: Experiment | ImageExperiment | None) -> bytes:
        """The training of its one network as a file, `checkpoint.pack`. lesson: the settings to put in, or its own."""
        (lane,) = self._lanes
        return checkpoint.pack(lane.trainer, lesson or lane.experiment)

    # ---------------------------------------------------------------- how

    def _bite(self) -> None:
        """The smallest piece of work."""
        if self._drawing is not None:
            if next(self._drawing, self) is self:
                self._drawing = None
        else:
            stride = min(lane.stride for lane in self._lanes)
            n = min(self._todo, stride) if self._todo else stride
            self._moved = True
            self._advance(n)
            if self._todo:
                self._todo = max(0, self._todo - n) if self.diverged_at is None else 0
                look, self._look_then = self._look_then and not self._todo, self._look_then and bool(self._todo)
            else:
                look = self._due_for_a_picture or self.diverged_at is not None
            if look:
                self._look()
        if self._drawing is None and self.diverged_at is not None:
            self.running = False  # said last: who sees it finds the last picture there

    @property
    def _due_for_a_picture(self) -> bool:
        refresh, newest = self._pace.refresh * self._lanes[0].refresh, self._marks[-1][1]
        # the very first seconds are the most exciting ones: two pictures more; in a crowd, which shares the time, one
        early = newest < refresh and (self.company < CROWD or not newest)
        return self._seconds - newest >= (refresh / 3 if early else refresh)

    def _advance(self, n: int) -> None:
        """n steps in every lane. Where the loss of one explodes, all stop at that step."""
        *others, last = (lane.trainer for lane in self._lanes)
        before = [trainer.state_dict() for trainer in others]
        end = self.step + n
        try:
            for trainer in (*others, last):
                trainer.advance(end - trainer.step)
                end = trainer.step
        finally:
            end = self.step  # also if one of them could not go on
            for trainer, state in zip(others, before, strict=True):
                if trainer.step > end:  # it did not know yet: back, and the same steps again, up to there
                    trainer.load_state_dict(state)
                    trainer.advance(end - trainer.step)

    def _look(self) -> None:
        """Begin a picture, unless there is one of this step."""
        if self._drawing is None and not (self._marks and self._marks[-1][0] == self.step):
            self._drawing = self._drawn()

    def _drawn(self) -> Iterator[None]:
        pictures = []
        for lane in self._lanes:
            pictures.append((yield from _picture(lane)))
            yield
        self._marks.append((self.step, self._seconds))
        self._fresh.append(tuple(Checkpoint(self.step, self._seconds, *picture) for picture in pictures))
        if len(self._marks) > self._pace.checkpoints:
            half = self._pace.checkpoints // 2
            self._marks = self._marks[:half:2] + self._marks[half:]

    def _load(self, saved: Saved) -> None:
        if saved.states is not None:
            for lane, state, losses in zip(self._lanes, unpacked(saved.states), saved.losses, strict=True):
                lane.trainer.load_state_dict(state | {"losses": losses})
            self._moved = True
        self._marks, self._seconds, self._sent = list(saved.marks), saved.seconds, saved.step


class Workshop:
    """All jobs, each under a number. Equal shares of time, but a second soon for what somebody waits for."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
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

    def add(self, key: int, order: Order) -> Job:
        """A new job. Whatever error it takes to say that this cannot be trained."""
        _use(1)
        self.jobs[key] = job = Job(order)
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
