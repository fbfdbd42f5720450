"""Lesson 2. A network learns to guess the noise, live."""

import streamlit as st

from toydiff.draw import charts
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.scenes import GHOST, stamp
from toydiff.server.live import MEASURED_SAMPLES, SHOWN_SAMPLES
from toydiff.server.snapshots import Snapshot, times
from toydiff.text import words
from toydiff.ui import page, state
from toydiff.ui.export import film_with_export
from toydiff.ui.runs import best_loss

page.begin("train")
experiment = page.settings("dataset", "points", "schedule", "T", "strength", "seed")
experiment = page.settings("width", "depth", "lr", "batch", title="network_settings")
run, now = page.training("train")


@st.fragment(run_every=state.every(now))
def watch(old: Snapshot) -> None:
    now = run.snapshot()
    state.follow(old, now)
    page.say_if_exploded(run)
    newest = now.evaluations[-1]
    figures = {
        "step": f"{now.step:,}",
        "quality": f"{times(now.ratio)} ×",
        "seconds": f"{now.seconds:.1f} s",
        "speed": f"{now.speed:,.0f}",
        "loss": f"{now.losses[-200:].mean():.3g}" if now.step else "–",
    }
    picture, curves = st.columns([1, 1])
    with picture:
        notes = tuple(point.note("train.note") for point in now.evaluations)
        panel = Panel(words("train.samples"), words("formulas.ddpm"), now.trajectory, notes)
        made_by = words("page.network", steps=f"{newest.step:,}")
        what = stamp(run.experiment.looked_at(), words("names.ddpm"), made_by)
        data, start = run.experiment.data()[:GHOST], run.experiment.start(SHOWN_SAMPLES)
        scene = Scene((panel,), data, what, clock="step", start=start)
        film_with_export(scene, key="train", name=f"toydiff-train-{run.experiment.dataset}", grows=True)
    with curves:
        with st.container(horizontal=True):
            for name, figure in figures.items():
                tip = words(f"train.{name}_help", samples=f"{MEASURED_SAMPLES:,}")
                st.metric(words(f"train.{name}"), figure, help=tip, width="content")
        best = best_loss(run.experiment)
        show(
            "loss", charts.loss(now.losses, best, *(words(f"charts.{name}") for name in ("loss_title", "step", "best")))
        )
        points = [(c.step, c.ratio) for c in now.evaluations]
        show(
            "quality", charts.quality(points, *(words(f"charts.{name}") for name in ("quality_title", "step", "floor")))
        )


def show(name: str, chart: charts.Chart) -> None:
    st.plotly_chart(chart, key=name, config=charts.STILL, alt=words(f"charts.{name}_alt"))


watch(now)
page.say("train", "what")
if run.experiment.target == "stable":
    page.say("train", "stable")
page.say("train", "loss", best=f"{best_loss(run.experiment):.2f}")
page.say("train", "quality", samples=f"{MEASURED_SAMPLES:,}")
page.say("train", "checkpoints")
page.link_to("reverse", words("page.next_reverse"))
