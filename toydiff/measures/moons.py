"""Which moon an image shows: the nearest one of a grid of all moons, and its distance."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from toydiff.data.images import EITHER_WAY, GAP_PHASES, RADIUS, TILT, moon, moon_phases

PHASES, TILTS, RADII = 200, 7, 7  # sizes of the grid that is searched
MOONS_AT_ONCE = 500  # moons drawn at once
REAL = 300  # moons with which the floor is measured

# The largest error of a phase: half a step of phase, and the error near full moon. There a phase error e moves the edge
# of the shadow by only (2 pi e)^2 / 2 of a radius, and the grid knows the radius to half a step.
PHASE_TOLERANCE = math.sqrt(2 * EITHER_WAY / (RADII - 1) / (RADIUS - EITHER_WAY)) / (2 * math.pi) + 0.5 / PHASES


class Moons:
    """A grid of moons (side, side) of all phases, tilts and sizes that the sets of moons have.

    floor: how far a moon of such a set, of any phase, is from the nearest one of the grid, on average.
    """

    def __init__(self, side: int) -> None:
        phase = torch.arange(PHASES) / PHASES
        tilt = torch.linspace(-TILT, TILT, TILTS)
        radius = torch.linspace(RADIUS - EITHER_WAY, RADIUS + EITHER_WAY, RADII)
        grid = torch.cartesian_prod(phase, tilt, radius)
        self._phase = grid[:, 0]
        drawn = [
            moon(phase, side, tilt, radius) for phase, tilt, radius in (part.T for part in grid.split(MOONS_AT_ONCE))
        ]
        self._grid = torch.cat(drawn).flatten(1)
        real = moon_phases(REAL, seed=1, side=side)
        self.floor = self.nearest(real.x * real.scale + real.mean)[1].mean().item()

    def nearest(self, brightness: Tensor) -> tuple[Tensor, Tensor]:
        """For images (B, 1, side, side), 0 black ... 1 white: the phase of the nearest moon by least squares, (B,), and
        how far it is, (B,): the root mean square over the pixels."""
        distance, place = torch.cdist(brightness.flatten(1), self._grid).min(1)
        return self._phase[place], distance / math.sqrt(self._grid.shape[1])


# share of the way from half to full on which a phase is surely in the gap
WAXING = 1 - 2 * PHASE_TOLERANCE / (GAP_PHASES[1] - GAP_PHASES[0])


def in_gap(phase: Tensor) -> Tensor:
    """Whether phases, any shape, surely lie between half and full."""
    return (phase > GAP_PHASES[0] + PHASE_TOLERANCE) & (phase < GAP_PHASES[1] - PHASE_TOLERANCE)


def verdict(phase: Tensor, off: Tensor, faded: Tensor) -> Literal["passes", "fades", "jumps"]:
    """What happens on the way from half to full, by the phases (K,) and distances (K,) of its images, and the distances
    of images that only fade. "fades": its largest distance is more than half of theirs. "passes": more than half as
    many phases are in the gap as on an even way. "jumps": all other ways."""
    if off.max() > faded.max() / 2:
        return "fades"
    return "passes" if in_gap(phase).double().mean() > WAXING / 2 else "jumps"
