"""Lesson 1. The data dissolves: noise is added, step by step or in one jump."""

import streamlit as st

from toydiff.diffusion.schedules import NOISE
from toydiff.draw import charts
from toydiff.text import prose, words
from toydiff.ui import page
from toydiff.ui.export import film_with_export
from toydiff.ui.runs import contours, forward

SMALLEST_SHARE = 5e-4  # a smaller share of the data would read 0.0 %
MIN_COMPARED_PARTICLES = 16  # particles: of fewer, how alike two clouds are is a matter of chance

page.begin("forward")
experiment = page.settings("dataset", "points", "schedule", "T", "strength", "particles", "seed")
schedule = experiment.noise_schedule()
scene, distance, floor = forward(experiment)

page.say("forward", "question")
film_with_export(
    scene,
    key="forward",
    name=f"toydiff-forward-{experiment.dataset}",
    autoplay=True,
    marks="curves",
    follow=0,
    contours=contours(experiment),
)

left = schedule.signal_left
if left > NOISE:
    st.warning(prose("forward", "not-noise", left=f"{left:.3f}", percent=f"{left:.0%}", T=experiment.T))
else:
    some = prose("forward", "noise", left=f"{left:.4f}", percent=f"{left:.1%}", T=experiment.T)
    st.success(some if left >= SMALLEST_SHARE else prose("forward", "all-noise", T=experiment.T))

with st.container(key="curves"):
    for column, (name, curve) in zip(st.columns(3), charts.schedule(schedule).items(), strict=True):
        curve.update_layout(title_text=words(f"charts.{name}"))
        alt = words("charts.schedule_alt", chart=words(f"charts.{name}"), T=experiment.T)
        column.plotly_chart(curve, key=name, config=charts.STILL, alt=alt)

first, last = (f"{float(f'{beta:.2g}'):.7f}".rstrip("0") for beta in schedule.beta[[1, -1]])  # two digits
page.say("forward", "step", beta_1=first, beta_T=last, T=experiment.T)
page.say("forward", "jump")
half = experiment.T // 2
chance = {"middle": f"{distance[half]:.3f}", "floor": f"{floor[half]:.3f}"}
section = "same" if experiment.particles >= MIN_COMPARED_PARTICLES else "same-few"
page.say("forward", section, particles=f"{experiment.particles:,}", **chance)
page.say("forward", "scaled")
page.link_to("train", words("page.next_train"))
