"""The best possible noise predictor, in closed form: what a perfect network would answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.schedules import Schedule

Model = Callable[[Tensor, Tensor], Tensor]  # eps_theta(x: (B, *shape), t: (B,) long) -> (B, *shape)

CHUNK = 2**17  # weights held at once, half a megabyte: stays in the cache, and a cloud of any size fits
FLOAT32 = 1000  # |p|^2 a / (1 - a) up to which float32, in half the time, errs by some 1e-4 of eps, at worst by 1e-3


def cloud(points: Tensor, schedule: Schedule) -> Model:
    """The optimal predictor for data that is a finite cloud, points (N, *shape).

    By Bayes with eq. 4, x_t came from data point p with probability softmax(-|x_t - sqrt(a) p|^2 / (2 (1 - a))),
    a = alpha_bar_t. The best guess at x_0 is the mean under it; eq. 15 turns it into eps.
    """
    return partial(_eps, _Cloud.of(points), schedule)  # which, other than a closure, can be sent to another process


class _Cloud(NamedTuple):
    """Data points, ready for products."""

    by_kind: dict[torch.dtype, Tensor]  # (D, N): in this order the products are a fifth faster
    half_square: Tensor  # (N,) float64
    largest: Tensor  # of all squared lengths

    @classmethod
    def of(cls, points: Tensor) -> _Cloud:
        flat = points.flatten(1).double()
        square = flat.square().sum(1)
        kinds = (torch.float32, torch.float64)
        return cls({kind: flat.T.to(kind, copy=True).contiguous() for kind in kinds}, square / 2, square.max())

    def guess(self, x: Tensor, a: Tensor) -> Tensor:
        """(B, D): the mean of x_0 given x_t = x (B, D), with alpha_bar_t = a (B, 1)."""
        ratio = a / (1 - a)  # of signal to noise
        kind = x.dtype if ratio.max() * self.largest < FLOAT32 else torch.float64
        p = self.by_kind[kind]
        # the square, expanded; |x|^2 is the same for all p, so it drops out. (B, D) @ (D, N) -> (B, N)
        closeness = torch.addmm(self.half_square.to(kind), (x / a.sqrt()).to(kind), p, beta=-1)
        return closeness.mul_(ratio.to(kind)).softmax(1) @ p.T


@torch.inference_mode()
def _eps(cloud: _Cloud, schedule: Schedule, x: Tensor, t: Tensor) -> Tensor:
    rows = max(1, CHUNK // len(cloud.half_square))
    parts = zip(x.flatten(1).split(rows), schedule.alpha_bar[t].unsqueeze(1).split(rows), strict=True)
    x0 = torch.cat([cloud.guess(*part) for part in parts])
    return schedule.eps(x, x0.to(x.dtype).reshape(x.shape), t)


def gaussian(mean: Tensor, std: float, schedule: Schedule) -> Model:
    """The optimal predictor for data from N(mean, std^2 I), mean of shape (*shape)."""

    def eps(x: Tensor, t: Tensor) -> Tensor:
        signal, noise = schedule.rates(t, x)
        return noise * (x - signal * mean) / (signal**2 * std**2 + noise**2)

    return eps
