"""Numbers against closed forms."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from toydiff.data.points import DATASETS
from toydiff.measures.clouds import Ruler, coverage, sliced_wasserstein, spread


def normal(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shift", [(3.0, 0.0), (1.0, -2.0)])
def test_a_shift_costs_its_length_over_root_2(shift):
    x = normal(500, 2)
    expected = math.hypot(*shift) / 2**0.5  # over all directions of the plane, cos^2 is 1/2 on average
    assert sliced_wasserstein(x, x + torch.tensor(shift)) == pytest.approx(expected, rel=0.05)


def test_between_gaussians_only_the_widths_differ():
    x, y = normal(10_000, 2), 3 * normal(10_000, 2, seed=1)
    assert sliced_wasserstein(x, y) == pytest.approx(2, rel=0.03)  # sigma_2 - sigma_1 in every direction


@pytest.mark.parametrize("m", [200, 137, 1000])
def test_on_a_line_it_is_the_wasserstein_distance(m):
    x, y = normal(200, 1), normal(m, 1, seed=1) + 10  # all of x is left of y, so W1 of the quantiles is their mean
    w1 = wasserstein_distance(x[:, 0], y[:, 0])
    cost = sliced_wasserstein(x, y)
    assert cost >= w1 - 1e-6  # W2 >= W1 always
    assert cost == pytest.approx(w1, rel=0.02)


def test_equal_clouds_have_distance_0_in_any_order():
    x = normal(300, 1, 4, 4)
    assert sliced_wasserstein(x, x.flip(0)) == 0
    assert sliced_wasserstein(x, torch.cat([x, x])) == pytest.approx(0, abs=1e-9)
    assert sliced_wasserstein(x, x + 1) == sliced_wasserstein(x + 1, x) > 0


@pytest.mark.parametrize("name", DATASETS)
def test_fresh_data_is_as_good_as_the_floor(name):
    data = DATASETS[name](2000, 0)
    ruler = Ruler(data)
    draw = data[torch.randint(2000, (2000,), generator=torch.Generator().manual_seed(99))]
    assert 0 < ruler.floor < 0.1
    assert ruler.ratio(draw) == pytest.approx(1, abs=0.6)
    assert ruler.ratio(normal(2000, 2)) > 2
    assert ruler.ratio(0 * draw) > 10
    assert ruler.distance(ruler.reference) == 0


def test_spread():
    x = normal(400, 2)
    assert spread(x, x) == 1
    assert spread(3 * x + 5, x) == pytest.approx(3, rel=1e-5)
    assert spread(torch.ones(10, 2), x) == 0
    line, flat = x[:, :1].expand(400, 2), x * torch.tensor([1, 0])  # one axis lost: half of the variance
    assert spread(flat, line) == pytest.approx(2**-0.5, rel=1e-5)
    assert spread(normal(50, 1, 8, 8), normal(50, 1, 8, 8)) == 1


def test_coverage():
    grid = torch.cartesian_prod(torch.arange(10.0), torch.arange(10.0)) + 0.5
    assert coverage(grid, grid, cell=1) == 1
    assert coverage(grid + 0.3, grid, cell=1) == 1
    assert coverage(grid[:50], grid, cell=1) == 0.5
    assert coverage(grid[:1].expand(1000, 2), grid, cell=1) == pytest.approx(0.01)
    assert coverage(grid + 1000, grid, cell=1) == 0
    assert coverage(grid[:0], grid, cell=1) == 0
    crowd = torch.cat([grid[:1].expand(99, 2), grid[1:2]])  # a square with a single stray point does not count
    assert coverage(grid[:1], crowd, cell=1) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_cloud_that_is_not_finite_is_measured_as_such(bad):
    x, data = normal(100, 2), normal(100, 2, seed=1)
    whole = coverage(x, data)
    x[3, 1] = bad
    assert not math.isfinite(sliced_wasserstein(x, data))
    assert not math.isfinite(Ruler(data).ratio(x))
    assert not math.isfinite(spread(x, data))
    assert whole - 0.1 < coverage(x, data) <= whole
    assert coverage(torch.full((5, 2), bad), data) == 0
