"""What a network may be asked for. Each target is a loss; the best possible network is the same for all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.speedups.stable_target import stable_loss
from toydiff.diffusion.training import Examples, Loss, simple_loss


def last_step(eps: Tensor, schedule: Schedule, t: Tensor, generator: torch.Generator) -> Tensor:
    """The noise z of the step t-1 -> t alone, divided by r = sqrt(beta_t / (1 - alpha_bar_t)): given x_t, its
    mean is that of eps.

    eps = r z + sqrt(1 - r^2) (noise of the earlier steps), so z given eps is N(r eps, (1 - r^2) I), whatever x_0 is.
    """
    variance = last_step_variance(schedule, t) - 1
    std = variance.clamp(min=0).sqrt().to(eps.dtype).reshape(-1, *[1] * (eps.ndim - 1))  # t = 1: 0, up to rounding
    return eps + std * torch.randn(eps.shape, generator=generator).to(eps.device)


def last_step_variance(schedule: Schedule, t: int | Tensor) -> Tensor:
    """1 / r^2, the variance of each component of `last_step`; that of all the noise is 1. At most t where beta rises
    with t, for 1 - alpha_bar_t <= beta_1 + ... + beta_t <= t beta_t."""
    return (1 - schedule.alpha_bar[t]) / schedule.beta[t]


def last_step_loss(
    guess: Tensor, x: Tensor, examples: Examples, *, schedule: Schedule, generator: torch.Generator
) -> Tensor:
    """How far the guess is off `last_step`: the mean square over examples and components."""
    return F.mse_loss(guess, last_step(examples.eps, schedule, examples.t, generator))


# (schedule, generator of what only this target draws) -> its loss
TARGETS: dict[str, Callable[[Schedule, torch.Generator], Loss]] = {
    "total": lambda schedule, generator: simple_loss,
    "last-step": lambda schedule, generator: partial(last_step_loss, schedule=schedule, generator=generator),
    "stable": lambda schedule, generator: partial(stable_loss, schedule=schedule),
}
