"""Every name and number of a run in one place: what a page shows, what a link carries."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from toydiff.data.points import DATASETS, MAX_POINTS, MIN_POINTS
from toydiff.diffusion import exact
from toydiff.diffusion.exact import Model
from toydiff.diffusion.recipe import Recipe
from toydiff.diffusion.samplers import WAYS, SamplerSpec, reverse
from toydiff.diffusion.schedules import MAX_T, MIN_T, SCHEDULES, Schedule
from toydiff.diffusion.targets import TARGETS
from toydiff.diffusion.trainer import Trainer
from toydiff.diffusion.trajectory import Trajectory
from toydiff.experiments.settings import Settings, number, one_of
from toydiff.networks.mlp import MAX_DEPTH, MAX_FEATURES, MAX_WIDTH, MIN_DEPTH, MIN_WIDTH
from toydiff.networks.registry import MODELS

PREDICTORS = ("exact", "network")

# seconds on one core that a data point, a weight, a neuron takes to answer
POINT_SECONDS, WEIGHT_SECONDS, NEURON_SECONDS = (4e-9, 3e-11, 1e-9)


@dataclass(frozen=True)
class PointTraining(Settings):
    """What a training on points depends on: equal for runs that share a network."""

    datasets, user_field, size_field = DATASETS, "dataset", "points"
    version = 2
    old_defaults = MappingProxyType({1: {"schedule": "cosine", "target": "total", "features": 32}})

    dataset: str = one_of(DATASETS, "spiral")
    points: int = number(MIN_POINTS, MAX_POINTS, 2000)
    schedule: str = one_of(SCHEDULES, "log-linear")
    T: int = number(MIN_T, MAX_T, 100)
    strength: float = number(0.01, 1.0, 1.0)  # multiplies every beta: below 1 the schedule leaves signal in x_T
    network: str = one_of(MODELS, "mlp")
    target: str = one_of(TARGETS, "stable")  # what the network is asked for
    width: int = number(MIN_WIDTH, MAX_WIDTH, 128)
    depth: int = number(MIN_DEPTH, MAX_DEPTH, 2)
    features: int = number(0, MAX_FEATURES, 64)  # Fourier features of the network
    batch: int = number(2, 4096, 256)
    lr: float = number(1e-6, 1e3, 4e-3)
    seed: int = number(0, 2**31 - 1, 0)

    def data(self) -> Tensor:
        """(points, 2): the data. Of one's own there may be fewer. DatasetNotFound if it is not here."""
        x: Tensor = self.dataset_function(self.points, self.seed)
        return x

    def noise_schedule(self) -> Schedule:
        """The schedule, every beta multiplied by `strength`."""
        return Schedule(SCHEDULES[self.schedule](self.T).beta * self.strength)

    def model(self) -> nn.Module:
        """The untrained network."""
        make = MODELS[self.network]
        return make(self.noise_schedule(), width=self.width, depth=self.depth, features=self.features, seed=self.seed)

    def trainer(self, recipe: Recipe | None = None) -> Trainer:
        """A training of this network on this data, at step 0. recipe: another one than its own."""
        return Trainer(
            self.model(),
            self.data(),
            self.noise_schedule(),
            target=self.target,
            batch=self.batch,
            lr=self.lr,
            seed=self.seed,
            recipe=self.recipe() if recipe is None else recipe,
        )

    def recipe(self) -> Recipe:
        """The speed-ups of this training. Stable targets want many different points in a batch: no pairs there."""
        return Recipe(antithetic_noise=self.target != "stable")

    def exact(self) -> Model:
        """The optimal predictor for this data."""
        return exact.cloud(self.data(), self.noise_schedule())

    def seconds(self, predictor: str) -> float:
        """About how long one core of a usual server takes to answer for one particle; `predictor`: of PREDICTORS."""
        network = self.depth * self.width * (self.width * WEIGHT_SECONDS + NEURON_SECONDS)
        return {"exact": self.points * POINT_SECONDS, "network": network}[predictor]

    def start(self, n: int) -> Tensor:
        """(n, 2): x_T, the same for every way down."""
        return torch.randn(n, 2, generator=self.generator(1))

    def generator(self, stream: int) -> torch.Generator:
        """Random numbers of this seed; each use has a stream of its own."""
        return torch.Generator().manual_seed(1_000_003 * stream + self.seed)

    @property
    def training(self) -> PointTraining:
        """What a training depends on, alone."""
        return PointTraining(**{one.name: getattr(self, one.name) for one in fields(PointTraining)})

    def looked_at(self, **view: Any) -> Experiment:
        """An experiment with this training. view: its other fields."""
        return Experiment(**asdict(self.training) | view)


@dataclass(frozen=True)
class Experiment(PointTraining):
    """What is looked at: a training, and a reverse run, a place, a time."""

    predictor: str = one_of(PREDICTORS, "exact")
    sampler: str = one_of(WAYS, "ddpm")
    eta: float = number(0.0, 1.0, 0.0)  # of DDIM: how much of DDPM's noise it adds
    steps: int = number(0, MAX_T, 0, at_most="T")  # of the reverse run; 0: all T of them
    particles: int = number(1, 1000, 256)
    x: float = number(-5.0, 5.0, 0.8)  # a place in the plane,
    y: float = number(-5.0, 5.0, 0.5)
    t: int = number(0, MAX_T, 0, at_most="T")  # and a time that a lesson looks at; 0: half way
    trained: int = number(0, 100_000, 0)  # how many steps the network of a shared picture was trained for

    def start(self, n: int | None = None) -> Tensor:
        """(n, 2): x_T, the same for every way down. `n` defaults to `particles`."""
        return super().start(self.particles if n is None else n)

    @property
    def time(self) -> int:
        """The time that a lesson looks at, 1 ... T."""
        return self.t or self.T // 2

    def reverse(self, model: Model, way: str | SamplerSpec, x: Tensor | None = None) -> Trajectory:
        """One whole run down from x_T, or from `x`; `way`: one, or a key of WAYS. Every way uses the same z."""
        sampler, noise = WAYS[way] if isinstance(way, str) else way
        frames = reverse(
            model,
            self.noise_schedule(),
            self.start() if x is None else x,
            sampler,
            steps=self.steps or None,
            noise=noise,
            generator=self.generator(2),
        )
        return Trajectory.collect(frames)
