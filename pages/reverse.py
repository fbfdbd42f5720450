"""Lesson 3. From noise to data, three ways: why does DDPM add noise while generating?"""

from dataclasses import replace

from toydiff.diffusion.schedules import NOISE
from toydiff.draw.scenes import THREE_WAYS
from toydiff.measures.clouds import coverage, perfect_samples, spread
from toydiff.text import words
from toydiff.ui import page
from toydiff.ui.export import film_with_export
from toydiff.ui.runs import contours, exact_scene, network_scene

MIN_PARTICLES_FOR_WIDTH = 16  # particles: of fewer, the width says nothing

page.begin("reverse")
experiment = page.settings("predictor", "dataset", "points", "schedule", "T", "strength", "steps", "particles", "seed")
page.say("reverse", "question")

trained = page.network(experiment)
if trained is None:
    scene = exact_scene(replace(experiment, predictor="exact", trained=0))
else:
    scene = network_scene(experiment, *trained)
film_with_export(
    scene,
    key="reverse",
    name=f"toydiff-{experiment.dataset}",
    autoplay=True,
    offers=["guess", "anatomy"],
    contours=contours(experiment),
)

runs = dict(zip(THREE_WAYS, (panel.trajectory for panel in scene.panels), strict=True))
data = experiment.data()
ends = {way: spread(run.end, data) for way, run in runs.items()}
reached = {way: coverage(run.end, data) for way, run in runs.items()}
perfect = perfect_samples(data, experiment.particles, 20)
chance = max(abs(spread(x, data) - 1) for x in perfect)
reachable = sum(coverage(x, data) for x in perfect) / len(perfect)
narrowest = min(spread(x, data) for x in runs["mean-only"].x)
left = experiment.noise_schedule().signal_left
figures = {
    "ddpm": f"{ends['ddpm']:.0%}",
    "mean_only": f"{ends['mean-only']:.1%}",
    "ddim": f"{ends['ddim']:.0%}",
    "ddpm_reached": f"{reached['ddpm']:.0%}",
    "mean_only_reached": f"{reached['mean-only']:.0%}",
    "ddim_reached": f"{reached['ddim']:.0%}",
    "particles": f"{experiment.particles:,}",
    "chance": f"{chance:.0%}",
    "reachable": f"{reachable:.0%}",
    "narrowest": f"{narrowest:.1%}",
    "left": f"{left:.4f}",
    "left_percent": f"{left:.0%}",
}
if experiment.particles < MIN_PARTICLES_FOR_WIDTH:
    verdict = "alone"
elif min(ends["ddpm"], ends["ddim"]) < 0.7:
    verdict = "few"
elif ends["mean-only"] < 0.1:
    verdict = "collapse"
elif left > NOISE and ends["mean-only"] < 2 * left:
    verdict = "hidden"
else:
    verdict = "torn"
page.say("reverse", verdict, **figures)
page.say("reverse", "why", **figures)
page.say("reverse", "ddim", **figures)
if verdict not in ("alone", "few"):
    page.say("reverse", "ddim-kept", **figures)
page.say("reverse", "last-step")
page.say("reverse", "anatomy")
page.say("reverse", "images")
page.link_to("field", words("page.next_field"))
