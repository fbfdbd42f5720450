"""Predictors as vector fields, side by side with the exact one, at every t."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from toydiff.diffusion import field
from toydiff.diffusion.exact import Model
from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.scene import Kind, Panel, Scene
from toydiff.draw.scenes import GHOST, stamp
from toydiff.experiments.experiment import Experiment
from toydiff.text import words

FIELD_FRAMES = 101  # frames at most: of a longer run, evenly spaced times are shown
ARROWS = 27  # arrows in a row, and cells in a row of the heat map
HEAT = 1.0  # end of the colour scale, as the length of an error of eps; eps itself has length 1.25 on average
HALF_WIDTH = 3.3
# bounds on `Probe.reach`: below the first the field points to the middle, above the second to places of the data
AT_MIDDLE_REACH, AT_DATA_REACH = (0.3, 0.9)


@dataclass(frozen=True, eq=False)
class Truth:
    """The exact predictor's field. It depends on data and schedule alone, so it is computed once for all networks."""

    experiment: Experiment

    @cached_property
    def times(self) -> Tensor:
        """(F,): the times that are shown, T ... 0."""
        T = self.experiment.T
        return torch.linspace(T, 0, min(T + 1, FIELD_FRAMES)).round().long()

    @cached_property
    def schedule(self) -> Schedule:
        return self.experiment.noise_schedule()

    @cached_property
    def arrows(self) -> Tensor:
        """(F, A, 2): the exact eps at the places of the arrows."""
        return field.field(self.experiment.exact(), field.grid(ARROWS, HALF_WIDTH), self.times)

    @cached_property
    def probe(self) -> field.Probe:
        """Measures networks at these times."""
        return field.Probe(self.experiment.exact(), self.schedule, self.experiment.data(), self.times, 100)

    @cached_property
    def panel(self) -> Panel:
        """The exact field, with a sentence about it at each time."""
        run = self.run(self.experiment.exact())
        notes = tuple(map(_in_words, self.probe.reach().tolist(), self.probe.nearest().tolist()))
        return Panel(words("page.exact"), words("formulas.exact"), run, notes, arrows=self.arrows)

    @cached_property
    def base(self) -> Scene:
        """The scene with the exact field alone."""
        experiment, data = self.experiment, self.experiment.data()
        kinds = {"eps": (torch.zeros(1), torch.ones(1))} | {
            name: coefficients(self.schedule, self.times)
            for name, coefficients in {"score": field.score, "next_step": field.next_step}.items()
        }
        return Scene(
            (self.panel,),
            data[:GHOST],
            stamp(experiment, words(f"names.{experiment.sampler}"), words("page.exact")),
            half_width=HALF_WIDTH,
            places=field.grid(ARROWS, HALF_WIDTH),
            spacing=2 * HALF_WIDTH / ARROWS,
            kinds=tuple(
                Kind(words(f"field.{name}"), *(part.expand(len(self.times)) for part in parts))
                for name, parts in kinds.items()
            ),
            heat_max=HEAT,
        )

    def run(self, model: Model) -> Trajectory:
        """A reverse run, at the times that are shown."""
        return self.experiment.reverse(model, self.experiment.sampler).at(self.times)


def whole_truth(experiment: Experiment) -> Truth:
    """A Truth whose slow parts are computed."""
    truth = Truth(experiment)
    _ = truth.base
    return truth


class Answers(NamedTuple):
    """A network's field, beside the exact one."""

    panel: Panel
    error: Tensor  # (F,): the error of its field at each time


def answers(truth: Truth, networks: Mapping[str, Model]) -> tuple[Answers, ...]:
    """The Answers of each network. networks: by the titles of their panels."""
    return tuple(_answers(truth, *network) for network in networks.items())


def _answers(truth: Truth, title: str, model: Model) -> Answers:
    error = truth.probe.error(model)
    notes = tuple(words("field.error", error=f"{length:.2f}") for length in error.tolist())
    arrows = field.field(model, field.grid(ARROWS, HALF_WIDTH), truth.times)
    return Answers(Panel(title, words("formulas.network"), truth.run(model), notes, arrows=arrows), error)


def field_scene(truth: Truth, networks: Sequence[Answers], made_by: str) -> tuple[Scene, dict[str, Tensor]]:
    """Each network's field and the exact one; for a single network also their difference, as a heat map. Returns the
    networks' errors too, by the titles of their panels. made_by: the predictor's name in the stamp."""
    panels = [*(network.panel for network in networks), truth.panel]
    if len(networks) == 1:
        panels.append(_difference(truth, panels[0]))
    what = stamp(truth.experiment, words(f"names.{truth.experiment.sampler}"), made_by)
    scene = replace(truth.base, panels=tuple(panels), stamp=what)
    return scene, {network.panel.title: network.error for network in networks}


def _difference(truth: Truth, network: Panel) -> Panel:
    assert network.arrows is not None
    heat = (network.arrows - truth.arrows).norm(dim=2).reshape(-1, ARROWS, ARROWS)
    nothing = torch.full((1, 1, 1), torch.nan).expand_as(network.trajectory.x)
    empty = Trajectory(network.trajectory.t, nothing, nothing, nothing)
    return Panel(words("field.difference"), words("formulas.difference"), empty, network.notes, heat=heat)


def _in_words(reach: float, nearest: float) -> str:
    key = "middle" if reach < AT_MIDDLE_REACH else "places" if reach > AT_DATA_REACH else "between"
    return words(f"field.{key}", reach=f"{reach:.0%}", nearest=f"{nearest:.2f}")
