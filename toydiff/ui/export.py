"""A player with its export: the film as GIF, a strip of moments as PNG, the numbers as NPZ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import PurePath
from types import ModuleType
from typing import Any, NamedTuple

import streamlit as st
from PIL import Image

from toydiff.draw.scene import Scene
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.player import PlayerState, player

SIZES = {1: 432, 2: 360, 3: 288}  # pixels per panel of a GIF, by the number of panels


@dataclass
class Job:
    """A GIF being made. It lives in the session: a second click, or a rerun in between, goes on where it was."""

    scene: Scene
    shown: PlayerState
    theme: str
    images: Iterator[Image.Image]
    total: int
    pictures: list[Image.Image] = field(default_factory=list)
    gif: bytes | None = None


@st.fragment
def film_with_export(scene: Scene, *, key: str, name: str, grows: bool = False, **options: Any) -> PlayerState:
    """The player, and under it what there is to take home. `name`: of the files; options: of the player.
    A new pick runs the whole page again; the last one is also in the session, under "<key>-picked".

    grows: the film gets new frames while one watches; a GIF of what it was before is still worth keeping.
    """
    shown = player(scene, key=key, follow_end=grows, **options)
    if shown.picked not in (None, st.session_state.get(f"{key}-picked")):
        st.session_state[f"{key}-picked"] = shown.picked
        st.rerun()
    st.caption(scene.stamp)
    theme = st.context.theme.type or "light"
    with st.container(horizontal=True, key=f"{key}-export"):
        if st.button(words("export.make"), key=f"{key}-make", icon=":material/movie:", help=words("export.make_help")):
            job = state.session().kept.get(f"{key}-job")
            if job is None or (job.scene, job.shown, job.theme) != (scene, shown, theme):
                state.session().kept[f"{key}-job"] = _job(scene, shown, theme)
        of = None if grows else (scene, shown, theme)
        strip = Kept(f"{name}.png", "image/png", ":material/view_column:", "export.strip")
        made_on_demand(
            strip,
            lambda: _film().strip(scene, theme=theme, guess=shown.guess, **_layers(scene, shown)),
            key=f"{key}-strip",
            of=of,
        )
        numbers = Kept(f"{name}.npz", "application/octet-stream", ":material/database:", "export.numbers")
        made_on_demand(numbers, lambda: _film().npz(scene), key=f"{key}-npz", of=of)
        job = state.session().kept.get(f"{key}-job")
        if job is not None and (grows or job.scene is scene):
            gif = _finished(job)
            st.download_button(
                words("export.save", megabytes=f"{len(gif) / 1e6:.1f}", frames=job.total),
                gif,
                f"{name}.gif",
                "image/gif",
                key=f"{key}-save",
                type="primary",
                icon=":material/download:",
                on_click="ignore",
            )
    return shown


class Kept(NamedTuple):
    """A file to take home."""

    name: str
    mime: str
    icon: str
    label: str  # of the button that makes it: a key of words; its hint is there too, as <label>_help


def made_on_demand(file: Kept, make: Callable[[], bytes], *, key: str, of: object) -> None:
    """A button that makes a file, and beside it, once that is there, one that saves it. `of`: what the file is of; it
    is forgotten when that is another one.

    st.download_button could make it while it is fetched. But Streamlit drops such a file when the page of anybody else
    runs, and in a class that is sooner than a slow line has fetched it.
    """
    if st.button(words(file.label), key=key, icon=file.icon, help=words(f"{file.label}_help")):
        state.session().kept[f"{key}-made"] = of, make()
    was_of, content = state.session().kept.get(f"{key}-made", (None, None))
    if content is not None and was_of == of:
        label = words("export.save_file", kind=PurePath(file.name).suffix[1:].upper(), size=f"{len(content) / 1e6:.1f}")
        st.download_button(
            label,
            content,
            file.name,
            file.mime,
            key=f"{key}-save",
            type="primary",
            icon=":material/download:",
            on_click="ignore",
        )


def _job(scene: Scene, shown: PlayerState, theme: str) -> Job:
    panels = 1 if shown.panel is not None else len(scene.panels)
    images = _film().images(
        scene,
        theme=theme,
        trails=shown.trails,
        guess=shown.guess,
        panel=shown.panel,
        follow=shown.followed if shown.followed is not None and shown.followed < len(scene.hue) else None,
        anatomy=shown.anatomy,
        size=SIZES[panels],
        **_layers(scene, shown),
    )
    return Job(scene, shown, theme, images, len(_film().spaced(len(scene.ticks))))


def _layers(scene: Scene, shown: PlayerState) -> dict[str, Any]:
    """What is switched on of the layers, as options of the film."""
    kind = shown.kind if shown.kind < len(scene.kinds) else 0
    return {"kind": kind, "equal": shown.equal, "particles": shown.particles, "density": shown.density}


def _finished(job: Job) -> bytes:
    """The GIF: draws what is not drawn yet, with a bar that shows it."""
    if job.gif is None:
        bar = st.progress(0.0)
        while len(job.pictures) < job.total:
            job.pictures.append(next(job.images))
            # a rerun of the page can end this function here: the pictures are kept
            done = len(job.pictures)
            bar.progress(done / job.total, words("export.drawing", done=done, total=job.total))
        job.gif = _film().gif(job.pictures)
        job.pictures.clear()
        bar.empty()
    return job.gif


def _film() -> ModuleType:
    """toydiff.draw.film, loaded when it is first needed: matplotlib would hold up the first screen."""
    return import_module("toydiff.draw.film")
