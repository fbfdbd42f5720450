"""Walks: forwards they have the distribution of the paper, and collecting them loses nothing."""

import itertools

import pytest
import torch

from toydiff.diffusion.schedules import SCHEDULES
from toydiff.diffusion.trajectory import Frame, Trajectory, chain, jump

everyone = pytest.mark.parametrize("name", SCHEDULES)
walks = pytest.mark.parametrize("walk", [chain, jump])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@walks
@everyone
def test_forward_walks_have_the_distribution_of_eq_4(walk, name):
    schedule = SCHEDULES[name](50)
    x0 = torch.tensor([2.0, -1.0]).expand(20_000, 2)
    frames = list(walk(x0, schedule, seeded()))
    assert [f.t for f in frames] == list(range(51))
    for f in frames:
        signal, noise = schedule.alpha_bar[f.t].sqrt().item(), (1 - schedule.alpha_bar[f.t]).sqrt().item()
        assert f.x.mean(0).tolist() == pytest.approx([2 * signal, -signal], abs=0.04)
        assert f.x.std(0).tolist() == pytest.approx([noise, noise], abs=0.02)
        assert torch.equal(f.x0, x0)


@everyone
def test_chain_is_eq_2_step_by_step(name):
    schedule = SCHEDULES[name](50)
    x0 = torch.randn(4, 1, 8, 8)
    frames, z = list(chain(x0, schedule, seeded(3))), seeded(3)
    assert torch.equal(frames[0].x, x0)
    for f, g in itertools.pairwise(frames):
        beta = schedule.beta[g.t].float()
        assert torch.allclose(g.mean, (1 - beta).sqrt() * f.x, atol=1e-6)
        assert torch.allclose(g.x, g.mean + beta.sqrt() * torch.randn(x0.shape, generator=z), atol=1e-6)


@everyone
def test_jump_keeps_one_eps_for_all_t(name):
    schedule = SCHEDULES[name](50)
    x0 = torch.randn(4, 2)
    eps = torch.randn(4, 2, generator=seeded())
    for f in jump(x0, schedule, seeded()):
        assert torch.allclose(f.x, schedule.noised(x0, eps, f.t), atol=1e-6)


@walks
def test_a_seed_gives_one_walk(walk):
    schedule, x0 = SCHEDULES["cosine"](10), torch.zeros(3, 2)
    first, second, other = (Trajectory.collect(walk(x0, schedule, seeded(s))) for s in (1, 1, 2))
    assert torch.equal(first.x, second.x)
    assert not torch.equal(first.x, other.x)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
@pytest.mark.parametrize("keep", [None, 0, 3, 100])
def test_collect_stacks_the_first_particles(shape, keep):
    frames = [Frame(t, *torch.randn(3, 5, *shape)) for t in (4, 2, 0)]
    run = Trajectory.collect(iter(frames), keep)
    assert run.t.tolist() == [4, 2, 0]
    for i, f in enumerate(frames):
        assert torch.equal(run.x[i], f.x[:keep])
        assert torch.equal(run.x0[i], f.x0[:keep])
        assert torch.equal(run.mean[i], f.mean[:keep])
    assert torch.equal(run.end, frames[-1].x[:keep])


def test_some_frames_of_a_run():
    frames = (Frame(t, *(torch.full((2, 2), float(t + part)) for part in (0, 100, 200))) for t in (9, 6, 3, 0))
    some = Trajectory.collect(frames).at(torch.tensor([9, 3]))
    assert some.t.tolist() == [9, 3]
    assert [part[:, 0, 0].tolist() for part in (some.x, some.x0, some.mean)] == [[9, 3], [109, 103], [209, 203]]
    with pytest.raises(ValueError, match="frames at t = "):
        some.at(torch.tensor([9, 6]))
