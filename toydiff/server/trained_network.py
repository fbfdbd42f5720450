"""One network that trains, on points or on images, and the samples that show what it has learned."""

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
from toydiff.experiments.experiment import PointTraining
from toydiff.experiments.image_experiment import ImageExperiment, usual_device
from toydiff.measures.clouds import Ruler
from toydiff.measures.judge import Judge
from toydiff.server.limits import limits

BITE = 2e8  # examples times weights between two looks at the clock: about 25 ms
STRIDE = 10  # training steps between two looks at the clock, at most
OF_THE_NETWORK = ("network", "target", "width", "depth", "features", "batch", "lr")  # settings
UNTRAINED = 64  # evaluations of untrained networks that are kept: a class opens the same page at once


class EvalSettings(NamedTuple):
    """How often a training is evaluated, and with how many samples."""

    refresh: float = 1.0  # seconds between two evaluations
    evaluations: int = 60  # kept, at most; beyond that, every second one of the older half is dropped
    samples: int = 2000  # with which the distance is measured
    jumps: int = 100  # steps of the DDPM runs, if T is larger
    shown: int = 256  # of them, that are shown: the first
    images: int = 36  # samples of images: all are shown and judged
    image_jumps: int = 25  # steps of their DDPM runs, if T is larger
    save: float = 10.0  # seconds of training between two saved states


class Saved(NamedTuple):
    """What a training needs to be resumed."""

    step: int
    seconds: float
    marks: tuple[tuple[int, float], ...]  # step and seconds of each evaluation
    states: bytes | None  # packed: `Trainer.state_dict()` of each network, without losses; None at step 0
    losses: tuple[Tensor, ...] = ()  # of each network, (step,)


class JobSpec(NamedTuple):
    """Everything that a process needs to train it."""

    experiments: tuple[PointTraining, ...] | tuple[ImageExperiment]
    settings: EvalSettings
    compared: bool = False  # also measure the error against the exact predictor
    user_data: tuple[UserDataset, ...] = ()  # data sets of users that the experiments name
    images: Images | None = None
    state: dict[str, Any] | None = None  # of a Trainer, to resume from
    saved: Saved | None = None  # or this, to resume from


Picture = tuple[Tensor, float, float]  # samples, ratio, error: the last three fields of an Evaluation


class PointNetwork:
    """A network on points: its trainer, and what its samples are measured with."""

    refresh = save = threads = 1  # multiples of EvalSettings.refresh and .save; threads for a step

    def __init__(self, experiment: PointTraining, spec: JobSpec) -> None:
        self.experiment = experiment
        self.trainer = experiment.trainer()
        if spec.state is not None:
            self.trainer.load_state_dict(spec.state)
        self.shown = experiment.start(spec.settings.shown)
        self.more: Tensor | None = experiment.start(spec.settings.samples)[len(self.shown) :]
        self.jumps = min(experiment.T, spec.settings.jumps)
        # everything that its evaluation at step 0 depends on
        self.untrained: object = experiment, spec.settings, spec.compared
        weights = sum(p.numel() for p in self.trainer.model.parameters())
        self.stride = max(1, min(STRIDE, int(BITE / (weights * experiment.batch))))
        self._ruler = _ruler(experiment.dataset, experiment.points, experiment.seed, spec.settings.samples)
        self._probe = _probe(_task(experiment), spec.settings.samples) if spec.compared else None

    def picture(self, x: Tensor, more: Tensor | None, predictor: Model) -> Picture:
        ratio = self._ruler.ratio(torch.cat([x, more])) if more is not None else math.nan
        error = self._probe.error(predictor).square().mean().sqrt().item() if self._probe else math.nan
        return x, ratio, error


class ImageNetwork:
    """A network on images. Steps and samples are slow, so it is evaluated and saved less often."""

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


def new_network(experiment: PointTraining | ImageExperiment, spec: JobSpec) -> TrainedNetwork:
    """The network of this experiment, ready to train."""
    return PointNetwork(experiment, spec) if isinstance(experiment, PointTraining) else ImageNetwork(experiment, spec)


def picture(net: TrainedNetwork, measure: bool) -> Generator[None, None, Picture]:
    """Samples of the network, and how good they are. measure: draw more samples and measure the distance with them.
    Yields wherever it may be interrupted."""
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
    """DDPM from x = x_T. stream: which random numbers are drawn."""
    sampler, noise = WAYS["ddpm"]
    schedule, z = net.experiment.noise_schedule(), net.experiment.generator(stream)
    for frame in reverse(predictor, schedule, x, sampler, steps=net.jumps, noise=noise, generator=z):
        x = frame.x
        yield
    return x


@lru_cache(maxsize=16)  # half a second each: shared by the networks of a race, kept over a reset
def _ruler(dataset: str, points: int, seed: int, n: int) -> Ruler:
    return Ruler(PointTraining(dataset=dataset, points=points, seed=seed).data(), n)


@lru_cache(maxsize=16)
def _probe(experiment: PointTraining, n: int) -> Probe:
    """About n noisy points, equally many of each t, and the exact answers for them."""
    times, each = torch.arange(1, experiment.T + 1), max(1, n // experiment.T)
    return Probe(experiment.exact(), experiment.noise_schedule(), experiment.data(), times, each)


def _task(experiment: PointTraining) -> PointTraining:
    """The experiment with the usual network: equal for all experiments with the same data and schedule."""
    usual = PointTraining()
    return replace(experiment, **{name: getattr(usual, name) for name in OF_THE_NETWORK})


@lru_cache(maxsize=1)
def judge() -> Judge:
    """The judge of this process. To train it takes half a second."""
    return Judge()


_images: WeakSet[Images] = WeakSet()


def _shared(images: Images) -> Images:
    """Equal images that another training holds, if there are any: a class shares one copy in memory."""
    for known in _images:
        if known.x.equal(images.x):
            return known
    _images.add(images)
    return images
