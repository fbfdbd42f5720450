"""Samplers against diffusers and the paper; the loop; and the collapse, the reason for this app."""

import itertools
import math
from copy import deepcopy
from functools import partial

import pytest
import torch

from toydiff.data.points import DATASETS
from toydiff.diffusion import exact
from toydiff.diffusion.samplers import SAMPLERS, WAYS, DPMSolver2M, ddim, ddpm, heun, no_final_noise, reverse
from toydiff.diffusion.schedules import SCHEDULES, Schedule
from toydiff.experiments.experiment import Experiment
from toydiff.measures.clouds import spread

everyone = pytest.mark.parametrize("name", SAMPLERS)
schedules = pytest.mark.parametrize("schedule", SCHEDULES)


def model(x, t):
    """Some smooth field: what is compared is the step, not the predictor."""
    t = t.reshape(-1, *[1] * (x.ndim - 1))
    return torch.tanh(x + 0.03 * t) * torch.cos(x.flip(1))


# Each sampler's twin in diffusers: a function of schedule and grid that returns step(t, x, seed) -> (x_s, x0). Their
# index t - 1 is our t. What they keep in float32 is replaced by our float64: theirs is off by 1e-4 near t = 0.


def twin(kind, schedule, grid, **options):
    import diffusers  # three seconds, which only the process pays that runs these tests

    given = {"num_train_timesteps": schedule.T, "trained_betas": schedule.beta[1:].tolist()}
    scheduler = getattr(diffusers, kind)(**given, **options)
    if kind == "DDIMScheduler":
        scheduler.set_timesteps(len(grid) - 1)  # takes no times of ours, but has the same
    else:
        scheduler.set_timesteps(timesteps=[t - 1 for t in grid[:-1]])
    assert list(dict.fromkeys(scheduler.timesteps.tolist())) == [t - 1 for t in grid[:-1]]
    scheduler.alphas_cumprod = schedule.alpha_bar[1:]
    return scheduler


def answer(x, t):
    return model(x, torch.full((len(x),), t))


def their_ddpm(schedule, grid, variance):
    theirs = twin("DDPMScheduler", schedule, grid, variance_type=variance, clip_sample=False)

    def step(t, x, seed):
        return theirs.step(answer(x, t), t - 1, x, torch.Generator().manual_seed(seed), return_dict=False)

    return step


def their_ddim(schedule, grid, eta):
    theirs = twin(
        "DDIMScheduler", schedule, grid, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
    )

    def step(t, x, seed):
        generator = torch.Generator().manual_seed(seed)
        return theirs.step(answer(x, t), t - 1, x, eta=eta, generator=generator, return_dict=False)

    return step


def sigmas(schedule, grid):
    a = schedule.alpha_bar[grid]
    return ((1 - a) / a).sqrt()


def their_heun(schedule, grid):
    theirs = twin("HeunDiscreteScheduler", schedule, grid)
    sigma, after = sigmas(schedule, grid), dict(itertools.pairwise(grid))
    theirs.sigmas = torch.cat([sigma[:1], sigma[1:-1].repeat_interleave(2), sigma[-1:]])
    signal = schedule.alpha_bar.sqrt()

    def step(t, x, seed):
        s = after[t]
        y, x0 = theirs.step(answer(x, t), t - 1, x / signal[t], return_dict=False)  # y = x / signal
        if s > 0:
            y, _ = theirs.step(answer(signal[s] * y, s), s - 1, y, return_dict=False)
        return signal[s] * y, x0

    return step


def their_dpm_solver(schedule, grid):
    options = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
    theirs = twin("DPMSolverMultistepScheduler", schedule, grid, **options, final_sigmas_type="zero")
    theirs.sigmas = sigmas(schedule, grid)

    def step(t, x, seed):
        (x,) = theirs.step(answer(x, t), t - 1, x, return_dict=False)
        return x, theirs.model_outputs[-1]

    return step


TWINS = {
    "ddpm": partial(their_ddpm, variance="fixed_small"),
    "ddpm-beta": partial(their_ddpm, variance="fixed_large"),
    "ddim": partial(their_ddim, eta=0.0),
    "ddim-half": partial(their_ddim, eta=0.5),
    "heun": their_heun,
    "dpm-solver++": their_dpm_solver,
}


@everyone
@schedules
@pytest.mark.parametrize(("steps", "shape"), [(None, (2,)), (20, (1, 4, 4)), (5, (2,)), (1, (2,))])
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # theirs
def test_every_step_is_that_of_diffusers(name, schedule, shape, steps):
    schedule = SCHEDULES[schedule](100)
    grid = schedule.grid(steps)
    sampler, their_step = deepcopy(SAMPLERS[name]), TWINS[name](schedule, grid)
    x = ours = theirs = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t, s in itertools.pairwise(grid):
        step = sampler(model, schedule, ours, t, s)
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(t), dtype=x.dtype)
        if t == 1:
            z = 0 * z  # diffusers has an `if` for the last step; with ddpm-beta, ours adds noise there too
        ours = step.mean + step.std * z
        theirs, x0 = their_step(t, theirs, seed=t)
        scale = max(1.0, theirs.abs().max().item())
        assert (ours - theirs).abs().max() < 1e-5 * scale
        assert (step.x0 - x0).abs().max() < 1e-5 * max(1.0, x0.abs().max().item())


def test_every_sampler_has_a_twin():
    assert set(SAMPLERS) == set(TWINS)


@schedules
def test_ddpm_is_algorithm_2(schedule):
    schedule = SCHEDULES[schedule](100)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in range(1, 101):
        beta, a = schedule.beta[t], schedule.alpha_bar[t]
        eps = model(x, torch.full((5,), t))
        mean = (x - beta / (1 - a).sqrt() * eps) / (1 - beta).sqrt()
        variance = (1 - schedule.alpha_bar[t - 1]) / (1 - a) * beta
        step = ddpm(model, schedule, x, t, t - 1)
        assert torch.allclose(step.mean, mean, atol=1e-9)
        assert step.std.item() == pytest.approx(variance.sqrt().item(), abs=1e-9)
        assert torch.allclose(step.x0, (x - (1 - a).sqrt() * eps) / a.sqrt(), atol=1e-9)
        large = SAMPLERS["ddpm-beta"](model, schedule, x, t, t - 1)
        assert torch.equal(large.mean, step.mean)
        assert large.std.item() == pytest.approx(beta.sqrt().item(), abs=1e-9)


@schedules
def test_ddim_with_eta_1_is_ddpm(schedule):
    schedule = SCHEDULES[schedule](100)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t, s in ((100, 99), (100, 95), (50, 20), (2, 1), (2, 0), (1, 0)):
        for ours, paper in zip(ddim(model, schedule, x, t, s, eta=1.0), ddpm(model, schedule, x, t, s), strict=True):
            assert torch.allclose(ours, paper, atol=1e-9)


@schedules
def test_the_last_step_adds_no_noise(schedule):
    schedule = SCHEDULES[schedule](100)
    x = torch.randn(5, 2)
    for t in (1, 5, 100):
        for name in set(SAMPLERS) - {"ddpm-beta"}:
            step = deepcopy(SAMPLERS[name])(model, schedule, x, t, 0)
            assert step.std == 0
            assert torch.allclose(step.mean, step.x0, atol=1e-4)
        assert SAMPLERS["ddpm-beta"](model, schedule, x, t, 0).std > 0


@everyone
def test_a_quiet_end_changes_nothing_but_the_noise_of_the_last_step(name):
    schedule = SCHEDULES["cosine"](20)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    usual, quiet = deepcopy(SAMPLERS[name]), deepcopy(no_final_noise(SAMPLERS[name]))
    for t, s in ((20, 15), (15, 1), (1, 0)):
        step, other = usual(model, schedule, x, t, s), quiet(model, schedule, x, t, s)
        assert torch.equal(step.mean, other.mean) and torch.equal(step.x0, other.x0)
        assert other.std == (step.std if s > 0 else 0)


# The fast ones: for Gaussian data the curves that they follow are known, x_t / sqrt(a s^2 + 1 - a) stays what it is.

STD = 0.5  # of the data


def miss(sampler, steps):
    """How far from the curve a walk ends that goes from log-SNR -6 to 6 in so many equal steps."""
    alpha_bar = torch.linspace(6, -6, steps + 1, dtype=torch.float64).sigmoid()
    schedule = Schedule(torch.cat([torch.zeros(1), 1 - alpha_bar[:1], 1 - alpha_bar[1:] / alpha_bar[:-1]]))
    width = (schedule.alpha_bar * STD**2 + 1 - schedule.alpha_bar).sqrt()
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    frames = {f.t: f.x for f in reverse(exact.gaussian(torch.zeros(2), STD, schedule), schedule, x, sampler)}
    return (frames[1] - x * width[1] / width[-1]).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2), ("dpm-solver++", 2)])
def test_half_the_step_is_a_half_or_a_quarter_of_the_error(name, order):
    errors = [miss(SAMPLERS[name], steps) for steps in (50, 100, 200, 400)]
    for error, finer in itertools.pairwise(errors):
        assert math.log2(error / finer) == pytest.approx(order, abs=0.15)
    assert errors[-1] < 1e-2


@pytest.mark.parametrize(("name", "calls"), [(name, 2 * 7 - 1 if name == "heun" else 7) for name in SAMPLERS])
def test_how_often_the_network_is_called(name, calls):
    asked = []

    def counted(x, t):
        asked.append(t)
        return model(x, t)

    list(reverse(counted, SCHEDULES["cosine"](20), torch.randn(6, 2), SAMPLERS[name], steps=7))
    assert len(asked) == calls
    assert all(t.min() > 0 for t in asked)  # at t = 0 there is no noise to guess


def test_where_both_ends_agree_on_the_noise_heun_is_ddim():
    schedule = SCHEDULES["cosine"](20)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = model(x, torch.full((5,), 9))
    for t, s in ((20, 15), (9, 4), (1, 0)):
        ours, other = (sampler(lambda *_: noise, schedule, x, t, s) for sampler in (heun, ddim))
        assert torch.allclose(ours.mean, other.mean, atol=1e-12)
        assert torch.equal(ours.x0, other.x0)


# The loop


def run(sampler=ddpm, steps=None, noise=1.0, seed=0, T=20):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 2, generator=generator)
    frames = list(reverse(model, SCHEDULES["cosine"](T), x, sampler, steps=steps, noise=noise, generator=generator))
    return frames, generator.get_state()


@everyone
@pytest.mark.parametrize("steps", [1, 2, 7, 20, None])
def test_frames_go_from_T_to_0(name, steps):
    schedule = SCHEDULES["cosine"](20)
    sampler = deepcopy(SAMPLERS[name])
    frames, _ = run(sampler, steps)
    assert [f.t for f in frames] == schedule.grid(steps)
    assert all(f.x.shape == f.x0.shape == f.mean.shape == (6, 2) for f in frames)
    for f, g in itertools.pairwise(frames):
        step = sampler(model, schedule, f.x, f.t, g.t)
        assert torch.equal(f.x0, step.x0)
        assert torch.equal(g.mean, step.mean)
    assert torch.equal(frames[0].mean, frames[0].x)
    assert torch.equal(frames[-1].x0, frames[-1].x)


def test_noise_multiplies_the_kick_and_all_samplers_share_their_z():
    def kicks(name, noise=1.0):
        frames, _ = run(SAMPLERS[name], noise=noise)
        schedule = SCHEDULES["cosine"](20)
        for f, g in itertools.pairwise(frames):
            std = SAMPLERS[name](model, schedule, f.x, f.t, g.t).std
            yield g.t, (g.x - g.mean) / std

    expected = torch.Generator().manual_seed(0)
    torch.randn(6, 2, generator=expected)  # x_T
    z = {t: torch.randn(6, 2, generator=expected) for t in range(19, -1, -1)}
    for name, noise in (("ddpm", 1.0), ("ddpm", 0.5), ("ddpm-beta", 1.0), ("ddim-half", 1.0)):
        for t, kick in kicks(name, noise):
            if t > 0 or name == "ddpm-beta":
                assert torch.allclose(kick, noise * z[t], atol=1e-3), (name, t)


def test_without_noise_only_the_mean_is_left_but_z_is_drawn_all_the_same():
    (noisy, after), (quiet, quiet_after), (other, other_after) = run(), run(noise=0.0), run(ddim)
    assert torch.equal(after, quiet_after) and torch.equal(after, other_after)
    assert torch.equal(noisy[0].x, quiet[0].x) and torch.equal(noisy[0].x, other[0].x)
    assert all(torch.equal(f.x, f.mean) for f in quiet + other)
    assert not torch.equal(noisy[1].x, noisy[1].mean)
    assert torch.equal(noisy[1].mean, quiet[1].mean)  # the first step differs in nothing but the kick


def test_a_seed_gives_one_run_and_leaves_the_global_seed_alone():
    state = torch.get_rng_state()
    first, second, other = run(seed=3)[0], run(seed=3)[0], run(seed=4)[0]
    assert torch.equal(first[-1].x, second[-1].x)
    assert not torch.equal(first[-1].x, other[-1].x)
    assert torch.equal(torch.get_rng_state(), state)


@everyone
@pytest.mark.parametrize("wrap", [lambda sampler: sampler, no_final_noise], ids=["as it is", "quiet end"])
def test_two_runs_at_once_do_not_disturb_each_other(name, wrap):
    schedule, sampler = SCHEDULES["cosine"](20), wrap(SAMPLERS[name])
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))

    def walk(x, steps):
        return reverse(model, schedule, x, sampler, steps=steps, generator=torch.Generator().manual_seed(1))

    alone = list(walk(x, 20)), list(walk(2 * x, 10))
    one, other = walk(x, 20), walk(2 * x, 10)
    together = [(next(one), next(other)) for _ in range(11)]
    for i in range(11):
        assert torch.equal(together[i][0].x, alone[0][i].x)
        assert torch.equal(together[i][1].x, alone[1][i].x)
    assert all(torch.equal(f.x, g.x) for f, g in zip(one, alone[0][11:], strict=True))


def test_dpm_solver_remembers_within_a_run_and_nothing_of_the_last_run():
    schedule, x = SCHEDULES["cosine"](20), torch.ones(1, 2)
    sampler = DPMSolver2M()
    first, second = (sampler(model, schedule, x, t, t - 5) for t in (20, 15))
    assert torch.allclose(first.mean, ddim(model, schedule, x, 20, 15).mean, atol=1e-6)
    assert not torch.allclose(second.mean, ddim(model, schedule, x, 15, 10).mean, atol=1e-3)
    runs = [run(SAMPLERS["dpm-solver++"])[0] for _ in range(2)]
    assert all(torch.equal(f.x, g.x) for f, g in zip(*runs, strict=True))


@pytest.mark.parametrize("steps", [-1, 0, 21])
def test_a_wrong_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match="between 1 and T = 20"):
        run(steps=steps)


def test_every_sampler_is_a_way_and_mean_only_is_ddpm_without_noise():
    assert set(WAYS) == {"mean-only", *SAMPLERS}
    assert all(WAYS[name] == (sampler, 1.0) for name, sampler in SAMPLERS.items())
    assert WAYS["mean-only"] == (ddpm, 0.0)


# The collapse. With the exact predictor, so no network can be blamed.

# Clouds around an empty middle. Their mean-only run collapses like every other; but at the very end the particles lie
# where two or more parts of the data are equally near, and the tiniest difference decides which of them a particle is
# pulled to. An unstable balance: the sliver that was left is torn apart again. What all clouds share is that the run
# was once as good as a single point.
TORN = {"moons", "gaussians", "circles"}


@pytest.mark.parametrize("dataset", DATASETS)
@schedules
def test_mean_only_collapses_and_ddpm_and_ddim_do_not(dataset, schedule):
    experiment = Experiment(dataset=dataset, schedule=schedule, points=600, particles=300)
    data, exact = experiment.data(), experiment.exact()
    for way in ("ddpm", "ddim"):
        assert spread(experiment.reverse(exact, way).end, data) == pytest.approx(1, abs=0.1), way
    run = experiment.reverse(exact, "mean-only", experiment.start(100))
    width = [spread(x, data) for x in run.x]
    assert width[0] > 0.8
    assert min(width) < 0.05
    if dataset not in TORN:
        assert width[-1] < 0.05


def test_a_schedule_that_leaves_signal_in_x_T_hides_the_collapse():
    weak = Experiment(schedule="linear", T=50, strength=0.05)  # beta = 1e-4 ... 0.02, made for T = 1000
    assert weak.noise_schedule().alpha_bar[-1].item() == pytest.approx(0.6, abs=0.01)
    kept = spread(weak.reverse(weak.exact(), "mean-only").end, weak.data())
    assert kept > 0.6 and math.isfinite(kept)
