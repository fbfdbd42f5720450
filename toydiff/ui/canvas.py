"""The canvas as a Streamlit component."""

from __future__ import annotations

import numpy as np
import streamlit as st

from toydiff.components.bundle import component
from toydiff.components.canvas.drawing import UNIT, decoded, drawn, encoded, quantised
from toydiff.draw.style import THEMES
from toydiff.text import words

CANVAS_LABELS = (
    *("canvas", "hint", "tools", "brush", "spray", "eraser", "size", "small", "medium", "large"),
    *("history", "undo", "redo", "clear", "count", "full"),
)

_component = st.components.v2.component("toydiff_canvas", **component("canvas")._asdict())


def canvas(*, key: str, initial: np.ndarray | None = None, most: int = 10_000) -> np.ndarray:
    """Show the canvas; returns the points on it after the last stroke: (N, 2) float32 in [-1, 1], y points up. Points
    beyond `most` are not drawn.

    initial: (N, 2) in [-1, 1], what is on the canvas until the first stroke; after that it changes nothing. A canvas
    forgets when its page is left: keep the points and pass them here, and the drawing is there again.
    ValueError if `initial` is no such array, or has more than `most` points.
    """
    start = np.zeros((0, 2), "<i2") if initial is None else quantised(initial, most)
    state = st.session_state.get(key)
    sent = decoded(state.get("drawing"), most) if isinstance(state, dict) else None
    whole = start if sent is None else sent
    _component(
        data={
            "drawing": encoded(whole),
            "unit": UNIT,
            "most": most,
            "labels": {name: words(f"canvas.{name}") for name in CANVAS_LABELS},
            "themes": {name: theme._asdict() for name, theme in THEMES.items()},
        },
        key=key,
        height="content",
        on_drawing_change=lambda: None,
    )
    return drawn(whole)
