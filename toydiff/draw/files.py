"""The numbers of a scene, to take home."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from toydiff.draw.scene import Scene


def numbers(scene: Scene) -> bytes:
    """An NPZ, for np.load: t (F,), data (N, 2), stamp, titles; of panel 0: 0.x, 0.x0, 0.mean (F, B, 2). Images as the
    network sees them: data (N, C, H, W), 0.x (F, B, C, H, W), or 0.still (n, C, H, W) of a panel that stands still.
    Where there are layers: places (A, 2), 0.arrows (F, A, 2), 0.heat (F, m, m), density.t, density.inside."""
    arrays: dict[str, Any] = {"t": scene.ticks, "data": scene.data.float().numpy(), "stamp": scene.stamp}
    arrays["titles"] = [panel.title for panel in scene.panels]
    for i, panel in enumerate(scene.panels):
        for name in ("x", "x0", "mean") if panel.still is None else ():
            arrays[f"{i}.{name}"] = getattr(panel.trajectory, name).float().numpy()
    layers = {"places": scene.places}
    for i, panel in enumerate(scene.panels):
        layers |= {f"{i}.arrows": panel.arrows, f"{i}.heat": panel.heat, f"{i}.still": panel.still}
    if scene.density is not None:
        layers |= {"density.t": scene.density.t, "density.inside": scene.density.inside.float()}
    arrays |= {name: layer.numpy() for name, layer in layers.items() if layer is not None}
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()
