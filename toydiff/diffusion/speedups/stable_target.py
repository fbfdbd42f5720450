"""Stable targets (Xu, Tong, Jaakkola 2023, Stable Target Field): the noise of an example is averaged over all points of
the batch that x_t may have come from. The best possible network is the same, and it is found with less noise."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.training import Examples


def stable_loss(guess: Tensor, x: Tensor, examples: Examples, *, schedule: Schedule) -> Tensor:
    """L_simple (eq. 14), averaged over the points of the batch that x_t may have come from.

    By Bayes x_t came from point p with probability softmax(-|x_t - sqrt(a) p|^2 / (2 (1 - a))), as in `exact.bayes`.
    The bias of a small batch vanishes as the batch grows.
    """
    p = examples.x0.flatten(1)  # (B, D)
    signal, noise = (rate.flatten(1) for rate in schedule.rates(examples.t, x))  # (B, 1)
    square = p.square().sum(1)  # (B,)
    # the square of the formula, expanded; |x_t|^2 is the same for all p, so it drops out
    weight = (signal * (x.flatten(1) @ p.T - signal / 2 * square) / noise**2).softmax(1)  # (B, B)
    mean = weight @ p  # (B, D), of x_0
    variance = (weight @ square)[:, None] - mean.square().sum(1, keepdim=True)  # (B, 1), of x_0
    eps = schedule.eps(x, mean.reshape(x.shape), examples.t)
    # the mean square of (noise - guess) is that of (mean noise - guess) plus the variance of the noise
    return F.mse_loss(guess, eps) + ((signal / noise) ** 2 * variance).mean() / p.shape[1]
