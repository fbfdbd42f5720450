"""The network: guesses the noise in a noisy point."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from toydiff.diffusion.schedules import Schedule
from toydiff.networks.time_embedding import time_embedding

FREQUENCY = 1.5  # of the Fourier features, in radians per data width
MIN_WIDTH, MAX_WIDTH = 4, 512
MIN_DEPTH, MAX_DEPTH = 1, 8
MAX_FEATURES = 256


class MLP(nn.Module):
    """eps_theta(x, t) for points: x (B, D), t (B,) long -> (B, D).

    A plain network draws only smooth fields quickly. Sines and cosines of random projections of x (Tancik et al.
    2020, Fourier features) let it draw thin arms as well. Time enters as the log of the signal-to-noise ratio, not
    as t: one network then fits every T and every schedule.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        dim: int = 2,
        width: int = 128,
        depth: int = 2,
        features: int = 64,  # random directions in x; 0: none
        time: bool = True,  # False: the network is not told t
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not MIN_WIDTH <= width <= MAX_WIDTH:
            raise ValueError(f"width must be between {MIN_WIDTH} and {MAX_WIDTH}, not {width}")
        if not MIN_DEPTH <= depth <= MAX_DEPTH:
            raise ValueError(f"depth must be between {MIN_DEPTH} and {MAX_DEPTH}, not {depth}")
        if not 0 <= features <= MAX_FEATURES:
            raise ValueError(f"features must be between 0 and {MAX_FEATURES}, not {features}")
        self.schedule, self.time = schedule, time
        generator = torch.Generator().manual_seed(seed)
        self.projection: Tensor
        self.register_buffer("projection", FREQUENCY * torch.randn(dim, features, generator=generator))
        embedding = time_embedding(schedule) if time else torch.zeros(schedule.T + 1, 0)
        self.embedding: Tensor
        self.register_buffer("embedding", embedding)  # (T + 1, 8)

        sizes = [dim + 2 * features + embedding.shape[1], *[width] * depth]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [_linear(fan_in, fan_out, generator), nn.SiLU()]
        self.net = nn.Sequential(*layers, _linear(width, dim, generator))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x: (B, D), t: (B,) long -> the noise in x, (B, D).

        The layers answer only what is not obvious: v of eps = noise * x + signal * v (Salimans and Ho 2022). Near
        t = T, where x is all noise, an error of v is then an error of x_0 of the same size, however large T is.
        A network that is not told t answers eps itself: the mix would give t away.
        """
        angle = x @ self.projection
        out = self.net(torch.cat([x, angle.sin(), angle.cos(), self.embedding[t]], dim=1))
        if not self.time:
            return out
        signal, noise = self.schedule.rates(t, x)
        return noise * x + signal * out


def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """PyTorch's own initialization, but drawn from our generator: no global seed is touched."""
    layer = nn.utils.skip_init(nn.Linear, fan_in, fan_out)
    bound = fan_in**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
