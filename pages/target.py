"""Lesson 5. Why predict all of the noise, and not only the last step's? And where that loss comes from."""

from dataclasses import replace

import streamlit as st
import torch

from toydiff.diffusion.walks import DISC, given, radius
from toydiff.draw import charts
from toydiff.draw.target import DISC_WALKS, variance_chart
from toydiff.text import prose, words
from toydiff.ui import page
from toydiff.ui import target as lesson
from toydiff.ui.export import film_with_export
from toydiff.ui.race import race

CERTAIN = 0.002  # a variance below which the size of the disc shows

page.begin("target")
lesson.take_picked("arrivals")
experiment = page.settings("dataset", "points", "schedule", "T", "strength", "x", "y", "t", "seed")
schedule, t = experiment.noise_schedule(), experiment.time
place = {"x": f"{experiment.x:g}", "y": f"{experiment.y:g}", "radius": f"{radius(schedule, t):.2g}"}
times, measured, variances = lesson.variances(experiment)
arrivals, walks, noises = lesson.walks_to_place(experiment)
text, film = st.columns([2, 3])
with text:
    page.say("target", "question")
    shown = arrivals.panels[0].trajectory.x.shape[1]
    page.say("target", "pick" if shown else "pick-none", t=t, shown=shown, **place)
with film:
    film_with_export(arrivals, key="arrivals", name=f"toydiff-walks-{experiment.dataset}", autoplay=True, pick=True)
if noises is None:
    st.warning(prose("target", "none", t=t, tried=f"{walks.tried:,}", found=len(walks.x), **place))
else:
    page.say("target", "noises", walks=len(walks.x), scale=f"{variances[t - 1] ** 0.5:.2g}")
    film_with_export(noises, key="noises", name=f"toydiff-noise-{experiment.dataset}", autoplay=True, trails=False)
    (x, y), total, last = given(experiment.data(), schedule, t, torch.tensor([experiment.x, experiment.y]))
    off = {f"off_{name}": f"{(2 * var / len(walks.x)) ** 0.5:.2g}" for name, var in (("total", total), ("last", last))}
    figures = {"x": f"{x:.2f}", "y": f"{y:.2f}", "total": f"{total:.2g}", "last": f"{last:.3g}"}
    if t == 1:
        page.say("target", "first")
    elif total < CERTAIN:
        page.say("target", "certain", disc=f"{DISC**2 / 4:.1g}", **figures)
    else:
        more = {"wide": f"{(last / total) ** 0.5:.1f}", "times": f"{last / total:,.0f}"}
        page.say("target", "same", **more, walks=len(walks.x), **off, **figures)
    scale = variances[t - 1] ** 0.5
    page.say("target", "share", share=f"{scale**-2:.1%}", root=f"{1 / scale:.0%}", scale=f"{scale:.2g}")

most = f"{variances.max():.1f}"
page.say("target", "variances", mean=f"{variances.mean():.1f}", most=most, walks=DISC_WALKS)
chart = variance_chart(variances, times, measured)
st.plotly_chart(chart, key="variances", config=charts.STILL, alt=words("target.variance_alt", most=most))

page.say("target", "race")
training = experiment.training
names = words("names.total"), words("names.last-step")
race("targets", replace(training, target="total"), replace(training, target="last-step"), names)

page.say("target", "step")
models = lesson.predictors(experiment)
if len(models) == 1:
    st.info(prose("target", "no-network"))
sampler = lesson.sigma_control()
lesson.one_step(experiment, models, sampler)
page.say("target", "kl-same" if sampler == "ddpm" else "kl-larger")
page.say("target", "why-noise")

page.say("target", "bound")
terms = lesson.bounds(experiment, models, sampler)
lesson.show_bounds(terms)
n = next(iter(terms.values())).shape[1]
page.say("target", "bound-read", n=n, points=f"{experiment.points:,}")
page.link_to("cost", words("page.next_cost"))
