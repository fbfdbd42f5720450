"""Stable targets (Xu, Tong, Jaakkola 2023, Stable Target Field): the noise of an example is averaged over all points of
the batch that x_t may have come from. The best possible network is the same, and it is found with less noise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import scaled_dot_product_attention

from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.training import Examples


def stable_loss(guess: Tensor, x: Tensor, examples: Examples, *, schedule: Schedule) -> Tensor:
    """L_simple (eq. 14), averaged over the points of the batch that x_t may have come from.

    By Bayes x_t came from point p with probability softmax(-|x_t - sqrt(a) p|^2 / (2 (1 - a))), a = alpha_bar_t, as in
    `exact.bayes`: softmax attention, as in `exact.cloud`.
    However small the batch is, that is the expectation of L_simple, given x_t and the points of the batch: each of them
    was drawn in the same way, so each may be the one that x_t came from.
    """
    p = examples.x0.flatten(1)  # (B, D)
    signal, noise = (rate.flatten(1) for rate in schedule.rates(examples.t, x))  # (B, 1)
    # the square of the formula, expanded; |x_t|^2 is the same for all p, so it drops out
    keys = torch.cat([p, p.square().sum(1, keepdim=True)], 1)  # (B, D + 1)
    query = torch.cat([signal * x.flatten(1), -signal.square() / 2], 1) / noise.square()
    mean = scaled_dot_product_attention(query[None, None], keys[None, None], keys[None, None], scale=1.0)[0, 0]
    x0, square = mean[:, :-1], mean[:, -1:]  # the means of x_0, (B, D), and of |x_0|^2, (B, 1)
    eps = (x.flatten(1) - signal * x0) / noise  # its noise (B, D)
    variance = (signal / noise).square() * (square - x0.square().sum(1, keepdim=True))  # of the noise, (B, 1)
    # the mean square of (noise - guess) is that of (mean noise - guess) plus the variance of the noise: that has no
    # gradient, but with it the loss can be compared with L_simple
    return F.mse_loss(guess.flatten(1), eps) + variance.mean() / p.shape[1]
