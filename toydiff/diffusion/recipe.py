"""The recipe: which of `speedups` are used."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.speedups.antithetic_noise import antithetic
from toydiff.diffusion.speedups.learning_rate import falling, warm_up
from toydiff.diffusion.speedups.stratified_times import independent, stratified
from toydiff.diffusion.speedups.time_distribution import logistic, quantiles, uniform
from toydiff.diffusion.training import Draw, Examples, draw_examples


@dataclass(frozen=True)
class Recipe:
    """What is added to Algorithm 1. Each is measured alone in benchmarks/RESULTS.md. One more speed-up, stable targets,
    is a target: see `targets.py`. They want many different points in a batch, so antithetic noise, which has each point
    twice, is off where they are used (`PointTraining.recipe`)."""

    antithetic_noise: bool = True
    stratified_times: bool = True
    time_distribution: bool = True  # logistic in log-SNR; else uniform in t
    averaged_weights: bool = True  # to sample with; else the last ones
    falling_rate: bool = True  # of learning; else it stays, once it has risen in the first steps

    def draw(self, schedule: Schedule) -> Draw:
        """What draws the examples of a step for this schedule."""
        distribution = logistic(schedule) if self.time_distribution else uniform(schedule)
        spread = stratified if self.stratified_times else independent

        def with_times(data: Tensor, _: Schedule, n: int, generator: torch.Generator | None) -> Examples:
            examples = draw_examples(data, schedule, n, generator)
            return examples._replace(t=quantiles(distribution, spread(n, generator)))  # other times than the paper's

        return antithetic(with_times) if self.antithetic_noise else with_times

    def rate(self, step: int) -> float:
        """The learning rate of a step, 0 the first, as a share of the chosen one."""
        return falling(step) if self.falling_rate else warm_up(step)


# Algorithm 1 alone, but that the learning rate still rises in the first steps.
PAPER = Recipe(
    antithetic_noise=False,
    stratified_times=False,
    time_distribution=False,
    averaged_weights=False,
    falling_rate=False,
)
