"""Lesson 7. A point is an image: the same loop, the same three ways back; only the shape is another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import streamlit as st
import torch
from torch import Tensor

from toydiff.data import user_data
from toydiff.data.images import Images
from toydiff.diffusion import exact
from toydiff.draw import charts
from toydiff.draw import images as drawn
from toydiff.draw.images import (
    GRID_IMAGES,
    IMAGES_AT_ONCE,
    bridge_scene,
    differences,
    digit_counts,
    distances,
    forward_scene,
    nearest_scene,
    training_scene,
    usual_distances,
    variance,
    ways_scene,
)
from toydiff.draw.scene import Scene
from toydiff.draw.scenes import THREE_WAYS
from toydiff.experiments.image_experiment import ImageExperiment, usual_device
from toydiff.measures.judge import Verdict
from toydiff.server.live import JUDGED_IMAGES, ImageRun
from toydiff.server.snapshots import Snapshot
from toydiff.server.trained_network import judge
from toydiff.text import words
from toydiff.ui import page, state
from toydiff.ui.controls import training_buttons
from toydiff.ui.export import film_with_export
from toydiff.ui.images import (
    IMAGE_BUDGET,
    PER_NUMBER,
    enough_memory,
    pictures,
    say_if_slow,
    seconds_of_network,
    settings,
    train,
)
from toydiff.ui.pictures import offer
from toydiff.ui.rendering import cached_in_session, cached_under, made
from toydiff.ui.runs import check
from toydiff.ui.still_images import enlarged

IMAGE_TRAIN_STEPS = 1500  # that the button trains: a minute or two on a CPU
ONE_PICTURE_VARIANCE = 0.1  # of the data's variance: below it, all samples are one picture
MEASURED, FEWEST, VALUES = 500, 50, 50_000  # samples that are measured: fewer if they had more values than that
DENSE = 0.1  # images of the data that lie closer fill their space: a sample close to one need not be a copy

page.begin("images")
experiment, images = settings()
values = {
    "data": user_data.title(experiment.data),
    "n": f"{len(images.x):,}",
    "numbers": f"{images.x[0].numel():,}",
    "shape": " × ".join(str(size) for size in images.shape),
    "T": experiment.T,
}
page.say("images", "question", **values)


# ---------------------------------------------------------------- training


def about_network(experiment: ImageExperiment) -> str:
    """What the network is, in a few words."""
    return words(f"images.about_{'two' if experiment.data == 'two-pixel' else experiment.network}")


def watch(run: ImageRun, old: Snapshot) -> None:
    """The training: its film, its numbers, its charts."""
    now = run.snapshot()
    state.follow(old, now)
    if now.diverged_at is not None:
        st.error(words("images.diverged", step=f"{now.diverged_at + 1:,}", lr=f"{run.experiment.lr:g}"))
    newest, judged = now.evaluations[-1], run.experiment.data == "digits"
    film, curves = st.columns(2)
    with film:
        made_by = words("page.network", steps=f"{newest.step:,}")
        scene = training_scene(run.experiment, run.images, now.trajectory, made_by)
        name = f"toydiff-train-{run.experiment.data}"
        film_with_export(scene, key="images-train", name=name, grows=True, trails=False)
    with curves:
        figures = {
            "step": f"{now.step:,}",
            "seconds": f"{now.seconds:.0f} s",
            "speed": f"{now.speed:,.1f}",
            "loss": f"{now.losses[-200:].mean():.3g}" if now.step else "–",
        }
        with st.container(horizontal=True):
            for name, figure in figures.items():
                st.metric(words(f"train.{name}"), figure, help=words(f"train.{name}_help"), width="content")
            device = words(f"images.{run.device.type}")
            st.metric(words("images.device"), device, help=words("images.device_help"), width="content")
            if judged:
                tip = words("images.sure_help", accuracy=f"{judge().accuracy:.1%}", floor=f"{judge().floor:.0%}")
                st.metric(
                    words("images.sure"),
                    f"{newest.ratio:.0%}" if now.diverged_at is None else "–",
                    help=tip,
                    width="content",
                )
        title, axis = words("charts.loss_title"), words("charts.step")
        loss = charts.loss(now.losses, None, title, axis, "")
        st.plotly_chart(loss, key="images-loss", config=charts.STILL, alt=words("images.loss_alt"))
        if judged:
            points = [(point.step, point.ratio) for point in now.evaluations]
            sure = charts.judged(points, judge().floor, words("images.sure_title"), axis, words("images.sure_floor"))
            st.plotly_chart(sure, key="images-sure", config=charts.STILL, alt=words("images.sure_alt"))


say_if_slow(experiment, images, usual_device())
with st.spinner(words("page.computing")):
    run = state.current_image_run(experiment, images)
now = run.snapshot()
training_buttons(
    lambda: state.image_runs().get(experiment), now, lambda: state.fresh_image_run(experiment, images), key="images-"
)
offer(run)
st.fragment(watch, run_every=state.every(now))(run, now)
page.say("images", "what", network=about_network(experiment), **values)
if experiment.data == "digits":
    floor, accuracy = f"{judge().floor:.0%}", f"{judge().accuracy:.1%}"
    page.say("images", "judge", floor=floor, accuracy=accuracy, samples=JUDGED_IMAGES)
if experiment.data == "two-pixel":
    page.say("images", "bridge")


# ---------------------------------------------------------------- three ways down


def ways_down(run: ImageRun) -> tuple[Scene, dict[str, float], int]:
    """Three ways down with the network of this run, or with the exact predictor if it has no steps yet; and after how
    many steps. While it trains, the network stays the same one until the newest is asked for."""
    each = run.images.x.numel() * PER_NUMBER if run.step == 0 else seconds_of_network(run.experiment, run.images.shape)
    check(len(THREE_WAYS) * run.experiment.T * GRID_IMAGES * each, patience=IMAGE_BUDGET)
    if run.step == 0:
        return *exact_ways(run.experiment, run.images), 0
    old = state.session().kept.get("image-ways")
    steps = old[0][1] if old is not None and old[0][0] == run.experiment and run.running else run.step
    moved_on = run.running or steps != run.step
    if moved_on and st.button(words("images.newest"), key="images-newest", icon=":material/refresh:"):
        steps = run.step

    def make() -> tuple[Scene, dict[str, float], int]:
        model, steps = run.predictor()
        made_by = words("page.network", steps=f"{steps:,}")
        return *made(ways_scene, run.experiment, run.images, model, made_by), steps

    return cached_in_session("image-ways", (run.experiment, steps), make)


def exact_ways(experiment: ImageExperiment, images: Images) -> tuple[Scene, dict[str, float]]:
    """`draw.images.exact_ways`, once for all."""
    return cached_under((drawn.exact_ways, experiment), drawn.exact_ways, experiment, images)


@st.fragment
def show_bridge(experiment: ImageExperiment, images: Images, ways: Scene, made_by: str) -> None:
    """A particle and the two gray pixels that it is, moving together; for the way that one chooses."""
    names = {way: words(f"names.{way}") for way in THREE_WAYS}
    way = st.radio(words("images.way"), names, key="images-way", horizontal=True, format_func=names.__getitem__)
    run = ways.panels[THREE_WAYS.index(way)].trajectory
    scene = cached_in_session("image-bridge", (ways, way), lambda: bridge_scene(experiment, images, run, way, made_by))
    film_with_export(scene, key="images-bridge", name=f"toydiff-two-pixel-{way}", autoplay=True, follow=0)


page.say("images", "reverse")
if now.step == 0:
    st.info(words("images.no_network", steps=f"{IMAGE_TRAIN_STEPS:,}"))
    label, may = words("reverse.train", steps=f"{IMAGE_TRAIN_STEPS:,}"), state.may_train()
    if st.button(label, type="primary", key="images-train-now", disabled=not may):
        train(run, IMAGE_TRAIN_STEPS)
        st.rerun()
with enough_memory(experiment):
    scene, shares, steps = ways_down(run)
film_with_export(scene, key="images", name=f"toydiff-{experiment.data}", autoplay=True, offers=["guess"], trails=False)

predictor = words("page.network", steps=f"{steps:,}") if steps else words("page.exact")
if experiment.data == "two-pixel":
    page.say("images", "particle")
    show_bridge(experiment, images, scene, predictor)


# ---------------------------------------------------------------- what the collapse is


def show_spread(images: Images, ways: Scene, shares: Mapping[str, float]) -> None:
    """Pixel by pixel, how much the data differ and how much the samples of each way do: one scale of brightness."""
    ends = {way: panel.trajectory.end for way, panel in zip(THREE_WAYS, ways.panels, strict=True)}
    maps = differences({"data": images.x[: 4 * IMAGES_AT_ONCE]} | ends)
    names = {way: f"{words(f'names.{way}')} · {share:.1%}" for way, share in shares.items()}
    names["data"] = words("images.data")
    enlarged([(names[name], one) for name, one in maps.items()], side=150)


class Measured(NamedTuple):
    """What many samples of a network say."""

    n: int
    steps: int  # of training; 0: the exact predictor
    variance: dict[str, float]  # by way, as a share of the data's
    verdict: Verdict | None  # on DDPM's, for digits


@st.fragment
def show_measured(run: ImageRun) -> None:
    """A button that measures many samples of the network as it is now, and what it found."""
    experiment, images = run.experiment, run.images
    n = min(MEASURED, max(FEWEST, VALUES // images.x[0].numel()))
    if st.button(words("images.measure", n=n), key="images-measure", icon=":material/straighten:"):
        with enough_memory(experiment):
            state.session().kept["images-measured"] = experiment, measure(run, n)
    found: tuple[ImageExperiment, Measured] | None = state.session().kept.get("images-measured")
    if found is None or found[0] != experiment:
        return
    n, steps, shares, verdict = found[1]
    predictor = words("page.network", steps=f"{steps:,}") if steps else words("page.exact")
    st.caption(words("images.measured", n=n, predictor=predictor, T=experiment.T))
    with st.container(horizontal=True):
        if verdict is not None:
            share = f"{verdict.share:.1%} ± {verdict.error:.1%}"
            st.metric(words("images.sure"), share, help=words("images.error_help"), width="content")
        for way, value in shares.items():
            tip = words("images.shares_help")
            st.metric(words("images.share", way=words(f"names.{way}")), f"{value:.1%}", help=tip, width="content")
    if verdict is not None:
        if not steps:
            st.caption(words("images.seen_before"))
        title = words("images.counts_title", kinds=sum(count > 0 for count in verdict.counts))
        alt = words("images.counts_alt", counts=", ".join(str(count) for count in verdict.counts))
        st.plotly_chart(digit_counts(verdict.counts, title), key="images-counts", config=charts.STILL, alt=alt)


def measure(run: ImageRun, n: int) -> Measured:
    """n samples of each way, all T steps, with a bar that shows it."""
    experiment, images = run.experiment, run.images
    model, steps = run.predictor() if run.step else (exact.cloud(images.x, experiment.noise_schedule()), 0)
    start, whole, bar = experiment.start(n, images.shape), variance(images.x), st.progress(0.0)
    ends: dict[str, Tensor] = {}
    for i, way in enumerate(THREE_WAYS):
        for frame in experiment.frames(model, way, start):
            done = i + 1 - frame.t / experiment.T
            bar.progress(done / len(THREE_WAYS), words("images.measuring", way=words(f"names.{way}")))
        ends[way] = frame.x
    bar.empty()
    shares = {way: variance(x) / whole for way, x in ends.items()}
    return Measured(n, steps, shares, judge().verdict(images, ends["ddpm"]) if experiment.data == "digits" else None)


mean = images.x.mean(0)
blur = scene.panels[1].trajectory.end
key = "usual distances", experiment.data, experiment.n, experiment.seed
usual, other = cached_under(key, usual_distances, images.x)
figures = {
    "predictor": predictor,
    "ddpm": f"{shares['ddpm']:.0%}",
    "mean_only": f"{shares['mean-only']:.1%}",
    "ddim": f"{shares['ddim']:.0%}",
    "away": f"{distances(blur, mean).mean():.1f}",
    "usual": f"{usual:.1f}",
    "other": f"{other:.2f}",
    "left": f"{experiment.noise_schedule().signal_left:.4f}",
}
page.say("images", "numbers", **figures)
page.say("images", "one" if shares["mean-only"] < ONE_PICTURE_VARIANCE else "several", **figures)
pictures(images, [(words("images.mean"), mean), (words("images.first"), blur[0])])
page.say("images", "why")

page.say("images", "spread", samples=len(blur))
show_spread(images, scene, shares)
page.say("images", "measure")
show_measured(run)


# ---------------------------------------------------------------- is it a copy?


def nearest_images(experiment: ImageExperiment, images: Images, ways: Scene, made_by: str) -> tuple[Scene, Tensor]:
    """`draw.images.nearest_scene` for the DDPM samples of `ways`, kept until they are others."""
    run = ways.panels[0].trajectory
    return cached_in_session("image-nearest", ways, lambda: made(nearest_scene, experiment, images, run, made_by))


beside, distance = nearest_images(experiment, images, scene, predictor)
page.say("images", "nearest")
film_with_export(beside, key="images-nearest", name=f"toydiff-nearest-{experiment.data}", trails=False)
page.say("images", "by-heart", distance=f"{distance.mean():.2f}", **figures)
if other >= DENSE:
    page.say("images", "copies")
if not steps:
    page.say("images", "exact")


# ---------------------------------------------------------------- the way up


def forward_film(experiment: ImageExperiment, images: Images) -> Scene:
    """`draw.images.forward_scene`, once for all."""
    return cached_under((forward_scene, experiment), forward_scene, experiment, images)


@st.fragment
def show_pixels(experiment: ImageExperiment, images: Images) -> None:
    """All pixels at a time t, beside the normal curve."""
    schedule = experiment.noise_schedule()
    t = st.slider(words("images.time"), 0, experiment.T, experiment.T // 2, key=f"images-t-{experiment.T}")
    x0 = images.x[:IMAGES_AT_ONCE]
    x = schedule.noised(x0, torch.randn(x0.shape, generator=experiment.generator(4)), t)
    title = words("images.pixels_title", t=t, left=f"{schedule.alpha_bar[t].sqrt():.3f}")
    names = words("images.pixels"), words("images.normal")
    figure = charts.pixels(x, title, words("images.value"), names)
    st.plotly_chart(figure, key="images-pixels", config=charts.STILL, alt=words("images.pixels_alt", t=t))


page.say("images", "forward", **figures)
film_with_export(
    forward_film(experiment, images), key="images-forward", name=f"toydiff-forward-{experiment.data}", trails=False
)
show_pixels(experiment, images)
page.say("images", "pixels")
page.link_to("between", words("page.next_between"))
