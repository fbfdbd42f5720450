"""The scenes of the lessons: which runs play side by side, and what is written around them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from toydiff.data import user_data
from toydiff.diffusion import field, trajectory
from toydiff.diffusion.exact import Model
from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.scene import Density, Panel, Scene
from toydiff.experiments.experiment import Experiment
from toydiff.measures.clouds import coverages, sliced_wasserstein, spreads
from toydiff.text import words

THREE_WAYS = ("ddpm", "mean-only", "ddim")
GHOST = 2000  # points of the data that are drawn behind the particles


def reverse_scene(experiment: Experiment, model: Model, made_by: str, ways: Sequence[str] = THREE_WAYS) -> Scene:
    """Ways down side by side, from one x_T with one z; under each its spread and coverage, at every frame.

    made_by: a name for the model. ValueError for more than three ways.
    """
    if len(ways) > 3:
        raise ValueError(words("problems.too_many", count=len(ways)))
    data = experiment.data()
    runs = {way: experiment.reverse(model, way) for way in ways}
    return Scene(
        tuple(
            Panel(words(f"names.{way}"), words(f"formulas.{way}"), run, numbers(run, data)) for way, run in runs.items()
        ),
        data[:GHOST],
        stamp(experiment, " | ".join(words(f"names.{way}") for way in runs), made_by),
    )


def exact_scene(experiment: Experiment) -> Scene:
    """The three ways down with the exact predictor."""
    return reverse_scene(experiment, experiment.exact(), words("page.exact"))


def forward_scene(experiment: Experiment) -> tuple[Scene, list[float], list[float]]:
    """Both routes into noise as a scene; at every t the distance between the two clouds; and its floor,
    the distance between two clouds that were made in the same way."""
    schedule = experiment.noise_schedule()
    data, generator = experiment.data(), experiment.generator(3)
    x0 = data[torch.randint(len(data), (max(experiment.particles, 2),), generator=generator)]
    chain, jump, again = (
        Trajectory.collect(route(x0, schedule, generator))
        for route in (trajectory.chain, trajectory.jump, trajectory.jump)
    )
    distance = [sliced_wasserstein(a, b, 64) for a, b in zip(chain.x, jump.x, strict=True)]
    floor = [sliced_wasserstein(a, b, 64) for a, b in zip(again.x, jump.x, strict=True)]
    notes = tuple(
        words("page.distance", distance=f"{d:.3f}", floor=f"{f:.3f}") for d, f in zip(distance, floor, strict=True)
    )
    scene = Scene(
        (
            Panel(words("names.chain"), words("formulas.chain"), chain, notes),
            Panel(words("names.jump"), words("formulas.jump"), jump, notes),
        ),
        data[:GHOST],
        stamp(experiment, words("page.forward"), words("page.no_network")),
    )
    return scene, distance, floor


def contours(experiment: Experiment) -> Density:
    """q(x_t), exactly: a mixture of one Gaussian per data point."""
    times = torch.linspace(0, experiment.T, min(experiment.T + 1, 64)).round().long()
    pictures = field.density(experiment.data(), experiment.noise_schedule(), times, 64, 3.3)
    return Density(times, field.mass_inside(pictures).half())


def numbers(run: Trajectory, data: Tensor) -> tuple[str, ...]:
    """The texts under a run: how wide the cloud is and how much of the data it covers, at every frame."""
    figures = zip(spreads(run.x, data).tolist(), coverages(run.x, data).tolist(), strict=True)
    return tuple(words("page.numbers", spread=f"{wide:.2f}", coverage=f"{covered:.0%}") for wide, covered in figures)


def stamp(experiment: Experiment, what: str, made_by: str) -> str:
    """How a picture was made: written under every export."""
    jumps = words("page.one_jump" if experiment.steps == 1 else "page.jumps", steps=experiment.steps)
    scaled = "" if experiment.strength == 1 else f" · β × {experiment.strength:g}"
    return words(
        "page.stamp",
        dataset=user_data.title(experiment.dataset),
        points=f"{experiment.points:,}",
        schedule=words(f"names.{experiment.schedule}") + scaled,
        T=experiment.T,
        what=what + (jumps if 0 < experiment.steps < experiment.T else ""),
        predictor=made_by,
        seed=experiment.seed,
    )
