"""A predictor seen as a vector field: what it answers everywhere in the plane, at any time t."""

from __future__ import annotations

import torch
from torch import Tensor

from toydiff.diffusion.exact import Model
from toydiff.diffusion.schedules import Schedule

BATCH = 2**14  # places asked about at once


def grid(n: int, half_width: float) -> Tensor:
    """(n * n, 2): the centres of n x n square cells over [-half_width, half_width]^2, row by row, lowest y first."""
    y, x = torch.meshgrid(axis(n, half_width), axis(n, half_width), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def axis(n: int, half_width: float) -> Tensor:
    """(n,): the centres of n cells between -half_width and half_width."""
    return ((torch.arange(n) + 0.5) / n * 2 - 1) * half_width


@torch.inference_mode()
def field(model: Model, places: Tensor, times: Tensor) -> Tensor:
    """(F, A, 2): what the model answers at every place (A, 2) and time (F,). At t = 0 nothing is noise, so there is
    nothing to ask: the answer is that of t = 1."""
    x = places.repeat(len(times), 1)
    t = times.clamp(min=1).repeat_interleave(len(places))
    answers = [model(*part) for part in zip(x.split(BATCH), t.split(BATCH), strict=True)]
    return torch.cat(answers).reshape(len(times), *places.shape)


def score(schedule: Schedule, times: Tensor) -> tuple[Tensor, Tensor]:
    """The score, grad log q(x_t) = -eps / sqrt(1 - alpha_bar) (Ho et al. 2020, section 3.2), as (a, b), each (F,), of
    a x + b eps."""
    a = schedule.alpha_bar[times.clamp(min=1)]
    return torch.zeros_like(a), -((1 - a) ** -0.5)


def next_step(schedule: Schedule, times: Tensor) -> tuple[Tensor, Tensor]:
    """Where the mean of the next DDPM step lies, seen from x: mu - x (Ho et al. 2020, eq. 11), as (a, b), each (F,),
    of a x + b eps."""
    t = times.clamp(min=1)
    beta, a = schedule.beta[t], schedule.alpha_bar[t]
    return (1 - beta) ** -0.5 - 1, -beta * ((1 - a) * (1 - beta)) ** -0.5


def density(points: Tensor, schedule: Schedule, times: Tensor, n: int, half_width: float) -> Tensor:
    """(F, n, n): q(x_t) of a cloud of data points (N, 2) at the cells of `grid`, lowest y first.

    Around each point p lies a round Gaussian, N(sqrt(a) p, (1 - a) I) (eq. 4). It is a product of one of x and one
    of y, so the sum over all points is a product of two matrices.
    """
    centres, p = axis(n, half_width).to(points), points.T[:, None]  # (2, 1, N)
    pictures = []
    for a in schedule.alpha_bar[times.clamp(min=1)].tolist():
        away = (centres[:, None] - a**0.5 * p).mul_((2 * (1 - a)) ** -0.5)  # (2, n, N)
        along_x, along_y = away.clamp_(-9, 9).square_().neg_().exp_()  # where exp underflows it takes ten times as long
        pictures.append(along_y @ along_x.T / (2 * torch.pi * (1 - a) * len(points)))
    return torch.stack(pictures)


def mass_inside(pictures: Tensor) -> Tensor:
    """(F, n, n) of densities (F, n, n): the share of the mass that lies in denser cells. Where it is 0.9 runs the line
    around the smallest region that holds 90 % of the mass."""
    flat = pictures.flatten(1)
    order = flat.argsort(dim=1, descending=True)
    mass = flat.gather(1, order)
    before = mass.cumsum(1) - mass  # in the cells that are denser
    share = before / mass.sum(1, keepdim=True)
    return torch.empty_like(flat).scatter_(1, order, share).reshape(pictures.shape)


class Probe:
    """Measures predictors against the exact one where it matters: at points x_t ~ q(x_t), the same for all."""

    def __init__(self, exact: Model, schedule: Schedule, data: Tensor, times: Tensor, n: int = 200) -> None:
        generator = torch.Generator().manual_seed(0)
        x0 = data[torch.randint(len(data), (len(times) * n,), generator=generator)]
        self.times = times
        self._t = times.clamp(min=1).repeat_interleave(n)
        self._x = schedule.noised(x0, torch.randn(x0.shape, generator=generator), self._t)
        self._eps = torch.cat([exact(*part) for part in zip(self._x.split(BATCH), self._t.split(BATCH), strict=True)])
        self._x0, self._data = x0, data
        self._guess = schedule.x0(self._x, self._eps, self._t)

    @torch.inference_mode()
    def error(self, model: Model) -> Tensor:
        """(F,): the length of what is wrong with eps, its root mean square at each time."""
        wrong = (model(self._x, self._t) - self._eps).square().flatten(1).sum(1)
        return wrong.reshape(len(self.times), -1).mean(1).sqrt()

    def reach(self) -> Tensor:
        """(F,): how far the exact guess at x0 is from the data's mean, as a multiple of how far x0 is. Near 0 the
        field points to the middle of the data; at 1 it points to places of the data."""
        guess, truth = (
            (x - self._data.mean(0)).square().sum(1).reshape(len(self.times), -1).mean(1).sqrt()
            for x in (self._guess, self._x0)
        )
        return guess / truth

    def nearest(self) -> Tensor:
        """(F,): how far the exact guess at x0 is from the nearest data point, on average, in data units."""
        distance = torch.cat([torch.cdist(some, self._data).min(1).values for some in self._guess.split(1000)])
        return distance.reshape(len(self.times), -1).mean(1)
