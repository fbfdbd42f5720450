"""Averaged weights: the weights of single steps jitter around the goal; their average is nearer to it."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

GAMMA = 7  # more than half of the average's weight is in the last tenth of the training


class AveragedWeights:
    """The power function average of Karras et al. 2024 (EDM2), section 3.1: the weights of step s count about s^gamma.

    It remembers a share of the training, however long that gets, so the end of a training need not be known. GAMMA is
    about their sigma_rel = 0.10. off: keep the last weights instead of the average.
    """

    def __init__(self, parameters: Iterable[Tensor], *, off: bool = False) -> None:
        self._parameters, self._off = list(parameters), off
        self.values = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps, 1 the first."""
        weight = 1.0 if self._off else 1 - (1 - 1 / step) ** (GAMMA + 1)  # eq. 2
        torch._foreach_lerp_(self.values, self._parameters, weight)

    def model(self, like: nn.Module) -> nn.Module:
        """A frozen copy of the network with the averaged weights."""
        return frozen(copy.deepcopy(like), self.values)


def frozen(model: nn.Module, weights: Iterable[Tensor]) -> nn.Module:
    """The network itself, with these weights, for answers only: nothing trains it any more."""
    model.eval().requires_grad_(False)
    for p, weight in zip(model.parameters(), weights, strict=True):
        p.copy_(weight)
    return model
