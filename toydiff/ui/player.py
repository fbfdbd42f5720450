"""The player: the runs of a scene side by side on canvases, under one clock. It plays in the browser, not here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import streamlit as st

from toydiff.components.bundle import component
from toydiff.components.player.packing import pack
from toydiff.draw.scene import Density, Scene
from toydiff.text import words

PLAYER_LABELS = (
    *("player", "play", "pause", "back", "forward", "frame", "speed"),
    *("trails", "guess", "anatomy", "loop", "model", "noise", "enlarge", "shrink"),
    *("kinds", "equal", "particles", "density", "hint", "inspect", "vector", "angle", "ratio"),
    *("gif", "gif_help", "strip", "strip_help", "saved", "unsaved"),
)

_component = st.components.v2.component("toydiff_player", **component("player")._asdict())


class Chosen(NamedTuple):
    """What was chosen in a film, if the page asks for it."""

    followed: int | None  # the particle, or the image, with a ring
    picked: tuple[float, float] | None = None  # the place that was clicked, in data units


def player(
    scene: Scene,
    *,
    key: str,
    name: str = "toydiff",
    autoplay: bool = False,
    loop: bool = True,
    offers: Sequence[str] = (),
    contours: Callable[[], Density] | None = None,
    follow: int | None = None,
    follow_end: bool = False,
    trails: bool = True,
    compact: bool = False,
    marks: str | None = None,
    particles: bool = True,
    pick: bool = False,
    choose: bool = False,
) -> Chosen:
    """Show a scene. A rerun with the same scene leaves the film alone; a new scene keeps place, speed and toggles.

    name: of the files that are taken home.
    offers: "guess", with x̂0, and "anatomy", with the two parts of each step (of images: the mean before the noise),
    have a button; contours: density too. They are three quarters of a film: each is sent when it is first switched on.
    follow: the particle that is followed at first; a click follows another one, on an image that one.
    follow_end: for films that grow: who watches the last frame gets the new last frame, and particles glide there.
    marks: the key of a container whose Plotly charts show the current tick as a line.
    particles: False hides them at first; where there are arrows or heat, there is a button.
    pick: a click does not choose a particle but a place, which comes back as `picked`.
    choose: who is followed comes back as `followed`.
    """
    offered = [*(offers if scene.moves else ()), *(["density"] if contours is not None else ())]
    asked = dict(st.session_state.get(key) or {}).get("layers") or []  # what was switched on in the browser
    layers = {layer: layer in asked for layer in offered}
    if contours is not None and layers["density"]:
        scene = replace(scene, density=contours())
    labels = {name: words(f"player.{name}") for name in PLAYER_LABELS} | {"clock": words(f"player.clock_{scene.clock}")}
    if not scene.framed:
        labels["player"] = words("player.player_of_images")
    data = pack(
        scene,
        **layers,
        labels=labels,
        file=name,
        offers=offered,
        show={"trails": trails, "loop": loop, "particles": particles},
        autoplay=autoplay,
        follow=follow,
        followEnd=follow_end,
        compact=compact,
        marks=marks,
        pick=pick,
        choose=choose,
    )
    usual = {"followed": follow, "picked": None}
    result = _component(
        data=data,
        key=key,
        height="content",
        default={"chosen": usual, "layers": []},
        on_chosen_change=lambda: None,
        on_layers_change=lambda: None,
    )
    chosen: dict[str, Any] = usual | (result.chosen or {})
    if picked := chosen["picked"]:  # JSON makes a list of it, and whole numbers of some
        return Chosen(chosen["followed"], (float(picked[0]), float(picked[1])))
    return Chosen(chosen["followed"])
