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
    """What is added to Algorithm 1. Each is measured alone in benchmarks/RESULTS.md. Stable targets are a target, see
    `targets.py`."""

    antithetic_noise: bool = True
    stratified_times: bool = True
    time_distribution: bool = True  # logistic in log-SNR; else uniform in t
    averaged_weights: bool = True  # to sample with; else the last ones
    falling_rate: bool = True  # of learning; else it is constant

    def draw(self, schedule: Schedule) -> Draw:
        """What draws the examples of a step."""
        distribution = logistic(schedule) if self.time_distribution else uniform(schedule)
        spread = stratified if self.stratified_times else independent

        def draw(data: Tensor, schedule: Schedule, n: int, generator: torch.Generator | None) -> Examples:
            examples = draw_examples(data, schedule, n, generator)
            return examples._replace(t=quantiles(distribution, spread(n, generator)))

        return antithetic(draw) if self.antithetic_noise else draw

    def rate(self, step: int) -> float:
        """The learning rate of a step, 0 the first, as a share of the chosen one."""
        return falling(step) if self.falling_rate else warm_up(step)


PAPER = Recipe(
    antithetic_noise=False,
    stratified_times=False,
    time_distribution=False,
    averaged_weights=False,
    falling_rate=False,
)
