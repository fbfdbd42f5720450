"""Runs that pages show, each computed once: scenes, and the predictor that an experiment asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial

import streamlit as st
from torch import Tensor

from toydiff.diffusion.exact import Model
from toydiff.draw import scenes
from toydiff.draw.fields import Truth, answers, field_scene, whole_truth
from toydiff.draw.scene import Density, Scene
from toydiff.draw.scenes import THREE_WAYS, forward_scene, reverse_scene
from toydiff.experiments.experiment import Experiment, PointTraining
from toydiff.server.limits import limits
from toydiff.server.live import Run
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.rendering import cached_in_session, made, shared

MAX_PLACES = 1_600_000  # positions of particles in a film, over all frames and panels: 24 bytes each
NETWORKS = 2  # at most, beside the exact field
BEST_LOSS_EXAMPLES = 4000  # on which the loss of the exact predictor is measured


def check(seconds: float, places: int = 0, *, patience: int = 1, particles: int = 0) -> None:
    """End the page with a sentence if a picture needs more time or memory than this server allows, and with a button if
    fewer particles would do. patience: multiple of TOYDIFF_SECONDS that is allowed."""
    most = patience * limits().seconds
    share = min(most / max(seconds, 1e-9), MAX_PLACES / max(places, 1))
    if share >= 1:
        return
    if seconds > most:
        st.warning(words("bounds.long", minutes=f"{seconds / 60:.2g}", most=most))
    else:
        st.warning(words("bounds.large", times=f"{places / MAX_PLACES:.2g}"))
    if few := int(share * particles):
        st.button(
            words("bounds.fewer", particles=few), on_click=state.change, kwargs={"particles": few}, type="primary"
        )
    st.stop()


def exact_scene(experiment: Experiment) -> Scene:
    """The three ways down with the exact predictor. Shared by all sessions: never changed."""
    _check_ways(experiment, "exact")
    return shared(scenes.exact_scene, experiment)


def _check_ways(experiment: Experiment, predictor: str) -> None:
    steps = len(THREE_WAYS) * (experiment.steps or experiment.T) * experiment.particles
    check(steps * experiment.seconds(predictor), steps, particles=experiment.particles)


def network_scene(experiment: Experiment, model: Model, steps: int) -> Scene:
    """The three ways down with the network of this session, kept until settings or network change."""
    _check_ways(experiment, "network")
    made_by = words("page.network", steps=f"{steps:,}")
    return cached_in_session(
        "network-scene", (experiment, steps), lambda: made(reverse_scene, experiment, model, made_by), this_page=True
    )


def truth(experiment: Experiment) -> Truth:
    """The exact field at every t. Shared by all sessions: never changed."""
    calls = (2 if experiment.sampler == "heun" else 1) * experiment.T * experiment.particles
    each = experiment.seconds("exact") + NETWORKS * experiment.seconds("network")
    check(calls * each, particles=experiment.particles)
    return shared(whole_truth, experiment)


def fields(
    name: str, experiment: Experiment, by: tuple[object, int], networks: Mapping[str, Model], made_by: str
) -> tuple[Scene, dict[str, Tensor]]:
    """`draw.fields.field_scene` of these networks, kept in this session under a name. by: whose networks they are, and
    after how many steps."""
    best = truth(experiment)
    return cached_in_session(
        name, (experiment, *by), lambda: field_scene(best, made(answers, best, networks), made_by), this_page=True
    )


def contours(experiment: Experiment) -> Callable[[], Density]:
    """Makes the contours of q(x_t), once for all that have the same data and the same schedule."""
    names = "dataset", "points", "seed", "schedule", "T", "strength"
    return partial(shared, scenes.contours, Experiment(**{name: getattr(experiment, name) for name in names}))


def forward(experiment: Experiment) -> tuple[Scene, list[float], list[float]]:
    """`scenes.forward_scene`, once."""
    check(0, 2 * experiment.T * experiment.particles, particles=experiment.particles)
    return shared(forward_scene, experiment)


@lru_cache(maxsize=100)  # asked twice at every look at a training
def best_loss(experiment: PointTraining) -> float:
    """The loss of the exact predictor on what training draws: no network gets under it for long."""
    return replace(experiment, batch=BEST_LOSS_EXAMPLES).trainer().loss_of(experiment.exact()).item()


def network(experiment: Experiment) -> tuple[Model, int] | None:
    """The network that this session has trained, and for how many steps; None if there is none for these settings,
    or if it exploded."""
    run = _run(experiment)
    return run.predictor() if run and run.step > 0 and exploded(experiment) is None else None


def exploded(experiment: Experiment) -> int | None:
    """The step at which the loss of this session's network exploded; None if it did not."""
    run = _run(experiment)
    return run.diverged_at if run else None


def _run(experiment: Experiment) -> Run | None:
    run = state.run()
    return run if run and run.experiment == experiment.training else None
