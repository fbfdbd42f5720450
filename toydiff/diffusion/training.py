"""Algorithm 1 of Ho, Jain and Abbeel 2020: a network learns to guess the noise.

What makes it learn sooner stands in `speedups/`; `trainer.py` keeps a training that can be saved and watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from toydiff.diffusion.exact import Model
from toydiff.diffusion.schedules import Schedule


class Examples(NamedTuple):
    """What a network learns from in one step."""

    x0: Tensor  # (B, *shape): points of the data
    eps: Tensor  # (B, *shape): the noise to add to each
    t: Tensor  # (B,) long: the time to jump to, 1 ... T


Draw = Callable[[Tensor, Schedule, int, torch.Generator | None], Examples]  # (data, schedule, B, generator)
Loss = Callable[[Tensor, Tensor, Examples], Tensor]  # (guess, x_t, examples) -> the loss, ()


def draw_examples(data: Tensor, schedule: Schedule, n: int, generator: torch.Generator | None) -> Examples:
    """Lines 2 to 4: x_0 ~ q(x_0), t ~ Uniform({1, ..., T}), eps ~ N(0, I)."""
    x0 = data[torch.randint(len(data), (n,), generator=generator)]
    t = torch.randint(1, schedule.T + 1, (n,), generator=generator)
    eps = torch.randn(x0.shape, generator=generator)
    return Examples(x0, eps, t)


def simple_loss(guess: Tensor, x: Tensor, examples: Examples) -> Tensor:
    """Line 5: |eps - eps_theta(x_t, t)|^2, L_simple (eq. 14), the mean over examples and components."""
    return F.mse_loss(guess, examples.eps)


def algorithm_1(
    model: Model,
    data: Tensor,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    *,
    batch: int = 256,
    generator: torch.Generator | None = None,
    draw: Draw = draw_examples,
    loss: Loss = simple_loss,
) -> Iterator[Tensor]:
    """Makes one gradient step, yields its loss, and so on without an end: `for loss in islice(algorithm_1(...), 5000)`.

    model: eps_theta; data: (N, *shape); optimizer: of the model's weights, such as torch.optim.Adam.
    """
    while True:  # until converged: the caller decides when
        x0, eps, t = examples = draw(data, schedule, batch, generator)
        x = schedule.noised(x0, eps, t)
        error = loss(model(x, t), x, examples)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        yield error.detach()
