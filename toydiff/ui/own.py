"""A user's points, drawn, from a file or typed; and whole lessons, kept in files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import NamedTuple

import numpy as np
import streamlit as st
import torch
from streamlit.errors import StreamlitAPIException
from torch import Tensor

from toydiff.data import files, silhouettes, user_data
from toydiff.data.points import MAX_POINTS, MIN_POINTS, standardized
from toydiff.data.silhouettes import JOINER, Silhouette
from toydiff.data.tables import MAX_FILE_BYTES, Table
from toydiff.data.user_data import UserDataset
from toydiff.diffusion import trajectory
from toydiff.diffusion.schedules import cosine
from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.scenes import GHOST
from toydiff.experiments import checkpoint
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.live import Run
from toydiff.text import shown, words
from toydiff.ui import page, pictures, state
from toydiff.ui.canvas import canvas
from toydiff.ui.export import DownloadFile, made_on_demand
from toydiff.ui.player import player
from toydiff.ui.rendering import cached_in_session, made

INK_MODES: dict[str, bool | None] = {"auto": None, "dark": False, "light": True}  # Silhouette.cloud's `invert`
MIN_SEEN_POINTS = 200  # with fewer, the shape of the data is hardly visible
SHAPE_POINTS = 3000  # points of a silhouette or a word
LONGEST_NAME = 40  # characters
PARTICLES, PREVIEW_STEPS = 1000, 40  # of the preview


class Cloud(NamedTuple):
    """A user's points, before they are used."""

    name: str  # unless they type another one
    x: Tensor  # (N, 2), mean 0 and variance 1
    notes: tuple[str, ...] = ()  # sentences: what was done with it


def choose() -> str:
    """One of INPUT_WAYS."""
    names = {way: words(f"own.{way}") for way in INPUT_WAYS}
    return st.segmented_control(
        words("own.way"),
        names,
        default="draw",
        required=True,
        format_func=names.__getitem__,
        key="own-way",
        on_change=_forget,
        label_visibility="collapsed",
    )


# ---------------------------------------------------------------- the ways


def drawn() -> Cloud | None:
    """The points on the canvas; None if it is empty. They stay while another page is open, and when the page is loaded
    again."""
    mine = state.session().kept
    points = canvas(key="own-canvas", initial=mine.get("own-drawing"), most=MAX_POINTS)
    mine["own-drawing"] = points
    if not len(points):
        return None
    if len(np.unique(points, axis=0)) < MIN_POINTS:
        raise ValueError(words("own.few", least=MIN_POINTS))
    return Cloud(words("own.drawing"), standardized(torch.from_numpy(points)))


def from_file() -> Cloud | None:
    """The points of a file, which is read once; None while there is none."""
    # any type is accepted, so that a wrong one gets a sentence of ours
    file = st.file_uploader(
        words("own.bring"), key="own-file", max_upload_size=MAX_FILE_BYTES // 10**6, on_change=_forget
    )
    if file is None:
        st.caption(words("bring.limits", **files.limits()))
        return None
    found = cached_in_session("own-file", file.file_id, lambda: made(files.open_file, file.name, file.getvalue()))
    return _of_table(found, file.file_id) if isinstance(found, Table) else _of_picture(found, file.file_id)


def typed() -> Cloud | None:
    """Points in the shape of a word or an emoji; None while none is typed."""
    string = st.text_input(words("own.string"), key="own-string")
    n = _count("own-typed")
    if not string.strip():
        return None
    tidy = silhouettes.tidy(string)
    x = cached_in_session("own-points", (tidy, n), lambda: made(silhouettes.text, tidy, n))
    return Cloud(tidy.replace(JOINER, ""), x)


def _of_table(table: Table, file: str) -> Cloud:
    """Two of its columns, which can be chosen where there are more. `file`: its id."""
    x, y = 0, 1
    if len(table.columns) > 2:
        left, right = st.columns(2)
        numbers, name = range(len(table.columns)), table.columns.__getitem__
        x = left.selectbox(words("own.x"), numbers, x, name, key=f"own-x-{file}")
        y = right.selectbox(words("own.y"), numbers, y, name, key=f"own-y-{file}")
    own_scales = st.toggle(words("own.scales"), key=f"own-scales-{file}", help=words("own.scales_help"))
    points = cached_in_session(
        "own-points", (file, x, y, own_scales), lambda: made(table.cloud, x, y, own_scales=own_scales)
    )
    return Cloud(table.name, *points)


def _of_picture(picture: Silhouette, file: str) -> Cloud:
    """Points on its ink."""
    n = _count(f"own-n-{file}")
    names = {ink: words(f"own.{ink}") for ink in INK_MODES}
    ink = st.radio(words("own.ink"), names, key=f"own-ink-{file}", horizontal=True, format_func=names.__getitem__)
    x = cached_in_session("own-points", (file, n, ink), lambda: made(picture.cloud, n, invert=INK_MODES[ink]))
    return Cloud(picture.name, x)


def _count(key: str) -> int:
    return st.slider(words("own.n"), 100, MAX_POINTS, SHAPE_POINTS, 100, key=key)


def _forget() -> None:
    """Forget the file that was read."""
    for name in ("file", "points"):
        state.session().kept.pop(f"own-{name}", None)


# ---------------------------------------------------------------- what becomes of it


def offer(cloud: Cloud, way: str) -> UserDataset:
    """A field for its name, and the button that makes it the data of all lessons on points. Returns the data set."""
    with st.container(horizontal=True, vertical_alignment="center"):
        name = st.text_input(
            words("own.name"),
            key=f"own-name-{way}",
            max_chars=LONGEST_NAME,
            placeholder=words("own.unnamed", name=shown(cloud.name)),
            label_visibility="collapsed",
        )
        one = _named(name.strip() or cloud.name, cloud.x)
        if st.button(words("own.learn"), type="primary", icon=":material/school:", key="own-learn"):
            state.use_dataset(one)
            _forget()
            with suppress(StreamlitAPIException):  # a page that runs without app.py has no neighbours
                st.switch_page("pages/train.py")
            st.rerun()
    notes = [*cloud.notes, *([words("own.more", few=MIN_SEEN_POINTS)] if len(cloud.x) < MIN_SEEN_POINTS else [])]
    if notes:
        st.caption("\n\n".join(notes))
    return one


def preview(title: str, x: Tensor, key: object) -> None:
    """Points (N, 2) as a network will see them, and how they dissolve. `key`: equal for equal points and title."""

    def make() -> Scene:
        generator = torch.Generator().manual_seed(0)
        some = x[torch.randperm(len(x), generator=generator)]
        run = Trajectory.collect(trajectory.jump(some[:PARTICLES], cosine(PREVIEW_STEPS), generator))
        note = words("own.note", points=f"{len(x):,}")
        return Scene((Panel(title, words("formulas.jump"), run, (note,)),), some[:GHOST])

    player(
        cached_in_session("own-preview", key, make), key="own-preview", name="toydiff-own", trails=False, compact=True
    )


def _named(name: str, x: Tensor) -> UserDataset:
    """Points under a name, with a number behind it if this session has others under that name."""
    one, number = user_data.keep(name, x), 1
    taken = {user_data.title(key): key for key in state.user_keys(Experiment)}
    while taken.get(one.name, one.key) != one.key:
        number += 1
        one = user_data.keep(f"{name} {number}", x)
    return one


# ---------------------------------------------------------------- lessons in files


def offer_file(experiment: Experiment) -> None:
    """The buttons that keep this lesson in a file and open another one, and what the file would hold."""
    run = state.run()
    if run is not None and (run.experiment != experiment.training or run.step == 0):
        run = None
    data = user_data.title(experiment.dataset)
    if run is None:
        st.markdown(words("own.holds_no_network", data=data))
    else:
        st.markdown(words("own.holds", data=data, steps=f"{run.step:,}"))
    with st.container(horizontal=True):
        lesson = DownloadFile("toydiff-lesson.safetensors", "application/octet-stream", ":material/save:", "own.save")
        made_on_demand(lesson, partial(_packed, run, experiment), key="own-save", of=(run, experiment))
        if st.button(words("own.open"), key="own-open", icon=":material/upload_file:"):
            open_lesson()


def _packed(run: Run | None, experiment: Experiment) -> bytes:
    """A lesson as a file, with its training if there is one."""
    return checkpoint.pack(None, experiment) if run is None else run.packed(experiment)


@st.dialog(words("own.open"))
def open_lesson() -> None:
    """Open a lesson file in place of this session's lesson. A file that cannot be used changes nothing."""
    st.markdown(words("own.open_about", megabytes=pictures.UPLOAD_MEGABYTES))
    file = st.file_uploader(
        words("own.lesson"), "safetensors", key="own-lesson", max_upload_size=pictures.UPLOAD_MEGABYTES
    )
    if file is None:
        return
    try:
        put_in_place(file.getvalue(), shown(file.name))
    except ValueError as error:
        st.error(str(error))
        return
    st.rerun()


def put_in_place(content: bytes, name: str) -> None:
    """The lesson in a file, on points or on images, as this session's. ValueError, and nothing has changed, if that
    cannot be; `name` is for the message."""
    found = checkpoint.unpack(content, name)
    if isinstance(found.experiment, ImageExperiment):
        pictures.put_in_place(found, name)
    else:
        if found.state is not None:
            state.fresh_run(found.experiment, found.state)
        if found.data is not None:
            state.use_dataset(found.data)
        state.change(**asdict(found.experiment))
    st.session_state["own-opened"] = found.experiment


def say_what_was_opened() -> None:
    """A sentence about the lesson that came out of a file, for as long as its settings are those in use."""
    opened = st.session_state.get("own-opened")
    if opened is None or opened not in (st.session_state.experiment, st.session_state.image_experiment):
        return
    name = "images" if isinstance(opened, ImageExperiment) else "train"
    st.success(words(f"own.opened_{name}", data=user_data.title(getattr(opened, opened.user_field))))
    page.link_to(name, words(f"nav.{name}"))


INPUT_WAYS: dict[str, Callable[[], Cloud | None]] = {"draw": drawn, "file": from_file, "text": typed}
