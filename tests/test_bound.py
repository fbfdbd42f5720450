"""The variational bound, against closed forms: for Gaussian data all of it is known."""

import math

import pytest
import torch

from toydiff.data.points import DATASETS
from toydiff.diffusion import exact
from toydiff.diffusion.bound import Normal, bound, kl, posterior, surprise
from toydiff.diffusion.samplers import SAMPLERS, ddpm, ddpm_beta
from toydiff.diffusion.schedules import SCHEDULES

D = 2


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normals(s, n=40_000):
    return s * torch.randn(n, D, generator=generator(9))


def expected(schedule, s):
    """(T + 1,): the mean of every term, for data N(0, s^2 I), its exact predictor, and sigma^2 = beta: by hand."""
    a, beta, T = schedule.alpha_bar, schedule.beta, schedule.T
    unsure = s**2 * (1 - a) / (a * s**2 + 1 - a)  # Var[x_0 | x_t] of a component: how wrong the best guess is
    terms = []
    for t in range(2, T + 1):
        apart = a[t - 1] * beta[t] ** 2 / (1 - a[t]) ** 2 * unsure[t]  # the weight of x_0 in eq. 7, squared
        v = (1 - a[t - 1]) / (1 - a[t])  # beta-tilde / beta
        terms.append(D / 2 * (v - 1 - v.log() + apart / beta[t]))
    first = D / 2 * (math.log(2 * math.pi) + beta[1].log() + unsure[1] / beta[1])
    last = D / 2 * (a[T] * s**2 - a[T] - (1 - a[T]).log())
    return torch.stack([first, *terms, last])


@pytest.mark.parametrize("s", [0.5, 1, 2])
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_term_is_what_it_should_be_for_gaussian_data(name, s):
    schedule = SCHEDULES[name](25)
    terms = bound(exact.gaussian(torch.zeros(D), s, schedule), normals(s), schedule, ddpm_beta, 20_000, generator())
    error = terms.std(1) / len(terms[0]) ** 0.5
    assert terms.shape == (26, 20_000)
    assert (terms[1:-1] >= 0).all()
    assert ((terms.mean(1) - expected(schedule, s)).abs() < 5 * error + 1e-5).all()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(
    ("s", "T", "share"), [(1, 10, 0.002), (1, 100, 1e-4), (1, 1000, 1e-4), (0.5, 1000, 0.01), (2, 1000, 0.01)]
)
def test_the_bound_of_the_exact_predictor_is_the_entropy(name, s, T, share):
    """The reverse of a Gaussian walk is Gaussian. For s = 1 its variance is beta: nothing is lost but L_T, 0.0024 nats
    for cosine with T = 10. For other s the step's variance is nearly beta if steps are small."""
    entropy = D / 2 * math.log(2 * math.pi * math.e * s**2)
    total = expected(SCHEDULES[name](T), s).sum().item()
    assert entropy - 1e-6 <= total <= entropy + share * abs(entropy)


def test_the_measured_bound_is_the_entropy():
    schedule = SCHEDULES["linear"](100)
    model = exact.gaussian(torch.zeros(D), 1, schedule)
    total = bound(model, normals(1), schedule, ddpm_beta, 40_000, generator()).sum(0)
    entropy = D / 2 * math.log(2 * math.pi * math.e)
    assert total.mean().item() == pytest.approx(entropy, rel=0.01)


@pytest.mark.parametrize("T", [10, 50, 100, 256, 1000])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_last_term_vanishes_where_the_schedule_destroys_the_data(name, T):
    schedule = SCHEDULES[name](T)
    terms = bound(
        exact.gaussian(torch.zeros(D), 1, schedule), DATASETS["spiral"](500, 0), schedule, ddpm, 100, generator()
    )
    few = name == "cosine" and T == 10  # the cap on beta leaves a little: 0.0024 nats
    assert terms[-1].mean() < (3e-3 if few else 1e-3)


@pytest.mark.parametrize("sampler", [ddpm, ddpm_beta])
@pytest.mark.parametrize("name", ["spiral", "gaussians"])
def test_a_worse_predictor_has_a_larger_bound(name, sampler):
    schedule, data = SCHEDULES["cosine"](50), DATASETS[name](500, 0)
    best = exact.cloud(data, schedule)
    models = [best, lambda x, t: 0.9 * best(x, t), lambda x, t: torch.zeros_like(x)]
    totals = [bound(model, data, schedule, sampler, 200, generator()).sum(0).mean() for model in models]
    assert totals == sorted(totals)
    assert len(set(totals)) == 3


def test_the_posterior_is_bayes():
    """q(x_{t-1} | x_t, x_0) is proportional to q(x_t | x_{t-1}) q(x_{t-1} | x_0): two Gaussians, multiplied by hand."""
    schedule = SCHEDULES["linear"](50)
    x0, x = torch.randn(2, 6, D, generator=generator())
    for t in (2, 25, 50):
        a, alpha, beta = schedule.alpha_bar[t - 1], 1 - schedule.beta[t], schedule.beta[t]
        one, two = alpha / beta, 1 / (1 - a)  # precisions
        mean = (one * x / alpha.sqrt() + two * a.sqrt() * x0) / (one + two)
        q = posterior(schedule, x0, x, t)
        assert torch.allclose(q.mean, mean.float(), atol=1e-5)
        assert q.var.item() == pytest.approx(1 / (one + two).item())


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_kl_and_surprise_against_torch(shape):
    g = generator()
    means = torch.randn(2, 5, *shape, generator=g)
    for v, w in [(0.3, 0.3), (0.01, 2.0), (4.0, 0.5)]:
        q, p = (Normal(m, torch.tensor(var, dtype=torch.float64)) for m, var in zip(means, (v, w), strict=True))
        twins = [torch.distributions.Normal(each.mean.double().flatten(1), each.var.sqrt()) for each in (q, p)]
        assert torch.allclose(kl(q, p), torch.distributions.kl_divergence(*twins).sum(1))
        assert torch.allclose(surprise(q.mean, p), -twins[1].log_prob(twins[0].loc).sum(1))
    assert torch.equal(kl(q, q), torch.zeros(5, dtype=torch.float64))


def test_a_step_without_noise_is_refused():
    """DDIM says for certain where to go: what really happened would be impossible."""
    schedule, data = SCHEDULES["cosine"](10), DATASETS["spiral"](50, 0)
    with pytest.raises(ValueError, match="must be above 0"):
        bound(exact.cloud(data, schedule), data, schedule, SAMPLERS["ddim"], 4, generator())


def test_one_seed_one_bound():
    schedule, data = SCHEDULES["cosine"](10), DATASETS["spiral"](50, 0)
    model = exact.cloud(data, schedule)
    one, same, other = (bound(model, data, schedule, ddpm, 8, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
