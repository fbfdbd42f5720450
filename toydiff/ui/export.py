"""A player with its export: the film as GIF, a strip of moments as PNG, the numbers as NPZ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any, NamedTuple, cast
from weakref import ref

import streamlit as st
from streamlit.runtime.scriptrunner import RerunException

from toydiff.draw import files
from toydiff.draw.scene import Scene
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.player import PlayerState, player
from toydiff.ui.snapshots import Failed
from toydiff.ui.studio import made, under

SIZES = {1: 432, 2: 360, 3: 288}  # pixels per panel of a GIF, by the number of panels


@st.fragment
def film_with_export(
    scene: Scene, *, key: str, name: str, grows: bool = False, lives: bool = False, **options: Any
) -> PlayerState:
    """The player, and under it what there is to take home. `name`: of the files; options: of the player.
    A new pick runs the whole page again; the last one is also in the session, under "<key>-picked".

    grows: the film gets new frames while one watches. lives: it is replaced while one watches. Of both, a file of what
    it was before is still worth keeping.
    """
    shown = player(scene, key=key, follow_end=grows, **options)
    if shown.picked not in (None, st.session_state.get(f"{key}-picked")):
        st.session_state[f"{key}-picked"] = shown.picked
        st.rerun()
    st.caption(scene.stamp)
    theme = st.context.theme.type or "light"
    with st.container(horizontal=True, key=f"{key}-export"):
        of = None if grows or lives else (scene, shown, theme)
        gif = Kept(f"{name}.gif", "image/gif", ":material/movie:", "export.make")
        whole, look = _whole_look(scene, shown), _look(scene, shown)
        draw = cast(Callable[..., bytes], files.gif)
        what = ref(scene), theme, tuple(whole.items())  # the film of it does not keep the scene
        made_on_demand(gif, lambda: under(what, draw, scene, theme=theme, **whole), key=f"{key}-gif", of=of)
        strip = Kept(f"{name}.png", "image/png", ":material/view_column:", "export.strip")
        made_on_demand(strip, lambda: made(files.strip, scene, theme=theme, **look), key=f"{key}-strip", of=of)
        numbers = Kept(f"{name}.npz", "application/octet-stream", ":material/database:", "export.numbers")
        made_on_demand(numbers, lambda: made(files.numbers, scene), key=f"{key}-npz", of=of)
    return shown


class Kept(NamedTuple):
    """A file to take home."""

    name: str
    mime: str
    icon: str
    label: str  # of the button that makes it: a key of words; its hint is there too, as <label>_help


def made_on_demand(file: Kept, make: Callable[[], bytes], *, key: str, of: object) -> None:
    """A button that makes a file, and beside it, once that is there, one that saves it. `of`: what the file is of; it
    is forgotten when that is another one, or another page is opened.

    st.download_button could make it while it is fetched. But Streamlit drops such a file when the page of anybody else
    runs, and in a class that is sooner than a slow line has fetched it.

    A callback notes the click too: the fragment that it belongs to may be gone when its turn comes, if the one around
    it was drawn anew. Whoever draws it next makes the file.
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
        except RerunException:  # somebody has pressed something else meanwhile: the next run makes it
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


def _look(scene: Scene, shown: PlayerState) -> dict[str, Any]:
    """What is switched on in the player, as options of a film."""
    kind = shown.kind if shown.kind < len(scene.kinds) else 0
    layers = {"equal": shown.equal, "particles": shown.particles, "density": shown.density}
    return {"guess": shown.guess, "kind": kind} | layers


def _whole_look(scene: Scene, shown: PlayerState) -> dict[str, Any]:
    """The same, with what only a moving picture shows."""
    return _look(scene, shown) | {
        "trails": shown.trails,
        "panel": shown.panel,
        "follow": shown.followed if shown.followed is not None and shown.followed < len(scene.hue) else None,
        "anatomy": shown.anatomy,
        "size": SIZES[1 if shown.panel is not None else len(scene.panels)],
    }
