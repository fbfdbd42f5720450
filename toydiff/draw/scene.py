"""A scene: the runs that play side by side. The player shows it, the film exports it: the same object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from toydiff.draw.style import HUES
from toydiff.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Panel:
    """One run, with what is written around it."""

    title: str  # "DDPM"
    formula: str  # "x ← μ(x, t) + σₜ z"
    trajectory: Trajectory  # x: (F, B, 2)
    notes: tuple[str, ...] = ()  # the numbers under the picture: one text per frame, or one for all frames

    def note(self, frame: int) -> str:
        """The text under the picture at one frame."""
        return self.notes[min(frame, len(self.notes) - 1)] if self.notes else ""


@dataclass(frozen=True, eq=False)
class Scene:
    """Panels that share one clock, one set of starting points and one view."""

    panels: tuple[Panel, ...]
    data: Tensor  # (N, 2): the ghost behind the particles
    stamp: str = ""  # how this picture was made: written under every export
    clock: str = "t"  # what the frames count: "t", or "step" for checkpoints of a training
    start: Tensor | None = None  # (B, 2): what particles are coloured by; the first frame if None
    half_width: float = 3.3  # the view is the square [-half_width, half_width]^2, in data units

    @property
    def ticks(self) -> list[int]:
        """What the clock says at each frame, (F,)."""
        return self.panels[0].trajectory.t.tolist()

    @cached_property
    def hue(self) -> Tensor:
        """(B,) uint8: the colour of each particle, by the angle at which it started."""
        start = self.panels[0].trajectory.x[0] if self.start is None else self.start
        turn = torch.atan2(start[:, 1], start[:, 0]) / (2 * math.pi) + 0.5
        return (turn * HUES).long().clamp(0, HUES - 1).to(torch.uint8)
