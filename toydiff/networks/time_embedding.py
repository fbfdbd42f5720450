"""How a network is told the time: as the log of the signal-to-noise ratio, so that one network fits every T."""

from __future__ import annotations

import torch
from torch import Tensor

from toydiff.diffusion.schedules import Schedule


def time_embedding(schedule: Schedule) -> Tensor:
    """(T + 1, 8): sines and cosines of the log-SNR at four frequencies. t = 0, pure signal, is never asked for."""
    log_snr = schedule.log_snr.clamp(-12, 12).float()
    angle = log_snr[:, None] * torch.tensor([0.125, 0.25, 0.5, 1.0])
    return torch.cat([angle.sin(), angle.cos()], dim=1)
