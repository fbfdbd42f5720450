"""How good a cloud is: numbers, each with its floor, the value of perfect samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def sliced_wasserstein(x: Tensor, y: Tensor, projections: int = 256) -> float:
    """The sliced 2-Wasserstein distance between clouds x (N, *shape) and y (M, *shape), in data units.

    On a line the best way to move one cloud onto another is to match them in sorted order; this averages the cost
    over random lines (Bonneel et al. 2015). Not finite if a cloud is not.
    """
    return _distance(_shadows(x, projections), _shadows(y, projections))


def _shadows(x: Tensor, projections: int = 256) -> Tensor:
    """(projections, N): the cloud projected onto each line, sorted. The lines are always the same."""
    x = x.flatten(1).double()
    line = torch.randn(x.shape[1], projections, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    return torch.from_numpy(np.sort((line / line.norm(dim=0)).T @ x.T))  # ten times as fast as torch's sort


def _distance(x: Tensor, y: Tensor) -> float:
    n = max(x.shape[1], y.shape[1])  # so that the same quantiles are compared
    return (_resampled(x, n) - _resampled(y, n)).square().mean().sqrt().item()


def _resampled(shadows: Tensor, n: int) -> Tensor:
    count = shadows.shape[1]
    return shadows if count == n else shadows[:, torch.arange(n) * count // n]


def perfect_samples(data: Tensor, n: int, draws: int) -> list[Tensor]:
    """`draws` draws of n points (n, *shape) from the data, as a perfect sampler would give. Always the same ones."""
    generator = torch.Generator().manual_seed(0)
    return [data[torch.randint(len(data), (n,), generator=generator)] for _ in range(draws)]


class Ruler:
    """Measures samples against the data, and knows what a perfect sampler would measure.

    reference: n points drawn from the data; floor: the mean distance of other such draws from it. A distance of
    1 x floor is perfect, 1.5 x floor looks right to the eye.
    """

    def __init__(self, data: Tensor, n: int = 2000, draws: int = 6) -> None:
        self.reference, *others = perfect_samples(data, n, draws + 1)
        self._shadows = _shadows(self.reference)
        self.floor = sum(self.distance(other) for other in others) / draws

    def distance(self, x: Tensor) -> float:
        """The sliced Wasserstein distance of samples x (N, *shape) from the reference."""
        return _distance(_shadows(x), self._shadows)

    def ratio(self, x: Tensor) -> float:
        """The distance as a multiple of the floor."""
        return self.distance(x) / self.floor


def spread(x: Tensor, data: Tensor) -> float:
    """The standard deviation of cloud x as a multiple of the data's, about each cloud's own mean. 0: a single point."""
    return spreads(x[None], data).item()


def spreads(x: Tensor, data: Tensor) -> Tensor:
    """(F,): `spread` of every frame of x (F, N, *shape)."""
    return _std(x) / _std(data[None])


def _std(x: Tensor) -> Tensor:
    return x.reshape(*x.shape[:2], -1).double().var(1, correction=0).mean(1).sqrt()


def coverage(x: Tensor, data: Tensor, cell: float = 0.4) -> float:
    """The share of the squares of side `cell` with data in them that hold a point of x too. In the plane only.

    Squares with less than a tenth of an even share of the data do not count: the shape only grazes them.
    """
    return coverages(x[None], data, cell).item()


def coverages(x: Tensor, data: Tensor, cell: float = 0.4) -> Tensor:
    """(F,): `coverage` of every frame of x (F, N, 2)."""
    squares, counts = torch.unique(_square(data, cell), return_counts=True)
    squares = squares[counts * len(squares) >= 0.1 * len(data)]
    at = _square(x, cell)  # (F, N)
    place = torch.searchsorted(squares, at).clamp(max=len(squares) - 1)
    inside = (squares[place] == at) & x.isfinite().all(2)
    reached = torch.zeros(len(x), len(squares) + 1)  # one more column, for points in none of them
    return reached.scatter_(1, place.where(inside, len(squares)), 1.0)[:, :-1].mean(1)


def _square(x: Tensor, cell: float) -> Tensor:
    """(..., N): a number for the square in which each point of x (..., N, 2) lies."""
    i = (x.double() / cell).floor().clamp(-1000, 1000).long()
    return i[..., 0] * 4096 + i[..., 1]
