"""Noise schedules: how much noise each of the T forward steps adds. t = 0 is data, t = T is noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

MIN_T, MAX_T = 10, 1000
NOISE = 0.05  # with less signal than this, x_T passes for pure noise


@dataclass(frozen=True, eq=False)
class Schedule:
    """The numbers that define a diffusion. Kept in float64: 1 - alpha_bar is tiny near t = 0."""

    beta: Tensor  # (T + 1,) with beta[0] = 0 and 0 < beta[t] < 1: the variance that step t adds

    def __post_init__(self) -> None:
        beta = self.beta.double()
        if beta.ndim != 1 or len(beta) < 2 or beta[0] != 0:
            raise ValueError("beta must have shape (T + 1,) with T >= 1 and beta[0] = 0")
        if not ((beta[1:] > 0) & (beta[1:] < 1)).all():
            raise ValueError("every beta_t, t = 1 ... T, must lie between 0 and 1, both excluded")
        object.__setattr__(self, "beta", beta)

    @property
    def T(self) -> int:
        """The number of steps."""
        return len(self.beta) - 1

    @cached_property
    def alpha_bar(self) -> Tensor:
        """(T + 1,): the share of the variance of x_t that is still data, prod (1 - beta); 1 at t = 0."""
        return (1 - self.beta).cumprod(0)

    @cached_property
    def signal(self) -> Tensor:
        """(T + 1,): how much of x_0 is in x_t, sqrt(alpha_bar)."""
        return self.alpha_bar.sqrt()

    @cached_property
    def noise(self) -> Tensor:
        """(T + 1,): how much noise is in x_t, sqrt(1 - alpha_bar)."""
        return (1 - self.alpha_bar).sqrt()

    @cached_property
    def log_snr(self) -> Tensor:
        """(T + 1,): log of the signal-to-noise ratio alpha_bar / (1 - alpha_bar); +inf at t = 0."""
        return self.alpha_bar.logit()

    @property
    def signal_left(self) -> float:
        """sqrt(alpha_bar_T): the share of x_0 that is still in x_T. Above NOISE, N(0, I) is a wrong start."""
        return self.signal[-1].item()

    def rates(self, t: int | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """How much signal and how much noise x_t is made of, sqrt(alpha_bar_t) and sqrt(1 - alpha_bar_t).

        Shaped and typed so that they multiply x (B, *shape), and where x is; t: one number or (B,), anywhere.
        """
        if isinstance(t, Tensor):
            t = t.cpu().reshape(-1, *[1] * (x.ndim - 1)) if t.ndim else t.cpu()
        # first the dtype, then the device: not every graphics card knows float64
        return self.signal[t].to(x.dtype).to(x.device), self.noise[t].to(x.dtype).to(x.device)

    def noised(self, x0: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """x_t in one jump (eq. 4)."""
        signal, noise = self.rates(t, x0)
        return signal * x0 + noise * eps

    def x0(self, x: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """The guess at x_0 that a predicted noise amounts to (eq. 15): eq. 4 solved for x_0."""
        signal, noise = self.rates(t, x)
        return (x - noise * eps) / signal

    def eps(self, x: Tensor, x0: Tensor, t: int | Tensor) -> Tensor:
        """The noise that a guess at x_0 amounts to: eq. 4 solved for eps."""
        signal, noise = self.rates(t, x)
        return (x - signal * x0) / noise

    def grid(self, steps: int | None = None) -> list[int]:
        """The times that a reverse run visits: T, ..., 0 in `steps` jumps (all T of them if None)."""
        steps = self.T if steps is None else steps
        if not 1 <= steps <= self.T:
            raise ValueError(f"steps must be between 1 and T = {self.T}, not {steps}")
        return [round(self.T * (steps - i) / steps) for i in range(steps + 1)]


# Ho et al. chose beta = 0.0001 ... 0.02 for T = 1000. It is the noise of all steps together that has to destroy the
# data, so with fewer steps each must add more: beta is scaled by 1000 / T.
BETA_1, BETA_T = 1e-4, 0.02

# No step may wipe out x entirely. The first reverse step divides by sqrt(1 - beta_T), and with it every error of the
# network is multiplied: by 3 with this cap, by 32 with the 0.999 of Nichol and Dhariwal.
CAP = 0.9


def linear(T: int) -> Schedule:
    """beta rises in a straight line (Ho et al. 2020, section 4)."""
    return _scaled(torch.linspace(BETA_1, BETA_T, _checked(T), dtype=torch.float64))


def quadratic(T: int, beta_T: float = 0.03) -> Schedule:
    """sqrt(beta) rises in a straight line ("quad" in the code of Song et al. 2020, DDIM).

    It starts so slowly that it ends at 0.03, to destroy as much as the linear one does.
    """
    return _scaled(torch.linspace(BETA_1**0.5, beta_T**0.5, _checked(T), dtype=torch.float64) ** 2)


def sigmoid(T: int) -> Schedule:
    """beta rises in an S, slow at both ends (Xu et al. 2022, GeoDiff)."""
    rise = torch.linspace(-6, 6, _checked(T), dtype=torch.float64).sigmoid()
    return _scaled(BETA_1 + (BETA_T - BETA_1) * rise)


def cosine(T: int, cap: float = CAP) -> Schedule:
    """alpha_bar falls like a squared cosine (Nichol and Dhariwal 2021, eq. 17), whatever T is."""
    t = torch.arange(_checked(T) + 1, dtype=torch.float64) / T
    alpha_bar = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return _schedule(1 - alpha_bar[1:] / alpha_bar[:-1], cap)


SIGMA_1, SIGMA_T = 0.05, 100.0  # sqrt(1 - alpha_bar) / sqrt(alpha_bar), noise over signal, in x_1 and in x_T


def log_linear(T: int) -> Schedule:
    """log(noise / signal) rises in a straight line: from x_1 on each step multiplies noise / signal by one factor. The
    noise levels of Song and Ermon 2019 (NCSN, section 4.1) are such a geometric sequence."""
    log_sigma = torch.linspace(math.log(SIGMA_1), math.log(SIGMA_T), _checked(T), dtype=torch.float64)
    alpha_bar = (-2 * log_sigma).sigmoid()  # 1 / (1 + sigma^2)
    return _schedule(1 - alpha_bar / torch.cat([torch.ones(1), alpha_bar[:-1]]))


def _scaled(beta: Tensor) -> Schedule:
    return _schedule(beta * 1000 / len(beta))


def _schedule(beta: Tensor, cap: float = CAP) -> Schedule:
    return Schedule(torch.cat([torch.zeros(1, dtype=torch.float64), beta.clamp(max=cap)]))


def _checked(T: int) -> int:
    if not MIN_T <= T <= MAX_T:
        raise ValueError(f"T must be between {MIN_T} and {MAX_T}, not {T}")
    return T


SCHEDULES: dict[str, Callable[[int], Schedule]] = {
    "linear": linear,
    "cosine": cosine,
    "sigmoid": sigmoid,
    "quadratic": quadratic,
    "log-linear": log_linear,
}
