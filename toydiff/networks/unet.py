"""The U-Net. A point is now a picture, (C, H, W)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toydiff.diffusion.schedules import Schedule
from toydiff.networks.image_model import ImageModel

COARSEST = 8  # halve the picture until no side is longer than this
GROUP = 8  # channels that are normalized together

WIDTHS = {"small": 32, "medium": 64, "large": 128}  # channels at full size: 0.3, 1.1, 4.5 million parameters at 8 x 8


class UNet(ImageModel):
    """Down to a small picture with many channels, where every place sees every other, and up again; what each size
    lost on the way down comes across from there (Ronneberger et al. 2015; for diffusion, Ho et al. 2020)."""

    def __init__(
        self,
        schedule: Schedule,
        *,
        shape: tuple[int, ...] = (1, 8, 8),
        size: str = "small",
        seed: int = 0,
    ) -> None:
        super().__init__(schedule, shape, size, WIDTHS)
        c = WIDTHS[size]
        C, side = shape[0], max(shape[1:])
        halvings = 1
        while side > COARSEST << halvings:
            halvings += 1
        widths = [c] + [2 * c] * halvings  # channels at each size: full, half, a quarter ...

        with torch.device("meta"):  # shapes only: `draw` fills them from a generator of our own
            self.time = nn.Sequential(nn.Linear(8, 4 * c), nn.SiLU(), nn.Linear(4 * c, 4 * c), nn.SiLU())
            self.first = nn.Conv2d(C, c, 3, padding=1)
            self.down = nn.ModuleList(Block(widths[max(i - 1, 0)], widths[i], 4 * c) for i in range(halvings))
            self.bottom = nn.ModuleList(
                [Block(widths[-2], widths[-1], 4 * c), Attention(widths[-1]), Block(widths[-1], widths[-1], 4 * c)]
            )
            self.up = nn.ModuleList(
                Block(widths[i + 1] + widths[i], widths[i], 4 * c) for i in reversed(range(halvings))
            )
            self.last = nn.Sequential(nn.GroupNorm(c // GROUP, c), nn.SiLU(), nn.Conv2d(c, C, 3, padding=1))
        self.draw(seed, zero=[self.last[-1]])

    def layers(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (B, C, H, W), time: (B, 8) -> v, (B, C, H, W). c is the width; sizes of one halving, 8 x 8."""
        time = self.time(time)  # (B, 4c)
        x = self.first(x)  # (B, c, 8, 8)
        across = []
        for block in self.down:
            x = block(x, time)
            across.append(x)  # (B, c, 8, 8)
            x = F.avg_pool2d(x, 2, ceil_mode=True)  # (B, c, 4, 4); an odd side rounds up
        for block in self.bottom:
            x = block(x, time)  # (B, 2c, 4, 4)
        for block in self.up:
            skip = across.pop()
            x = F.interpolate(x, skip.shape[2:])  # (B, 2c, 8, 8): every pixel four times
            x = block(torch.cat([x, skip], dim=1), time)  # (B, 3c, 8, 8) -> (B, c, 8, 8)
        return self.last(x)


class Block(nn.Module):
    """Two convolutions around which x passes unchanged (He et al. 2015). In between, the time says how much of each
    channel matters: scale and shift (Dhariwal and Nichol 2021, adaptive group normalization)."""

    def __init__(self, c_in: int, c_out: int, c_time: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(c_in // GROUP, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time = nn.Linear(c_time, 2 * c_out)
        self.norm2 = nn.GroupNorm(c_out // GROUP, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.around = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (B, c_in, h, w), time: (B, c_time) -> (B, c_out, h, w)."""
        scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)  # (B, c_out, 1, 1) each
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y) * (1 + scale) + shift))
        return self.around(x) + y


class Attention(nn.Module):
    """Every place looks at every other (Vaswani et al. 2017), which convolutions of 3 x 3 cannot."""

    def __init__(self, c: int, head: int = 32) -> None:
        super().__init__()
        self.heads = c // head
        self.norm = nn.GroupNorm(c // GROUP, c)
        self.qkv = nn.Conv2d(c, 3 * c, 1)
        self.out = nn.Conv2d(c, c, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (B, c, h, w) -> the same; the time is not needed."""
        qkv = self.qkv(self.norm(x)).flatten(2)  # (B, 3c, hw)
        q, k, v = qkv.unflatten(1, (3, self.heads, -1)).mT.unbind(1)  # (B, heads, hw, head) each
        # alone, a place sees itself; and on a GPU PyTorch refuses attention to one place in this order in memory
        seen = v if v.shape[2] == 1 else F.scaled_dot_product_attention(q, k, v)
        return x + self.out(seen.mT.flatten(1, 2).unflatten(2, x.shape[2:]))
