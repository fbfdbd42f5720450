"""A training job in the worker: networks that train side by side. Start, stop, advance, evaluate, save."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import nn

from toydiff.data import user_data
from toydiff.diffusion.exact import Model
from toydiff.experiments import checkpoint
from toydiff.experiments.experiment import PointTraining
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.snapshots import Evaluation, Trouble, Update
from toydiff.server.trained_network import JobSpec, Saved, new_network, picture
from toydiff.server.transport import packed, unpacked

SLICE_SECONDS = 0.05  # seconds of a slice, before it is another job's turn
MANY_JOBS = 4  # other jobs that train: from so many on, evaluations are rarer:
LONGER = 3  # times as long as the last evaluation took, it trains before the next one
RARER = 6  # times as long as the last measured one took, it trains before it measures again


class TrainingJob:
    """Networks that train side by side, always the same number of steps. A reset is a new job.

    Commands only note what is wanted. `work` does some of it.
    """

    def __init__(self, spec: JobSpec) -> None:
        self.running = False
        self.there = True  # whether a browser is there
        self.company = 0  # number of other jobs that train
        self.command = 0  # the number of the last command
        self.problem: Trouble | None = None
        self.used = 0.0  # seconds of work, for the scheduler
        self.asked: list[int] = []  # numbers of the requests to answer when it is `settled`
        self.spent = 0.0  # seconds of work on them
        # keeps the data sets of users findable
        self._user_data = [user_data.keep(one.name, one.data) for one in spec.user_data]
        self._settings = spec.settings
        self._nets = [new_network(experiment, spec) for experiment in spec.experiments]
        self._seconds = self._speed = 0.0
        self._sent, self._told = 0, False  # losses sent so far, and `running` in the last update
        self._marks: list[tuple[int, float]] = []  # step and seconds of each evaluation
        self._fresh: list[tuple[Evaluation, ...]] = []  # not sent yet; each entry has one of every network
        self._todo, self._look_then = 0, False  # steps still to do, and whether to evaluate after them
        self._drawing: Iterator[None] | None = None  # an evaluation that is half done
        self._cost = 0.0  # seconds of work on it, or on the last one
        self._measured = -math.inf, 0.0  # when an evaluation was last measured, and the seconds that took
        self._moved = False  # whether it has ever made a step
        if spec.saved is not None:
            self._load(spec.saved)
        self._saved = -1, self._seconds  # step and seconds of the last saved state
        self._rest = 0.0  # seconds until the next one, at least
        self._look()

    @property
    def step(self) -> int:
        return min(net.trainer.step for net in self._nets)

    @property
    def diverged_at(self) -> int | None:
        return next((at for net in self._nets if (at := net.trainer.diverged_at) is not None), None)

    @property
    def device(self) -> torch.device:
        return self._nets[0].trainer.device

    @property
    def threads(self) -> int:
        """Threads for one of its steps."""
        return self._nets[0].threads if self.device.type == "cpu" else 1

    @property
    def settled(self) -> bool:
        """Whether everything that was requested is done."""
        return not self._todo and self._drawing is None

    @property
    def wants(self) -> bool:
        """Whether it has work."""
        return not self.settled or (self.running and self.there)

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        least = max(self._settings.save * self._nets[0].save, self._rest)
        return self.unsaved and self._seconds - self._saved[1] >= least

    @property
    def unsaved(self) -> bool:
        """Whether it has changed since the last `save`."""
        return self._saved[0] != self.step

    @property
    def news(self) -> bool:
        """Whether an update should be sent at once."""
        return bool(self._fresh) or self.running != self._told

    @property
    def blank(self) -> bool:
        """Whether it has no evaluation yet."""
        return not self._marks

    # ---------------------------------------------------------------- commands

    def ask(self, number: int) -> None:
        """Note a request that is to be answered when it is `settled`."""
        if not self.asked:
            self.spent = 0.0
        self.asked.append(number)

    def start(self) -> None:
        self.problem = None
        self.running = self.diverged_at is None

    def stop(self) -> None:
        """Stop at once."""
        self.running, self._todo, self._look_then = False, 0, False

    def pause(self) -> None:
        """Stop at once, and evaluate the network as it is."""
        self.stop()
        self._look()

    def advance(self, n: int, picture: bool = True) -> None:
        """Do n steps, running or not. picture: evaluate after them."""
        if n > 0 and self.diverged_at is None:
            self.problem = None
            self._todo += n
            self._look_then |= picture

    def work(self, seconds: float = SLICE_SECONDS) -> None:
        """Do what is wanted for about so many seconds, but at least one piece of work."""
        began = now = time.monotonic()
        trained, steps = 0.0, 0
        while self.wants and (now == began or now - began < seconds):
            first, before, counted, drawing = self.step, now, bool(self._marks), self._drawing is not None
            self._bite()
            now = time.monotonic()
            if counted:  # evaluating the untrained network is not training time
                self._seconds += now - before
                self._cost += drawing * (now - before)
            if self.step > first:
                trained, steps = trained + now - before, steps + self.step - first
        if steps and self.running:
            speed = steps / trained
            self._speed = 0.8 * self._speed + 0.2 * speed if self._speed else speed
        self.used += now - began
        self.spent += now - began

    def fail(self, problem: Trouble) -> None:
        """Stop because of an error. What was learned is kept."""
        self.stop()
        self._drawing, self.problem = None, problem
        for net in self._nets:
            net.trainer.model.zero_grad()  # frees the gradients

    # ---------------------------------------------------------------- answers

    def update(self) -> Update:
        """What has changed since the last update."""
        step, since, self._sent, self._told = self.step, self._sent, self.step, self.running
        kept = tuple(step for step, _ in self._marks)
        fresh, self._fresh = tuple(moment for moment in self._fresh if moment[0].step in kept), []
        return Update(
            self.command,
            step,
            self._seconds,
            self._speed,
            self.running,
            tuple(net.trainer.diverged_at for net in self._nets),
            since,
            tuple(net.trainer.losses[since:step] for net in self._nets),
            kept,
            fresh,
            self.problem,
        )

    def save(self) -> Saved:
        """The state to resume from, without the losses: the updates have them."""
        began, self._saved = time.monotonic(), (self.step, self._seconds)
        states = [net.trainer.state_dict() for net in self._nets] if self._moved else None
        for state in states or []:
            del state["losses"]
        content = None if states is None else packed(states)
        self._rest = 20 * (time.monotonic() - began)  # a large network is saved less often
        return Saved(self.step, self._seconds, tuple(self._marks), content)

    def predictors(self) -> tuple[tuple[Model, ...], int]:
        """The averaged network of each lane as it is now, on the CPU, and after how many steps."""
        networks = (net.trainer.predictor for net in self._nets)
        return tuple(one.cpu() if isinstance(one, nn.Module) else one for one in networks), self.step

    def file(self, lesson: PointTraining | ImageExperiment | None) -> bytes:
        """Its one network's training as a file, `checkpoint.pack`. lesson: the settings to store instead of its own."""
        (net,) = self._nets
        return checkpoint.pack(net.trainer, lesson or net.experiment)

    # ---------------------------------------------------------------- work

    def _bite(self) -> None:
        """Do the smallest piece of work."""
        if self._drawing is not None:
            if next(self._drawing, self) is self:
                self._drawing = None
        else:
            stride = min(net.stride for net in self._nets)
            n = min(self._todo, stride) if self._todo else stride
            self._moved = True
            self._advance(n)
            if self._todo:
                self._todo = max(0, self._todo - n) if self.diverged_at is None else 0
                look, self._look_then = self._look_then and not self._todo, self._look_then and bool(self._todo)
            else:
                look = self._due_for_a_picture or self.diverged_at is not None
            if look:
                self._look()
        if self._drawing is None and self.diverged_at is not None:
            self.running = False  # set last: who sees it finds the last evaluation

    @property
    def _due_for_a_picture(self) -> bool:
        refresh, newest = self._settings.refresh * self._nets[0].refresh, self._marks[-1][1]
        early = newest < refresh  # the first seconds are the most interesting: evaluate three times as often
        rest = LONGER * self._cost if self.company >= MANY_JOBS else 0.0
        return self._seconds - newest >= max(refresh / 3 if early else refresh, rest)

    def _advance(self, n: int) -> None:
        """Do n steps with every network. If the loss of one explodes, all stop at that step."""
        *others, last = (net.trainer for net in self._nets)
        before = [trainer.state_dict() for trainer in others]
        end = self.step + n
        try:
            for trainer in (*others, last):
                trainer.advance(end - trainer.step)
                end = trainer.step
        finally:
            end = self.step  # also if one of them raised an error
            for trainer, state in zip(others, before, strict=True):
                if trainer.step > end:  # go back, and repeat the steps up to `end`
                    trainer.load_state_dict(state)
                    trainer.advance(end - trainer.step)

    def _look(self) -> None:
        """Begin an evaluation, unless there is one of this step."""
        if self._drawing is None and not (self._marks and self._marks[-1][0] == self.step):
            last, cost = self._measured
            measure = self.company < MANY_JOBS or self._seconds - last >= RARER * cost
            self._drawing, self._cost = self._drawn(measure), 0.0

    def _drawn(self, measure: bool) -> Iterator[None]:
        pictures = []
        for one in self._nets:
            pictures.append((yield from picture(one, measure)))
            yield
        if measure:
            self._measured = self._seconds, self._cost
        self._marks.append((self.step, self._seconds))
        self._fresh.append(tuple(Evaluation(self.step, self._seconds, *picture) for picture in pictures))
        if len(self._marks) > self._settings.evaluations:
            half = self._settings.evaluations // 2
            self._marks = self._marks[:half:2] + self._marks[half:]

    def _load(self, saved: Saved) -> None:
        if saved.states is not None:
            for net, state, losses in zip(self._nets, unpacked(saved.states), saved.losses, strict=True):
                net.trainer.load_state_dict(state | {"losses": losses})
            self._moved = True
        self._marks, self._seconds, self._sent = list(saved.marks), saved.seconds, saved.step
