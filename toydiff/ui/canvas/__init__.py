"""The canvas: somebody draws a point cloud, with mouse, pen or finger. It is drawn in the browser, not here.

A drawing travels as text, in both directions: base64 of int16 pairs x, y, little-endian, UNIT to one.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st

from toydiff.draw.style import THEMES
from toydiff.text import words

__all__ = ["Drawing", "canvas"]

HERE = Path(__file__).parent
SCRIPTS = ("../theme", "cloud", "tools", "picture", "canvas")  # joined, as the player's are
LABELS = (
    *("canvas", "hint", "tools", "brush", "spray", "eraser", "size", "small", "medium", "large"),
    *("history", "undo", "redo", "clear", "count", "full"),
)
UNIT = 32767  # steps from the middle to an edge: finer than a screen can show

_component = st.components.v2.component(
    "toydiff_canvas",
    html=(HERE / "canvas.html").read_text("utf-8"),
    css=(HERE / "canvas.css").read_text("utf-8"),
    js="\n".join((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS),
)


class Drawing(NamedTuple):
    """What is on the canvas."""

    points: np.ndarray  # (N, 2) float32 in [-1, 1], y points up
    version: str  # the same for the same points in the same order, and only then


def canvas(*, key: str, initial: np.ndarray | None = None, most: int = 10_000) -> Drawing:
    """Show the canvas; returns what is on it after the last stroke. Points beyond `most` are not drawn.

    initial: (N, 2) in [-1, 1], what is on the canvas until somebody draws; after that it changes nothing. A canvas
    forgets when its page is left: keep `points` and pass them here, and the drawing is there again.
    ValueError if `initial` is no such array, or has more than `most` points.
    """
    start = np.zeros((0, 2), "<i2") if initial is None else _quantised(initial, most)
    state = st.session_state.get(key)
    drawn = _decoded(state.get("drawing"), most) if isinstance(state, dict) else None
    whole = start if drawn is None else drawn
    _component(
        data={
            "drawing": base64.b64encode(whole.tobytes()).decode(),
            "unit": UNIT,
            "most": most,
            "labels": {name: words(f"canvas.{name}") for name in LABELS},
            "themes": {name: theme._asdict() for name, theme in THEMES.items()},
        },
        key=key,
        height="content",
        on_drawing_change=lambda: None,
    )
    version = hashlib.blake2b(whole.tobytes(), digest_size=8).hexdigest()
    return Drawing(whole.astype(np.float32) / UNIT, version)


def _quantised(points: np.ndarray, most: int) -> np.ndarray:
    """Points as whole numbers, int16 (N, 2). ValueError if they are no drawing."""
    points = np.asarray(points, dtype=np.float64)
    flat = points.ndim == 2 and points.shape[1] == 2 and len(points) <= most
    if not flat or not (np.abs(points) <= 1).all():  # false for NaN, too
        raise ValueError(words("canvas.initial", most=f"{most:,}"))
    return (points * UNIT).round().astype("<i2")


def _decoded(drawing: object, most: int) -> np.ndarray | None:
    """What a browser says is drawn, int16 (N, 2). None if it is no drawing: anybody can send anything."""
    if not isinstance(drawing, str) or len(drawing) > 6 * most:  # 4 bytes a point, of which base64 makes 5.4
        return None
    try:
        data = base64.b64decode(drawing, validate=True)
    except ValueError:
        return None
    if len(data) % 4 or len(data) > 4 * most:
        return None
    whole = np.frombuffer(data, "<i2").reshape(-1, 2)
    return whole if (whole >= -UNIT).all() else None
