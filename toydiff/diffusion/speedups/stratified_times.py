"""Stratified times: the t of a batch are spread evenly over their distribution, so that no batch is an easy one."""

from __future__ import annotations

import torch
from torch import Tensor


def independent(n: int, generator: torch.Generator | None) -> Tensor:
    """(n,): uniform numbers between 0 and 1, as Algorithm 1 has them."""
    return torch.rand(n, generator=generator)


def stratified(n: int, generator: torch.Generator | None) -> Tensor:
    """(n,): one uniform number in each n-th part of 0 ... 1, in order. Kingma et al. 2021 (Variational Diffusion
    Models, appendix I.1) spread times in a similar way."""
    return (torch.arange(n) + torch.rand(n, generator=generator)) / n
