"""A scene: the runs that play side by side, and what is written around them. The player shows it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.style import HUES


class Kind(NamedTuple):
    """One way to show the arrows of a scene: x · place + value · arrow, at every frame."""

    name: str  # the label of its button: "ε"
    x: Tensor  # (F,)
    value: Tensor  # (F,)


@dataclass(frozen=True, eq=False)
class Density:
    """Where the mass of q(x_t) is, on a square of cells over the whole view, at some times."""

    t: Tensor  # (K,) long, readings of the clock; the nearest one is shown
    inside: Tensor  # (K, m, m) in [0, 1]: the share of the mass in denser cells. The line inside = .9 encloses 90 %


@dataclass(frozen=True, eq=False)
class Panel:
    """One run, with what is written around it: particles of a plane with layers under them, or a grid of images. The
    shape of x says which. Row 0 of a square layer is its lowest y, row 0 of an image its top."""

    title: str  # "DDPM"
    formula: str  # "x ← μ(x, t) + σₜ z"
    trajectory: Trajectory  # x: (F, B, 2), or (F, B, C, H, W) for images
    notes: tuple[str, ...] = ()  # the numbers under the picture: one text per frame, or one for all frames
    arrows: Tensor | None = None  # (F, A, 2): a vector at each of the scene's places
    heat: Tensor | None = None  # (F, m, m): a number per cell of a square over the whole view
    still: Tensor | None = None  # (n, C, H, W): shown at all frames, in place of the run, which only gives the clock

    def images(self, part: Literal["x", "x0", "mean"] = "x") -> Tensor | None:
        """(F, B, C, H, W); (1, n, C, H, W) where nothing moves; None for a panel of points."""
        if self.still is not None:
            return self.still[None]
        run: Tensor = getattr(self.trajectory, part)
        return run if run.ndim == 5 else None

    def note(self, frame: int) -> str:
        """The text under the picture at a frame."""
        return self.notes[min(frame, len(self.notes) - 1)] if self.notes else ""


@dataclass(frozen=True, eq=False)
class Scene:
    """Panels that share one clock, one set of starting points and one view."""

    panels: tuple[Panel, ...]
    data: Tensor  # (N, 2): the ghost behind the particles. Images (N, C, H, W) have none
    stamp: str = ""  # how this picture was made: written under every export
    clock: str = "t"  # what the frames count: "t", or "step" for checkpoints of a training
    start: Tensor | None = None  # (B, 2): what particles are coloured by; the first frame if None
    half_width: float = 3.3  # the view is the square [-half_width, half_width]^2, in data units
    places: Tensor | None = None  # (A, 2): where the arrows stand
    spacing: float | None = None  # distance between places, to which arrows are scaled. None: arrows at true size
    kinds: tuple[Kind, ...] = ()  # empty: the arrows as they are
    heat_max: float = 1.0  # the end of the one colour scale for all frames
    density: Density | None = None
    pixels: Callable[[Tensor], np.ndarray] | None = None  # what images look like: Images.pixels of their data set

    @property
    def ticks(self) -> list[int]:
        """The reading of the clock at each frame, (F,)."""
        return self.panels[0].trajectory.t.tolist()

    def shown(self, images: Tensor) -> np.ndarray:
        """Images (..., C, H, W) as bytes (..., H, W, C). ValueError if the scene has no `pixels`."""
        if self.pixels is None:
            raise ValueError("a scene with images needs to know their `pixels`")
        *many, C, H, W = images.shape
        return np.asarray(self.pixels(images)).reshape(*many, H, W, C)

    @property
    def moves(self) -> bool:
        """Whether any panel shows its run."""
        return any(panel.still is None for panel in self.panels)

    @property
    def framed(self) -> bool:
        """Whether images have a frame in the colour of their particle: only if a panel beside them shows particles."""
        return any(panel.images() is None for panel in self.panels)

    @cached_property
    def hue(self) -> Tensor:
        """(B,) uint8: the colour of each particle, by the angle at which it started. All images have one colour, unless
        they have two pixels: then they are particles."""
        starts = [panel.trajectory.x[0].flatten(1) for panel in self.panels]
        nowhere = torch.zeros(len(starts[0]), 2)
        start = next((x for x in starts if x.shape[1] == 2), nowhere) if self.start is None else self.start
        turn = torch.atan2(start[:, 1], start[:, 0]) / (2 * math.pi) + 0.5
        return (turn * HUES).long().clamp(0, HUES - 1).to(torch.uint8)
