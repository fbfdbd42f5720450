"""A drawing as text, for both directions: base64 of int16 pairs x, y, little-endian, in steps of 1 / UNIT."""

from __future__ import annotations

import base64

import numpy as np

from toydiff.text import words

UNIT = 32767  # steps from the middle to an edge: finer than a screen can show


def encoded(whole: np.ndarray) -> str:
    """Points, int16 (N, 2), as text."""
    return base64.b64encode(whole.tobytes()).decode()


def drawn(whole: np.ndarray) -> np.ndarray:
    """(N, 2) float32 in [-1, 1], y points up: points, int16 (N, 2), as Python uses them."""
    return whole.astype(np.float32) / UNIT


def quantised(points: np.ndarray, most: int) -> np.ndarray:
    """Points as whole numbers, int16 (N, 2). ValueError if they are no drawing."""
    points = np.asarray(points, dtype=np.float64)
    flat = points.ndim == 2 and points.shape[1] == 2 and len(points) <= most
    if not flat or not (np.abs(points) <= 1).all():  # false for NaN, too
        raise ValueError(words("canvas.initial", most=f"{most:,}"))
    return (points * UNIT).round().astype("<i2")


def decoded(drawing: object, most: int) -> np.ndarray | None:
    """The drawing that a browser sent, int16 (N, 2). None if it is none: any client can send anything."""
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
