"""Small images as tensors (n, C, H, W), mean 0 and variance 1, so that N(0, I) is a fair place to start from."""

from __future__ import annotations

import math
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from http.client import HTTPException
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from toydiff.data.points import DATASETS, MIN_POINTS
from toydiff.text import words

MAX_IMAGES = 70_000  # the size of MNIST
GRAY_LEVEL = 1 / 6  # two-pixel images: -3 is black, 0 gray, 3 white; every cloud fits, and nearly all noise
TILT = 0.3  # radians: moons lean at most this much to each side
RADIUS, EITHER_WAY = 0.39, 0.04  # radius of a moon, and its variation; the picture is 1 wide
GAP_PHASES = (0.25, 0.5)  # the phases between these, half and full, are missing in the sets with a gap
FINER = 3  # moons are drawn this many times larger, and then averaged down
DOWNLOAD_SECONDS = 20  # seconds to wait for an answer of openml.org


@dataclass(frozen=True, eq=False)
class Images:
    """Images as a network sees them, x = (brightness - mean) / scale, with what it takes to show them again.

    There is one mean for all pixels. If the mean image were subtracted instead, its ghost would show in pure noise.
    """

    name: str
    x: Tensor  # (n, C, H, W) float32
    labels: Tensor | None  # (n,): digit, kind of garment, phase of the moon in [0, 1)
    mean: float  # of the brightness, 0 black ... 1 white, over all images, pixels and colours
    scale: float  # its standard deviation

    @classmethod
    def standardized(cls, name: str, brightness: Tensor, labels: Tensor | None = None) -> Images:
        """From brightness (n, C, H, W), 0 ... 1. ValueError if it is the same everywhere: the variance would be 0."""
        mean = brightness.mean(dtype=torch.float64).item()
        x = brightness.float() - mean
        scale = math.sqrt(x.square().mean(dtype=torch.float64).item())
        if not scale > 1e-6:
            raise ValueError(words("pictures.flat"))
        return cls(name, x.div_(scale), labels, mean, scale)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)"""
        return tuple(self.x.shape[1:])

    def scaled(self, brightness: Tensor) -> Tensor:
        """Brightness 0 ... 1, any shape, in the scale of x: another image for the same network."""
        return (brightness - self.mean) / self.scale

    def pixels(self, x: Tensor) -> np.ndarray:
        """(..., C, H, W) in the scale of x -> (..., H, W), or (..., H, W, 3) in colour, 0 ... 255 uint8. Values below
        black become black, values above white become white, and NaN becomes black."""
        return pixels(x, self.mean, self.scale)


def pixels(x: Tensor, mean: float, scale: float) -> np.ndarray:
    """`Images.pixels`, without the images."""
    brightness = (x.detach().cpu().float() * scale + mean).nan_to_num(0.0).clamp(0, 1)
    return (brightness * 255).round().byte().movedim(-3, -1).squeeze(-1).numpy()


ImageSet = Callable[..., Images]  # (n, seed) -> Images; a set that has fewer than n gives all it has


def digits(n: int = 1797, seed: int = 0) -> Images:
    """(n, 1, 8, 8): the 1,797 handwritten digits that come with scikit-learn, shuffled by the seed."""
    from sklearn.datasets import load_digits  # not at the top: it takes a second to load

    _check(n)
    ink, labels = load_digits(return_X_y=True)
    return _some("digits", ink.reshape(-1, 1, 8, 8), 16, labels, n, seed)


def moon_phases(n: int = 2000, seed: int = 0, *, side: int, without: tuple[float, float] | None = None) -> Images:
    """(n, 1, side, side): moons of all phases, evenly, a little different in tilt and size. `without` leaves out the
    phases between two: (0.25, 0.5) is everything between half and full."""
    _check(n)
    low, high = without or (0.0, 0.0)
    if without and not (0 <= low < high <= 1 and high - low < 1):
        raise ValueError(f"without must be two phases, 0 to 1, the first smaller, and leave some over, not {without}")
    share, tilt, size = torch.rand(3, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    phase = share * (1 - (high - low))
    phase = torch.where(phase < low, phase, phase + (high - low)).float() % 1  # % 1, because .999999999 is 1 in float32
    tilt, radius = TILT * (2 * tilt - 1), RADIUS + EITHER_WAY * (2 * size - 1)
    # in parts, because all at once would fill the memory
    some = zip(phase.split(500), tilt.split(500), radius.split(500), strict=True)
    drawn = torch.cat([moon(phase, side, tilt, radius) for phase, tilt, radius in some])
    return Images.standardized(f"moon-phases-{side}{'-gap' if without else ''}", drawn, phase)


def moon(
    phase: Tensor | float,
    side: int,
    tilt: Tensor | float = 0.0,
    radius: Tensor | float = RADIUS,
) -> Tensor:
    """(n, 1, side, side): the brightness of moons of exactly these phases: 0 new, 0.25 half, 0.5 full, 0.75 the other
    half; (1 - cos(2 pi phase)) / 2 of the disc is lit. Each argument is a number or (n,)."""
    phase, tilt, radius = (torch.as_tensor(value).float().reshape(-1, 1, 1) for value in (phase, tilt, radius))
    dots = FINER * side
    x = (torch.arange(dots) + 0.5) / dots - 0.5  # the middles of dots, smaller than pixels
    y = -x[:, None]
    u = (x * tilt.cos() + y * tilt.sin()) / radius  # the moon's own axes, its rim at 1
    v = (y * tilt.cos() - x * tilt.sin()) / radius
    u = torch.where(phase % 1 < 0.5, u, -u)  # the sun is on the right until full moon, then on the left
    rim = (1 - v * v).clamp(min=0).sqrt()  # at height v it is day from dusk to rim: the edge is half an ellipse
    dusk = (2 * math.pi * phase).cos() * rim
    half = 0.5 / dots / radius  # and a dot reaches from u - half to u + half
    lit = (torch.minimum(rim, u + half) - torch.maximum(dusk, u - half)).clamp(min=0) / (2 * half)
    return avg_pool2d(lit[:, None], FINER)


def two_pixel(n: int = 2000, seed: int = 0, *, cloud: str = "spiral") -> Images:
    """(n, 1, 1, 2): the points of `cloud`, a key of DATASETS, as images of two gray pixels, x and y."""
    return Images("two-pixel", DATASETS[cloud](n, seed)[:, None, None], None, mean=0.5, scale=GRAY_LEVEL)


class NoNetwork(ValueError):  # noqa: N818
    """A data set could not be downloaded."""


def downloaded(title: str, n: int = 10_000, seed: int = 0) -> Images:
    """(n, 1, 28, 28): n of the 70,000 images of a set at openml.org, shuffled by the seed. NoNetwork if they are not
    on this machine and cannot be fetched."""
    _check(n)
    with _one_at_a_time:
        gray, labels = _fetched(title)
    return _some(title.removesuffix("_784").lower(), gray, 255, labels, n, seed)


_one_at_a_time = Lock()  # a second request for the same set waits for the first, and then finds the file


@cache  # scikit-learn keeps the file, but reading it takes half a minute
def _fetched(title: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import fetch_openml

    usual = socket.getdefaulttimeout()
    # scikit-learn sets no timeout: if the network never answered, the download would never end
    socket.setdefaulttimeout(DOWNLOAD_SECONDS)
    try:
        found = fetch_openml(title, version=1, as_frame=False, parser="liac-arff", n_retries=1)
    except (OSError, HTTPException, EOFError, zlib.error, ValueError) as error:
        raise NoNetwork(words("pictures.no_network", name=title.removesuffix("_784"))) from error
    finally:
        socket.setdefaulttimeout(usual)
    return found.data.astype(np.uint8).reshape(-1, 1, 28, 28), found.target.astype(np.int64)


def _some(name: str, brightness: np.ndarray, white: int, labels: np.ndarray, n: int, seed: int) -> Images:
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))[:n]
    x = torch.from_numpy(brightness)[order].float() / white
    return Images.standardized(name, x, torch.from_numpy(labels)[order])


def _check(n: int) -> None:
    if not MIN_POINTS <= n <= MAX_IMAGES:
        raise ValueError(f"n must be between {MIN_POINTS} and {MAX_IMAGES:,}, not {n}")


IMAGES: dict[str, ImageSet] = {
    "digits": digits,
    "moon-phases-16": partial(moon_phases, side=16),
    "moon-phases-32": partial(moon_phases, side=32),
    "moon-phases-16-gap": partial(moon_phases, side=16, without=GAP_PHASES),
    "moon-phases-32-gap": partial(moon_phases, side=32, without=GAP_PHASES),
    "two-pixel": two_pixel,
    "mnist": partial(downloaded, "MNIST_784"),
    "fashion-mnist": partial(downloaded, "Fashion-MNIST"),
}
