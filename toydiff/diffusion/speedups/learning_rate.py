"""The learning rate of each step, as a share of the one that was chosen."""

from __future__ import annotations

WARM_UP = 50  # steps in which the rate rises
SLOW_DOWN = 2000  # steps after which it has fallen to 1 / sqrt(2)


def warm_up(step: int) -> float:
    """It rises in a straight line to 1, and stays there. step: 0 is the first."""
    return min(1.0, (step + 1) / WARM_UP)


def falling(step: int) -> float:
    """After that rise it falls slowly; from many times SLOW_DOWN on, like 1 / sqrt(step). So the end of a training need
    not be known. Karras et al. 2024 (EDM2) let it fall in the same way, but from one step on."""
    return warm_up(step) / (1 + step / SLOW_DOWN) ** 0.5
