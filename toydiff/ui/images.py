"""What both lessons on images need: the settings and the images, training, sentences about time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import streamlit as st
import torch
from torch import Tensor

from toydiff.data.images import Images
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.live import ImageRun
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.controls import control, train_now
from toydiff.ui.still_images import enlarged

PER_NUMBER, PER_OPERATION = 4e-10, 4e-11  # seconds on one core: of a number in the data, of an operation of a network
IMAGE_BUDGET = 3  # times TOYDIFF_SECONDS: pictures of images may take longer
CHUNK_OF_STEPS = 10  # between two movements of the bar
SLOWER = {"unet": 1, "dit": 3}  # many small products take longer than a few large ones of as many operations
SLOW, FOR_A_GPU = 2.5, 25  # times the time of the usual network: worth a word; not for a lesson without a GPU


def settings() -> tuple[ImageExperiment, Images]:
    """The controls, and the images they ask for. Images that cannot be had: a sentence, and the digits stay."""
    now: ImageExperiment = st.session_state.image_experiment
    try:
        images = load(now.data, now.n, now.seed)
    except ValueError as error:
        st.error(str(error))
        usual = ImageExperiment()
        state.change_images(data=usual.data, n=usual.n)
        now = st.session_state.image_experiment
        images = load(now.data, now.n, now.seed)
    with st.sidebar:  # last, so that they show what there is
        st.markdown(f"**{words('page.settings')}**")
        for field in ("data", "network", "size", "seed"):
            control(field, ImageExperiment)
        with st.expander(words("images.more")):
            for field in ("lr", "batch"):
                control(field, ImageExperiment)
    return now, images


def say_if_slow(experiment: ImageExperiment, images: Images, device: torch.device) -> None:
    """A sentence where training on a CPU takes much longer than the digits do."""
    times = _times_slower(experiment, images.shape)
    if device.type == "cpu" and times >= SLOW:
        step = 1 if times < 10 else 5 if times < 50 else 10
        rounded = f"{step * round(times / step):,}"
        st.caption(words("images.for_a_gpu" if times >= FOR_A_GPU else "images.slow", times=rounded))


def _times_slower(experiment: ImageExperiment, shape: tuple[int, ...]) -> float:
    usual = ImageExperiment()
    usual_shape = load(usual.data, usual.n, usual.seed).shape
    return SLOWER[experiment.network] * _work(experiment, shape) / _work(usual, usual_shape)


def seconds_of_network(experiment: ImageExperiment, shape: tuple[int, ...]) -> float:
    """About how long one core takes to answer for one image (C, H, W)."""
    return _work(experiment, shape) / experiment.batch * PER_OPERATION


@lru_cache(maxsize=100)
def _work(experiment: ImageExperiment, shape: tuple[int, ...]) -> float:
    return experiment.work(shape)


@contextmanager
def enough_memory(experiment: ImageExperiment) -> Iterator[None]:
    """What is done inside may need more memory than the graphics card has: then a sentence, and the page ends there.
    What was trained is kept."""
    try:
        yield
    except torch.OutOfMemoryError:
        batch = words("images.smaller_batch", batch=max(2, experiment.batch // 2))
        st.error(words("images.no_memory", advice=batch if experiment.size == "small" else words("images.smaller")))
        st.stop()


@st.cache_resource(max_entries=4, show_spinner=words("page.computing"))
def load(data: str, n: int, seed: int) -> Images:
    """The images. Shared by all sessions: never changed."""
    return ImageExperiment(data=data, n=n, seed=seed).images()


def train(run: ImageRun, steps: int) -> None:
    """So many steps more while the page waits."""
    train_now(run, steps, CHUNK_OF_STEPS, pictures=False)


def pictures(images: Images, shown: Sequence[tuple[str, Tensor]], side: int = 150) -> None:
    """Single images (C, H, W), enlarged, each with its caption."""
    enlarged([(caption, images.pixels(x)) for caption, x in shown], side)
