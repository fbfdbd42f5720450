"""Data: every cloud keeps the promises of all clouds, and has the shape that its name says."""

import inspect
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from sklearn import datasets

from toydiff.data.points import DATASETS, film_spiral, standardized, written
from toydiff.measures.clouds import Ruler

everyone = pytest.mark.parametrize("name", DATASETS)


@everyone
@pytest.mark.parametrize("n", [3, 100, 1001])
def test_mean_is_0_and_variance_is_1(name, n):
    points = DATASETS[name](n, 7)
    assert points.shape == (n, 2)
    assert points.dtype == torch.float32
    assert points.double().mean(0).abs().max() < 1e-5
    assert points.double().var(correction=0).item() == pytest.approx(1, abs=1e-4)


@everyone
def test_a_seed_gives_one_cloud(name):
    state = torch.get_rng_state()
    assert torch.equal(DATASETS[name](200, 3), DATASETS[name](200, 3))
    assert torch.equal(DATASETS[name](200, 3), DATASETS[name](200, 4)) == (name == "film-spiral")
    assert torch.equal(torch.get_rng_state(), state)


@everyone
@pytest.mark.parametrize("n", [-1, 0, 2, 10_001])
def test_a_wrong_number_of_points_is_refused(name, n):
    with pytest.raises(ValueError, match=r"between 3 and 10,000"):
        DATASETS[name](n, 0)


def test_one_scale_for_all_axes():
    stretched = torch.randn(500, 2) * torch.tensor([1.0, 3.0])
    low, high = standardized(stretched).std(0).tolist()
    assert high / low == pytest.approx((stretched[:, 1].std() / stretched[:, 0].std()).item(), rel=1e-4)


def test_images_are_standardized_too():
    images = standardized(torch.rand(50, 1, 8, 8))
    assert images.shape == (50, 1, 8, 8)
    assert images.mean(0).abs().max() < 1e-5
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-4)


# What each shape is. The curves are written out once more here: angle and radius, to mean 0 and variance 1.


def curve(angle):
    points = np.stack([angle * np.cos(angle), angle * np.sin(angle)], 1)
    return (points - points.mean(0)) / (points - points.mean(0)).std()


def follows(points, line, within):
    """No point is further from the line than `within`, and no part of the line is without points."""
    assert cKDTree(line).query(points)[0].max() < within
    assert cKDTree(points).query(line)[0].max() < within


TWINS = {
    "moons": lambda n: datasets.make_moons(n, noise=0.05, random_state=1)[0],
    "circles": lambda n: datasets.make_circles(n, factor=0.45, noise=0.03, random_state=1)[0],
    "swiss-roll": lambda n: datasets.make_swiss_roll(n, noise=0.4, random_state=1)[0][:, [0, 2]],
}


@pytest.mark.parametrize("name", TWINS)
def test_some_are_those_of_scikit_learn(name):
    twin = standardized(torch.from_numpy(TWINS[name](4000)))
    ruler = Ruler(twin)
    assert ruler.ratio(DATASETS[name](4000, 0)) < 1.2
    assert ruler.ratio(DATASETS["spiral"](4000, 0)) > 2


@pytest.mark.slow
def test_no_cloud_needs_scikit_learn():
    """It takes a second and 140 MB, in each process that asks for data."""
    code = (
        "import sys; from toydiff.data.points import DATASETS; [make(100, 0) for make in DATASETS.values()]; "
        "sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def is_spiral(points):
    follows(points, curve(np.linspace(0.5, 5.5, 2000) * math.pi), within=0.2)


def is_swiss_roll(points):
    follows(points, curve(np.linspace(1.5, 4.5, 2000) * math.pi), within=0.35)


def is_moons(points):
    angle = np.linspace(0, math.pi, 1000)
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    line = np.concatenate([upper, [1, 0.5] - upper])
    line = line - line.mean(0)
    follows(points, line / line.std(), within=0.4)


def is_eight_gaussians(points):
    scale = (0.5 + 0.07**2) ** -0.5  # a circle of radius 1 has variance 1/2 per axis
    angle = np.arange(8) * math.pi / 4
    distance, nearest = cKDTree(scale * np.stack([np.cos(angle), np.sin(angle)], 1)).query(points)
    assert np.bincount(nearest, minlength=8) / len(points) == pytest.approx(1 / 8, abs=0.02)
    assert (distance**2).mean() / 2 == pytest.approx((0.07 * scale) ** 2, rel=0.1)


def is_checkerboard(points):
    column, row = np.floor(points.T * (4 / 3) ** 0.5 + 2)  # variance 1: a board 4 wide has 4^2 / 12
    dark = (column + row) % 2 == 0
    assert dark.mean() > 0.96  # a point on the rim of its square may be counted with the next
    _, counts = np.unique(4 * column + row, return_counts=True)
    assert (counts > len(points) / 10).sum() == 8


def are_two_circles(points):
    radius = np.hypot(*points.T)
    outer = radius > 1
    assert outer.mean() == pytest.approx(0.5, abs=0.01)
    assert radius[~outer].mean() / radius[outer].mean() == pytest.approx(0.45, abs=0.01)
    assert max(radius[outer].std(), radius[~outer].std()) < 0.06


def ink(points, side=60):
    """The picture that the points make, as booleans, row 0 at the top."""
    corner = points.min(0)
    x, y = np.floor((points - corner) / (np.ptp(points[:, 1]) + 1e-6) * side).astype(int).T
    picture = np.zeros((side + 2, x.max() + 3), bool)
    picture[side - y, x + 1] = True
    return ndimage.binary_closing(picture)


def holes(picture):
    labels, n = ndimage.label(~picture)
    middles = ndimage.center_of_mass(~picture, labels, range(1, n + 1))
    sizes = ndimage.sum(~picture, labels, range(1, n + 1))
    return [row for (row, _), size in sorted(zip(middles, sizes, strict=True), key=lambda m: -m[1])[1:] if size > 9]


def is_an_r(points):
    picture = ink(points)
    assert ndimage.label(picture, np.ones((3, 3)))[1] == 1
    (row,) = holes(picture)
    assert row < picture.shape[0] / 2  # the right way up


def is_a_word(points):
    picture = ink(points, side=40)
    assert ndimage.label(picture, np.ones((3, 3)))[1] == 4  # D D P M
    rows = holes(picture)
    assert len(rows) == 3  # in D, D and P
    assert min(rows) < 0.9 * max(rows)  # and that of P is above the others


SHAPES = {
    "spiral": is_spiral,
    "film-spiral": is_spiral,
    "moons": is_moons,
    "gaussians": is_eight_gaussians,
    "checkerboard": is_checkerboard,
    "swiss-roll": is_swiss_roll,
    "circles": are_two_circles,
    "letter": is_an_r,
    "word": is_a_word,
}


@everyone
@pytest.mark.parametrize("seed", [0, 1])
def test_shape(name, seed):
    SHAPES[name](DATASETS[name](10_000, seed).double().numpy())


def test_the_spiral_of_the_film():
    assert inspect.signature(film_spiral).parameters["n"].default == 100
    points = film_spiral()
    assert points.shape == (100, 2)
    # even steps of the angle, no jitter
    assert np.allclose(points, curve(np.linspace(0.5, 5.5, 100) * math.pi), atol=1e-5)


def test_any_text_can_be_written():
    assert written("x̂ & ∇", 500, 0).shape == (500, 2)
    for nothing in ("", "  "):
        with pytest.raises(ValueError, match="visible character"):
            written(nothing, 500, 0)
