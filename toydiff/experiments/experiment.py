"""Every name and number of a run in one place: what a page shows, what a link carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import torch
from torch import Tensor, nn

from toydiff.data.points import DATASETS, MAX_POINTS, MIN_POINTS, Dataset
from toydiff.diffusion import exact
from toydiff.diffusion.exact import Model
from toydiff.diffusion.samplers import WAYS, SamplerSpec, reverse
from toydiff.diffusion.schedules import MAX_T, MIN_T, SCHEDULES, Schedule
from toydiff.diffusion.training import TARGETS, Trainer
from toydiff.diffusion.trajectory import Trajectory
from toydiff.experiments.settings import Problem, Settings, usual_size
from toydiff.networks.mlp import MAX_DEPTH, MAX_WIDTH, MIN_DEPTH, MIN_WIDTH, MODELS

PREDICTORS = ("exact", "network")

# What each field may be: names to choose from, or (lowest, highest).
CHOICES: dict[str, tuple[str, ...]] = {
    "dataset": tuple(DATASETS),
    "schedule": tuple(SCHEDULES),
    "network": tuple(MODELS),
    "target": tuple(TARGETS),
    "predictor": PREDICTORS,
    "sampler": tuple(WAYS),
}
RANGES: dict[str, tuple[float, float]] = {
    "points": (MIN_POINTS, MAX_POINTS),
    "T": (MIN_T, MAX_T),
    "strength": (0.01, 1.0),
    "width": (MIN_WIDTH, MAX_WIDTH),
    "depth": (MIN_DEPTH, MAX_DEPTH),
    "batch": (2, 4096),
    "lr": (1e-6, 1e3),
    "seed": (0, 2**31 - 1),
    "steps": (0, MAX_T),
    "eta": (0.0, 1.0),
    "particles": (1, 1000),
    "x": (-5.0, 5.0),
    "y": (-5.0, 5.0),
    "t": (0, MAX_T),
    "trained": (0, 100_000),
}

# seconds on one core that a data point, a weight, a neuron takes to answer
POINT_SECONDS, WEIGHT_SECONDS, NEURON_SECONDS = (4e-9, 3e-11, 1e-9)

UP_TO_T = ("steps", "t")  # fields that must not be larger than T
# training does not depend on these
VIEW_FIELDS = ("predictor", "sampler", "eta", "steps", "particles", "x", "y", "t", "trained")


@dataclass(frozen=True)
class Experiment(Settings):
    """Frozen and compared by value: a key for caches. ValueError for a value outside CHOICES and RANGES."""

    choices, ranges, user_field = CHOICES, RANGES, "dataset"

    dataset: str = "spiral"
    points: int = 2000
    schedule: str = "cosine"
    T: int = 100
    strength: float = 1.0  # multiplies every beta: below 1 the schedule leaves signal in x_T
    network: str = "mlp"
    target: str = "total"  # what the network is asked for
    width: int = 128
    depth: int = 2
    batch: int = 256
    lr: float = 4e-3
    seed: int = 0
    predictor: str = "exact"
    sampler: str = "ddpm"
    eta: float = 0.0  # of DDIM: how much of DDPM's noise it adds
    steps: int = 0  # of the reverse run, at most T; 0: all T of them
    particles: int = 256
    x: float = 0.8  # a place in the plane,
    y: float = 0.5
    t: int = 0  # and a time, at most T, that a lesson looks at; 0: half way
    trained: int = 0  # how many steps the network of a shared picture was trained for

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in UP_TO_T:
            if getattr(self, name) > self.T:
                raise ValueError(f"{name} must be at most T = {self.T}, not {getattr(self, name)}")

    # what the settings stand for

    @property
    def _set(self) -> Dataset:
        own = self.user_dataset
        return DATASETS[self.dataset] if own is None else own

    def data(self) -> Tensor:
        """(points, 2): the data. Of one's own there may be fewer. DatasetNotFound if it is not here."""
        return self._set(self.points, self.seed)

    @property
    def usual_points(self) -> int:
        """How many points this dataset usually has: 100 for the film's spiral, all of one's own."""
        return usual_size(self._set)

    def noise_schedule(self) -> Schedule:
        """The schedule, every beta multiplied by `strength`."""
        return Schedule(SCHEDULES[self.schedule](self.T).beta * self.strength)

    def model(self) -> nn.Module:
        """The untrained network."""
        make = MODELS[self.network]
        return make(self.noise_schedule(), width=self.width, depth=self.depth, seed=self.seed)

    def trainer(self) -> Trainer:
        """A training of this network on this data, at step 0."""
        return Trainer(
            self.model(),
            self.data(),
            self.noise_schedule(),
            target=self.target,
            batch=self.batch,
            lr=self.lr,
            seed=self.seed,
        )

    def exact(self) -> Model:
        """The optimal predictor for this data."""
        return exact.cloud(self.data(), self.noise_schedule())

    def seconds(self, predictor: str) -> float:
        """About how long one core of a usual server takes to answer for one particle; `predictor`: of PREDICTORS."""
        network = self.depth * self.width * (self.width * WEIGHT_SECONDS + NEURON_SECONDS)
        return {"exact": self.points * POINT_SECONDS, "network": network}[predictor]

    def start(self, n: int | None = None) -> Tensor:
        """(n, 2): x_T, the same for every way down. `n` defaults to `particles`."""
        return torch.randn(self.particles if n is None else n, 2, generator=self.generator(1))

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

    def generator(self, stream: int) -> torch.Generator:
        """Random numbers of this seed; each use has a stream of its own."""
        return torch.Generator().manual_seed(1_000_003 * stream + self.seed)

    @property
    def training(self) -> Experiment:
        """The same experiment without what training does not depend on: equal for runs that share a network."""
        default = Experiment()
        return Experiment(**asdict(self) | {name: getattr(default, name) for name in VIEW_FIELDS})

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> tuple[Self, list[Problem]]:
        """From URL parameters. What cannot be used falls back to its default and is listed; unknown names are
        ignored."""
        good, problems = cls._read(params)
        T = good.get("T", cls.T)
        problems += [
            Problem(name, str(good.pop(name)), f"0 … {T}", getattr(cls, name))
            for name in UP_TO_T
            if good.get(name, 0) > T
        ]
        return cls(**good), problems


allowed = Experiment.allowed
