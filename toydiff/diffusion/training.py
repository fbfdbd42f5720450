"""Training a noise predictor, a few steps at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from toydiff.diffusion.exact import Model
from toydiff.diffusion.schedules import Schedule

WARM_UP = 50  # steps in which the learning rate rises from 0
AVERAGE = 0.998  # decay of the averaged weights: they remember about the last 500 steps
EXPLODED = 1e4  # a network that always answers 0 has loss 1; below T <= 1000 if asked for the last step (`last_step`)
LAST_STEP = 1_000_003 * 5  # the seed, counted from that of the training, of what only one target draws

Target = Callable[[Tensor, Schedule, Tensor, torch.Generator], Tensor]  # (eps, schedule, t, generator) -> like eps


class Trainer:
    """Algorithm 1, pulled: nothing happens until `advance(n)`. One seed gives one training, bit for bit.

    model: eps_theta, trained in place, wherever it is; data: (N, *shape), on the CPU, where everything is drawn;
    target: a key of TARGETS, what the network is asked for; autocast: multiply in bfloat16; clip: the largest norm that
    a gradient may have; shared: every process of torch.distributed has one of these and does its share of each batch.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Tensor,
        schedule: Schedule,
        *,
        batch: int = 256,
        lr: float = 4e-3,
        seed: int = 0,
        target: str = "total",
        autocast: bool = False,
        clip: float | None = None,
        shared: bool = False,
    ) -> None:
        if target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}, not {target}")
        if batch < 2:
            raise ValueError(f"batch must be at least 2, not {batch}")
        if not lr > 0:
            raise ValueError(f"lr must be greater than 0, not {lr}")
        if clip is not None and not clip > 0:
            raise ValueError(f"clip must be greater than 0, not {clip}")
        self._rank, self._ranks = (distributed.get_rank(), distributed.get_world_size()) if shared else (0, 1)
        if batch % self._ranks:
            raise ValueError(f"batch must be a multiple of {self._ranks}, the number of processes, not {batch}")
        self.model, self.data, self.schedule = model, data, schedule
        self.batch, self.lr, self._clip = batch, lr, clip
        self.device = next(model.parameters()).device
        self.step = 0
        self.diverged_at: int | None = None  # the step at which the loss exploded; no step is made after it
        self._generator = torch.Generator().manual_seed(seed)
        # a generator of its own: trainings that differ in their target see the same x0, eps and t
        self._target, self._extra = TARGETS[target], torch.Generator().manual_seed(LAST_STEP + seed)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        self._average = [p.detach().clone() for p in model.parameters()]
        self._autocast = torch.autocast(self.device.type, torch.bfloat16) if autocast else nullcontext()
        # the mean of the processes' gradients is that of the whole batch
        self._forward = DistributedDataParallel(model, forward_sync_buffers=False) if shared else model
        self._losses = torch.empty(0, device=self.device)
        self._share = _time_distribution(schedule)

    @property
    def losses(self) -> Tensor:
        """(step,): the loss of every step so far."""
        return self._losses[: self.step].cpu()

    @property
    def predictor(self) -> Model:
        """A frozen copy of the network with the averaged weights: what samples. Safe to keep while training goes on."""
        model = copy.deepcopy(self.model).eval().requires_grad_(False)
        for p, average in zip(model.parameters(), self._average, strict=True):
            p.copy_(average)
        return model

    def advance(self, n: int) -> None:
        """Make n steps. If the loss explodes, stop there for good: `diverged_at` says where, and the predictor stays
        as it was before this call."""
        if self.diverged_at is not None:
            return
        self._make_room(n)
        before = [average.clone() for average in self._average]
        first = self.step
        for _ in range(n):
            self._losses[self.step] = self._one_step()
            self.step += 1
        losses = self._losses[first : self.step]
        if self._ranks > 1:  # each process knows the loss of its share
            distributed.all_reduce(losses)
            losses /= self._ranks
        # read once per call, not once per step: asking for a number stops the machine until it is there
        bad = ~(losses < EXPLODED)
        if bad.any():
            self.diverged_at = first + int(bad.nonzero()[0])
            self.step = self.diverged_at + 1
            self._average = before

    def _one_step(self) -> Tensor:
        x0, eps, t = self.draw()
        answer = self._target(eps, self.schedule, t, self._extra)
        if self._ranks > 1:  # every process draws the whole batch, and does its share of it
            size = self.batch // self._ranks
            share = slice(self._rank * size, (self._rank + 1) * size)
            x0, eps, t, answer = x0[share], eps[share], t[share], answer[share]
        x, t, answer = (part.to(self.device) for part in (self.schedule.noised(x0, eps, t), t, answer))
        with self._autocast:  # left after each step: it keeps copies of the weights, which then are old
            guess = self._forward(x, t)
        loss = F.mse_loss(guess, answer)  # eq. 14, for the total
        self._optimizer.zero_grad()
        loss.backward()
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr * min(1.0, (self.step + 1) / WARM_UP)
        self._optimizer.step()
        self._average_weights()
        return loss.detach()

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """One batch: x0 and eps (B, *shape), t (B,). Three ways to learn the same from fewer draws: each eps comes
        with its opposite, the times are spread evenly over their distribution, and that favours those where
        there is something to learn."""
        half = (self.batch + 1) // 2
        x0 = self.data[torch.randint(len(self.data), (half,), generator=self._generator)]
        eps = torch.randn(x0.shape, generator=self._generator)
        u = (torch.arange(half) + torch.rand(half, generator=self._generator)) / half
        t = torch.searchsorted(self._share, u.double()).clamp(max=self.schedule.T - 1) + 1
        return (
            torch.cat([x0, x0])[: self.batch],
            torch.cat([eps, -eps])[: self.batch],
            torch.cat([t, t])[: self.batch],
        )

    @torch.no_grad()
    def _average_weights(self) -> None:
        """Exponential moving average of the weights; the divisor makes it a true average from the first step on."""
        weight = (1 - AVERAGE) / (1 - AVERAGE ** (self.step + 1))
        torch._foreach_lerp_(self._average, list(self.model.parameters()), weight)

    def _make_room(self, n: int) -> None:
        if self.step + n > len(self._losses):
            more = torch.empty(max(n, self.step), device=self.device)
            self._losses = torch.cat([self._losses[: self.step], more])

    def state_dict(self) -> dict[str, Any]:
        """Everything a training needs to go on, as tensors, numbers and lists of them."""
        return {
            "step": self.step,
            "diverged_at": self.diverged_at,
            "losses": self.losses.clone(),
            "model": {k: v.clone() for k, v in self.model.state_dict().items()},
            "average": [average.clone() for average in self._average],
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "generator": self._generator.get_state(),
            "extra": self._extra.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict()` of a trainer with the same model, data and settings."""
        self.step, self.diverged_at = state["step"], state["diverged_at"]
        self._losses = state["losses"].to(self.device, copy=True)
        self.model.load_state_dict(state["model"])
        self._average = [average.to(self.device, copy=True) for average in state["average"]]
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._generator.set_state(state["generator"])
        self._extra.set_state(state["extra"])


def _time_distribution(schedule: Schedule) -> Tensor:
    """(T,): the cumulative distribution from which t - 1 is drawn: logistic in log-SNR, most where the answer is
    neither plain noise nor plain data. Algorithm 1 draws t uniformly; the best network is the same for both."""
    log_snr = schedule.log_snr[1:]
    # t stands for the log-SNRs nearer to its own than to its neighbours'; a little for all, so that none is left out
    edges = torch.cat([log_snr[:1], (log_snr[1:] + log_snr[:-1]) / 2, log_snr[-1:]])
    weight = -((edges - 1) / 2).sigmoid().diff() + 0.1 / schedule.T
    return (weight / weight.sum()).cumsum(0)


def total(eps: Tensor, schedule: Schedule, t: Tensor, generator: torch.Generator) -> Tensor:
    """All the noise between x_0 and x_t (Algorithm 1)."""
    return eps


def last_step(eps: Tensor, schedule: Schedule, t: Tensor, generator: torch.Generator) -> Tensor:
    """The noise z of the step t-1 -> t alone, divided by r = sqrt(beta_t / (1 - alpha_bar_t)): the mean stays the same.

    eps = r z + sqrt(1 - r^2) (noise of the earlier steps), so z given eps is N(r eps, (1 - r^2) I), whatever x_0 is.
    """
    variance = last_step_variance(schedule, t) - 1
    std = variance.clamp(min=0).sqrt().to(eps.dtype).reshape(-1, *[1] * (eps.ndim - 1))  # t = 1: 0, up to rounding
    return eps + std * torch.randn(eps.shape, generator=generator)


def last_step_variance(schedule: Schedule, t: int | Tensor) -> Tensor:
    """1 / r^2, the variance of each component of `last_step`; that of `total` is 1. At most t where beta rises with t,
    for 1 - alpha_bar_t <= beta_1 + ... + beta_t <= t beta_t."""
    return (1 - schedule.alpha_bar[t]) / schedule.beta[t]


TARGETS: dict[str, Target] = {
    "total": total,
    "last-step": last_step,
}
