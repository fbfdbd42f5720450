"""The lesson "Why predict all of the noise?": its shared computations and its interactive parts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import streamlit as st
import torch
from torch import Tensor

from toydiff.diffusion.bound import kl, posterior, student
from toydiff.diffusion.exact import Model
from toydiff.diffusion.samplers import SAMPLERS
from toydiff.diffusion.walks import Walks
from toydiff.draw import charts
from toydiff.draw import target as drawn
from toydiff.draw.scene import Scene
from toydiff.draw.target import bound_chart, step_chart
from toydiff.experiments.experiment import Experiment
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.rendering import cached_in_session, made, shared
from toydiff.ui.runs import network

SIGMA = {"ddpm": "β̃", "ddpm-beta": "β"}  # samplers by the variance of their step
KL_PARTICLES = 500  # the mean of their KL is shown


def take_picked(key: str) -> None:
    """A place that was picked in the player `key` since the last run becomes that of the experiment."""
    picked = st.session_state.get(f"{key}-picked")
    if picked is not None and picked != st.session_state.get(f"{key}-taken"):
        st.session_state[f"{key}-taken"] = picked
        x, y = (round(min(max(at, -5.0), 5.0), 2) for at in picked)
        state.change(x=x, y=y)


def walks_to_place(experiment: Experiment) -> tuple[Scene, Walks, Scene | None]:
    """`draw.target.walks_to_place`, once for all: never changed."""
    return shared(drawn.walks_to_place, experiment)


def variances(experiment: Experiment) -> tuple[Tensor, Tensor, Tensor]:
    """`draw.target.variances`, once for all: never changed."""
    return shared(drawn.variances, experiment)


def predictors(experiment: Experiment) -> dict[str, Model]:
    """The predictors that are compared, by name: the exact one, and a network of this session if there is one. That is
    the network of lesson 2, or the one of this page's race that predicts all of the noise."""
    students, trained = {words("page.exact"): experiment.exact()}, network(experiment)
    race = state.races().get("targets")
    if trained is None and race is not None and race.step and race.experiments[0] == experiment.training:
        (first, _), steps = race.predictors()
        trained = first, steps
    return students if trained is None else students | {words("page.network", steps=f"{trained[1]:,}"): trained[0]}


def sigma_control() -> str:
    """The control for the variance of the student's step. Returns a key of SAMPLERS."""
    return st.segmented_control(
        words("target.sigma"),
        tuple(SIGMA),
        default="ddpm",
        required=True,
        format_func=lambda name: SIGMA[name],
        help=words("target.sigma_help"),
        key="sigma",
    )


@st.fragment
def one_step(experiment: Experiment, models: Mapping[str, Model], sampler: str) -> None:
    """One particle at one time: the answer and the students' answers as circles, and how far apart they are."""
    picture, numbers = st.columns([3, 2], vertical_alignment="center")
    with numbers:
        t = st.slider(words("target.time"), 2, experiment.T, max(2, experiment.T // 20), key=f"step-{experiment.T}")
        number = st.number_input(words("target.particle"), 1, 1000, key="particle", help=words("target.particle_help"))
    schedule = experiment.noise_schedule()
    sigma = SAMPLERS[sampler]
    x0, x = _particle(experiment, number, t)
    truth = posterior(schedule, x0, x, t)
    students = {name: student(model, schedule, sigma, x, t) for name, model in models.items()}
    many = _particle(experiment, 0, t, KL_PARTICLES)
    truths = posterior(schedule, *many, t)
    means = [kl(truths, student(model, schedule, sigma, many[1], t)).mean() for model in models.values()]
    numbers.table(
        {
            words("target.predictor"): list(students),
            words("target.distance"): [f"{(p.mean - truth.mean).norm():.3g}" for p in students.values()],
            words("target.radius"): [f"{p.var.sqrt():.3g}" for p in students.values()],
            words("target.nats"): [f"{kl(truth, p).item():.3g}" for p in students.values()],
            words("target.nats_mean", n=KL_PARTICLES): [f"{nats:.3g}" for nats in means],
        },
        hide_index=True,
    )
    alt = words("target.step_alt", t=t)
    picture.plotly_chart(step_chart(truth, students, x0, x), key="step", config=charts.STILL, alt=alt)


def _particle(experiment: Experiment, number: int, t: int, n: int = 1) -> tuple[Tensor, Tensor]:
    """x_0 and x_t, (n, 2): data points, jumped to t, each with a noise that it keeps for all t. number: of the draw."""
    generator, data = experiment.generator(100 + number), experiment.data()
    x0 = data[torch.randint(len(data), (n,), generator=generator)]
    return x0, experiment.noise_schedule().noised(x0, torch.randn(n, 2, generator=generator), t)


def bounds(experiment: Experiment, models: Mapping[str, Model], sampler: str) -> dict[str, Tensor]:
    """By predictor: the terms of the bound (T + 1, n), for the same n data points and the same x_t."""
    return {
        name: shared(drawn.exact_bound, experiment, sampler)
        if name == words("page.exact")
        else cached_in_session(
            "bound", (experiment, sampler, name), partial(made, drawn.bounds, experiment, model, sampler)
        )
        for name, model in models.items()
    }


def show_bounds(terms: Mapping[str, Tensor]) -> None:
    """The terms as a table, and those of the steps over t."""
    picture, numbers = st.columns([3, 2], vertical_alignment="center")
    alt = words("target.bound_alt", names=", ".join(terms))
    picture.plotly_chart(bound_chart(terms), key="bounds", config=charts.STILL, alt=alt)
    parts = {"start": slice(-1, None), "steps": slice(1, -1), "first": slice(0, 1), "all": slice(None)}
    rows = {words("target.term"): [words(f"target.{part}") for part in parts]}
    for name, nats in terms.items():
        rows[name] = [_with_error(nats[part].sum(0)) for part in parts.values()]
    numbers.table(rows, hide_index=True)


def _with_error(nats: Tensor) -> str:
    return words("target.sum", mean=_number(nats.mean().item()), error=_number(nats.std().item() / len(nats) ** 0.5))


def _number(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.01 else f"{value:.0e}"
