"""(b) Training steps per second, against a machine that does nothing but the matrix products of a step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import nn

from benchmarks.table import Row, interleaved, seconds
from toydiff.experiments.experiment import Experiment


def products(net: nn.Module, batch: int) -> list[tuple[int, int, int]]:
    """(n, k, m) of every matrix product (n, k) @ (k, m) in one step: forward, gradient of weights, of inputs."""
    sizes = [(layer.in_features, layer.out_features) for layer in net.modules() if isinstance(layer, nn.Linear)]
    return [
        *((batch, into, out) for into, out in sizes),
        *((out, batch, into) for into, out in sizes),
        *((batch, out, into) for into, out in sizes[1:]),  # nobody asks for the gradient of x and t
    ]


def only_products(net: nn.Module, batch: int) -> Callable[[int], None]:
    """So many steps' products, into memory that is there already."""
    work = [(torch.randn(n, k), torch.randn(k, m), torch.empty(n, m)) for n, k, m in products(net, batch)]

    def advance(steps: int) -> None:
        for _ in range(steps):
            for a, b, out in work:
                torch.mm(a, b, out=out)

    return advance


def rows(quick: bool = False) -> list[Row]:
    """The app's network, and one with a layer more: for that, FINDINGS has autograd at a third of the ceiling."""
    steps, rounds = (50, 3) if quick else (300, 9)
    return [measured(Experiment(depth=depth), steps, rounds) for depth in (2, 3)]


def measured(experiment: Experiment, steps: int, rounds: int) -> Row:
    """One row."""
    trainer = experiment.trainer()
    work = [partial(advance, steps) for advance in (trainer.advance, only_products(trainer.model, experiment.batch))]
    for advance in work:
        advance()  # warm up
    a, b = (median(times) / steps for times in interleaved(rounds, *(partial(seconds, advance) for advance in work)))
    flop = sum(2 * n * k * m for n, k, m in products(trainer.model, experiment.batch))
    return Row(
        f"training steps, {experiment.depth} layers of {experiment.width}, batch {experiment.batch}",
        f"{1 / a:,.0f} a second",
        f"{1 / b:,.0f} a second",
        f"{b / a:.0%} of the ceiling",
        f"theirs: nothing but the step's matrix products ({flop / 1e6:.0f} MFLOP at {flop / b / 1e9:.0f} GFLOP/s); "
        f"median of {rounds} times {steps} steps",
    )
