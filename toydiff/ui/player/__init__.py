"""The player: the runs of a scene side by side on canvases, under one clock. It plays in the browser, not here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import streamlit as st

from toydiff.draw.scene import Scene
from toydiff.text import words
from toydiff.ui.player.packing import pack

__all__ = ["PlayerState", "pack", "player"]

HERE = Path(__file__).parent
# Inline JavaScript is one module that cannot import: the files are joined, and share one scope.
SCRIPTS = (
    *("../theme", "unpack", "clock", "draw", "layers", "anatomy", "images"),
    *("panels", "inspector", "controls", "keys", "marks", "player"),
)
TOGGLES = ("trails", "guess", "anatomy", "equal", "particles", "density")
LABELS = (
    *("player", "play", "pause", "back", "forward", "frame", "speed"),
    *("trails", "guess", "anatomy", "loop", "model", "noise", "enlarge", "shrink"),
    *("kinds", "equal", "particles", "density", "hint", "inspect", "vector", "angle", "ratio"),
)

_component = st.components.v2.component(
    "toydiff_player",
    html=(HERE / "player.html").read_text("utf-8"),
    css=(HERE / "player.css").read_text("utf-8"),
    js="\n".join((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS),
)

Toggle = bool | Literal["offer"]  # on, absent, or a button that is off at first


class PlayerState(NamedTuple):
    """What an export must know to show the same picture."""

    trails: bool
    guess: bool
    anatomy: bool
    followed: int | None  # the particle, or the image, with a ring
    panel: int | None  # the one that is enlarged
    kind: int = 0  # of the scene's arrows
    equal: bool = False  # arrows of equal length
    particles: bool = True
    density: bool = False
    picked: tuple[float, float] | None = None  # the place that was clicked, in data units


def player(
    scene: Scene,
    *,
    key: str,
    autoplay: bool = False,
    loop: bool = True,
    anatomy: Toggle = False,
    guess: Toggle = False,
    follow: int | None = None,
    follow_end: bool = False,
    trails: bool = True,
    compact: bool = False,
    marks: str | None = None,
    density: Toggle = False,
    particles: bool = True,
    pick: bool = False,
) -> PlayerState:
    """Show a scene. A rerun with the same scene leaves the film alone; a new scene keeps place, speed and toggles.

    guess, anatomy, density: True shows x̂0 / the split of each step / contours of q(x_t), "offer" only has the button.
    Images become their x̂0, and become the mean before the noise.
    follow: the particle that is followed at first; a click follows another one, on an image that one.
    follow_end: for films that grow: who watches the last frame gets the new last frame, and particles glide there.
    marks: the key of a container whose Plotly charts show the current tick as a line.
    particles: False hides them at first; where there are arrows or heat, there is a button.
    pick: a click does not choose a particle but a place, which comes back as `picked`.
    """
    shown = PlayerState(
        trails, guess is True, anatomy is True, follow, None, particles=particles, density=density is True
    )
    labels = {name: words(f"player.{name}") for name in LABELS} | {"clock": words(f"player.clock_{scene.clock}")}
    if not scene.framed:
        labels["player"] = words("player.player_of_images")
    data = pack(
        scene,
        guess=bool(guess),
        anatomy=bool(anatomy),
        density=bool(density),
        labels=labels,
        show={name: getattr(shown, name) for name in TOGGLES} | {"loop": loop},
        autoplay=autoplay,
        follow=follow,
        followEnd=follow_end,
        compact=compact,
        marks=marks,
        pick=pick,
    )
    settings: dict[str, Any] = shown._asdict()
    result = _component(
        data=data,
        key=key,
        height="content",
        default={"settings": settings},
        on_settings_change=lambda: None,
    )
    settings |= result.settings or {}
    if picked := settings["picked"]:  # JSON makes a list of it, and whole numbers of some
        settings["picked"] = (float(picked[0]), float(picked[1]))
    return PlayerState(**settings)
