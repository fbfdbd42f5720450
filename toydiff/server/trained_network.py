"""What trains: a network on points or on images, a lane of the workshop, and the pictures of what it can do."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakSet

import torch
from torch import Tensor

from toydiff.data.images import Images
from toydiff.data.user_data import UserDataset
from toydiff.diffusion.exact import Model
from toydiff.diffusion.field import Probe
from toydiff.diffusion.samplers import WAYS, reverse
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment, usual_device
from toydiff.measures.clouds import Ruler
from toydiff.measures.judge import Judge
from toydiff.server.limits import limits

BITE = 2e8  # examples times weights between two looks at the clock: some 25 ms
STRIDE = 10  # training steps between two looks at the clock, at most
UNTRAINED = 64  # pictures of untrained networks that are kept: a class opens the same page at the same time


class EvalSettings(NamedTuple):
    """How much is measured, and how often."""

    refresh: float = 1.0  # seconds between two checkpoints
    evaluations: int = 60  # at most; then every second one of the older half goes
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


class JobSpec(NamedTuple):
    """What is to be trained: all that it takes, so that any process can do it."""

    experiments: tuple[Experiment, ...] | tuple[ImageExperiment]
    settings: EvalSettings
    compared: bool = False  # measured against the exact predictor too
    user_data: tuple[UserDataset, ...] = ()  # data of somebody's own that the experiments name
    images: Images | None = None
    state: dict[str, Any] | None = None  # of a Trainer, to go on from there
    saved: Saved | None = None  # or from here


Picture = tuple[Tensor, float, float]  # samples, their ratio, and the error: the last three of a Checkpoint


class PointNetwork:
    """One network that trains, and what its pictures are made and measured with."""

    refresh = save = threads = 1  # between pictures and between states, as a multiple; threads for a step

    def __init__(self, experiment: Experiment, spec: JobSpec) -> None:
        self.experiment = experiment
        self.trainer = experiment.trainer()
        if spec.state is not None:
            self.trainer.load_state_dict(spec.state)
        self.shown = experiment.start()
        self.more: Tensor | None = experiment.start(spec.settings.samples)[len(self.shown) :]
        self.jumps = min(experiment.T, spec.settings.jumps)
        self.untrained: object = experiment, spec.settings, spec.compared  # all that the picture at step 0 depends on
        weights = sum(p.numel() for p in self.trainer.model.parameters())
        self.stride = max(1, min(STRIDE, int(BITE / (weights * experiment.batch))))
        self._ruler = _ruler(experiment.dataset, experiment.points, experiment.seed, spec.settings.samples)
        self._probe = _probe(_task(experiment), spec.settings.samples) if spec.compared else None

    def picture(self, x: Tensor, more: Tensor | None, predictor: Model) -> Picture:
        ratio = self._ruler.ratio(torch.cat([x, more])) if more is not None else math.nan
        error = self._probe.error(predictor).square().mean().sqrt().item() if self._probe else math.nan
        return x, ratio, error


class ImageNetwork:
    """The same for images: steps and pictures are slow, so there are fewer of both."""

    refresh, save, stride = 5, 3, 1

    def __init__(self, experiment: ImageExperiment, spec: JobSpec) -> None:
        assert spec.images is not None
        self.experiment, self._images = experiment, _shared(spec.images)
        self.threads = limits().threads
        self.trainer = experiment.trainer(self._images, usual_device())
        if spec.state is not None:
            self.trainer.load_state_dict(spec.state)
        self.shown = experiment.start(spec.settings.images, self._images.shape).to(self.trainer.device)
        self.more = None
        self.jumps = min(experiment.T, spec.settings.image_jumps)
        self.untrained: object = experiment, spec.settings

    def picture(self, x: Tensor, more: Tensor | None, predictor: Model) -> Picture:
        samples = x.cpu()
        share = judge().share(self._images, samples) if self.experiment.data == "digits" else math.nan
        return samples, share, math.nan


TrainedNetwork = PointNetwork | ImageNetwork


def new_network(experiment: Experiment | ImageExperiment, spec: JobSpec) -> TrainedNetwork:
    """What trains this."""
    return PointNetwork(experiment, spec) if isinstance(experiment, Experiment) else ImageNetwork(experiment, spec)


def picture(net: TrainedNetwork, measure: bool) -> Generator[None, None, Picture]:
    """Make the samples that are shown and, to measure how good they are, more; there is a yield wherever it may be
    interrupted."""
    untrained = net.trainer.step == 0
    if untrained and net.untrained in _untrained:
        return _untrained[net.untrained]
    predictor = net.trainer.predictor
    x = yield from _samples(net, predictor, net.shown, 2)
    more = (yield from _samples(net, predictor, net.more, 4)) if measure and net.more is not None else None
    made = net.picture(x, more, predictor)
    if untrained and measure:
        while len(_untrained) >= UNTRAINED:
            del _untrained[next(iter(_untrained))]
        _untrained[net.untrained] = made
    return made


_untrained: dict[object, Picture] = {}


def _samples(net: TrainedNetwork, predictor: Model, x: Tensor, stream: int) -> Generator[None, None, Tensor]:
    """DDPM from x = x_T; stream: of the random numbers."""
    sampler, noise = WAYS["ddpm"]
    schedule, z = net.experiment.noise_schedule(), net.experiment.generator(stream)
    for frame in reverse(predictor, schedule, x, sampler, steps=net.jumps, noise=noise, generator=z):
        x = frame.x
        yield
    return x


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
