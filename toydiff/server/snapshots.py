"""What a page sees of a training: snapshots, put together from the updates of the worker."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toydiff.diffusion.trajectory import Trajectory
from toydiff.text import words


class Evaluation(NamedTuple):
    """What the network could do after `step` steps of training."""

    step: int
    seconds: float  # of training until then, sampling included
    samples: Tensor  # (particles, 2), or (IMAGES, C, H, W): DDPM, always from the same x_T with the same z
    ratio: float  # distance of SAMPLES samples from the data, as a multiple of the floor; of images, `Judge.share`;
    # nan: not measured
    error: float  # measured in a race: root mean square of |eps_theta - eps*| over all t and x_t ~ q(x_t); else nan

    def note(self, form: str) -> str:
        """How far the samples are from the data, in words. form: the key of a text with {ratio} in it."""
        if math.isnan(self.ratio):
            return words("train.not_measured")
        return words(form, ratio=times(self.ratio))


def times(ratio: float) -> str:
    """A multiple of the floor, as shown on screen."""
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}"


class Trouble(NamedTuple):
    """Why a training stopped: the key of a text in words.toml, and its values."""

    key: str
    values: dict[str, Any]

    @property
    def sentence(self) -> str:
        return words(self.key, **self.values)


class Snapshot(NamedTuple):
    """A run, or one lane of a race, at one moment."""

    step: int
    seconds: float
    speed: float  # steps per second, averaged over the last slices
    running: bool
    diverged_at: int | None
    losses: Tensor  # (step,)
    evaluations: tuple[Evaluation, ...]
    problem: Trouble | None = None  # what stopped it, if not a person or an exploded loss
    lost: int | None = None  # steps that were lost when the worker process died

    @property
    def moving(self) -> bool:
        """Whether it trains, or its last evaluation is still to come."""
        return self.running or (self.problem is None and self.evaluations[-1].step != self.step)

    @property
    def ratio(self) -> float:
        """The last ratio that was measured. While many train, not every evaluation is measured."""
        return next((point.ratio for point in reversed(self.evaluations) if not math.isnan(point.ratio)), math.nan)

    @property
    def trajectory(self) -> Trajectory:
        """The evaluations as a film: the clock counts training steps, each frame is what the samples were then."""
        x = torch.stack([point.samples for point in self.evaluations])
        return Trajectory(torch.tensor([point.step for point in self.evaluations]), x, x, x)


class RaceSnapshot(NamedTuple):
    """A race at one moment. The fields here, and the steps of the evaluations, are the same for all lanes."""

    step: int
    seconds: float
    speed: float
    running: bool
    diverged_at: int | None  # the step at which one lane diverged and all stopped
    lanes: tuple[Snapshot, ...]
    problem: Trouble | None = None
    lost: int | None = None

    @property
    def moving(self) -> bool:
        """Whether it trains, or its last evaluation is still to come."""
        return self.lanes[0].moving


class Update(NamedTuple):
    """What has changed in a training since the last update."""

    command: int  # the number of the last command that the worker has received
    step: int
    seconds: float
    speed: float
    running: bool
    diverged: tuple[int | None, ...]  # of every lane
    since: int
    losses: tuple[Tensor, ...]  # of every lane, (step - since,)
    kept: tuple[int, ...]  # the steps of all evaluations that are kept
    fresh: tuple[tuple[Evaluation, ...], ...]  # new evaluations; each entry has one of every lane
    problem: Trouble | None


class Beat(NamedTuple):
    """A worker's sign of life, once a second."""

    steps: float  # training steps per second, of all jobs
    memory: int | None  # bytes that it uses; None where the system does not say


class Unknown(LookupError):  # noqa: N818
    """The worker has no job of that number."""


class Failed(ValueError):  # noqa: N818
    """A training or a picture could not be made. The message is a sentence for people."""


class Record:
    """The updates of one training, put together. A snapshot that was read from it never changes."""

    def __init__(self, lanes: int) -> None:
        self._losses = [torch.empty(0)] * lanes  # with room for more
        self._moments: dict[int, tuple[Evaluation, ...]] = {}
        self.now: tuple[int, tuple[Snapshot, ...]] = (0, ())  # the last command received, and a snapshot of every lane

    def apply(self, update: Update) -> None:
        """Add an update."""
        for i, losses in enumerate(update.losses):
            self._losses[i] = _with(self._losses[i], update.since, losses)
        known = self._moments | {moment[0].step: moment for moment in update.fresh}
        self._moments = {step: known[step] for step in update.kept if step in known}
        lanes = (
            Snapshot(
                update.step,
                update.seconds,
                update.speed,
                update.running,
                diverged_at,
                losses[: update.step],
                tuple(moment[i] for moment in self._moments.values()),
                update.problem,
            )
            for i, (diverged_at, losses) in enumerate(zip(update.diverged, self._losses, strict=True))
        )
        self.now = update.command, tuple(lanes)

    def losses(self, step: int) -> tuple[Tensor, ...]:
        """(step,): the losses of every lane up to a step."""
        return tuple(losses[:step] for losses in self._losses)

    def cut(self, step: int, seconds: float) -> None:
        """Go back to a step: forget everything after it."""
        self._losses = [losses[:step].clone() for losses in self._losses]
        self._moments = {at: moment for at, moment in self._moments.items() if at <= step}
        command, lanes = self.now
        lanes = tuple(
            lane._replace(
                step=step,
                seconds=seconds,
                diverged_at=lane.diverged_at if lane.diverged_at is not None and lane.diverged_at < step else None,
                losses=losses,
                evaluations=tuple(point for point in lane.evaluations if point.step <= step),
            )
            for lane, losses in zip(lanes, self._losses, strict=True)
        )
        self.now = command, lanes

    def stop(self, problem: Trouble) -> None:
        """Note that it has stopped, and why."""
        command, lanes = self.now
        self.now = command, tuple(lane._replace(running=False, problem=problem) for lane in lanes)


def _with(buffer: Tensor, since: int, more: Tensor) -> Tensor:
    """The buffer with more numbers from `since` on: the same one if there is room, else a longer copy."""
    end = since + len(more)
    if end > len(buffer):
        buffer = torch.cat([buffer[:since], torch.empty(max(len(more), since))])
    buffer[since:end] = more
    return buffer
