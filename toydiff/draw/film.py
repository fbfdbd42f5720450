"""What the player shows, as files to keep: a film (GIF), a strip for a slide (PNG), the numbers (NPZ).

Everything is drawn on a Figure of its own, without pyplot and rcParams: many threads can export at once.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from toydiff.draw.artists import Cloud, Followed, Grid, Layer, drawable, layers_of
from toydiff.draw.movie import Movie
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.style import MONO, SIDE, THEMES, Theme

EDGE, GAP = 10, 8  # in points: the border, and between two panels. Three panels: 900
HEAD = 42  # the title and the formula above a panel
NOTE, STAMP = 9.5, 9.0  # font sizes of the texts below


def spaced(frames: int, most: int = 120) -> list[int]:
    """At most `most` of the frames 0 ... frames - 1, evenly spaced, the first and the last among them."""
    return np.linspace(0, frames - 1, min(frames, most)).round().astype(int).tolist()


def images(
    scene: Scene,
    *,
    theme: str = "light",
    trails: bool = True,
    guess: bool = False,
    panel: int | None = None,
    follow: int | None = None,
    anatomy: bool = False,
    kind: int = 0,
    equal: bool = False,
    particles: bool = True,
    density: bool = False,
    size: int = SIDE,
    frames: Sequence[int] | None = None,
) -> Iterator[Image.Image]:
    """RGB pictures, panels `size` pixels wide: of `frames`, or of all (120 if there are more).

    guess: with lines to x̂0; images become theirs. follow: a particle with a ring and its path; with `anatomy`, its last
    steps as the model's part and the noise's.
    kind, equal: how arrows are shown; density: whether its contours are.
    """
    ticks = scene.ticks
    panels = scene.panels if panel is None else (scene.panels[panel],)
    width = 2 * EDGE + len(panels) * (SIDE + GAP) - GAP
    stamp = _wrapped(scene.stamp, STAMP, width - 2 * EDGE)
    notes = {_wrapped(note, NOTE, SIDE - 18) for p in panels for note in p.notes}
    note_height = max((_height(note, NOTE) for note in notes), default=0)
    floor = EDGE + _height(stamp, STAMP) + note_height  # where the panels stand
    sheet = _Sheet(width, floor + SIDE + HEAD + EDGE, size, THEMES[theme])
    sheet.write(EDGE + 2, floor - note_height - 6, stamp, STAMP, **sheet.block)
    moving: list[tuple[Panel, list[Layer], int]] = []
    grids: list[tuple[Grid, int]] = []
    for i, p in enumerate(panels):
        x, top = EDGE + i * (SIDE + GAP), floor + SIDE
        sheet.card(x, floor, above=HEAD, below=note_height)
        room = SIDE - 27 - 9.1 * max(len(_clock(scene, tick)) for tick in ticks)
        sheet.write(x + 9, top + 22, p.title, 12.5, room, weight="bold")
        sheet.write(x + 9, top + 7, p.formula, 10, SIDE - 18, color=sheet.theme.faint)
        parts: list[Layer] = []
        moving.append((p, parts, x))
        if p.images() is not None:
            grids.append((Grid(scene, p, sheet.theme, size, guess, follow), x))
            continue
        stage = sheet.stage(x, floor, scene)
        parts += layers_of(stage, scene, p, sheet.theme, kind, equal, density)
        if particles:
            parts.append(cloud := Cloud(stage, scene, p, sheet.theme, trails and not anatomy, guess))
            if follow is not None:
                cloud.artists[1].set_alpha(0.4)
                parts.append(Followed(stage, scene, p, sheet.theme, follow, anatomy))

    sheet.canvas.draw()  # what stands still, once: all that moves is empty yet
    still = sheet.canvas.copy_from_bbox(sheet.figure.bbox)
    heat = any(p.heat is not None for p in panels)
    about: dict[Any, Any] = {
        "comment": scene.stamp,
        "theme": theme,
        "heat": heat,
        "images": [grid.sample for grid, _ in grids],
    }
    for frame in spaced(len(ticks)) if frames is None else frames:
        sheet.canvas.restore_region(still)
        for _, parts, _ in moving:
            for part in parts:
                part.show(frame)
            for artist in sorted((artist for part in parts for artist in part.artists), key=Artist.get_zorder):
                sheet.figure.draw_artist(artist)
        picture = sheet.picture()
        for grid, x in grids:
            grid.paste(picture, frame, *sheet.corner(x, floor + SIDE))
        for p, _, x in moving:
            clock = _clock(scene, ticks[frame]) if p.still is None else ""  # it has no time
            sheet.print(picture, x + SIDE - 9, floor + SIDE + 21, clock, 15, bold=True, anchor="rs")
            note = _wrapped(p.note(frame), NOTE, SIDE - 18)
            sheet.print(picture, x + 9, floor - 2, note, NOTE, color=sheet.theme.faint)
        picture.info = about.copy()  # travels with the picture into the file
        yield picture


def gif(pictures: Iterable[Image.Image], *, seconds: float = 6.0, hold: float = 1.0) -> bytes:
    """A GIF of about `seconds` that loops forever and rests on its last picture; its comment is the stamp."""
    movie = Movie()
    for picture in pictures:
        movie.add(picture)
    return movie.saved(seconds, hold)


def strip(
    scene: Scene,
    moments: int = 6,
    *,
    theme: str = "light",
    guess: bool = False,
    kind: int = 0,
    equal: bool = False,
    particles: bool = True,
    density: bool = False,
    size: int = SIDE,
) -> bytes:
    """A PNG for a slide: a row per panel, a column per moment, each `size` pixels wide. guess: images are their x̂0."""
    ticks, frames = scene.ticks, spaced(len(scene.ticks), moments)
    left, head, small = 220, 40, 16  # room for titles and for clocks; the stamp's font size
    width = left + len(frames) * (SIDE + GAP) - GAP + EDGE
    stamp = _wrapped(scene.stamp, small, width - 2 * EDGE)
    floor = EDGE + _height(stamp, small)
    top = floor + len(scene.panels) * (SIDE + GAP) - GAP
    sheet = _Sheet(width, top + head + EDGE, size, THEMES[theme])
    sheet.write(EDGE, floor - 8, stamp, small, **sheet.block)
    grids = [None if p.images() is None else Grid(scene, p, sheet.theme, size, guess) for p in scene.panels]
    pasted: list[tuple[Grid, int, int, float]] = []
    for column, frame in enumerate(frames):
        x = left + column * (SIDE + GAP)
        clock = _clock(scene, ticks[frame])
        sheet.write(x + SIDE / 2, top + 14, clock, 24, family=MONO, weight="bold", ha="center")
        for row, panel in enumerate(scene.panels):
            y = top - SIDE - row * (SIDE + GAP)
            sheet.card(x, y)
            if (grid := grids[row]) is not None:
                pasted.append((grid, frame, x, y + SIDE))
                continue
            stage = sheet.stage(x, y, scene)
            for layer in layers_of(stage, scene, panel, sheet.theme, kind, equal, density):
                layer.show(frame)
            if particles:
                Cloud(stage, scene, panel, sheet.theme, trails=False, guess=False).show(frame)
    for row, panel in enumerate(scene.panels):
        y = top - 10 - row * (SIDE + GAP)
        title, formula = (_wrapped(text, 18, left - EDGE, lines=4) for text in (panel.title, panel.formula))
        sheet.write(EDGE, y, title, 18, weight="bold", va="top")
        sheet.write(EDGE, y - _height(title, 18), formula, 15, color=sheet.theme.faint, va="top")
    sheet.canvas.draw()
    file, about = io.BytesIO(), PngInfo()
    about.add_itxt("Description", scene.stamp)
    picture = sheet.picture()
    for grid, frame, x, y in pasted:
        grid.paste(picture, frame, *sheet.corner(x, y))
    picture.save(file, "PNG", pnginfo=about)
    return file.getvalue()


def npz(scene: Scene, **more: Any) -> bytes:
    """The numbers, for np.load: t (F,), data (N, 2), stamp, titles; of panel 0: 0.x, 0.x0, 0.mean (F, B, 2). Images as
    the network sees them: data (N, C, H, W), 0.x (F, B, C, H, W), or 0.still (n, C, H, W) of a panel that stands still.
    Where there are layers: places (A, 2), 0.arrows (F, A, 2), 0.heat (F, m, m), density.t, density.inside.

    `more`: further arrays by name, for example losses=...
    """
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
    np.savez(file, **arrays, **more)
    return file.getvalue()


class _Sheet:
    """A figure measured in points from its lower left corner. A panel becomes `size` pixels wide."""

    def __init__(self, width: float, height: float, size: int, theme: Theme) -> None:
        self.width, self.height, self.theme = width, height, theme
        self.figure = Figure((width / 72, height / 72), dpi=72 * size / SIDE, facecolor=theme.page)
        self.canvas = FigureCanvasAgg(self.figure)
        self.block: dict[str, Any] = {"family": MONO, "color": theme.faint, "va": "top"}
        self.points = Affine2D().scale(1 / 72) + self.figure.dpi_scale_trans

    def card(self, x: float, y: float, above: float = 0, below: float = 0) -> None:
        """The paper of a panel."""
        card = FancyBboxPatch((x, y - below), SIDE, SIDE + above + below, "round,pad=0,rounding_size=9")
        card.set(transform=self.points, zorder=-1, facecolor=self.theme.paper, edgecolor=self.theme.axis, linewidth=0.8)
        self.figure.add_artist(card)

    def corner(self, x: float, y: float) -> tuple[int, int]:
        """A place as whole pixels from the upper left corner."""
        scale = self.figure.dpi / 72
        return round(x * scale), round((self.height - y) * scale)

    def stage(self, x: float, y: float, scene: Scene) -> Axes:
        """What a panel of points has on its card: a faint grid, and the data as a ghost."""
        theme, r = self.theme, scene.half_width
        box = (x / self.width, y / self.height, SIDE / self.width, SIDE / self.height)
        ax = self.figure.add_axes(box, frameon=False, xlim=(-r, r), ylim=(-r, r))
        ax.set(xticks=[], yticks=[])
        units = range(-int(r), int(r) + 1)
        colors = [theme.grid if unit else theme.axis for unit in units]
        ax.hlines(units, -r, r, colors, linewidth=0.7)
        ax.vlines(units, -r, r, colors, linewidth=0.7)
        ghost = drawable(scene.data)
        ax.scatter(ghost[:, 0], ghost[:, 1], s=6, color=theme.ghost, linewidths=0)
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
        """Text onto a finished picture: what changes in every frame, ten times as fast as `write`."""
        scale = picture.width / self.width
        font = _font(f"DejaVuSansMono{'-Bold' if bold else ''}.ttf", size * scale)
        look = {"fill": look.pop("color", self.theme.ink), "spacing": 0.05 * size * scale} | look
        ImageDraw.Draw(picture).text((x * scale, (self.height - y) * scale), text, font=font, **look)

    def picture(self) -> Image.Image:
        """What is on the canvas, as a copy."""
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())).convert("RGB")


@cache
def _font(file: str, size: float) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib."""
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", file), size)


def _clock(scene: Scene, tick: int) -> str:
    return f"t = {tick}" if scene.clock == "t" else f"{scene.clock} {tick}"


def _wrapped(text: str, size: float, room: float, lines: int | None = None) -> str:
    """Text in lines no wider than `room`: a letter is 0.6 sizes wide, rounded to whole pixels."""
    return "\n".join(textwrap.wrap(text, int(room / (0.67 * size)), max_lines=lines, placeholder=" …"))


def _height(wrapped: str, size: float) -> float:
    """Points that wrapped text takes, with a margin."""
    return 1.4 * size * len(wrapped.splitlines()) + (6 if wrapped else 0)
