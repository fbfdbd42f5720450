"""From noise to data. A sampler is one Gaussian p(x_s | x_t); `reverse` is the loop, the only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.diffusion.exact import Model
from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.trajectory import Frame


class Step(NamedTuple):
    """One reverse step: x_s = mean + std * z."""

    mean: Tensor  # (B, *shape)
    std: Tensor  # (): sigma_t, the std of the step (not of x_t)
    x0: Tensor  # (B, *shape): the guess made at time t


Sampler = Callable[[Model, Schedule, Tensor, int, int], Step]


def ddpm(eps: Model, schedule: Schedule, x: Tensor, t: int, s: int) -> Step:
    """The posterior q(x_s | x_t, x_0) with the guess in place of x_0 (eq. 6, 7), variance beta-tilde.

    With s = t - 1 this is Algorithm 2. At s = 0 the variance is 0: the last step adds no noise.
    """
    a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    alpha = a_t / a_s  # of the jump from s to t: the paper's alpha_t when s = t - 1
    x0 = schedule.x0(x, eps(x, _times(t, x)), t)
    mean = (a_s.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - a_s) * x) / (1 - a_t)
    return Step(mean, ((1 - alpha) * (1 - a_s) / (1 - a_t)).sqrt(), x0)


def ddpm_beta(eps: Model, schedule: Schedule, x: Tensor, t: int, s: int) -> Step:
    """DDPM with the larger variance sigma^2 = beta (section 3.2). Its last step adds noise too."""
    alpha = schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return ddpm(eps, schedule, x, t, s)._replace(std=(1 - alpha).sqrt())


def ddim(eps: Model, schedule: Schedule, x: Tensor, t: int, s: int, eta: float = 0.0) -> Step:
    """Song et al. 2020 (DDIM), eq. 12 and 16: eta = 0 is deterministic, eta = 1 is DDPM."""
    a_t, a_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    noise = eps(x, _times(t, x))
    x0 = schedule.x0(x, noise, t)
    std = eta * ((1 - a_s) / (1 - a_t) * (1 - a_t / a_s)).sqrt()
    return Step(a_s.sqrt() * x0 + (1 - a_s - std**2).clamp(min=0).sqrt() * noise, std, x0)


def heun(eps: Model, schedule: Schedule, x: Tensor, t: int, s: int) -> Step:
    """Heun's method for the probability flow ODE (Karras et al. 2022, Algorithm 1): second order, two calls a step.

    In x / sqrt(a) and sigma = sqrt((1 - a) / a) the slope of the ODE is eps, so a DDIM step is Euler's, and the same
    step with the mean of eps at both ends is Heun's. At s = 0 there is no eps: the last step is DDIM's.
    """
    noise = eps(x, _times(t, x))
    x0 = schedule.x0(x, noise, t)
    mean = schedule.noised(x0, noise, s)
    if s > 0:
        noise = (noise + eps(mean, _times(s, x))) / 2
        mean = schedule.noised(schedule.x0(x, noise, t), noise, s)
    return Step(mean, torch.zeros(()), x0)


class DPMSolver2M:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2): second order, one call a step.

    A DDIM step whose guess x0 is extrapolated, along the log-SNR, from the last step's guess through this one's to half
    a step ahead. It remembers that guess, so every run needs one of its own. First and last step are DDIM's.
    """

    def __init__(self) -> None:
        self._last: tuple[Tensor, Tensor] | None = None  # log-SNR and x0 of the step before

    def __call__(self, eps: Model, schedule: Schedule, x: Tensor, t: int, s: int) -> Step:
        log_snr = schedule.log_snr
        x0 = ahead = schedule.x0(x, eps(x, _times(t, x)), t)
        if self._last is not None and s > 0:  # at s = 0 the log-SNR is infinite
            last_log_snr, last_x0 = self._last
            ahead = x0 + (log_snr[s] - log_snr[t]) / (log_snr[t] - last_log_snr) / 2 * (x0 - last_x0)
        self._last = log_snr[t], x0
        return Step(schedule.noised(ahead, schedule.eps(x, ahead, t), s), torch.zeros(()), x0)


def no_final_noise(sampler: Sampler) -> Sampler:
    """The same sampler, but its last step, at s = 0, adds no noise."""
    return partial(_quiet, sampler)


def _quiet(sampler: Sampler, eps: Model, schedule: Schedule, x: Tensor, t: int, s: int) -> Step:
    step = sampler(eps, schedule, x, t, s)
    return step if s > 0 else step._replace(std=torch.zeros(()))


@torch.inference_mode()
def reverse(
    model: Model,
    schedule: Schedule,
    x: Tensor,
    sampler: Sampler = ddpm,
    *,
    steps: int | None = None,
    noise: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[Frame]:
    """Algorithm 2 from x = x_T, (B, *shape): frames t = T ... 0, the last one is the sample.

    `noise` multiplies sigma_t z: 1 is the sampler as it is, 0 leaves its mean alone. z is drawn at every step
    whatever becomes of it, so two runs from one seed share their z. ValueError unless 1 <= steps <= T.
    """
    sampler = deepcopy(sampler)  # one that remembers starts with a memory of its own; a function stays what it is
    mean = x
    for t, s in pairwise(schedule.grid(steps)):
        step = sampler(model, schedule, x, t, s)
        yield Frame(t, x, step.x0, mean)
        z = torch.randn(x.shape, generator=generator).to(x)
        mean = step.mean
        x = mean + noise * step.std * z
    yield Frame(0, x, x, mean)


def _times(t: int, x: Tensor) -> Tensor:
    return torch.full((len(x),), t, device=x.device)


SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddpm-beta": ddpm_beta,
    "ddim": ddim,
    "ddim-half": partial(ddim, eta=0.5),
    "heun": heun,
    "dpm-solver++": DPMSolver2M(),
}


class SamplerSpec(NamedTuple):
    """One way down from noise, as menus offer it: a sampler, and how much of its noise is used."""

    sampler: Sampler
    noise: float = 1.0


WAYS: dict[str, SamplerSpec] = {"mean-only": SamplerSpec(ddpm, noise=0.0)} | {
    name: SamplerSpec(s) for name, s in SAMPLERS.items()
}
