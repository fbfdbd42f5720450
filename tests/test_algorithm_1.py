"""Algorithm 1 as the paper has it, and each idea that makes it learn sooner, alone."""

from dataclasses import fields, replace
from functools import partial
from itertools import islice

import pytest
import torch

from toydiff.data.points import DATASETS
from toydiff.diffusion import exact
from toydiff.diffusion.recipe import PAPER, Recipe
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.diffusion.speedups.antithetic_noise import antithetic
from toydiff.diffusion.speedups.averaged_weights import GAMMA, AveragedWeights
from toydiff.diffusion.speedups.learning_rate import SLOW_DOWN, WARM_UP, falling, warm_up
from toydiff.diffusion.speedups.stable_target import stable_loss
from toydiff.diffusion.speedups.stratified_times import independent, stratified
from toydiff.diffusion.speedups.time_distribution import logistic, quantiles, uniform
from toydiff.diffusion.training import Examples, algorithm_1, draw_examples, simple_loss
from toydiff.networks.mlp import MLP

schedule = SCHEDULES["cosine"](100)
data = DATASETS["spiral"](500, 0)
SWITCHES = [one.name for one in fields(Recipe)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def error(model, data=data, schedule=schedule):
    """The mean square of what it answers, less what the best possible predictor answers, over all t."""
    t = torch.arange(1, schedule.T + 1).repeat(5)
    x = schedule.noised(data[: len(t)], torch.randn(len(t), *data.shape[1:], generator=seeded()), t)
    with torch.no_grad():
        return (model(x, t) - exact.bayes(data, schedule)(x, t)).square().mean().item()


@pytest.mark.parametrize("optimizer", [partial(torch.optim.Adam, lr=4e-3), partial(torch.optim.SGD, lr=0.2)])
def test_it_trains_as_it_stands(optimizer):
    model = MLP(schedule, width=32)
    before = error(model)
    steps = algorithm_1(model, data, schedule, optimizer(model.parameters()), generator=seeded())
    losses = torch.stack(list(islice(steps, 300)))
    assert losses.shape == (300,) and not losses.requires_grad
    assert error(model) < 0.9 * before


def test_it_makes_a_step_only_when_asked():
    model = MLP(schedule, width=8)
    before = model.net[0].weight.clone()
    steps = algorithm_1(model, data, schedule, torch.optim.Adam(model.parameters()), generator=seeded())
    assert torch.equal(model.net[0].weight, before)
    next(steps)
    assert not torch.equal(model.net[0].weight, before)


def test_its_loss_is_that_of_the_examples_it_drew():
    """By hand: the loss of the first step is the mean of (eps - guess)^2 at x_t."""
    model = MLP(schedule, width=8)
    x0, eps, t = draw_examples(data, schedule, 64, seeded(3))
    a = schedule.alpha_bar[t][:, None]
    guess = model((a.sqrt() * x0 + (1 - a).sqrt() * eps).float(), t)
    expected = ((eps - guess) ** 2).mean().item()
    optimizer = torch.optim.Adam(model.parameters())
    first = next(algorithm_1(model, data, schedule, optimizer, batch=64, generator=seeded(3)))
    assert first.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(2,), (1, 4, 4)])
def test_the_examples_of_the_paper(shape):
    points = torch.arange(50.0).reshape(50, *[1] * len(shape)).expand(50, *shape)
    x0, eps, t = draw_examples(points, schedule, 50_000, seeded())
    assert x0.shape == eps.shape == (50_000, *shape) and t.shape == (50_000,)
    for drawn, low, many in (x0.flatten(1)[:, 0].long(), 0, 50), (t, 1, 100):
        counts = (drawn - low).bincount(minlength=many)
        assert len(counts) == many
        expected = 50_000 / many
        assert ((counts - expected).square() / expected).sum() < many + 5 * (2 * many) ** 0.5  # chi squared
    assert eps.mean().item() == pytest.approx(0, abs=0.01) and eps.var().item() == pytest.approx(1, abs=0.02)
    assert torch.stack([x0.flatten(1)[:, 0], eps.flatten(1)[:, 0], t.float()]).corrcoef().triu(1).abs().max() < 0.02


# ---------------------------------------------------------------- the ideas, one by one


@pytest.mark.parametrize("n", [2, 3, 64, 65])
def test_antithetic_noise_comes_in_pairs(n):
    x0, eps, t = antithetic(draw_examples)(data, schedule, n, seeded())
    half = (n + 1) // 2
    plain = draw_examples(data, schedule, half, seeded())
    assert len(x0) == len(eps) == len(t) == n
    for part, drawn in zip((x0, eps, t), plain, strict=True):
        assert torch.equal(part[:half], drawn)
    rest = n - half
    assert torch.equal(x0[half:], x0[:rest]) and torch.equal(t[half:], t[:rest])
    assert torch.equal(eps[half:], -eps[:rest])


@pytest.mark.parametrize("n", [1, 7, 256])
def test_stratified_numbers_lie_one_in_each_part(n):
    u = stratified(n, seeded())
    assert torch.equal((u * n).long().clamp(max=n - 1), torch.arange(n))
    assert (independent(10_000, seeded()) < 0.3).double().mean().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("T", [10, 100, 1000])
def test_a_distribution_of_times_leaves_none_out(name, T):
    schedule = SCHEDULES[name](T)
    for distribution in uniform(schedule), logistic(schedule):
        assert distribution.shape == (T,) and distribution[-1].item() == pytest.approx(1)
        share = distribution.diff(prepend=torch.zeros(1, dtype=torch.float64))
        assert (share > 0).all()
        drawn = quantiles(distribution, stratified(100_000, seeded()))
        assert drawn.min() == 1 and drawn.max() == T
        counts = (drawn - 1).bincount(minlength=T) / 100_000
        assert (counts - share).abs().max() < 2e-5
    assert quantiles(distribution, torch.tensor([0.0, 1.0])).tolist() == [1, T]


@pytest.mark.parametrize("name", SCHEDULES)
def test_times_are_spread_evenly_over_the_log_snr(name):
    schedule = SCHEDULES[name](100)
    t = quantiles(logistic(schedule), stratified(4096, seeded()))
    low, high = max(-5, schedule.log_snr[-2]), min(6, schedule.log_snr[1])
    below = (schedule.log_snr[t] < (low + high) / 2).double().mean()
    assert below.item() == pytest.approx(0.5, abs=0.1)


def test_averaged_weights_are_the_power_function_average():
    """Where the weight of step s is s, the average over n steps is n (gamma + 1) / (gamma + 2), for large n."""
    p = torch.zeros(3, dtype=torch.float64)
    average = AveragedWeights([p])
    for step in range(1, 2001):
        p.fill_(step)
        average.update(step)
        if step == 1:
            assert torch.equal(average.values[0], p)
    assert average.values[0][0].item() == pytest.approx(2000 * (GAMMA + 1) / (GAMMA + 2), rel=1e-3)


def test_averaged_weights_that_are_off_are_the_last_ones():
    p = torch.zeros(3)
    average = AveragedWeights([p], off=True)
    for step in range(1, 20):
        p.copy_(torch.randn(3, generator=seeded(step)))
        average.update(step)
        assert torch.equal(average.values[0], p)


def test_the_averaged_network_is_a_frozen_copy():
    model = MLP(schedule, width=8)
    average = AveragedWeights(model.parameters())
    average.values = [torch.full_like(p, 0.5) for p in model.parameters()]
    copy = average.model(model)
    assert all((p == 0.5).all() and not p.requires_grad for p in copy.parameters()) and not copy.training
    average.values[0].zero_()
    assert (next(copy.parameters()) == 0.5).all()
    assert not any((p == 0.5).all() for p in model.parameters())


def test_the_learning_rate_rises_and_falls():
    for rate in warm_up, falling:
        assert [rate(step) for step in range(WARM_UP)] == pytest.approx(
            [(step + 1) / WARM_UP for step in range(WARM_UP)], rel=0.02
        )
    assert warm_up(100_000) == 1
    assert falling(SLOW_DOWN) == pytest.approx(0.5**0.5)
    assert falling(400 * SLOW_DOWN) == pytest.approx(1 / 20, rel=0.01)


@pytest.mark.parametrize("shape", [(2,), (1, 3, 3)])
@pytest.mark.parametrize("T", [10, 100])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_stable_loss_is_the_simple_loss_averaged_by_bayes(name, T, shape):
    """By brute force, in float64: each point of the batch, its eps, its probability given x_t."""
    schedule, n = SCHEDULES[name](T), 40
    examples = Examples(
        torch.randn(n, *shape, generator=seeded()),
        torch.randn(n, *shape, generator=seeded(1)),
        torch.randint(1, T + 1, (n,), generator=seeded(2)),
    )
    x = schedule.noised(*examples)
    guess = torch.randn(n, *shape, generator=seeded(3), requires_grad=True)
    expected, best = 0.0, torch.zeros(n, *shape, dtype=torch.float64)
    for i, t in enumerate(examples.t):
        a = schedule.alpha_bar[t]
        eps = (x[i].double() - a.sqrt() * examples.x0.double()) / (1 - a).sqrt()  # (n, *shape)
        density = torch.distributions.Normal(a.sqrt() * examples.x0.double(), (1 - a).sqrt()).log_prob(x[i].double())
        weight = density.flatten(1).sum(1).softmax(0).reshape(-1, *[1] * len(shape))
        best[i] = (weight * eps).sum(0)
        expected += (weight * (eps - guess[i].detach().double()).square()).sum().item() / x.numel()
    loss = stable_loss(guess, x, examples, schedule=schedule)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=2e-3)
    assert torch.allclose(guess.grad, 2 * (guess.detach() - best).float() / x.numel(), atol=2e-2 / x.numel())


@pytest.mark.parametrize("t", [1, 30, 60, 100])
def test_a_stable_target_is_right_on_average_in_a_batch_of_two(t):
    """For one x_t, over all that the two points may be: its own by Bayes, the other one any point of the data."""
    points, x = torch.tensor([[0.0, 1.0], [1.2, -0.5], [-1.0, 0.3]]), torch.tensor([[0.3, 0.2], [0.3, 0.2]])
    times = torch.tensor([t, t])
    a = schedule.alpha_bar[t]
    own = (-(x[:1] - a.sqrt() * points).square().sum(1) / (2 * (1 - a))).softmax(0)  # (3,)
    average = torch.zeros(2, dtype=torch.float64)
    for p, share in zip(points, own, strict=True):
        for other in points:
            guess = torch.zeros(2, 2, requires_grad=True)
            examples = Examples(torch.stack([p, other]), torch.zeros(2, 2), times)
            stable_loss(guess, x, examples, schedule=schedule).backward()
            average += share * (-guess.grad[0] * guess.numel() / 2) / len(points)  # the answer that it asks for
    assert torch.allclose(average.float(), exact.bayes(points, schedule)(x, times)[0], atol=1e-4, rtol=1e-3)


def test_a_stable_loss_is_the_same_loss_with_less_noise():
    """Over many batches both have one mean; it and its gradient vary much less."""
    model = MLP(schedule, width=16)
    losses, gradients = {"simple": [], "stable": []}, {"simple": [], "stable": []}
    for seed in range(60):
        examples = draw_examples(data, schedule, 256, seeded(seed))
        x = schedule.noised(*examples)
        for name, loss in ("simple", simple_loss), ("stable", partial(stable_loss, schedule=schedule)):
            model.zero_grad()
            value = loss(model(x, examples.t), x, examples)
            value.backward()
            losses[name].append(value.item())
            gradients[name].append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    simple, stable = (torch.tensor(losses[name]) for name in losses)
    assert stable.mean().item() == pytest.approx(simple.mean().item(), rel=0.03)
    assert stable.std() < 0.8 * simple.std()
    simple, stable = (torch.stack(gradients[name]).var(0).sum() for name in gradients)
    assert stable < 0.7 * simple


# ---------------------------------------------------------------- the recipe


def test_the_recipe_of_the_paper_adds_nothing():
    assert not any(getattr(PAPER, name) for name in SWITCHES)
    assert all(getattr(Recipe(), name) for name in SWITCHES)
    x0, eps, t = PAPER.draw(schedule)(data, schedule, 20_000, seeded())
    plain = draw_examples(data, schedule, 20_000, seeded())
    assert torch.equal(x0, plain.x0) and torch.equal(eps, plain.eps)
    for drawn in t, plain.t:
        counts = drawn.bincount(minlength=101)[1:]
        assert ((counts - 200).square() / 200).sum() < 100 + 5 * 200**0.5


@pytest.mark.parametrize("switch", SWITCHES)
def test_each_switch_changes_what_it_names_and_nothing_else(switch):
    off = replace(Recipe(), **{switch: False})
    (x0, eps, t), (other_x0, other_eps, other_t) = (
        one.draw(schedule)(data, schedule, 512, seeded()) for one in (Recipe(), off)
    )
    assert torch.equal(eps[256:], -eps[:256])
    assert torch.equal(other_eps[256:], -other_eps[:256]) == (switch != "antithetic_noise")
    if switch != "antithetic_noise":
        assert torch.equal(x0, other_x0) and torch.equal(eps, other_eps)
        assert torch.equal(t, other_t) == (switch not in ("stratified_times", "time_distribution"))
    sorted_ = (other_t[:256].diff() >= 0).all()
    assert sorted_ == (switch != "stratified_times")
    assert off.rate(SLOW_DOWN) == (1 if switch == "falling_rate" else falling(SLOW_DOWN))
