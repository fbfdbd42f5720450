"""A scene as bytes, as it travels from Python to the browser. Knows no Streamlit.

Four bytes with the length of the header, the header as JSON, then the arrays, each on a multiple of four bytes. The
header says where each one starts, and names layers only if there are some:

    | length | header, padded with spaces | ghost int16 (N, 2) | x int16 (F, B, 2) | ... | hue uint8 (B,) | ...

Coordinates are whole numbers, PACKED_UNIT of them to a half-width of the view: half the bytes of float32, and finer
than a screen can show. Arrows have a unit for each frame, since eps is near 1 at T and hundreds at t = 1; heat and
density are bytes, 255 at the end of their scale. A panel of images says so by its "shape" (B, H, W, C): its x, x0 and
mean are bytes too, as the screen shows them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from toydiff.draw.scene import Panel, Scene
from toydiff.draw.style import LOOK, THEMES

PACKING_VERSION = 1
PACKED_UNIT = 8000  # steps from the middle of the view to its edge
ARROW_UNIT = 32767  # steps to the longest arrow of a frame
# places further out, and NaN, are moved here: off the picture, and inside int16
FARTHEST_UNITS = 4 * PACKED_UNIT


def pack(
    scene: Scene,
    *,
    guess: bool = False,
    anatomy: bool = False,
    density: bool = False,
    labels: Mapping[str, str] | None = None,
    **options: Any,
) -> bytes:
    """Header and arrays. x̂0 travels only with `guess`, the means only with `anatomy`, the density only with `density`;
    `options` go into the header."""
    runs = [panel.trajectory for panel in scene.panels]
    frames = min((len(run.x) for run in runs), default=0)
    particles = min((run.x.shape[1] for run in runs), default=0)
    body = _Body()

    def add(panel: Panel, part: Literal["x", "x0", "mean"]) -> int:
        images = panel.images(part)
        if images is None:
            return body.add(quantised(getattr(panel.trajectory, part)[:frames, :particles], scene.half_width))
        return body.add(scene.shown(images if panel.still is not None else images[:frames, :particles]))

    ghost = scene.data if scene.data.ndim == 2 else torch.zeros(0, 2)
    header: dict[str, Any] = {
        "version": PACKING_VERSION,
        "halfWidth": scene.half_width,
        "unit": scene.half_width / PACKED_UNIT,
        "clock": scene.clock,
        "stamp": scene.stamp,
        "ticks": scene.ticks[:frames],
        "particles": particles,
        "hue": body.add(scene.hue[:particles].numpy()),
        "ghost": {"at": body.add(quantised(ghost, scene.half_width)), "count": len(ghost)},
        "panels": [
            {
                "title": panel.title,
                "formula": panel.formula,
                "notes": list(panel.notes[:frames]),
                "x": add(panel, "x"),
                "x0": add(panel, "x0") if guess and panel.still is None else None,
                "mean": add(panel, "mean") if anatomy and panel.still is None else None,
                **(_layers(panel, frames, scene, body) if panel.images() is None else _shape(panel, particles)),
            }
            for panel in scene.panels
        ],
        "look": LOOK._asdict(),
        "trail": LOOK.trail_frames(frames),
        "themes": {name: theme._asdict() for name, theme in THEMES.items()},
        "labels": dict(labels or {}),
        "options": options,
        **_field(scene, frames, body),
    }
    if density and scene.density is not None:
        header["density"] = {"t": scene.density.t.tolist(), **_cells(scene.density.inside, 1, body)}
    # The hash of everything else: a rerun of the page with the same film must not restart it.
    text = json.dumps(header, ensure_ascii=False)
    data = body.data
    header["hash"] = hashlib.blake2b(text.encode() + data, digest_size=8).hexdigest()
    head = _padded(json.dumps(header, ensure_ascii=False).encode(), b" ")
    return len(head).to_bytes(4, "little") + head + data


def quantised(positions: Tensor, half_width: float) -> np.ndarray:
    """Coordinates as int16, PACKED_UNIT to a half-width. NaN, and places further out, are put at FARTHEST_UNITS."""
    scaled = np.asarray(positions.detach(), dtype=np.float64) * (PACKED_UNIT / half_width)
    return (
        np.nan_to_num(scaled, nan=FARTHEST_UNITS, posinf=FARTHEST_UNITS, neginf=-FARTHEST_UNITS)
        .clip(-FARTHEST_UNITS, FARTHEST_UNITS)
        .round()
        .astype("<i2")
    )


def _shape(panel: Panel, particles: int) -> dict[str, Any]:
    """The header's entry for a panel of images, (B, H, W, C). A still panel may have another number of images."""
    images = panel.images()
    assert images is not None
    count = particles if panel.still is None else len(panel.still)
    C, H, W = images.shape[2:]
    return {"shape": [count, H, W, C]} | ({} if panel.still is None else {"still": True})


def _layers(panel: Panel, frames: int, scene: Scene, body: _Body) -> dict[str, Any]:
    """The header's entries for a panel's layers."""
    layers: dict[str, Any] = {}
    if panel.arrows is not None and scene.places is not None:
        arrows = np.asarray(panel.arrows[:frames].detach(), dtype=np.float64)
        arrows = np.nan_to_num(arrows, nan=0, posinf=0, neginf=0)
        unit = np.abs(arrows).max(axis=(1, 2), initial=1e-30, keepdims=True) / ARROW_UNIT
        layers["arrows"] = {
            "at": body.add((arrows / unit).round().astype("<i2")),
            "unit": body.add(unit.astype("<f4")),
        }
    if panel.heat is not None:
        layers["heat"] = _cells(panel.heat[:frames], scene.heat_max, body)
    return layers


def _field(scene: Scene, frames: int, body: _Body) -> dict[str, Any]:
    """The header's entries for the arrows and the heat of all panels together."""
    about: dict[str, Any] = {}
    if scene.places is not None:
        about["field"] = {
            "at": body.add(quantised(scene.places, scene.half_width)),
            "count": len(scene.places),
            "spacing": scene.spacing,
            "kinds": [
                {"name": kind.name}
                | {part: body.add(getattr(kind, part)[:frames].numpy().astype("<f4")) for part in ("x", "value")}
                for kind in scene.kinds
            ],
        }
    if any(panel.heat is not None for panel in scene.panels):
        about["heatMax"] = scene.heat_max
    return about


def _cells(values: Tensor, most: float, body: _Body) -> dict[str, int]:
    """Numbers between 0 and `most` on squares (K, m, m), as bytes. NaN counts as `most`."""
    share = np.nan_to_num(np.asarray(values.detach(), dtype=np.float64) / most, nan=1).clip(0, 1)
    return {"at": body.add((255 * share).round().astype(np.uint8)), "m": values.shape[-1]}


class _Body:
    """The arrays, one after the other."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._end = 0

    def add(self, array: np.ndarray) -> int:
        """Append an array; returns the byte at which it starts."""
        start = self._end
        self._parts.append(_padded(array.tobytes(), b"\0"))
        self._end += len(self._parts[-1])
        return start

    @property
    def data(self) -> bytes:
        return b"".join(self._parts)


def _padded(data: bytes, filler: bytes) -> bytes:
    return data + filler * (-len(data) % 4)
