"""Real forward walks, and what those that end in the same place say about the noise in them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.targets import last_step_variance
from toydiff.diffusion.trajectory import Trajectory, chain

DISC = 0.05  # radius of "the same place", as a share of sqrt(1 - alpha_bar_t): eps varies little within
TRIES, BLOCK = 2**24, 2**17  # walks that are sent out at most, and at once
MAX_WALK_STEPS, WALK_STEPS_AT_ONCE = 2**24, 2**19  # the same for whole walks, in steps: a walk to t makes t of them


class Walks(NamedTuple):
    """Forward walks that end near one place at time t."""

    x0: Tensor  # (n, *shape): where they came from
    x: Tensor  # (n, *shape): x_t, where they ended
    eps: Tensor  # (n, *shape): all their noise, in one (eq. 4)
    last: Tensor  # (n, *shape): the noise of the last step alone, scaled like `targets.last_step`
    tried: int  # so many were sent out


def radius(schedule: Schedule, t: int) -> float:
    """How near counts as the same place at time t."""
    return DISC * (1 - schedule.alpha_bar[t]).sqrt().item()


def walks_through(data: Tensor, schedule: Schedule, t: int, place: Tensor, n: int, generator: torch.Generator) -> Walks:
    """The first n forward walks that end within `radius` of `place` (*shape) at time t: fewer, or none, if TRIES are
    not enough. Only their last step is a step (eq. 2): what comes before is one jump (eq. 4), the same in law."""
    found: list[tuple[Tensor, ...]] = []
    tried = count = 0
    while tried < TRIES and count < n:
        x0 = _starts(data, BLOCK, generator)
        before = schedule.noised(x0, torch.randn(x0.shape, generator=generator), t - 1)
        z = torch.randn(x0.shape, generator=generator)
        x = (1 - schedule.beta[t]).sqrt() * before + schedule.beta[t].sqrt() * z
        here = _near(x, place, radius(schedule, t))
        found.append((x0[here], x[here], z[here]))
        tried, count = tried + BLOCK, count + int(here.sum())
    x0, x, z = (torch.cat(parts)[:n] for parts in zip(*found, strict=True))
    return Walks(x0, x, schedule.eps(x, x0, t), last_step_variance(schedule, t).sqrt() * z, tried)


def whole_walks(
    data: Tensor, schedule: Schedule, t: int, place: Tensor, n: int, generator: torch.Generator
) -> Trajectory:
    """The first n such walks (fewer, or none, within MAX_WALK_STEPS), made step by step from 0 to t, at all times."""
    steps, crowd = Schedule(schedule.beta[: t + 1]), min(WALK_STEPS_AT_ONCE // t, BLOCK)
    found: list[Trajectory] = []
    for _ in range(min(MAX_WALK_STEPS // t, TRIES) // crowd):
        run = Trajectory.collect(chain(_starts(data, crowd, generator), steps, generator))
        here = _near(run.end, place, radius(schedule, t))
        found.append(Trajectory(run.t, run.x[:, here], run.x0[:, here], run.mean[:, here]))
        if sum(part.x.shape[1] for part in found) >= n:
            break
    x, x0, mean = (torch.cat([getattr(run, part) for run in found], 1)[:, :n] for part in ("x", "x0", "mean"))
    return Trajectory(found[0].t, x, x0, mean)


class Given(NamedTuple):
    """What both noises are on average for walks that are at one place at time t, and how far single walks are off."""

    mean: Tensor  # (*shape): the same for both
    total: Tensor  # (): variance of all the noise, the mean over the components
    last: Tensor  # (): variance of the last step's, scaled


def given(data: Tensor, schedule: Schedule, t: int, place: Tensor) -> Given:
    """In closed form, by Bayes over the data points that could have come to `place` (*shape), as in `exact.cloud`. What
    the last step's noise has on top of eps is the same everywhere (`targets.last_step`)."""
    eps = schedule.eps(place.double().expand(data.shape), data.double(), t).flatten(1)  # (N, D): of each data point
    weight = (-eps.square().sum(1) / 2).softmax(0)
    mean = weight @ eps
    total = (weight @ (eps - mean).square()).mean()
    return Given(mean.reshape(place.shape), total, total + last_step_variance(schedule, t) - 1)


def variances(data: Tensor, schedule: Schedule, times: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """(K, 2): of n real walks, wherever they are at each of the times (K,), the variance of all their noise and of the
    last step's, scaled: per component. The closed forms are 1 and `last_step_variance`."""
    x0, wanted = _starts(data, n, generator), set(times.tolist())
    found = {}
    for frame in chain(x0, schedule, generator):
        if frame.t in wanted:
            z = (frame.x - frame.mean) / schedule.beta[frame.t].sqrt()
            scale = last_step_variance(schedule, frame.t)
            found[frame.t] = torch.stack([schedule.eps(frame.x, x0, frame.t).var(), scale * z.var()])
    return torch.stack([found[t] for t in times.tolist()])


def _starts(data: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return data[torch.randint(len(data), (n,), generator=generator)]


def _near(x: Tensor, place: Tensor, radius: float) -> Tensor:
    return (x - place).flatten(1).norm(dim=1) < radius
