"""Antithetic noise: each eps comes with its opposite (Hammersley and Morton 1956)."""

from __future__ import annotations

import torch
from torch import Tensor

from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.training import Draw, Examples


def antithetic(draw: Draw) -> Draw:
    """`draw` for half of the batch; the other half has the same x_0 and t, and -eps. Of an odd n one has none.

    What is odd in eps cancels in the gradient of a pair.
    """

    def pairs(data: Tensor, schedule: Schedule, n: int, generator: torch.Generator | None) -> Examples:
        x0, eps, t = draw(data, schedule, (n + 1) // 2, generator)
        both = torch.cat([x0, x0]), torch.cat([eps, -eps]), torch.cat([t, t])
        return Examples(*(part[:n] for part in both))

    return pairs
