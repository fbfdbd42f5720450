"""Fields against the predictor they come from, densities against the mixture written out."""

import math

import pytest
import torch

from toydiff.data.points import DATASETS
from toydiff.diffusion import exact
from toydiff.diffusion.field import Probe, axis, density, field, grid, mass_inside, next_step, score
from toydiff.diffusion.samplers import ddpm
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.experiments.experiment import Experiment

schedules = pytest.mark.parametrize("schedule", SCHEDULES)
TIMES = torch.tensor([100, 60, 20, 5, 1])


def test_the_grid_goes_row_by_row_from_the_lowest_left():
    places = grid(3, 3.0)
    assert torch.allclose(places, torch.tensor([[x, y] for y in (-2.0, 0.0, 2.0) for x in (-2.0, 0.0, 2.0)]))
    assert torch.allclose(axis(4, 2.0), torch.tensor([-1.5, -0.5, 0.5, 1.5]))


def test_the_field_is_what_the_model_answers():
    def model(x, t):
        return x * t.unsqueeze(1)

    places = grid(150, 3.0)  # more than one batch
    answers = field(model, places, torch.tensor([7, 2, 0]))
    assert answers.shape == (3, 150 * 150, 2)
    for answer, t in zip(answers, (7, 2, 1), strict=True):  # nothing is noise at t = 0: the answer of t = 1
        assert torch.equal(answer, places * t)


def log_q(x, points, a):
    """log q(x_t) of a cloud, written out."""
    away = (x[:, None] - math.sqrt(a) * points).square().sum(2)
    return torch.logsumexp(-away / (2 * (1 - a)), 1) - math.log(len(points) * 2 * math.pi * (1 - a))


@schedules
@pytest.mark.parametrize("dataset", ["spiral", "moons"])
def test_the_score_is_the_slope_of_the_log_density(schedule, dataset):
    schedule = SCHEDULES[schedule](100)
    points = DATASETS[dataset](200, 0).double()
    model = exact.cloud(points, schedule)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero, b = score(schedule, TIMES)
    assert not zero.any()
    for t, factor in zip(TIMES.tolist(), b, strict=True):
        at = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(log_q(at, points, schedule.alpha_bar[t].item()).sum(), at)
        ours = factor * model(x, torch.full((50,), t))
        assert torch.allclose(ours, slope, rtol=1e-6, atol=1e-6 * slope.abs().max().item())


@schedules
def test_the_next_step_is_the_mean_of_ddpm(schedule):
    schedule = SCHEDULES[schedule](100)
    model = exact.gaussian(torch.zeros(2, dtype=torch.float64), 0.7, schedule)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t, a, b in zip(TIMES.tolist(), *next_step(schedule, TIMES), strict=True):
        step = ddpm(model, schedule, x, t, t - 1)
        assert torch.allclose(a * x + b * model(x, torch.full((50,), t)), step.mean - x, atol=1e-9)


@schedules
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_density_is_the_mixture_of_gaussians(schedule, dataset):
    schedule = SCHEDULES[schedule](100)
    points = DATASETS[dataset](100, 0).double()
    pictures = density(points, schedule, TIMES, 40, 4.0)
    for t, picture in zip(TIMES.tolist(), pictures, strict=True):
        q = log_q(grid(40, 4.0).double(), points, schedule.alpha_bar[t].item()).exp()
        assert torch.allclose(picture.flatten(), q, rtol=1e-8, atol=1e-12)
    assert pictures[0].sum().item() * 0.2**2 == pytest.approx(1, abs=0.001)  # at t = T nearly all of it is in view


def test_the_line_around_90_percent_holds_90_percent():
    """For a round Gaussian it is a circle of radius sqrt(-2 log 0.1)."""
    schedule = SCHEDULES["cosine"](100)
    (picture,) = mass_inside(density(torch.zeros(1, 2), schedule, torch.tensor([100]), 200, 5.0))
    radius = grid(200, 5.0).norm(dim=1).reshape(200, 200)
    for share in (0.1, 0.5, 0.9):
        edge = math.sqrt(-2 * math.log(1 - share))
        assert radius[picture <= share].max().item() == pytest.approx(edge, abs=0.06)
        assert radius[picture > share].min().item() == pytest.approx(edge, abs=0.06)


def probe(experiment, times=TIMES, n=400):
    return Probe(experiment.exact(), experiment.noise_schedule(), experiment.data(), times, n)


@schedules
def test_the_exact_predictor_makes_no_error_and_no_answer_makes_all_of_it(schedule):
    experiment = Experiment(points=300, schedule=schedule)
    measured = probe(experiment)
    assert not measured.error(experiment.exact()).any()
    silent = measured.error(lambda x, t: torch.zeros_like(x))
    assert silent[0].item() == pytest.approx(2**0.5, abs=0.08)  # at T eps* is x itself, two numbers of variance 1
    half = measured.error(lambda x, t: experiment.exact()(x, t) / 2)
    assert torch.allclose(half, silent / 2, atol=1e-6)


@schedules
@pytest.mark.parametrize("dataset", DATASETS)
def test_the_field_points_first_to_the_middle_and_then_to_the_data(schedule, dataset):
    measured = probe(Experiment(dataset=dataset, points=300, schedule=schedule))
    reach, nearest = measured.reach(), measured.nearest()
    assert reach[0] < 0.05
    assert reach[-1] == pytest.approx(1, abs=0.02)
    assert nearest[-1] < 0.03
    assert (reach.diff() > -0.01).all()


def test_a_learned_field_agrees_with_the_exact_one_near_T():
    """Far in the noise there is nothing to know: eps* is x, nearly. Near the data, everything is to be learned."""
    experiment = Experiment(points=500, width=64)
    trainer, places = experiment.trainer(), grid(9, 2.0)
    trainer.advance(1000)
    times = torch.tensor([100, 99, 98, 10])
    learned, best = (field(model, places, times) for model in (trainer.predictor, experiment.exact()))
    wrong = (learned - best).square().mean((1, 2)).sqrt()
    assert wrong[:3].max() < 0.03
    assert wrong[3] > 5 * wrong[:3].max()
    cosine = torch.nn.functional.cosine_similarity(learned[:3], best[:3], dim=2)
    assert cosine[:, places.norm(dim=1) > 0.3].min() > 0.999
    error = probe(experiment, times).error(trainer.predictor)
    assert error[:3].max() < 0.04 < error[3]
