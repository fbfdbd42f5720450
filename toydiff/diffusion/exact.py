"""The best possible noise predictor, in closed form: what a perfect network would answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from toydiff.diffusion.schedules import Schedule

Model = Callable[[Tensor, Tensor], Tensor]  # eps_theta(x: (B, *shape), t: (B,) long) -> (B, *shape)

FLOAT32 = 1000  # largest |p|^2 a / (1 - a) for float32: 3 times as fast, errs by about 1e-4 of eps, at worst 1e-3
WIDTH = 16  # pad columns to a multiple of this: about 30 % faster


def bayes(points: Tensor, schedule: Schedule) -> Model:
    """The optimal predictor for data that is a finite cloud, points (N, *shape).

    By Bayes with eq. 4, x_t came from data point p with probability softmax(-|x_t - sqrt(a) p|^2 / (2 (1 - a))),
    a = alpha_bar_t. The best guess at x_0 is the mean under it; eq. 15 turns it into eps.
    """
    p = points.flatten(1).double()

    def eps(x: Tensor, t: Tensor) -> Tensor:
        a = schedule.alpha_bar[t][:, None]  # (B, 1)
        square = (x.flatten(1)[:, None] - a[:, None].sqrt() * p).square().sum(2)  # (B, N): |x - sqrt(a) p|^2
        x0 = (-square / (2 * (1 - a))).softmax(1) @ p  # (B, D)
        return schedule.eps(x, x0.to(x.dtype).reshape(x.shape), t)

    return eps


# ---------------------------------------------------------------- the same, faster: what the app uses


def cloud(points: Tensor, schedule: Schedule) -> Model:
    """`bayes`, as softmax attention: x_t is the query, the data points are keys and values. About 30 times as fast for
    2,000 points. It can be pickled."""
    return partial(_eps, _Cloud.of(points), schedule)  # a partial, because closures cannot be pickled


class _Cloud(NamedTuple):
    """Data points, ready for products."""

    keys: dict[torch.dtype, Tensor]  # (N, >= D + 1): in each row a point p, |p|^2 / 2, and zeros
    largest: Tensor  # of all |p|^2

    @classmethod
    def of(cls, points: Tensor) -> _Cloud:
        p = points.flatten(1).double()
        square = p.square().sum(1, keepdim=True)
        keys = _widened(torch.cat([p, square / 2], 1))
        return cls({kind: keys.to(kind) for kind in (torch.float32, torch.float64)}, square.max())

    def guess(self, x: Tensor, a: Tensor) -> Tensor:
        """(B, D): the mean of x_0 given x_t = x (B, D), with alpha_bar_t = a (B, 1). Softmax attention of x to p."""
        ratio = a / (1 - a)  # of signal to noise
        # the square, expanded: x p / sqrt(a) - |p|^2 / 2, times ratio. |x|^2 is the same for all p, so it drops out
        query = _widened(torch.cat([x / a.sqrt(), -torch.ones_like(a)], 1) * ratio)
        rough = (ratio * self.largest < FLOAT32).squeeze(1)
        if rough.all():
            return self._attend(query, x.dtype)[:, : x.shape[1]]
        guess = torch.empty_like(x)
        for kind, rows in (x.dtype, rough), (torch.float64, ~rough):
            guess[rows] = self._attend(query[rows], kind)[:, : x.shape[1]].to(x.dtype)
        return guess

    def _attend(self, query: Tensor, kind: torch.dtype) -> Tensor:
        keys = self.keys[kind][None, None]  # one of a batch of one, with one head
        return scaled_dot_product_attention(query.to(kind)[None, None], keys, keys, scale=1.0)[0, 0]


def _widened(rows: Tensor) -> Tensor:
    return pad(rows, (0, -rows.shape[1] % WIDTH))


@torch.inference_mode()
def _eps(cloud: _Cloud, schedule: Schedule, x: Tensor, t: Tensor) -> Tensor:
    x0 = cloud.guess(x.flatten(1), schedule.alpha_bar[t].unsqueeze(1))
    return schedule.eps(x, x0.reshape(x.shape), t)


def gaussian(mean: Tensor, std: float, schedule: Schedule) -> Model:
    """The optimal predictor for data from N(mean, std^2 I), mean of shape (*shape)."""

    def eps(x: Tensor, t: Tensor) -> Tensor:
        signal, noise = schedule.rates(t, x)
        return noise * (x - signal * mean) / (signal**2 * std**2 + noise**2)

    return eps
