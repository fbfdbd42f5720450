"""A training that can be watched, saved and gone on with, bit for bit: Algorithm 1 with a recipe, a few steps at a
time."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from toydiff.diffusion.exact import Model
from toydiff.diffusion.recipe import Recipe
from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.speedups.averaged_weights import AveragedWeights
from toydiff.diffusion.targets import TARGETS
from toydiff.diffusion.training import Examples, algorithm_1

EXPLODED = 1e4  # a network that always answers 0 has loss 1; if asked for the last step, less than MAX_T
EXTRA_SEED = 1_000_003 * 5  # added to the seed: for random numbers that only one target draws


class Trainer:
    """Nothing happens until `advance(n)`. On one machine, one seed gives one training, bit for bit.

    model: eps_theta, trained in place, wherever it is; data: (N, *shape), on the CPU, where everything is drawn;
    target: a key of TARGETS, what the network is asked for; recipe: which speed-ups are used (None: all); autocast:
    multiply in bfloat16; clip: the largest norm that a gradient may have; shared: every process of torch.distributed
    has one of these and does its share of each batch.
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
        recipe: Recipe | None = None,
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
        if shared and target != "total":
            raise ValueError(f"several processes can only train on the target total, not {target}")
        self._rank, self._ranks = (distributed.get_rank(), distributed.get_world_size()) if shared else (0, 1)
        if batch % self._ranks:
            raise ValueError(f"batch must be a multiple of {self._ranks}, the number of processes, not {batch}")
        self.model, self.data, self.schedule = model, data, schedule
        self.batch, self.lr, self.recipe = batch, lr, recipe or Recipe()
        self.device = next(model.parameters()).device
        self.step = 0
        self.diverged_at: int | None = None  # the step at which the loss exploded: what comes after it is dropped
        self._generator = torch.Generator().manual_seed(seed)
        # a generator of its own: trainings that differ in their target alone see the same x0, eps and t
        self._extra = torch.Generator().manual_seed(EXTRA_SEED + seed)
        self._draw_batch = self.recipe.draw(schedule)
        self._loss = TARGETS[target](schedule, self._extra)
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        if clip is not None:
            self._optimizer.register_step_pre_hook(partial(_clip, clip))
        self._average = AveragedWeights(model.parameters(), off=not self.recipe.averaged_weights)
        self._autocast = torch.autocast(self.device.type, torch.bfloat16) if autocast else nullcontext()
        # the mean of the processes' gradients is that of the whole batch
        self._forward = DistributedDataParallel(model, forward_sync_buffers=False) if shared else model
        self._losses = torch.empty(0, device=self.device)

    @property
    def losses(self) -> Tensor:
        """(step,): the loss of every step so far."""
        return self._losses[: self.step].cpu()

    @property
    def predictor(self) -> Model:
        """A frozen copy of the network with the averaged weights: samples are drawn with it. It does not change while
        the training goes on."""
        return self._average.model(self.model)

    def advance(self, n: int) -> None:
        """Make n steps. If the loss explodes, stop there for good: `diverged_at` says where, and the predictor stays
        as it was before this call."""
        if self.diverged_at is not None:
            return
        self._make_room(n)
        before = [average.clone() for average in self._average.values]
        first = self.step
        self._set_rate()
        for loss in islice(self._steps(), n):
            self._losses[self.step] = loss
            self.step += 1
            self._average.update(self.step)
            self._set_rate()
        losses = self._losses[first : self.step]
        if self._ranks > 1:  # each process knows the loss of its share
            distributed.all_reduce(losses)
            losses /= self._ranks
        # read once per call, not once per step: asking for a number stops the machine until it is there
        bad = ~(losses < EXPLODED)
        if bad.any():
            self.diverged_at = first + int(bad.nonzero()[0])
            self.step = self.diverged_at + 1
            self._average.values = before

    def loss_of(self, model: Model) -> Tensor:
        """(): the loss of another predictor on the examples of the next step. They are used up by it."""
        x0, eps, t = examples = self._draw(self.data, self.schedule, self.batch, self._generator)
        x = self.schedule.noised(x0, eps, t)
        return self._loss(model(x, t), x, examples)

    def _steps(self) -> Iterator[Tensor]:
        return algorithm_1(
            self._guess,
            self.data,
            self.schedule,
            self._optimizer,
            batch=self.batch,
            generator=self._generator,
            draw=self._draw,
            loss=self._loss,
        )

    def _guess(self, x: Tensor, t: Tensor) -> Tensor:
        with self._autocast:  # only around one call: it keeps copies of the weights, which are old after the step
            guess: Tensor = self._forward(x, t)
        return guess

    def _draw(self, data: Tensor, schedule: Schedule, n: int, generator: torch.Generator | None) -> Examples:
        """Every process draws the whole batch, and keeps its share of it."""
        size = n // self._ranks
        share = slice(self._rank * size, (self._rank + 1) * size)
        examples = self._draw_batch(data, schedule, n, generator)
        return Examples(*(part[share].to(self.device) for part in examples))

    def _set_rate(self) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.lr * self.recipe.rate(self.step)

    def _make_room(self, n: int) -> None:
        if self.step + n > len(self._losses):
            more = torch.empty(max(n, self.step), device=self.device)
            self._losses = torch.cat([self._losses[: self.step], more])

    def state_dict(self) -> dict[str, Any]:
        """Everything that a training needs to go on, in what torch.save can write."""
        return {
            "step": self.step,
            "diverged_at": self.diverged_at,
            "losses": self.losses.clone(),
            "model": {k: v.clone() for k, v in self.model.state_dict().items()},
            "average": [average.clone() for average in self._average.values],
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "generator": self._generator.get_state(),
            "extra": self._extra.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict()` of a trainer with the same model, data and settings."""
        self.step, self.diverged_at = state["step"], state["diverged_at"]
        self._losses = state["losses"].to(self.device, copy=True)
        self.model.load_state_dict(state["model"])
        self._average.values = [average.to(self.device, copy=True) for average in state["average"]]
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._generator.set_state(state["generator"])
        self._extra.set_state(state["extra"])


def _clip(most: float, optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Before each step of the optimizer: scale the gradient down if its norm is larger."""
    nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], most)
