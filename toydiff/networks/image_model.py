"""What the networks for images share: how they are told the time, what their layers answer, how weights are drawn."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from toydiff.diffusion.schedules import Schedule
from toydiff.networks.time_embedding import time_embedding

MAX_SIDE = 64  # pixels of a picture


class ImageModel(nn.Module):
    """eps_theta(x, t) for images: x (B, C, H, W), t (B,) long -> (B, C, H, W). A subclass says what the layers are."""

    def __init__(self, schedule: Schedule, shape: tuple[int, ...], size: str, sizes: Collection[str]) -> None:
        super().__init__()
        if size not in sizes:
            raise ValueError(f"size must be one of {', '.join(sizes)}, not {size}")
        if len(shape) != 3 or shape[0] < 1 or not all(1 <= side <= MAX_SIDE for side in shape[1:]):
            raise ValueError(f"shape must be (channels, height, width), no side above {MAX_SIDE}, not {tuple(shape)}")
        signal, noise = schedule.rates(torch.arange(schedule.T + 1), torch.empty(1, 1, 1, 1))  # (T + 1, 1, 1, 1)
        # they follow the network to a graphics card, but are no part of a saved one: it fits every schedule
        self.signal: Tensor
        self.noise: Tensor
        self.embedding: Tensor
        self.register_buffer("signal", signal, persistent=False)
        self.register_buffer("noise", noise, persistent=False)
        self.register_buffer("embedding", time_embedding(schedule), persistent=False)  # (T + 1, 8)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in x. As in the network for points, the layers answer v of eps = noise * x + signal * v."""
        return self.noise[t] * x + self.signal[t] * self.layers(x, self.embedding[t])

    def layers(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (B, C, H, W), time: (B, 8) -> v, (B, C, H, W)."""
        raise NotImplementedError

    @torch.no_grad()
    def draw(self, seed: int, zero: Collection[nn.Module]) -> None:
        """Draw the weights of layers that were made on the device "meta", with PyTorch's usual bounds.

        PyTorch fills a new layer from its global generator. Layers on "meta" have shapes and no numbers, so nothing is
        drawn twice, and one seed gives the same network whatever else draws random numbers.
        zero: layers that begin at 0.
        """
        generator = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                layer.to_empty(device="cpu", recurse=False)
                bound = 0.0 if layer in zero else layer.weight[0].numel() ** -0.5
                for p in layer.parameters():
                    p.uniform_(-bound, bound, generator=generator)
            elif isinstance(layer, nn.GroupNorm):
                layer.to_empty(device="cpu", recurse=False).reset_parameters()
