"""Lesson 4. The vector field behind all samplers: what was learned at every t, and what there was to learn."""

from dataclasses import replace

import streamlit as st

from toydiff.draw import charts
from toydiff.draw.fields import AT_MIDDLE_REACH
from toydiff.server.live import Race
from toydiff.server.snapshots import Snapshot
from toydiff.text import prose, words
from toydiff.ui import page, state
from toydiff.ui.export import film_with_export
from toydiff.ui.race import race
from toydiff.ui.runs import contours, fields, truth

NAMES = words("field.told"), words("field.not_told")

page.begin("field")
experiment = page.settings("dataset", "points", "schedule", "T", "strength", "sampler", "particles", "seed")
run, now = page.training("field")

looks = {name: getattr(experiment, name) for name in ("sampler", "particles")}
shown = run.experiment.looked_at(**looks)
best = truth(shown)


@st.fragment(run_every=state.every(now, 2.0, state.FIELD_LOOKS_PER_SECOND))
def watch(old: Snapshot) -> None:
    state.follow(old, run.snapshot())
    page.say_if_exploded(run)
    model, steps = run.predictor()
    made_by = words("page.network", steps=f"{steps:,}")
    scene, errors = fields("field", shown, (run, steps), {made_by: model}, made_by)
    film_with_export(
        scene,
        key="field",
        name=f"toydiff-field-{shown.dataset}",
        autoplay=True,
        contours=contours(shown),
        particles=False,
        marks="error",
        lives=True,
    )
    with st.container(key="error"):
        chart = charts.over_t(best.times, errors, words("charts.error_title"))
        st.plotly_chart(chart, key="errors", config=charts.STILL, alt=words("charts.error_alt"))


watch(now)
page.say("field", "read")
reach = best.probe.reach()
middle = best.times[reach < AT_MIDDLE_REACH]
if len(middle):
    until = int(middle.min())
    page.say("field", "words", T=shown.T, first=f"{reach[0]:.0%}", until=until, last=f"{reach[-1]:.0%}")
else:
    page.say("field", "words-signal", T=shown.T, first=f"{reach[0]:.0%}")
page.say("field", "error", start=prose("field", "error-noise" if len(middle) else "error-signal", T=shown.T))

page.say("field", "no-time")
told = replace(experiment.training, network="mlp")
pair = race("time", told, replace(told, network="mlp-no-time"), NAMES)


def watch_pair(pair: Race) -> None:
    networks, steps = pair.predictors()
    both = pair.experiments[0].looked_at(**looks)  # which may be of older settings
    made_by = words("page.network", steps=f"{steps:,}")
    scene, errors = fields("fields", both, (pair, steps), dict(zip(NAMES, networks, strict=True)), made_by)
    name = f"toydiff-no-time-{both.dataset}"
    film_with_export(scene, key="fields", name=name, particles=False, marks="both-errors", lives=True)
    with st.container(key="both-errors"):
        chart = charts.over_t(truth(both).times, errors, words("charts.error_title"))
        st.plotly_chart(chart, key="pair", config=charts.STILL, alt=words("charts.error_alt"))


if pair is not None:
    page.say("field", "one-field")
    st.fragment(watch_pair, run_every=state.every(pair.snapshot(), 3.0, state.FIELD_LOOKS_PER_SECOND))(pair)
page.link_to("target", words("page.next_target"))
