"""The variational bound that DDPM comes from: how far the student's step is from the true one, in nats."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.diffusion.exact import Model
from toydiff.diffusion.samplers import Sampler, ddpm
from toydiff.diffusion.schedules import Schedule


class Normal(NamedTuple):
    """An isotropic Gaussian for each particle: N(mean, var I)."""

    mean: Tensor  # (B, *shape)
    var: Tensor  # ()


def posterior(schedule: Schedule, x0: Tensor, x: Tensor, t: int) -> Normal:
    """q(x_{t-1} | x_t, x_0), eq. 6 and 7: the DDPM step of a predictor that knows x_0. Its variance is beta-tilde."""
    step = ddpm(lambda x, t: schedule.eps(x, x0, t), schedule, x, t, t - 1)
    return Normal(step.mean, step.std**2)


def student(model: Model, schedule: Schedule, sampler: Sampler, x: Tensor, t: int) -> Normal:
    """p(x_{t-1} | x_t): the step of a sampler with this model."""
    mean, std, _ = sampler(model, schedule, x, t, t - 1)
    return Normal(mean, std**2)


def kl(q: Normal, p: Normal) -> Tensor:
    """KL(q || p) of two Gaussians, (B,), in nats. ValueError unless both variances are above 0: a step without noise
    (DDIM) is no density."""
    if not (q.var > 0 and p.var > 0):
        raise ValueError(f"both variances must be above 0, not {q.var.item():g} and {p.var.item():g}")
    D = q.mean[0].numel()
    apart = (q.mean - p.mean).double().flatten(1).square().sum(1)
    ratio = q.var / p.var
    return (D * (ratio - 1 - ratio.log()) + apart / p.var) / 2


@torch.inference_mode()
def bound(
    model: Model, data: Tensor, schedule: Schedule, sampler: Sampler, n: int, generator: torch.Generator
) -> Tensor:
    """The terms L_0, L_1, ... L_T of eq. 5, (T + 1, n), in nats, each for n data points with one x_t per t and point.
    A column adds up to an unbiased estimate of the bound on -log p(x_0) of its point.

    sampler: `ddpm` or `ddpm_beta`, whose p(x_{t-1} | x_t) is judged. ValueError for one that adds no noise.
    """
    x0 = data[torch.randint(len(data), (n,), generator=generator)]
    terms = []
    for t in range(1, schedule.T + 1):
        x = schedule.noised(x0, torch.randn(x0.shape, generator=generator), t)
        p = student(model, schedule, sampler, x, t)
        if t == 1:  # a density: with beta-tilde_1 = 0 there would be none, so sigma_1^2 is beta_1 for both samplers
            terms.append(surprise(x0, p._replace(var=schedule.beta[1])))
        else:
            terms.append(kl(posterior(schedule, x0, x, t), p))
    signal, noise = schedule.rates(schedule.T, x0)
    return torch.stack([*terms, kl(Normal(signal * x0, noise**2), Normal(0 * x0, torch.ones(())))])


def surprise(x: Tensor, p: Normal) -> Tensor:
    """-log p(x), (B,), in nats: of a density, so it can be below 0."""
    apart = (x - p.mean).double().flatten(1).square().sum(1)
    return (apart / p.var + x[0].numel() * (2 * math.pi * p.var).log()) / 2
