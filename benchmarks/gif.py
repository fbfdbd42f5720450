"""(d) The film of the default scene as a GIF, against matplotlib's own way of making one."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from benchmarks.table import Row, interleaved, seconds
from toydiff.draw import film
from toydiff.draw.scene import Scene
from toydiff.draw.scenes import reverse_scene
from toydiff.draw.style import THEMES
from toydiff.experiments.experiment import Experiment

GIF_FRAMES, GIF_TRAIL_FRAMES = 100, 12


def ours(scene: Scene, frames: int) -> bytes:
    """As the app's download makes it."""
    return film.gif(film.images(scene, frames=film.spaced(len(scene.ticks), frames)))


def by_plot(ax: Axes, past: np.ndarray, colors: np.ndarray) -> None:
    """Trails through past (B, L, 2) as one writes them first: `plot`, each age a little stronger."""
    ax.set_prop_cycle(color=colors)
    for age in range(past.shape[1] - 1):
        ax.plot(*past[:, age : age + 2].T, linewidth=0.8, alpha=(age + 1) / GIF_TRAIL_FRAMES)


def by_collection(ax: Axes, past: np.ndarray, colors: np.ndarray) -> None:
    """The same trails by somebody who knows matplotlib: one collection, which does not fade."""
    ax.add_collection(LineCollection(list(past), colors=list(colors), linewidths=0.8, alpha=0.3))


GIF_TRAILS = {"trails by plot": by_plot, "trails by LineCollection": by_collection}


def matplotlibs(scene: Scene, frames: int, trails: str) -> bytes:
    """FuncAnimation and PillowWriter, with axes that are cleared and filled afresh in each frame."""
    theme, r = THEMES["light"], scene.half_width
    colors = np.array(theme.hues)[scene.hue]
    figure = Figure(figsize=(9, 3.4), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(scene.panels))

    def draw(frame: int) -> None:
        for ax, panel in zip(axes, scene.panels, strict=True):
            x = panel.trajectory.x.numpy()
            ax.clear()
            ax.set(xlim=(-r, r), ylim=(-r, r), xticks=[], yticks=[], title=f"{panel.title}, t = {scene.ticks[frame]}")
            ax.scatter(*scene.data.T, s=4, color=theme.ghost)
            GIF_TRAILS[trails](ax, x[max(0, frame - GIF_TRAIL_FRAMES) : frame + 1].swapaxes(0, 1), colors)
            ax.scatter(*x[frame].T, s=12, c=colors)

    movie = FuncAnimation(figure, draw, frames=film.spaced(len(scene.ticks), frames), init_func=lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.gif"
        movie.save(path, PillowWriter(fps=17))
        return path.read_bytes()


def rows(quick: bool = False) -> list[Row]:
    """Theirs takes minutes: it draws a few of the frames, evenly spaced, and its time is scaled."""
    rounds, few = (1, {"trails by plot": 2, "trails by LineCollection": 2})
    if not quick:
        rounds, few = 3, {"trails by plot": 4, "trails by LineCollection": 10}
    experiment = Experiment()
    scene = reverse_scene(experiment, experiment.exact(), "exact predictor")
    runs = [partial(ours, scene, GIF_FRAMES), *(partial(matplotlibs, scene, few[name], name) for name in GIF_TRAILS)]
    own, *others = map(median, interleaved(rounds, *(partial(seconds, run) for run in runs)))
    table = []
    for name, time in zip(GIF_TRAILS, others, strict=True):
        theirs = time * GIF_FRAMES / few[name]
        what = f"GIF, {len(scene.panels)} x {experiment.particles} particles, {GIF_FRAMES} frames"
        how = f"FuncAnimation, PillowWriter, {name}, {few[name]} frames, scaled to {GIF_FRAMES}; median of {rounds}"
        table.append(Row(what, f"{own:.1f} s", f"{theirs:.0f} s", f"{theirs / own:.0f} x", how))
    return table
