"""The distribution of t. Algorithm 1 draws it uniformly; the best possible network is the same for every distribution
that leaves no t out."""

from __future__ import annotations

import torch
from torch import Tensor

from toydiff.diffusion.schedules import Schedule

LOCATION, SCALE = 1.0, 2.0  # of the logistic distribution, in units of log-SNR
FOR_ALL = 0.1  # a weight that all times share, so that none is left out


def uniform(schedule: Schedule) -> Tensor:
    """(T,): the cumulative distribution, P(t <= 1), ..., P(t <= T), where every t is equally likely."""
    return torch.arange(1, schedule.T + 1, dtype=torch.float64) / schedule.T


def logistic(schedule: Schedule) -> Tensor:
    """(T,): the same where the log-SNR of t is about logistic: t is drawn most where x_t is neither plain noise nor
    plain data. Karras et al. 2022, table 1, draw the noise log-normally, for the same reason."""
    log_snr = schedule.log_snr[1:]
    # t stands for the log-SNRs nearer to its own than to its neighbours'
    edges = torch.cat([log_snr[:1], (log_snr[1:] + log_snr[:-1]) / 2, log_snr[-1:]])
    weight = -((edges - LOCATION) / SCALE).sigmoid().diff() + FOR_ALL / schedule.T
    return (weight / weight.sum()).cumsum(0)


def quantiles(distribution: Tensor, u: Tensor) -> Tensor:
    """(n,) long: the smallest t whose cumulative distribution is at least u, for each u, (n,), between 0 and 1."""
    return torch.searchsorted(distribution, u.double()).clamp(max=len(distribution) - 1) + 1
