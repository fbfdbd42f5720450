"""A diffusion Transformer for images (Peebles and Xie 2023, DiT)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toydiff.diffusion.schedules import Schedule
from toydiff.networks.image_model import ImageModel

HEAD_WIDTH = 32  # numbers per attention head
ACROSS = 8  # patches along the longer side, at most: attention costs their number squared

DIT_SIZES = {"small": (64, 4), "medium": (128, 5), "large": (256, 5)}  # width, blocks: 0.3, 1.5, 6.2 million parameters


class DiT(ImageModel):
    """The picture is cut into patches, and patches are words: nothing but attention and two-layer networks, of which
    the time sets scale, shift and share. No convolution, so where a patch comes from has to be said."""

    def __init__(
        self,
        schedule: Schedule,
        *,
        shape: tuple[int, ...] = (1, 8, 8),
        size: str = "small",
        seed: int = 0,
    ) -> None:
        super().__init__(schedule, shape, size, DIT_SIZES)
        d, depth = DIT_SIZES[size]
        C, H, W = shape
        # patches of one pixel learn no more in a step, and a step takes three times as long
        self.patch = p = max(2, -(-max(H, W) // ACROSS))
        self.places: Tensor
        self.register_buffer("places", positions(-(-H // p), -(-W // p), d), persistent=False)  # (N, d)

        with torch.device("meta"):  # shapes only: `draw` fills them from a generator of our own
            self.time = nn.Sequential(nn.Linear(8, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU())
            self.first = nn.Linear(C * p * p, d)
            blocks = [Block(d) for _ in range(depth)]
            self.blocks = nn.ModuleList(blocks)
            self.norm = nn.LayerNorm(d, elementwise_affine=False)
            self.set = nn.Linear(d, 2 * d)
            self.last = nn.Linear(d, C * p * p)
        self.draw(seed, zero=[self.last, self.set, *(block.set for block in blocks)])

    def layers(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (B, C, H, W), time: (B, 8) -> v, (B, C, H, W). N patches of p x p pixels, d numbers each."""
        H, W = x.shape[2:]
        p = self.patch
        time = self.time(time)[:, None]  # (B, 1, d)
        x = F.pixel_unshuffle(F.pad(x, (0, -W % p, 0, -H % p)), p)  # (B, C p p, H / p, W / p), rounded up
        grid = x.shape[2:]
        x = self.first(x.flatten(2).mT) + self.places  # (B, N, d)
        for block in self.blocks:
            x = block(x, time)
        scale, shift = self.set(time).chunk(2, dim=2)
        x = self.last(self.norm(x) * (1 + scale) + shift)  # (B, N, C p p)
        return F.pixel_shuffle(x.mT.unflatten(2, grid), p)[:, :, :H, :W]


class Block(nn.Module):
    """Attention between the patches, then two layers for each on its own. At first every block does nothing: its
    shares begin at 0 (adaLN-zero)."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.set = nn.Linear(d, 6 * d)
        self.norm = nn.LayerNorm(d, elementwise_affine=False)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.net = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(approximate="tanh"), nn.Linear(4 * d, d))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x: (B, N, d), time: (B, 1, d) -> (B, N, d)."""
        scale1, shift1, share1, scale2, shift2, share2 = self.set(time).chunk(6, dim=2)  # (B, 1, d) each
        x = x + share1 * self.attention(self.norm(x) * (1 + scale1) + shift1)
        return x + share2 * self.net(self.norm(x) * (1 + scale2) + shift2)

    def attention(self, x: Tensor) -> Tensor:
        """(B, N, d) -> (B, N, d): every patch looks at every other (Vaswani et al. 2017)."""
        q, k, v = self.qkv(x).unflatten(2, (3, -1, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)  # (B, heads, N, 32) each
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def positions(rows: int, columns: int, d: int) -> Tensor:
    """(rows * columns, d): sines and cosines of the row at d/4 frequencies, then of the column."""
    frequency = 10_000 ** -(torch.arange(d // 4) / (d // 4))  # (d/4,): 1 radian a patch, and slower
    row, column = (torch.arange(n)[:, None] * frequency for n in (rows, columns))  # (rows, d/4), (columns, d/4)
    row = torch.cat([row.sin(), row.cos()], dim=1)[:, None].expand(-1, columns, -1)  # (rows, columns, d/2)
    column = torch.cat([column.sin(), column.cos()], dim=1).expand(rows, -1, -1)  # (rows, columns, d/2)
    return torch.cat([row, column], dim=2).flatten(0, 1)
