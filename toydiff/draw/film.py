"""A run of points as a GIF, from a terminal. (The app's films are turned into files by the browser: components/player.)

Everything is drawn on a Figure of its own, without pyplot and rcParams: many threads can draw at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from toydiff.draw.gif import Movie
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.style import LOOK, THEMES, Theme

DOT = MarkerStyle((12, 0))  # a particle: a polygon of 12 sides looks like a circle, and is drawn in half the time
SANS, CLOCK = "DejaVuSans.ttf", "DejaVuSansMono-Bold.ttf"  # both have β̃, x̂₀ and σₜ
DIVERGED_BEYOND = 100.0  # a particle further out than this has diverged: it is left out


def spaced(frames: int, most: int = LOOK.frames) -> list[int]:
    """At most `most` of the frames 0 ... frames - 1, evenly spaced, the first and the last among them."""
    return np.linspace(0, frames - 1, min(frames, most)).round().astype(int).tolist()


def images(
    scene: Scene, *, theme: str = "light", size: int | None = None, frames: Sequence[int] | None = None
) -> Iterator[Image.Image]:
    """RGB pictures of particles with trails: of `frames`, or of all (LOOK.frames at most). size: a panel's width in
    pixels; None: as the browser makes it."""
    ticks = scene.ticks
    size = LOOK.pixels[len(scene.panels) - 1] if size is None else size
    width = 2 * LOOK.edge + len(scene.panels) * (LOOK.side + LOOK.gap) - LOOK.gap
    room = LOOK.side - 2 * LOOK.corner
    stamp = _wrapped(scene.stamp, LOOK.stamp, width - 2 * LOOK.edge)
    notes = {note: _wrapped(note, LOOK.note, room) for panel in scene.panels for note in panel.notes}
    below = max((_height(note, LOOK.note) for note in notes.values()), default=LOOK.corner)
    floor = LOOK.edge + _height(stamp, LOOK.stamp) + below  # y of the panels' lower edge
    sheet = _Sheet(width, floor + LOOK.side + LOOK.head + LOOK.edge, size, THEMES[theme])
    sheet.write(LOOK.edge + 2, floor - below - 6, stamp, LOOK.stamp, color=sheet.theme.faint, va="top")
    moving: list[tuple[Panel, _Cloud, int]] = []
    for i, panel in enumerate(scene.panels):
        x, top = LOOK.edge + i * (LOOK.side + LOOK.gap), floor + LOOK.side
        sheet.card(x, floor, above=LOOK.head, below=below)
        clock = 0.61 * LOOK.clock * max(len(_clock(scene, tick)) for tick in ticks)
        sheet.write(x + LOOK.corner, top + 23, panel.title, LOOK.title, room - LOOK.corner - clock, weight="bold")
        sheet.write(x + LOOK.corner, top + 7, panel.formula, LOOK.formula, room, color=sheet.theme.faint)
        moving.append((panel, _Cloud(sheet.axes(x, floor, scene), scene, panel, sheet.theme), x))

    sheet.canvas.draw()  # draws the static parts once: everything that moves is still empty
    still = sheet.canvas.copy_from_bbox(sheet.figure.bbox)
    for frame in spaced(len(ticks)) if frames is None else frames:
        sheet.canvas.restore_region(still)
        for _, cloud, _ in moving:
            cloud.show(frame)
            for artist in cloud.artists:
                sheet.figure.draw_artist(artist)
        picture = sheet.picture()
        for panel, _, x in moving:
            time, note = _clock(scene, ticks[frame]), notes.get(panel.note(frame), "")
            right, top = x + LOOK.side - LOOK.corner, floor + LOOK.side
            sheet.print(picture, right, top + 22, time, LOOK.clock, bold=True, anchor="rs")
            sheet.print(picture, x + LOOK.corner, floor - 3, note, LOOK.note, color=sheet.theme.faint)
        picture.info = {"comment": scene.stamp, "theme": theme}  # travels with the picture into the file
        yield picture


def gif(pictures: Iterable[Image.Image], *, seconds: float = LOOK.seconds, hold: float = LOOK.hold) -> bytes:
    """A GIF of about `seconds` that loops forever and rests on its last picture; its comment is the stamp."""
    movie = Movie()
    for picture in pictures:
        movie.add(picture)
    return movie.saved(seconds, hold)


class _Cloud:
    """The moving parts of a panel: particles, and the trails behind them."""

    def __init__(self, ax: Axes, scene: Scene, panel: Panel, theme: Theme) -> None:
        self.run = panel.trajectory
        hue, hues = scene.hue.numpy(), to_rgba_array(theme.hues)
        thin = max(1, -(-len(hue) // LOOK.trails))
        some = [np.flatnonzero(hue == h)[::thin] for h in range(len(hues))]
        self.kin = [kin for kin in some if len(kin)]  # particles with a trail, by their hue
        self.length = LOOK.trail_frames(len(self.run.x))
        fades = [(1 - fade / LOOK.fades) ** LOOK.fading for fade in reversed(range(LOOK.fades))]  # oldest first
        self.shades = np.array([(*hues[hue[kin[0]], :3], fade) for fade in fades for kin in self.kin])
        self.to_points = LOOK.side / (2 * scene.half_width)
        self.trails = LineCollection([], linewidths=1.0)
        crowd = len(hue) > LOOK.crowd
        area = (2 * LOOK.dot * (LOOK.crowded if crowd else 1)) ** 2
        self.dots = ax.scatter([], [], s=area, marker=DOT, edgecolors=theme.paper, linewidths=0 if crowd else 0.75)
        self.dots.set_facecolor(hues[hue])
        ax.add_collection(self.trails, autolim=False)
        self.artists: tuple[Artist, ...] = (self.trails, self.dots)

    def show(self, frame: int) -> None:
        """Move everything to where it is at this frame."""
        frame = min(frame, len(self.run.x) - 1)
        self.dots.set_offsets(_drawable(self.run.x[frame]))
        if self.kin:
            self._trail(_drawable(self.run.x[np.arange(frame - self.length, frame + 1).clip(0)]))

    def _trail(self, past: np.ndarray) -> None:
        """Trails through past (length + 1, B, 2). Those of one hue and age are a single line with gaps:
        quick to draw, and where they cross they do not add up to a glare."""
        ends = [fade * self.length // LOOK.fades for fade in range(LOOK.fades + 1)]
        ages = [past[start : end + 1] for start, end in pairwise(ends)]
        self.trails.set_segments([_line(age[:, kin]) for age in ages for kin in self.kin])
        shown = past[:, np.concatenate(self.kin)]
        covered = np.nansum(np.linalg.norm(np.diff(shown, axis=0), axis=-1)) * self.to_points / LOOK.side**2
        self.trails.set_color(self.shades * (1, 1, 1, np.clip(LOOK.ink / max(covered, 1e-9), 0.1, 0.6)))


class _Sheet:
    """A figure measured in points from its lower left corner. A panel becomes `size` pixels wide."""

    def __init__(self, width: float, height: float, size: int, theme: Theme) -> None:
        self.width, self.height, self.theme = width, height, theme
        self.figure = Figure((width / 72, height / 72), dpi=72 * size / LOOK.side, facecolor=theme.page)
        self.canvas = FigureCanvasAgg(self.figure)
        self.points = Affine2D().scale(1 / 72) + self.figure.dpi_scale_trans

    def card(self, x: float, y: float, above: float, below: float) -> None:
        """The paper of a panel."""
        shape = f"round,pad=0,rounding_size={LOOK.corner}"
        card = FancyBboxPatch((x, y - below), LOOK.side, LOOK.side + above + below, shape)
        card.set(transform=self.points, zorder=-1, facecolor=self.theme.paper, edgecolor=self.theme.axis, linewidth=0.8)
        self.figure.add_artist(card)

    def axes(self, x: float, y: float, scene: Scene) -> Axes:
        """The axes of a panel of points on its card: a faint grid, and the data as a ghost."""
        theme, r = self.theme, scene.half_width
        box = (x / self.width, y / self.height, LOOK.side / self.width, LOOK.side / self.height)
        ax = self.figure.add_axes(box, frameon=False, xlim=(-r, r), ylim=(-r, r))
        ax.set(xticks=[], yticks=[])
        units = range(-int(r), int(r) + 1)
        colors = [theme.grid if unit else theme.axis for unit in units]
        ax.hlines(units, -r, r, colors, linewidth=0.7)
        ax.vlines(units, -r, r, colors, linewidth=0.7)
        ghost = _drawable(scene.data)
        ax.scatter(ghost[:, 0], ghost[:, 1], s=(2 * LOOK.dot * LOOK.ghost) ** 2, color=theme.ghost, linewidths=0)
        return ax

    def write(self, x: float, y: float, text: str, size: float, room: float = 0, **look: Any) -> Text:
        """Text with its first baseline at (x, y); if it is wider than `room`, it ends in an ellipsis."""
        look = {"color": self.theme.ink, "family": "DejaVu Sans", "va": "baseline"} | look
        it = self.figure.text(x, y, text, transform=self.points, parse_math=False, size=size, **look)
        while room and len(text) > 1 and it.get_window_extent().width * 72 / self.figure.dpi > room:
            text = text[:-1]
            it.set_text(text.rstrip() + "…")
        return it

    def print(
        self, picture: Image.Image, x: float, y: float, text: str, size: float, *, bold: bool = False, **look: Any
    ) -> None:
        """Text onto a finished picture, ten times as fast as `write`: for texts that change in every frame."""
        scale = picture.width / self.width
        font = _font(CLOCK if bold else SANS, size * scale)
        look = {"fill": look.pop("color", self.theme.ink), "spacing": (LOOK.leading - 1.15) * size * scale} | look
        ImageDraw.Draw(picture).text((x * scale, (self.height - y) * scale), text, font=font, **look)

    def picture(self) -> Image.Image:
        """A copy of the canvas."""
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")


@cache
def _font(file: str, size: float) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib."""
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", file), size)


def _clock(scene: Scene, tick: int) -> str:
    return f"t = {tick}" if scene.clock == "t" else f"{scene.clock} {tick}"


def _wrapped(text: str, size: float, room: float) -> str:
    """Text in lines no wider than `room`. A word that is wider is broken."""
    font = _font(SANS, 10 * size)  # ten times as large: letters are not rounded to pixels

    def fits(line: str) -> bool:
        return font.getlength(line) <= 9.5 * room  # in small films matplotlib rounds letters to whole pixels

    lines: list[str] = []
    for word in text.split():
        if lines and fits(f"{lines[-1]} {word}"):
            lines[-1] += f" {word}"
            continue
        rest = word
        while rest:
            end = next((n for n in range(len(rest), 1, -1) if fits(rest[:n])), 1)
            lines.append(rest[:end])
            rest = rest[end:]
    return "\n".join(lines)


def _height(wrapped: str, size: float) -> float:
    """Points that wrapped text takes, with a margin."""
    return LOOK.leading * size * len(wrapped.splitlines()) + (6 if wrapped else 0)


def _drawable(x: Tensor) -> np.ndarray:
    """Tensor (..., 2) to array, with NaN (never drawn) for particles that have diverged."""
    places = x.float().numpy()
    return np.where(np.abs(places).max(axis=-1, keepdims=True) < DIVERGED_BEYOND, places, np.nan)


def _line(paths: np.ndarray) -> np.ndarray:
    """Paths (L, B, 2), one after the other, as one line (B * (L + 1), 2) with gaps."""
    gaps = np.full_like(paths[:1], np.nan)
    return np.concatenate([paths, gaps]).swapaxes(0, 1).reshape(-1, 2)
