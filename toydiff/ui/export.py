"""A player with files to take home. The browser makes the film and the strip; the numbers are made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePath
from typing import Any, NamedTuple

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException, StopException

from toydiff.draw.files import numbers
from toydiff.draw.scene import Density, Scene
from toydiff.server.snapshots import Failed
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.player import Chosen, player
from toydiff.ui.rendering import tried


def film_with_export(
    scene: Scene,
    *,
    key: str,
    name: str,
    grows: bool = False,
    lives: bool = False,
    contours: Callable[[], Density] | None = None,
    **options: Any,
) -> Chosen:
    """The player, and under it how the picture was made, and its numbers. `name`: of the files; options: of the player.
    A new pick runs the whole page again; the last one is also in the session, under "<key>-picked".

    grows: the film gets new frames while it is watched. lives: it is replaced while it is watched. Both stand in a
    fragment that runs by itself, and a file of an earlier state stays. Any other film is a fragment of its own, so that
    a click in it does not run the page.
    """

    def draw() -> Chosen:
        film, below = st.container(), st.container()

        def density() -> Density:
            assert contours is not None
            with below:  # a spinner stands there, and the film keeps its place
                return contours()

        with film:
            chosen = player(scene, key=key, name=name, follow_end=grows, contours=contours and density, **options)
        if chosen.picked not in (None, st.session_state.get(f"{key}-picked")):
            st.session_state[f"{key}-picked"] = chosen.picked
            st.rerun()
        with below.container(horizontal=True, vertical_alignment="center", key=f"{key}-export"):
            st.caption(scene.stamp)
            file = DownloadFile(f"{name}.npz", "application/octet-stream", ":material/database:", "export.numbers")
            of = None if grows or lives else scene
            whole = lambda: scene if contours is None else replace(scene, density=contours())  # noqa: E731
            made_on_demand(file, lambda: tried(numbers, whole()), key=f"{key}-npz", of=of)
        return chosen

    chosen: Chosen = draw() if grows or lives else st.fragment(draw)()
    return chosen


class DownloadFile(NamedTuple):
    """A file to take home."""

    name: str
    mime: str
    icon: str
    label: str  # of the button that makes it: a key of words; its hint is there too, as <label>_help


def made_on_demand(file: DownloadFile, make: Callable[[], bytes], *, key: str, of: object) -> None:
    """A button that makes a file, and a second one that saves it once it is made. `of`: what the file shows; the file
    is forgotten when that changes, or when another page is opened.

    st.download_button could make the file on demand. But Streamlit drops such a file as soon as another session runs a
    page, and in a class that is before a slow line has fetched it.

    A callback notes the click too, because the page may be drawn anew before the fragment's turn. The next run that
    draws the fragment makes the file.
    """
    kept, wanted, there = state.session().shown, f"{key}-wanted", f"{key}-made"
    kept[f"{key}-offered"] = of, make
    hint = words(f"{file.label}_help")
    if st.button(words(file.label), key=key, icon=file.icon, help=hint, on_click=_want, args=(kept, key)):
        kept[wanted] = of, make
    was_of, make_it = kept.pop(wanted, (None, None))
    if make_it is not None and was_of == of:
        try:
            kept[there] = of, make_it()
        except (RerunException, StopException):  # another click ends this run: the next one makes it
            kept[wanted] = of, make_it
            raise
        except Failed as error:
            st.error(str(error))
    was_of, content = kept.get(there, (None, None))
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


def _want(kept: dict[str, Any], key: str) -> None:
    """Note what is offered. Not a closure: Streamlit would hold its film long after the page."""
    if f"{key}-offered" in kept:
        kept[f"{key}-wanted"] = kept[f"{key}-offered"]
