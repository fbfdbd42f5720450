"""Lesson 8. Where a start noise leads: with DDIM it is the address of an image, and one can walk between two."""

import math

import streamlit as st

from toydiff.data import user_data
from toydiff.data.images import GAP_PHASES, moon
from toydiff.draw.between import WAY_PLACES, jumps, largest_step
from toydiff.draw.images import closest
from toydiff.server.trained_network import judge
from toydiff.text import words
from toydiff.ui import between as lesson
from toydiff.ui import page, state
from toydiff.ui.export import film_with_export
from toydiff.ui.images import enough_memory, pictures, settings

# numbers; of fewer, and if it is off by more, the length of noise is no typical one
MIN_DIMENSIONS, UNTYPICAL = (16, 0.15)

page.begin("between")
experiment, images = settings()
run = state.current_image_run(experiment, images)
numbers = images.x[0].numel()
question, network = st.columns(2)
with question:
    page.say("between", "question", data=user_data.title(experiment.data), numbers=f"{numbers:,}")
with network, enough_memory(experiment):
    who = lesson.predictor(run)

addresses, choice = st.columns(2)
with addresses:
    page.say("between", "starts", jumps=jumps(experiment))
    scene, samples = lesson.starts(who)
    name = f"toydiff-starts-{experiment.data}"
    shown = film_with_export(scene, key="starts", name=name, autoplay=True, offers=["guess"], trails=False, choose=True)
with choice:
    page.say("between", "ends")
    ends = lesson.ends(who, scene.panels[0].trajectory.x[0], shown)
    way, scene = lesson.walked(who, ends)
    pictures(images, [(words("between.first"), way.of_arc[0]), (words("between.last"), way.of_arc[-1])], side=120)
    if ends.off is not None:
        page.say("between", "found", off=lesson.off(ends.off))
        if not who.steps and experiment.data != "two-pixel":
            page.say("between", "exact-found")
    if ends.off is not None and who.moons and not who.steps:
        page.say("between", "exact-ends")

page.say("between", "way")
film_with_export(scene, key="between", name=f"toydiff-between-{experiment.data}", autoplay=True, trails=False)
rows = {"arc": way.of_arc, "straight": way.of_straight, "blend": way.blend}
waxing = who.moons and ends.off is not None
if waxing:
    rows["true"] = images.scaled(moon(GAP_PHASES[0] + way.share * (GAP_PHASES[1] - GAP_PHASES[0]), images.shape[-1]))
lesson.strip(images, rows)

lengths = {name: x.flatten(1).norm(dim=1) for name, x in (("arc", way.arc), ("straight", way.straight))}
figures = {
    "predictor": who.name,
    "numbers": f"{numbers:,}",
    "typical": f"{math.sqrt(numbers):.1f}",
    "a": f"{lengths['arc'][0]:.1f}",
    "b": f"{lengths['arc'][-1]:.1f}",
    "angle": f"{math.degrees(way.angle):.0f}",
    **{name: f"{length[WAY_PLACES // 2]:.1f}" for name, length in lengths.items()},
}
untypical = max(abs(length / math.sqrt(numbers) - 1) for length in lengths["arc"][[0, -1]].tolist())
if numbers < MIN_DIMENSIONS:
    page.say("between", "lengths-few", **figures)
elif ends.off is None or untypical < UNTYPICAL:
    page.say("between", "lengths", **figures)
else:
    page.say("between", "not-typical", **figures)
page.say("between", "slerp")
page.say("between", "steps", largest=f"{largest_step(way.of_arc):.0%}", even=f"{1 / (WAY_PLACES - 1):.1%}")
if not who.steps:
    page.say("between", "exact", kinds=len(closest(way.of_arc, images.x)[1].unique()))

if experiment.data == "digits":
    figures |= {"floor": f"{judge().floor:.0%}", "accuracy": f"{judge().accuracy:.1%}"}
    verdict, found = lesson.sure(who, way)
    page.say("between", "sure", **figures | found)
    if ends.off is None:
        page.say("between", verdict, **figures)
if who.moons:
    page.say("between", "moons")
    page.say("between", "with-gap" if experiment.data.endswith("-gap") else "with-all")
    lesson.offer_gap(who)
if waxing:
    verdict, found = lesson.moon_numbers(who, way, samples)
    page.say("between", verdict, **figures | found)
    page.say("between", "moon-samples", **found)

if experiment.data == "digits":
    page.say("between", "classes", **figures)
    lesson.digit_bars(who, samples)
    page.say("between", "dice", runs=lesson.SAME)
    scene, reached = lesson.dice(who, ends)
    film_with_export(scene, key="dice", name="toydiff-dice", trails=False)
    page.say("between", "decided", **lesson.dice_bars(who, reached))
