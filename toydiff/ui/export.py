"""A player with what there is to take home: film and strip are made in the browser, the numbers here."""

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

    grows: the film gets new frames while one watches. lives: it is replaced while one watches. Both stand in a part of
    the page that runs by itself; of both, a file of what it was before is still worth keeping. Any other film is a part
    of its own: a click in it runs no more than that.
    """

    def draw() -> Chosen:
        film, below = st.container(), st.container()

        def density() -> Density:
            assert contours is not None
            with below:  # where it may say that it waits, and the film keeps its place
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
    """A button that makes a file, and beside it, once that is there, one that saves it. `of`: what the file is of; it
    is forgotten when that is another one, or another page is opened.

    st.download_button could make it while it is fetched. But Streamlit drops such a file when the page of anybody else
    runs, and in a class that is sooner than a slow line has fetched it.

    A callback notes the click too: the fragment that it belongs to may be gone when its turn comes, if the page was
    drawn anew. The next run that draws it makes the file.
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
        except (RerunException, StopException):  # something else was pressed meanwhile: the next run makes it
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
