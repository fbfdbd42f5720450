"""Two networks that train side by side: a block for any page."""

from __future__ import annotations

from html import escape

import streamlit as st

from toydiff.draw import charts
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.scenes import GHOST, stamp
from toydiff.experiments.experiment import PointTraining
from toydiff.server.live import MEASURED_SAMPLES, SHOWN_SAMPLES, Race
from toydiff.server.snapshots import RaceSnapshot, times
from toydiff.text import words
from toydiff.ui import page, state
from toydiff.ui.controls import training_buttons
from toydiff.ui.export import film_with_export
from toydiff.ui.runs import best_loss


def race(key: str, first: PointTraining, second: PointTraining, names: tuple[str, str]) -> Race | None:
    """Two networks, always after the same number of steps, with the same x_T and z behind their samples.

    key: of this race in the session; names: of the networks. Returns the race, perhaps of older settings; None until
    it is started: a class that only reads the page keeps no worker busy.
    """
    experiments = first.training, second.training
    running = state.races().get(key)
    now = running.snapshot() if running is not None else None
    training_buttons(
        lambda: state.races().get(key),
        now,
        lambda: state.fresh_race(key, *experiments),
        lambda: state.end_race(key),
        f"{key}-",
    )
    if running is None or now is None:
        st.info(words("race.waits", first=names[0], second=names[1]), icon=":material/sports_score:")
        return None
    _changed(key, running.experiments, experiments)
    # while it trains, this part of the page comes again every second
    st.fragment(_watch, run_every=state.every(now))(key, running, names, now)
    return running


def _changed(key: str, old: tuple[PointTraining, ...], new: tuple[PointTraining, ...]) -> None:
    """If the settings are no longer those of the race: start fresh, or go back?"""
    pair = next(((a, b) for a, b in zip(old, new, strict=True) if a != b), None)
    if pair is None:
        return
    st.warning(words("race.changed", changed=page.difference(*pair)))
    with st.container(horizontal=True):
        fresh, back = words("train.fresh"), words("train.back")
        st.button(fresh, type="primary", key=f"{key}-fresh", on_click=state.end_race, args=(key,))
        st.button(back, key=f"{key}-back", on_click=state.change, kwargs=page.differing(*pair))


def _watch(key: str, race: Race, names: tuple[str, str], old: RaceSnapshot) -> None:
    now = race.snapshot()
    state.follow(old, now)
    for name, experiment, lane in zip(names, race.experiments, now.lanes, strict=True):
        if lane.diverged_at is not None:
            st.error(words("race.diverged", name=name, step=f"{lane.diverged_at + 1:,}", lr=f"{experiment.lr:g}"))
    picture, curves = st.columns([3, 2])
    with picture:
        _numbers(now, names)
        name = f"toydiff-{key}-{race.experiments[0].dataset}"
        scene = _scene(race, now, names)
        film_with_export(scene, key=key, name=name, grows=True, trails=False, marks=f"{key}-charts")
    with curves, st.container(key=f"{key}-charts"):
        _charts(key, race, now, names)


def _scene(race: Race, now: RaceSnapshot, names: tuple[str, str]) -> Scene:
    panels = tuple(
        Panel(
            name,
            words("formulas.ddpm"),
            lane.trajectory,
            tuple(point.note("race.note") for point in lane.evaluations),
        )
        for name, lane in zip(names, now.lanes, strict=True)
    )
    experiment = race.experiments[0]
    made_by = words("page.network", steps=f"{now.lanes[0].evaluations[-1].step:,}")
    what = stamp(experiment.looked_at(), " | ".join(names), made_by)
    return Scene(panels, experiment.data()[:GHOST], what, clock="step", start=experiment.start(SHOWN_SAMPLES))


def _numbers(now: RaceSnapshot, names: tuple[str, str]) -> None:
    """The same three numbers of both, each above its picture."""
    samples = f"{MEASURED_SAMPLES:,}"
    for column, name, lane, colour in zip(st.columns(2), names, now.lanes, charts.LANES, strict=True):
        newest = lane.evaluations[-1]
        with column, st.container(gap="xxsmall"):
            st.html(f'<b style="color: {colour}">{escape(name)}</b>')
            with st.container(horizontal=True):
                loss = f"{lane.losses[-200:].mean():.3g}" if now.step else "–"
                st.metric(words("train.loss"), loss, help=words("race.loss_help"), width="content")
                tip = words("train.quality_help", samples=samples)
                st.metric(words("train.quality"), f"{times(lane.ratio)} ×", help=tip, width="content")
                tip = words("race.error_help", samples=samples)
                st.metric(words("race.error"), f"{newest.error:.3g}", help=tip, width="content")


def _charts(key: str, race: Race, now: RaceSnapshot, names: tuple[str, str]) -> None:
    with st.container(horizontal=True):
        for name, figure in (
            ("step", f"{now.step:,}"),
            ("seconds", f"{now.seconds:.1f} s"),
            ("speed", f"{now.speed:,.0f}"),
        ):
            st.metric(words(f"train.{name}"), figure, help=words(f"train.{name}_help"), width="content")
    best = [best_loss(experiment) for experiment in race.experiments]
    losses = [charts.averaged(lane.losses) for lane in now.lanes]
    steps = [point.step for point in now.lanes[0].evaluations]
    ratios = [(steps, [point.ratio for point in lane.evaluations]) for lane in now.lanes]
    errors = [(steps, [point.error for point in lane.evaluations]) for lane in now.lanes]
    for name, curves, goals, goal in (
        ("loss", losses, list(dict.fromkeys(best)), "best"),  # one line if both can get as far
        ("quality", ratios, [1.0], "floor"),
        ("error", errors, [], "best"),
    ):
        lanes = dict(zip(names, curves, strict=True))
        title, axis, goal_name = words(f"race.{name}_title"), words("charts.step"), words(f"charts.{goal}")
        st.plotly_chart(
            charts.race(lanes, goals, title, axis, goal_name),
            key=f"{key}-{name}",
            config=charts.STILL,
            alt=words(f"race.{name}_alt", names=", ".join(names)),
        )
