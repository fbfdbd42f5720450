"""Point clouds. Every one has mean 0 and variance 1, so that N(0, I) is a fair place to start from."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

Dataset = Callable[[int, int], Tensor]

MIN_POINTS, MAX_POINTS = 3, 10_000


def standardized(points: Tensor) -> Tensor:
    """Points of any shape (N, *shape), moved to mean 0 and scaled to variance 1. One scale for all axes: no shape
    is stretched."""
    points = points.double()
    points = points - points.mean(0)
    return (points / points.std(correction=0)).float()


def spiral(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): one arm of two and a half turns, with a little jitter."""
    rng = _rng(n, seed)
    return standardized(_arm(rng.random(n)) + 0.015 * torch.from_numpy(rng.normal(size=(n, 2))))


def film_spiral(n: int = 100, seed: int = 0) -> Tensor:
    """(n, 2): the same arm, n points at even steps of the angle and no jitter. The seed changes nothing."""
    _rng(n, seed)
    return standardized(_arm(np.linspace(0, 1, n)))


def moons(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): two half circles that reach into each other."""
    rng = _rng(n, seed)
    upper = _circle(math.pi * rng.random(n))
    centre = np.where(np.arange(n)[:, None] % 2, upper, [1, 0.5] - upper)
    return standardized(torch.from_numpy(centre + 0.05 * rng.normal(size=(n, 2))))


def gaussians(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): eight Gaussians on a circle."""
    rng = _rng(n, seed)
    centre = _circle(2 * math.pi * rng.integers(8, size=n) / 8)
    return standardized(torch.from_numpy(centre + 0.07 * rng.normal(size=(n, 2))))


def checkerboard(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): the eight dark squares of a board of four by four."""
    rng = _rng(n, seed)
    column, half = rng.integers(4, size=n), rng.integers(2, size=n)
    corner = np.stack([column, 2 * half + column % 2], 1)
    return standardized(torch.from_numpy(corner + rng.random((n, 2))))


def swiss_roll(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): a rolled-up sheet, seen from the side."""
    rng = _rng(n, seed)
    angle = 1.5 * math.pi * (1 + 2 * rng.random(n))
    centre = angle[:, None] * _circle(angle)
    return standardized(torch.from_numpy(centre + 0.4 * rng.normal(size=(n, 2))))


def circles(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): a circle inside a circle."""
    rng = _rng(n, seed)
    radius = np.where(np.arange(n)[:, None] % 2, 1, 0.45)
    centre = radius * _circle(2 * math.pi * rng.random(n))
    return standardized(torch.from_numpy(centre + 0.03 * rng.normal(size=(n, 2))))


def letter(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): a letter drawn from a font."""
    return written("R", n, seed)


def word(n: int = 2000, seed: int = 0) -> Tensor:
    """(n, 2): a word drawn from a font."""
    return written("DDPM", n, seed)


def written(text: str, n: int, seed: int) -> Tensor:
    """(n, 2): points spread evenly over the ink of a text, in the font that comes with Pillow."""
    rng = _rng(n, seed)
    font = ImageFont.load_default(size=120)
    left, top, right, bottom = (round(v) for v in font.getbbox(text))
    page = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(page).text((-left, -top), text, fill=255, font=font)
    ink = np.argwhere(np.asarray(page) > 127)
    if len(ink) == 0:
        raise ValueError("the text leaves no ink: type at least one visible character")
    row, column = (ink[rng.integers(len(ink), size=n)] + rng.random((n, 2))).T
    return standardized(torch.from_numpy(np.stack([column, -row], 1)))


def _arm(u: np.ndarray) -> Tensor:
    """(n, 2): points on the spiral arm; u from 0 (inner end) to 1 (outer end) is an even share of the angle."""
    angle = math.pi / 2 + 5 * math.pi * torch.as_tensor(u)
    return torch.stack([angle * angle.cos(), angle * angle.sin()], 1) / (5.5 * math.pi)


def _circle(angle: np.ndarray) -> np.ndarray:
    """(n, 2): places on the unit circle."""
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _rng(n: int, seed: int) -> np.random.Generator:
    if not MIN_POINTS <= n <= MAX_POINTS:
        raise ValueError(f"n must be between {MIN_POINTS} and {MAX_POINTS:,}, not {n}")
    return np.random.default_rng(seed)


DATASETS: dict[str, Dataset] = {
    "spiral": spiral,
    "film-spiral": film_spiral,
    "moons": moons,
    "gaussians": gaussians,
    "checkerboard": checkerboard,
    "swiss-roll": swiss_roll,
    "circles": circles,
    "letter": letter,
    "word": word,
}
