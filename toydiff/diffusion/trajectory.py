"""What a run leaves behind: every frame of a walk, forwards or backwards, as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.diffusion.schedules import Schedule


class Frame(NamedTuple):
    """A batch of particles at one time t."""

    t: int
    x: Tensor  # (B, *shape): x_t
    x0: Tensor  # (B, *shape): the guess at x_0 made from x_t (eq. 15); the truth in a forward walk
    mean: Tensor  # (B, *shape): where the last step would have ended without its noise kick


@dataclass(frozen=True, eq=False)
class Trajectory:
    """All frames of one run, in the order in which they happened."""

    t: Tensor  # (F,) long
    x: Tensor  # (F, B, *shape)
    x0: Tensor  # (F, B, *shape)
    mean: Tensor  # (F, B, *shape)

    @classmethod
    def collect(cls, frames: Iterable[Frame], keep: int | None = None) -> Trajectory:
        """Stack frames; with `keep`, only the first `keep` particles of each."""
        t, x, x0, mean = zip(*frames, strict=True)
        return cls(
            torch.tensor(t),
            *(torch.stack([part[:keep] for part in parts]) for parts in (x, x0, mean)),
        )

    def at(self, times: Tensor) -> Trajectory:
        """Only the frames at these times (K,). ValueError for a time at which there is none."""
        frames = [(self.t == t).nonzero() for t in times]
        if not all(len(found) for found in frames):
            raise ValueError(f"there are frames at t = {self.t.tolist()} only, not at all of {times.tolist()}")
        keep = torch.cat([found[0] for found in frames])
        return Trajectory(self.t[keep], self.x[keep], self.x0[keep], self.mean[keep])

    @property
    def end(self) -> Tensor:
        """(B, *shape): the particles of the last frame. For a reverse run, the samples."""
        return self.x[-1]


def chain(x0: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[Frame]:
    """The forward Markov chain q(x_t | x_{t-1}), eq. 2: one small step after the other, t = 0 ... T."""
    x = mean = x0
    yield Frame(0, x, x0, mean)
    for t in range(1, schedule.T + 1):
        z = torch.randn(x.shape, generator=generator)
        mean = (1 - schedule.beta[t]).sqrt() * x
        x = mean + schedule.beta[t].sqrt() * z
        yield Frame(t, x, x0, mean)


def jump(x0: Tensor, schedule: Schedule, generator: torch.Generator) -> Iterator[Frame]:
    """The same clouds in one jump each, q(x_t | x_0), eq. 4: one noise eps per particle, kept for all t."""
    eps = torch.randn(x0.shape, generator=generator)
    for t in range(schedule.T + 1):
        x = schedule.noised(x0, eps, t)
        yield Frame(t, x, x0, x)
