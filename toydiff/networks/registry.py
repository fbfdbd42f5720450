"""All networks, by the names that settings and links use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from toydiff.networks.dit import DiT
from toydiff.networks.mlp import MLP
from toydiff.networks.unet import UNet

# (schedule, width, depth, seed) -> a network for points
MODELS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "mlp-no-time": partial(MLP, time=False),
}

# (schedule, shape, size, seed) -> a network for images
IMAGE_MODELS: dict[str, Callable[..., nn.Module]] = {
    "unet": UNet,
    "dit": DiT,
}
