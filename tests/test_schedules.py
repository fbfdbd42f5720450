"""Schedules against the formulas, against diffusers, and against what cannot be true."""

import itertools

import numpy as np
import pytest
import torch

from toydiff.diffusion.schedules import SCHEDULES, Schedule, cosine, log_linear

everyone = pytest.mark.parametrize("name", SCHEDULES)
lengths = pytest.mark.parametrize("T", [10, 100, 1000])


@everyone
@lengths
def test_from_data_to_noise(name, T):
    schedule = SCHEDULES[name](T)
    assert schedule.T == T
    assert len(schedule.beta) == len(schedule.alpha_bar) == T + 1
    assert schedule.beta[0] == 0
    assert schedule.alpha_bar[0] == 1
    assert (schedule.alpha_bar.diff() < 0).all()
    assert schedule.log_snr[0] == torch.inf
    assert (schedule.log_snr.diff()[1:] < 0).all()
    product = 1.0
    for t in range(1, T + 1):
        product *= 1 - schedule.beta[t].item()
        assert schedule.alpha_bar[t].item() == pytest.approx(product, rel=1e-9)


@everyone
def test_the_data_is_destroyed(name):
    for T in (100, 256, 1000):
        assert SCHEDULES[name](T).signal_left < 0.02


@everyone
@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
def test_noised_x0_and_eps_undo_each_other(name, shape):
    schedule = SCHEDULES[name](50)
    generator = torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 6, *shape, generator=generator)
    rows = torch.tensor([1, 2, 10, 25, 49, 50])
    for t in (1, 25, 50, rows):
        x = schedule.noised(x0, eps, t)
        assert x.shape == x0.shape and x.dtype == x0.dtype
        assert torch.allclose(schedule.x0(x, eps, t), x0, atol=1e-3)
        assert torch.allclose(schedule.eps(x, x0, t), eps, atol=1e-3)
    assert torch.equal(schedule.noised(x0, eps, 0), x0)
    # each row has its own time
    x = schedule.noised(x0, eps, rows)
    for i, t in enumerate(rows):
        a = schedule.alpha_bar[t].float()
        assert torch.allclose(x[i], a.sqrt() * x0[i] + (1 - a).sqrt() * eps[i], atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("t", [3, torch.tensor(3), torch.tensor([0, 3, 50])])
def test_rates_fit_what_they_multiply(dtype, t):
    """Roots of float64, rounded once: 1 - alpha_bar is tiny near t = 0."""
    schedule = cosine(50)
    signal, noise = schedule.rates(t, torch.zeros(3, 1, 8, 8, dtype=dtype))
    assert signal.dtype == noise.dtype == dtype
    a = schedule.alpha_bar[t]
    assert torch.equal(signal.flatten(), a.sqrt().to(dtype).flatten())
    assert torch.equal(noise.flatten(), (1 - a).sqrt().to(dtype).flatten())
    assert signal.shape == (() if a.ndim == 0 else (3, 1, 1, 1))


def twin(T, **options):
    """The schedule of diffusers, as its scheduler holds it."""
    from diffusers import DDPMScheduler  # three seconds, which only the process pays that runs these tests

    return DDPMScheduler(T, **options)


DIFFUSERS = {
    "linear": ("linear", 0.02),
    "quadratic": ("scaled_linear", 0.03),
    "sigmoid": ("sigmoid", 0.02),
}


@pytest.mark.parametrize("name", DIFFUSERS)
@pytest.mark.parametrize("T", [50, 100, 1000])
def test_beta_is_that_of_diffusers_scaled(name, T):
    theirs, end = DIFFUSERS[name]
    k = 1000 / T
    oracle = twin(T, beta_start=1e-4 * k, beta_end=end * k, beta_schedule=theirs)
    assert torch.allclose(SCHEDULES[name](T).beta[1:].float(), oracle.betas, atol=1e-6)


@lengths
def test_cosine_is_that_of_diffusers(T):
    oracle = twin(T, beta_schedule="squaredcos_cap_v2").betas.double()
    assert torch.allclose(cosine(T, cap=0.999).beta[1:], oracle, atol=1e-6)
    assert torch.allclose(cosine(T).beta[1:], oracle.clamp(max=0.9), atol=1e-6)


@lengths
def test_log_linear_is_a_geometric_sequence_of_noise_levels(T):
    schedule = log_linear(T)
    assert (schedule.noise / schedule.signal)[1:].numpy() == pytest.approx(np.geomspace(0.05, 100, T), rel=1e-9)


def test_every_schedule_has_an_oracle():
    assert set(SCHEDULES) == {*DIFFUSERS, "cosine", "log-linear"}


@everyone
@pytest.mark.parametrize("T", [-1, 0, 9, 1001])
def test_a_wrong_T_is_refused(name, T):
    with pytest.raises(ValueError, match="T must be between 10 and 1000"):
        SCHEDULES[name](T)


@pytest.mark.parametrize("beta", [[0.1, 0.2], [0.0], [[0.0, 0.1]]])
def test_a_beta_of_the_wrong_shape_is_refused(beta):
    with pytest.raises(ValueError, match=r"beta\[0\] = 0"):
        Schedule(torch.tensor(beta))


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_beta_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match="between 0 and 1"):
        Schedule(torch.tensor([0, 0.1, bad]))


@pytest.mark.parametrize("T", [10, 97, 1000])
def test_grid_goes_down_to_0_in_as_many_jumps_as_asked(T):
    schedule = SCHEDULES["linear"](T)
    assert schedule.grid() == list(range(T, -1, -1))
    for steps in range(1, T + 1):
        grid = schedule.grid(steps)
        assert grid[0] == T and grid[-1] == 0
        assert len(grid) == steps + 1
        jumps = [t - s for t, s in itertools.pairwise(grid)]
        assert min(jumps) >= 1
        assert max(jumps) - min(jumps) <= 1 or T % steps  # even, where that is possible
        assert max(jumps) <= T / steps + 1


@pytest.mark.parametrize("steps", [-1, 0, 101])
def test_a_wrong_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match="between 1 and T = 100"):
        SCHEDULES["linear"](100).grid(steps)
