"""The lesson on costs: measured runs and their scenes, which are kept, and clicks on its chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from toydiff.diffusion.exact import Model
from toydiff.draw import charts
from toydiff.draw import cost as draw
from toydiff.draw.cost import COST_SAMPLES, Bench, Cost, Switches
from toydiff.draw.scene import Scene
from toydiff.experiments.experiment import Experiment
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.rendering import cached_in_session, cached_under, exclusive, made, shared
from toydiff.ui.runs import check

Made = TypeVar("Made")
COST_BUDGET = 3  # times TOYDIFF_SECONDS: this page shows what it has while it measures


@st.cache_resource(max_entries=12, show_spinner=False)
def exact_bench(experiment: Experiment) -> Bench:
    """Measures with the exact predictor. Shared by all sessions, and so is every run that it has measured."""
    return Bench(experiment, experiment.exact())


def bench(experiment: Experiment, trained: tuple[Model, int] | None) -> Bench:
    """The Bench for this session's network (model, steps of training); for the exact predictor if `trained` is None."""
    experiment = experiment.training.looked_at()  # one bench for everything that can be looked at
    if trained is None:
        found = exact_bench(experiment)
    else:
        found = cached_in_session("bench", (experiment, trained[1]), lambda: Bench(experiment, *trained))
    check(_seconds(found), patience=COST_BUDGET)
    return found


def _seconds(bench: Bench) -> float:
    """About how long all runs of the page take: those of the chart, and twice the longest, which may be the film."""
    calls = 2 * bench.experiment.T + sum(steps * (2 if way == "heun" else 1) for way, steps in bench.plan)
    return calls * COST_SAMPLES * bench.experiment.seconds("exact" if bench.trained is None else "network")


def cost(bench: Bench, way: str, steps: int) -> Cost:
    """The cost of a run, measured when it is first needed."""
    if not bench.known(way, steps):
        with exclusive(bench.lock):
            if not bench.known(way, steps):
                bench.learn(made(bench.measure, way, steps))
    return bench.cost(way, steps)


def chance(bench: Bench) -> tuple[float, float]:
    """`draw.cost.chance`, once for all."""
    return shared(draw.chance, bench.experiment)


def measured(bench: Bench, chosen: Cost) -> list[Cost]:
    """All points of the chart. While they are measured, the page shows a bar and the curves so far."""
    if all(bench.known(*run) for run in bench.plan):
        return [bench.cost(*run) for run in bench.plan]
    bar, picture = st.empty(), st.empty()
    done, total = 0, sum(steps for _, steps in bench.plan)
    costs: list[Cost] = []
    for number, runs in groupby(bench.plan, key=lambda run: run[1]):
        for way, steps in runs:
            bar.progress(done / total, words("cost.measuring", way=words(f"names.{way}"), steps=steps))
            # a rerun of the page can end this function here: what was measured is kept
            costs.append(cost(bench, way, steps))
            done += steps
        picture.plotly_chart(draw.chart(costs, chosen, chance(bench)), key=f"measuring-{number}", config=charts.STILL)
    bar.empty()
    picture.empty()
    return costs


def run_scene(bench: Bench, experiment: Experiment) -> tuple[Scene, Cost]:
    """The run that the experiment asks for, and what it costs."""
    chosen = cost(bench, experiment.sampler, experiment.steps or experiment.T)
    key = (experiment.sampler, experiment.steps, experiment.particles)
    return _cached("cost-run", bench, key, draw.run_scene, experiment), chosen


def switches_scene(bench: Bench, experiment: Experiment, switches: Switches) -> tuple[Scene, list[float]]:
    """The three runs of the switches."""
    key = (experiment.particles, *switches)
    return _cached("cost-switches", bench, key, draw.switches_scene, experiment, switches)


def _cached(name: str, bench: Bench, key: tuple[object, ...], make: Callable[..., Made], *arguments: object) -> Made:
    """`make(bench, *arguments)`, once for a key: for all sessions, or for this one if it has trained the network."""
    if bench.trained is None:
        return cached_under((name, bench, *key), make, bench, *arguments)
    return cached_in_session(name, (bench, *key), lambda: made(make, bench, *arguments))


def choose(chart: str) -> None:
    """The point that was clicked becomes the run of the experiment. A click beside all points changes nothing."""
    points = st.session_state[chart].selection.points
    if points and "customdata" in points[0]:
        sampler, steps = points[0]["customdata"]
        T = st.session_state.experiment.T
        state.change(sampler=sampler, steps=0 if steps == T else steps)


def need(way: str, calls: int | None) -> str:
    """One entry of the list of how many calls are enough."""
    return words("cost.need", name=words(f"names.{way}"), calls=words("cost.never") if calls is None else calls)


def table(costs: Sequence[Cost]) -> None:
    """All that was measured."""
    columns = {name: words(f"cost.{name}") for name in Cost._fields}
    rows = [cost._replace(way=words(f"names.{cost.way}")) for cost in sorted(costs, key=lambda cost: cost.way)]
    st.dataframe(
        [dict(zip(columns.values(), row, strict=True)) for row in rows],
        hide_index=True,
        column_config={
            columns[name]: st.column_config.NumberColumn(format=form)
            for name, form in (("seconds", "%.3f"), ("distance", "%.2f"), ("spread", "%.2f"))
        },
    )


def switches(middle: DeltaGenerator, right: DeltaGenerator) -> Switches:
    """Three switches: for the middle run the variance of DDPM and the noise of its last step, for the right one eta."""
    sigma = middle.radio(
        words("cost.variance"),
        ("ddpm-beta", "ddpm"),
        format_func=lambda name: words("cost.beta" if name == "ddpm-beta" else "cost.beta-tilde"),
        horizontal=True,
        key="cost-variance",
    )
    noisy_end = middle.toggle(
        words("cost.last"), True, key="cost-last", disabled=sigma == "ddpm", help=words("cost.last_help")
    )
    st.session_state["cost-eta"] = st.session_state.experiment.eta  # the experiment is the truth

    def changed() -> None:
        state.change(eta=st.session_state["cost-eta"])

    eta = right.slider(
        words("fields.eta"), 0.0, 1.0, step=0.05, key="cost-eta", help=words("help.eta"), on_change=changed
    )
    return Switches(sigma, noisy_end, eta)
