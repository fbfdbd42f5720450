"""Lesson 6. What a step costs: how few network calls are enough, and what the noise of a step is for."""

import streamlit as st

from toydiff.diffusion.samplers import WAYS
from toydiff.diffusion.schedules import NOISE
from toydiff.draw import charts
from toydiff.draw import cost as drawn
from toydiff.draw.cost import COST_SAMPLES, DRAWS, SWITCH_JUMPS
from toydiff.measures.clouds import spread
from toydiff.text import words
from toydiff.ui import cost as lesson
from toydiff.ui import page
from toydiff.ui.export import film_with_export

LEAP = 3  # from so many errors of the second look on, the first step of Heun's method is a leap

page.begin("cost")
fields = ("predictor", "dataset", "points", "schedule", "T", "strength", "sampler", "steps", "particles", "seed")
experiment = page.settings(*fields)
page.say("cost", "question")

trained = page.network(experiment)
bench = lesson.bench(experiment, trained)
schedule = experiment.noise_schedule()

curves, picture = st.columns([6, 5])
with picture:
    scene, chosen = lesson.run_scene(bench, experiment)
    film_with_export(scene, key="cost", name=f"toydiff-cost-{experiment.dataset}", autoplay=True, offers=["guess"])
with curves:
    measured, chance = lesson.measured(bench, chosen), lesson.chance(bench)
    clicked = lambda: lesson.choose("calls")  # noqa: E731
    figure, alt = drawn.chart(measured, chosen, chance), words("cost.chart_alt")
    st.plotly_chart(figure, key="calls", on_select=clicked, selection_mode="points", config=charts.STILL, alt=alt)
    needs = drawn.enough(measured, chance).items()
    page.say("cost", "enough", needs=" · ".join(lesson.need(*item) for item in needs))
with st.expander(words("cost.table")):
    lesson.table(measured)

call = sum(cost.seconds for cost in measured) / sum(cost.calls for cost in measured)
page.say("cost", "read", samples=f"{COST_SAMPLES:,}", milliseconds=f"{1000 * call:.1f}", draws=DRAWS)
page.say("cost", "orders")
start, end = drawn.first_jump(schedule, 3)
half = (start - end) / 2
if half > LEAP:
    page.say("cost", "heun", start=f"{start:,.0f}", end=f"{end:.2g}", half=f"{half:,.0f}")

few = min(SWITCH_JUMPS, experiment.T)
text, middle, right = st.columns(3)
with text:
    page.say("cost", "switches", steps=few)
switches = lesson.switches(middle, right)
scene, (plain, switched, _) = lesson.switches_scene(bench, experiment, switches)
film_with_export(scene, key="switches", name=f"toydiff-noise-{experiment.dataset}", autoplay=True)
away = {"plain": plain, "switched": switched, "neighbours": drawn.between_neighbours(bench.data)}
kick = drawn.last_kick(schedule, few)
page.say("cost", "noise", kick=f"{kick:.3f}", **{name: f"{distance:.3f}" for name, distance in away.items()})

one_jump = bench.run(WAYS["ddpm"], 1)[0].end
near, far = ((x - bench.data.mean(0)).norm(dim=1).mean() for x in (one_jump, bench.data))
text, picture = st.columns([6, 5], vertical_alignment="center")
with text:
    page.say("cost", "one", spread=f"{spread(one_jump, bench.data):.1%}", near=f"{near:.3f}", far=f"{far:.2f}")
    if schedule.signal_left > NOISE:
        page.say("cost", "one-signal", left=f"{schedule.signal_left:.0%}")
    elif trained is not None:
        page.say("cost", "one-network")
    page.say("cost", "many")
with picture:
    st.plotly_chart(drawn.one_jump(one_jump, bench.data), key="one", config=charts.STILL, alt=words("cost.one_alt"))
page.link_to("images", words("page.next_images"))
