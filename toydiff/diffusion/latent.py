"""The start noise x_T as the address of an image: with DDIM, the same noise is the same image. From an image back to
its noise, and the way from one noise to another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from toydiff.diffusion.exact import Model
from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.trajectory import Frame

ROUNDS = 4  # corrections of a step upwards
STRAIGHT = 1e-3  # radians: below it an arc is a straight line, as exactly as float32 knows


def angle(a: Tensor, b: Tensor) -> float:
    """Between two vectors of any shape, in radians, 0 ... pi. 0 if one of them has no length."""
    a, b = a.flatten().double(), b.flatten().double()
    if not (a.any() and b.any()):
        return 0.0
    a, b = a / a.norm(), b / b.norm()
    return (2 * torch.atan2((a - b).norm(), (a + b).norm())).item()  # exact at both ends, as acos is not


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """(K, *shape): shares (K,) of the way from a to b, both (*shape), along the arc (Shoemake 1985). Vectors of one
    length keep it. Where there is no arc, or more than one, between equal directions and opposite ones: the line."""
    theta = torch.tensor(angle(a, b), dtype=torch.float64)
    if min(theta, torch.pi - theta) < STRAIGHT:
        return lerp(a, b, share)
    share = share.double()
    return _mix(a, b, ((1 - share) * theta).sin() / theta.sin(), (share * theta).sin() / theta.sin())


def lerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """(K, *shape): the same along the straight line, which passes nearer to the origin."""
    return _mix(a, b, 1 - share, share)


def _mix(a: Tensor, b: Tensor, of_a: Tensor, of_b: Tensor) -> Tensor:
    of_a, of_b = (part.to(a.dtype).reshape(-1, *[1] * a.ndim) for part in (of_a, of_b))
    return of_a * a + of_b * b


@torch.inference_mode()
def invert(model: Model, schedule: Schedule, x: Tensor, steps: int | None = None) -> Iterator[Frame]:
    """From images x = x_0, (B, *shape), up to the x_T from which DDIM with as many steps comes back to them: frames t =
    0 ... T (Song et al. 2020, section 5.4).

    A step from s up to t is DDIM's formula from t down to s, solved for x_t. The noise in it is that at x_t, which is
    not known yet: begin with the noise at x_s, and correct it ROUNDS times with that at the x_t that comes out.
    """
    yield Frame(0, x, x, x)
    for s, t in pairwise(reversed(schedule.grid(steps))):
        ahead = x0 = x
        for time in (s or t, *[t] * ROUNDS):  # at time 0 there is no noise to ask for
            eps = model(ahead, torch.full((len(x),), time, device=x.device))
            x0 = schedule.x0(x, eps, s)
            ahead = schedule.noised(x0, eps, t)
        x = ahead
        yield Frame(t, x, x0, x)
