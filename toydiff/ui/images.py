"""What the page of images shows: its settings, its training, and runs computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st
import torch
from torch import Tensor

from toydiff import exact, own
from toydiff.draw import charts
from toydiff.draw.images import CHUNK, apart, closest, forward_scene, training_scene, ways_scene
from toydiff.draw.scene import Scene
from toydiff.exact import Model
from toydiff.image_experiment import ImageExperiment
from toydiff.images import Images
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.export import film_with_export
from toydiff.ui.live import ImageRun, judge
from toydiff.ui.runs import kept

MENU = ("digits", "moon-phases-16", "two-pixel", "mnist")  # a link may bring others
STILL = {"displayModeBar": False}  # charts without a toolbar
CHUNK_OF_STEPS = 10  # between two movements of the bar


def settings() -> tuple[ImageExperiment, Images]:
    """The controls, and the images they ask for. Images that cannot be had: a sentence, and the digits stay."""
    now: ImageExperiment = st.session_state.image_experiment
    st.session_state["control-image-data"], st.session_state["control-image-seed"] = now.data, now.seed
    menu = dict.fromkeys((*MENU, *state.brought(ImageExperiment), now.data))
    with st.sidebar:
        st.markdown(f"**{words('page.settings')}**")
        st.selectbox(
            words("fields.data"),
            menu,
            key="control-image-data",
            help=words("help.data"),
            on_change=_changed,
            format_func=own.title,
        )
        st.number_input(
            words("fields.seed"), 0, 2**31 - 1, key="control-image-seed", help=words("help.seed"), on_change=_changed
        )
    try:
        return now, load(now.data, now.n, now.seed)
    except ValueError as error:
        st.error(str(error))
        usual = ImageExperiment()
        state.change_images(data=usual.data, n=usual.n)
        now = st.session_state.image_experiment
        return now, load(now.data, now.n, now.seed)


def _changed() -> None:
    data, seed = st.session_state["control-image-data"], st.session_state["control-image-seed"]
    now: ImageExperiment = st.session_state.image_experiment
    fields = {"data": data, "n": ImageExperiment(data=data).usual_n} if data != now.data else {}
    if seed is not None:  # an emptied number box: the old value comes back
        fields["seed"] = seed
    state.change_images(**fields)


@st.cache_resource(max_entries=6, show_spinner=words("page.computing"))
def load(data: str, n: int, seed: int) -> Images:
    """The images. Shared by all sessions: never changed."""
    return ImageExperiment(data=data, n=n, seed=seed).images()


def watch(run: ImageRun, was_running: bool) -> None:
    """The training: its film, its numbers, its charts."""
    now = run.snapshot()
    if was_running and not now.running:
        st.rerun()  # it stopped by itself: the buttons have to know
    if now.diverged_at is not None:
        st.error(words("images.diverged", step=f"{now.diverged_at + 1:,}", lr=f"{run.experiment.lr:g}"))
    newest, judged = now.checkpoints[-1], run.experiment.data == "digits"
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
                st.metric(words("images.sure"), f"{newest.ratio:.0%}", help=tip, width="content")
        title, axis = words("charts.loss_title"), words("charts.step")
        loss = charts.loss(now.losses, None, title, axis, "")
        st.plotly_chart(loss, key="images-loss", config=STILL, alt=words("images.loss_alt"))
        if judged:
            points = [(point.step, point.ratio) for point in now.checkpoints]
            sure = charts.judged(points, judge().floor, words("images.sure_title"), axis, words("images.sure_floor"))
            st.plotly_chart(sure, key="images-sure", config=STILL, alt=words("images.sure_alt"))


def train_now(run: ImageRun, steps: int) -> None:
    """So many steps more while the page waits, with a bar that shows them."""
    state.only(run)
    bar, first = st.progress(0.0), run.step
    while (done := run.step - first) < steps and run.diverged_at is None:
        bar.progress(done / steps, words("train.progress", step=f"{done:,}", steps=f"{steps:,}"))
        run.advance(min(CHUNK_OF_STEPS, steps - done), picture=False)
    run.pause()  # takes the picture
    bar.empty()


def ways(run: ImageRun) -> tuple[Scene, dict[str, float], int]:
    """Three ways down with the network of this run, or with the exact predictor if it has no steps yet; and after how
    many steps. While it trains, the network stays the same one until somebody asks for the newest."""
    if run.step == 0:
        return *exact_ways(run.experiment), 0
    old = st.session_state.get("kept-image-ways")
    steps = old[0][1] if old is not None and old[0][0] == run.experiment and run.running else run.step
    if steps != run.step and st.button(words("images.newest"), key="images-newest", icon=":material/refresh:"):
        steps = run.step

    def make() -> tuple[Scene, dict[str, float], int]:
        with st.spinner(words("page.computing")):
            model, steps = run.predictor()
            return *ways_scene(run.experiment, run.images, model, words("page.network", steps=f"{steps:,}")), steps

    return kept("image-ways", (run.experiment, steps), make)


@st.cache_resource(max_entries=6, show_spinner=words("page.computing"))
def exact_ways(experiment: ImageExperiment) -> tuple[Scene, dict[str, float]]:
    """The same with the best possible predictor, which knows every image by heart. Shared by all sessions."""
    images = load(experiment.data, experiment.n, experiment.seed)
    model: Model = exact.cloud(images.x, experiment.noise_schedule())
    return ways_scene(experiment, images, model, words("page.exact"))


@st.cache_resource(max_entries=6, show_spinner=words("page.computing"))
def forward(experiment: ImageExperiment) -> Scene:
    """`draw.images.forward_scene`, once."""
    return forward_scene(experiment, load(experiment.data, experiment.n, experiment.seed))


@st.cache_data(max_entries=12, show_spinner=False)
def usual_distances(data: str, n: int, seed: int) -> tuple[float, float]:
    """How far images of the data are, on average, from the mean image, and from the nearest other image."""
    x = load(data, n, seed).x
    return apart(x, x.mean(0)).mean().item(), closest(x[:CHUNK], x, rank=2)[0].mean().item()


def pictures(images: Images, shown: Sequence[tuple[str, Tensor]], side: int = 150) -> None:
    """Single images (C, H, W), enlarged, each with its caption."""
    with st.container(horizontal=True):
        for caption, x in shown:
            larger = max(1, math.ceil(side / max(images.shape[1:])))
            enlarged = x.repeat_interleave(larger, 1).repeat_interleave(larger, 2)
            st.image(images.pixels(enlarged), caption=caption, width=side)


@st.fragment
def histogram(experiment: ImageExperiment, images: Images) -> None:
    """All pixels at a time t, beside the normal curve."""
    schedule = experiment.noise_schedule()
    t = st.slider(words("images.time"), 0, experiment.T, experiment.T // 2, key=f"images-t-{experiment.T}")
    x0 = images.x[:CHUNK]
    x = schedule.noised(x0, torch.randn(x0.shape, generator=experiment.generator(4)), t)
    title = words("images.pixels_title", t=t, left=f"{schedule.alpha_bar[t].sqrt():.3f}")
    names = words("images.pixels"), words("images.normal")
    figure = charts.pixels(x, title, words("images.value"), names)
    st.plotly_chart(figure, key="images-pixels", config=STILL, alt=words("images.pixels_alt", t=t))
