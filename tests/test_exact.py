"""The exact predictor against Bayes written out, one data point after the other."""

import subprocess
import sys

import pytest
import torch

from toydiff.data.points import DATASETS
from toydiff.diffusion import exact
from toydiff.diffusion.samplers import ddim, ddpm, reverse
from toydiff.diffusion.schedules import SCHEDULES

datasets = pytest.mark.parametrize("dataset", DATASETS)
schedules = pytest.mark.parametrize("schedule", SCHEDULES)


def bayes(points, schedule, x, t):
    """E[eps | x_t], from the direct differences; float64."""
    a = schedule.alpha_bar[t]
    points, x = points.double().flatten(1), x.double()
    squares = (x.flatten(1)[:, None] - a.sqrt() * points).square().sum(2)
    weight = (-squares / (2 * (1 - a))).softmax(1)
    x0 = (weight[:, :, None] * points).sum(1).reshape(x.shape)
    return (x - a.sqrt() * x0) / (1 - a).sqrt()


@datasets
@schedules
@pytest.mark.parametrize("T", [100, 1000])
@pytest.mark.parametrize("predictor", [exact.bayes, exact.cloud])
def test_the_formula_and_the_fast_way_are_bayes(predictor, dataset, schedule, T):
    points, schedule = DATASETS[dataset](150, 0), SCHEDULES[schedule](T)
    model = predictor(points, schedule)
    generator = torch.Generator().manual_seed(1)
    for t in (1, 2, T // 2, T):
        x = schedule.noised(points, torch.randn(points.shape, generator=generator), t)
        expected = bayes(points, schedule, x, t)
        times = torch.full((len(x),), t)
        assert torch.allclose(model(x.double(), times), expected, atol=1e-8)
        answer = model(x, times)
        assert answer.dtype == torch.float32
        assert torch.allclose(answer.double(), expected, atol=1e-4)


@datasets
@schedules
@pytest.mark.parametrize("T", [10, 100])
def test_cloud_is_finite_wherever_x_is(dataset, schedule, T):
    points, schedule = DATASETS[dataset](100, 0), SCHEDULES[schedule](T)
    model = exact.cloud(points, schedule)
    x = torch.cartesian_prod(*[torch.linspace(-6, 6, 13)] * 2)
    for t in range(1, T + 1):
        eps = model(x, torch.full((len(x),), t))
        assert eps.isfinite().all()
        # the guess is a weighted mean of the data: it cannot leave the box around it
        assert schedule.x0(x, eps, t).abs().max() < points.abs().max() + 0.01


def test_every_row_has_its_own_t_and_every_size_of_cloud_works():
    schedule = SCHEDULES["cosine"](100)
    t = torch.tensor([1, 100, 37, 2, 80])
    for n in (3, 40, 10_000):
        points = DATASETS["spiral"](n, 0)
        x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
        together = exact.cloud(points, schedule)(x, t)
        for i in range(5):
            assert torch.allclose(together[i].double(), bayes(points, schedule, x[i : i + 1], t[i])[0], atol=1e-3)


def test_images_are_points():
    schedule = SCHEDULES["linear"](100)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(30, 1, 8, 8, generator=generator)
    x = torch.randn(7, 1, 8, 8, generator=generator)
    for t in (1, 50, 100):
        answer = exact.cloud(images, schedule)(x, torch.full((7,), t))
        assert torch.allclose(answer.double(), bayes(images, schedule, x, t), atol=1e-4)


MEMORY = """
import resource, torch
from toydiff.diffusion import exact
from toydiff.diffusion.schedules import linear
torch.set_num_threads(1)
model = exact.cloud(torch.randn(10_000, 2), linear(100))
model(torch.randn(10, 2), torch.full((10,), 50))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model(torch.randn(2000, 2), torch.full((2000,), 50))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.slow
def test_large_clouds_need_little_memory():
    # all weights at once would be 160 MB, and as much again for every step of the computation
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 100


@schedules
def test_gaussian_is_bayes(schedule):
    schedule = SCHEDULES[schedule](100)
    mean, std = torch.tensor([0.7]), 0.6
    model = exact.gaussian(mean, std, schedule)
    x0 = torch.linspace(-5, 6, 20_001, dtype=torch.float64)[:, None]  # an integral over x_0
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    for t in (5, 50, 100):
        a = schedule.alpha_bar[t]
        log = -((x0.T - mean) ** 2) / (2 * std**2) - (x - a.sqrt() * x0.T) ** 2 / (2 * (1 - a))
        best = log.softmax(1) @ x0
        expected = (x - a.sqrt() * best) / (1 - a).sqrt()
        assert torch.allclose(model(x, torch.full((9,), t)), expected, atol=1e-6)


def test_gaussian_of_images_has_their_shape():
    schedule = SCHEDULES["linear"](100)
    x = torch.randn(4, 1, 8, 8)
    answer = exact.gaussian(torch.zeros(1, 8, 8), 1.0, schedule)(x, torch.tensor([1, 5, 50, 100]))
    # data N(0, I) stays N(0, I): the best guess at eps is its share of x
    share = (1 - schedule.alpha_bar[[1, 5, 50, 100]]).sqrt().float()
    assert torch.allclose(answer, share.reshape(4, 1, 1, 1) * x, atol=1e-6)


# Gaussian data: every step is linear, so the variance of a whole run can be written down.

WAYS = {"ddpm": (ddpm, 1.0), "mean only": (ddpm, 0.0), "ddim": (ddim, 0.0)}


def closed_form(schedule, std, way):
    """The std of x_t, t = T ... 0, by the recursion var_s = gain^2 var_t + sigma_t^2."""
    a = schedule.alpha_bar.tolist()
    variance, out = 1.0, [1.0]
    for t in range(schedule.T, 0, -1):
        s = t - 1
        total = a[t] * std**2 + 1 - a[t]
        x0 = a[t] ** 0.5 * std**2 / total  # gains: the guess at x_0 and at eps, per unit of x
        eps = (1 - a[t]) ** 0.5 / total
        if way == "ddim":
            gain, sigma2 = a[s] ** 0.5 * x0 + (1 - a[s]) ** 0.5 * eps, 0.0
        else:
            beta = 1 - a[t] / a[s]
            gain = (a[s] ** 0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - a[s])) / (1 - a[t])
            sigma2 = beta * (1 - a[s]) / (1 - a[t]) if way == "ddpm" else 0.0
        variance = gain**2 * variance + sigma2
        out.append(variance**0.5)
    return torch.tensor(out)


def run(schedule, std, way, mean=0.0):
    sampler, noise = WAYS[way]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=generator)
    model = exact.gaussian(torch.tensor([mean]), std, schedule)
    return torch.stack(
        [f.x for f in reverse(model, schedule, (x - x.mean()) / x.std(), sampler, noise=noise, generator=generator)]
    )


@schedules
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("std", [1.0, 0.3])
def test_the_variance_of_a_run_in_closed_form(schedule, way, std):
    schedule = SCHEDULES[schedule](100)
    measured = run(schedule, std, way).std((1, 2))
    # without noise the recursion is exact; with noise it is as exact as 20,000 draws are
    assert torch.allclose(measured, closed_form(schedule, std, way), rtol=0.03 if way == "ddpm" else 1e-3)


@schedules
def test_mean_only_keeps_almost_nothing_and_ends_at_the_mean(schedule):
    schedule = SCHEDULES[schedule](1000)
    x = run(schedule, 1.0, "mean only", mean=2.0)
    assert x[-1].mean().item() == pytest.approx(2, abs=0.05)
    # in the limit of many steps the share 1 / (1 + sigma_max^2) = alpha_bar_T of the variance is kept
    assert x[-1].var().item() == pytest.approx(schedule.alpha_bar[-1].item(), rel=0.2)


@schedules
def test_far_from_the_data_ddim_shrinks_by_the_ratio_of_sigma_and_mean_only_by_its_square(schedule):
    schedule = SCHEDULES[schedule](100)
    # all data in one point: every x is far from it. Widths in units of the signal
    signal = schedule.alpha_bar.flip(0).sqrt().float()
    sigma = (1 / schedule.alpha_bar - 1).sqrt().flip(0).float()
    ratio = sigma[1:-1] / sigma[:-2]
    for way, power in (("ddim", 1), ("mean only", 2)):
        width = run(schedule, 0.0, way).std((1, 2)) / signal
        assert torch.allclose(width[1:-1] / width[:-2], ratio**power, rtol=1e-2), way
