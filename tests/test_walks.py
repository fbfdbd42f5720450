"""Walks that end in one place: what they say about the noise, against Bayes and closed forms."""

import pytest
import torch

from toydiff.data.points import DATASETS
from toydiff.diffusion import exact
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.diffusion.targets import last_step_variance
from toydiff.diffusion.walks import DISC, TRIES, given, radius, variances, walks_through, whole_walks

PLACE = torch.tensor([0.8, 0.5])
CASES = [
    ("spiral", "cosine", 50, 30),
    ("spiral", "linear", 100, 80),
    ("gaussians", "cosine", 100, 50),
    ("gaussians", "linear", 1000, 400),
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_noises_have_the_mean_and_the_variance_that_bayes_says(case):
    dataset, name, T, t = case
    data, schedule = DATASETS[dataset](500, 0), SCHEDULES[name](T)
    walks = walks_through(data, schedule, t, PLACE, 1500, generator())
    mean, total, last = given(data, schedule, t, PLACE)
    n = len(walks.x)
    assert n == 1500
    for noise, expected in [(walks.eps, total), (walks.last, last)]:
        # within the disc the mean of eps differs by up to about DISC, more where it changes fast
        assert ((noise.mean(0) - mean).abs() < 4.5 * (expected / n).sqrt() + DISC).all()
        assert noise.var(0).mean().item() == pytest.approx(expected.item(), rel=0.15, abs=DISC**2)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_mean_is_that_of_the_exact_predictor(case):
    dataset, name, T, t = case
    data, schedule = DATASETS[dataset](500, 0), SCHEDULES[name](T)
    mean, total, last = given(data, schedule, t, PLACE)
    best = exact.cloud(data, schedule)(PLACE[None], torch.tensor([t]))[0]
    assert torch.allclose(mean.float(), best, atol=1e-4)
    assert 0 < total < 1.5
    assert (last - total).item() == pytest.approx((last_step_variance(schedule, t) - 1).item())


def test_of_a_single_data_point_nothing_is_uncertain():
    schedule, point = SCHEDULES["linear"](20), torch.tensor([[0.3, -1.0]])
    mean, total, last = given(point, schedule, 10, PLACE)
    assert torch.allclose(mean.float(), schedule.eps(PLACE, point[0], 10))
    assert total == 0 < last


def test_the_walks_are_what_they_claim_to_be():
    data, schedule, t = DATASETS["moons"](300, 0), SCHEDULES["cosine"](40), 25
    walks = walks_through(data, schedule, t, PLACE, 200, generator())
    assert len(walks.x0) == len(walks.x) == len(walks.eps) == len(walks.last) == 200
    assert ((walks.x - PLACE).norm(dim=1) < radius(schedule, t)).all()
    assert torch.allclose(schedule.noised(walks.x0, walks.eps, t), walks.x, atol=1e-5)
    assert (torch.cdist(walks.x0, data, compute_mode="donot_use_mm_for_euclid_dist").min(1).values == 0).all()


def test_whole_walks_start_at_the_data_and_end_in_the_disc():
    data, schedule, t = DATASETS["moons"](300, 0), SCHEDULES["cosine"](40), 25
    run = whole_walks(data, schedule, t, PLACE, 30, generator())
    assert run.t.tolist() == list(range(t + 1))
    assert run.x.shape == run.mean.shape == (t + 1, 30, 2)
    assert (torch.cdist(run.x[0], data, compute_mode="donot_use_mm_for_euclid_dist").min(1).values == 0).all()
    assert torch.equal(run.x0[-1], run.x[0])
    assert ((run.end - PLACE).norm(dim=1) < radius(schedule, t)).all()
    kicks = (run.x[1:] - run.mean[1:]) / schedule.beta[1 : t + 1].sqrt().reshape(-1, 1, 1)
    assert kicks.std().item() == pytest.approx(1, abs=0.1)  # real steps; a little tighter, as they all arrive


def test_whole_walks_are_the_walks():
    """Made in two ways, from the same places: as many from each of the eight."""
    data, schedule, t = DATASETS["gaussians"](8, 0), SCHEDULES["cosine"](20), 12
    one = whole_walks(data, schedule, t, PLACE, 300, generator()).x[0]
    two = walks_through(data, schedule, t, PLACE, 3000, generator()).x0
    shares = [(torch.cdist(x, data).argmin(1)[:, None] == torch.arange(8)).double().mean(0) for x in (one, two)]
    assert (shares[0] - shares[1]).abs().max() < 0.12


@pytest.mark.slow
def test_where_nobody_comes_there_are_no_walks():
    data, schedule = DATASETS["spiral"](300, 0), SCHEDULES["cosine"](50)
    far = torch.tensor([5.0, 5.0])
    walks = walks_through(data, schedule, 10, far, 10, generator())
    assert walks.x.shape == walks.eps.shape == (0, 2)
    assert walks.tried == TRIES
    assert whole_walks(data, schedule, 10, far, 10, generator()).x.shape == (11, 0, 2)
    assert all(part.isfinite().all() for part in given(data, schedule, 10, far))


def test_images_walk_too():
    data, schedule = 0.1 * torch.randn(40, 1, 1, 2, generator=generator()), SCHEDULES["cosine"](20)
    place = torch.zeros(1, 1, 2)
    assert walks_through(data, schedule, 10, place, 20, generator()).eps.shape == (20, 1, 1, 2)
    assert whole_walks(data, schedule, 10, place, 5, generator()).x.shape == (11, 5, 1, 1, 2)
    assert given(data, schedule, 10, place).mean.shape == (1, 1, 2)


def test_one_seed_one_set_of_walks():
    data, schedule = DATASETS["spiral"](300, 0), SCHEDULES["cosine"](20)
    one, same, other = (walks_through(data, schedule, 9, PLACE, 20, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one.eps, same.eps)
    assert not torch.equal(one.eps, other.eps)
    runs = [whole_walks(data, schedule, 9, PLACE, 20, generator(1)).x for _ in range(2)]
    assert torch.equal(*runs)


@pytest.mark.parametrize(("T", "average"), [(1000, 72.6), (256, 18.7)])
def test_the_variance_of_the_last_step(T, average):
    """Measured before the first line was written (FINDINGS), and again here from a real chain."""
    schedule = SCHEDULES["linear"](T)
    t = torch.arange(1, T + 1)
    assert last_step_variance(schedule, t).mean().item() == pytest.approx(average, abs=0.06)
    times = torch.tensor([1, T // 10, T // 2, T])
    total, last = variances(DATASETS["spiral"](500, 0), schedule, times, 3000, generator()).T
    assert torch.allclose(total, torch.ones(4).double(), rtol=0.1)
    assert torch.allclose(last, last_step_variance(schedule, times), rtol=0.1)
