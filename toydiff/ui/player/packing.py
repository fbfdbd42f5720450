"""A scene as bytes: what travels from Python to the browser. Knows no Streamlit.

Four bytes with the length of the header, the header as JSON, then the arrays, each on a multiple of four bytes. The
header says where each one starts:

    | length | header, padded with spaces | ghost int16 (N, 2) | x int16 (F, B, 2) | ... | hue uint8 (B,) | ...

Coordinates are whole numbers, UNIT of them to a half-width of the view: half the bytes of float32, and finer than a
screen can show.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from toydiff.draw.scene import Scene
from toydiff.draw.style import THEMES

VERSION = 1
UNIT = 8000  # steps from the middle of the view to its edge
FAR = 4 * UNIT  # where everything further out ends up, and what is not a number: off the picture, and inside int16


def pack(
    scene: Scene, *, guess: bool = False, anatomy: bool = False, labels: Mapping[str, str] | None = None, **options: Any
) -> bytes:
    """Header and arrays. x̂0 travels only with `guess`, the means only with `anatomy`; `options` go into the header."""
    runs = [panel.trajectory for panel in scene.panels]
    frames = min((len(run.x) for run in runs), default=0)
    particles = min((run.x.shape[1] for run in runs), default=0)
    body = _Body()

    def path(positions: Tensor) -> int:
        return body.add(quantised(positions[:frames, :particles], scene.half_width))

    header = {
        "version": VERSION,
        "halfWidth": scene.half_width,
        "unit": scene.half_width / UNIT,
        "clock": scene.clock,
        "ticks": scene.ticks[:frames],
        "particles": particles,
        "hue": body.add(scene.hue[:particles].numpy()),
        "ghost": {"at": body.add(quantised(scene.data, scene.half_width)), "count": len(scene.data)},
        "panels": [
            {
                "title": panel.title,
                "formula": panel.formula,
                "notes": list(panel.notes[:frames]),
                "x": path(panel.trajectory.x),
                "x0": path(panel.trajectory.x0) if guess else None,
                "mean": path(panel.trajectory.mean) if anatomy else None,
            }
            for panel in scene.panels
        ],
        "themes": {name: theme._asdict() for name, theme in THEMES.items()},
        "labels": dict(labels or {}),
        "options": options,
    }
    # The hash of everything else: a rerun of the page with the same film must not restart it.
    text = json.dumps(header, ensure_ascii=False)
    header["hash"] = hashlib.blake2b(text.encode() + body.data, digest_size=8).hexdigest()
    head = _padded(json.dumps(header, ensure_ascii=False).encode(), b" ")
    return len(head).to_bytes(4, "little") + head + body.data


def quantised(positions: Tensor, half_width: float) -> np.ndarray:
    """Coordinates as int16, UNIT to a half-width. What is not a number, or far out, is put at FAR."""
    scaled = np.asarray(positions.detach(), dtype=np.float64) * (UNIT / half_width)
    return np.nan_to_num(scaled, nan=FAR, posinf=FAR, neginf=-FAR).clip(-FAR, FAR).round().astype("<i2")


class _Body:
    """The arrays, one after the other."""

    def __init__(self) -> None:
        self.data = b""

    def add(self, array: np.ndarray) -> int:
        """Append an array; returns the byte at which it starts."""
        start = len(self.data)
        self.data += _padded(array.tobytes(), b"\0")
        return start


def _padded(data: bytes, filler: bytes) -> bytes:
    return data + filler * (-len(data) % 4)
