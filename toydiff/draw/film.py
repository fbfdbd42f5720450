"""What the player shows, as files to keep: a film (GIF), a strip for a slide (PNG), the numbers (NPZ).

Everything is drawn on a Figure of its own, without pyplot and rcParams: many threads can export at once.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from contourpy import LineType, contour_generator
from matplotlib import get_data_path
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from toydiff.draw.scene import Density, Panel, Scene
from toydiff.draw.style import THEMES, Theme

SIDE, EDGE, GAP = 288, 10, 8  # in points: a panel, the border, between two panels. Three panels: 900
HEAD = 42  # the title and the formula above a panel
NOTE, STAMP = 9.5, 9.0  # font sizes of the texts below
MONO = "DejaVu Sans Mono"  # comes with matplotlib, as the default DejaVu Sans does: both have β̃, x̂₀ and σₜ
TRAIL, FADE = 12, (0.19, 0.44, 0.71, 1.0)  # frames that a trail looks back; its strength, oldest first
INK = 0.16  # how much of a panel the trails may cover: the longer the hops, the fainter they are
TRAILS, GUESSES = 320, 40  # at most; of more particles, every second or third has one
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # the shares of the mass that contours enclose
HEAT = 0.85  # the strongest heat: the grid and the data still show through
DOT = MarkerStyle((12, 0))  # a particle: a polygon of 12 sides looks like a circle, and is drawn in half the time
FAR = 100.0  # a particle further out than this has diverged: it is left out
BLENDS = 6  # in a GIF: the steps in which each of the 19 colours of a theme fades to paper
COLOURS, COLOURS_OF_RAMPS = 128, 256  # of a GIF. The last one is for pixels that stay what they were
CLOSE, FRAMED, WIDE = 0.01, 0.025, 0.035  # between images, as a part of a panel: at least, at most
LOST = 0.75  # pixels of an image are all equally large, unless images would get smaller than this part
SAMPLE = 2**16  # pixels, at most, of which a GIF chooses its colours for images


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
    moving: list[tuple[Panel, list[_Layer], int]] = []
    grids: list[tuple[_Grid, int]] = []
    for i, p in enumerate(panels):
        x, top = EDGE + i * (SIDE + GAP), floor + SIDE
        sheet.card(x, floor, above=HEAD, below=note_height)
        room = SIDE - 27 - 9.1 * max(len(_clock(scene, tick)) for tick in ticks)
        sheet.write(x + 9, top + 22, p.title, 12.5, room, weight="bold")
        sheet.write(x + 9, top + 7, p.formula, 10, SIDE - 18, color=sheet.theme.faint)
        parts: list[_Layer] = []
        moving.append((p, parts, x))
        if p.images() is not None:
            grids.append((_Grid(scene, p, sheet.theme, size, guess, follow), x))
            continue
        stage = sheet.stage(x, floor, scene)
        parts += _layers(stage, scene, p, sheet.theme, kind, equal, density)
        if particles:
            parts.append(cloud := _Cloud(stage, scene, p, sheet.theme, trails and not anatomy, guess))
            if follow is not None:
                cloud.artists[1].set_alpha(0.4)
                parts.append(_Followed(stage, scene, p, sheet.theme, follow, anatomy))

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


class Movie:
    """A GIF while it grows: of each picture only what changes is kept."""

    def __init__(self) -> None:
        self._frames: list[Image.Image] = []
        self._palette: _Palette | None = None
        self._last, self._comment = np.zeros(0), ""

    def add(self, picture: Image.Image) -> None:
        """The next picture, all of one size."""
        if self._palette is None:
            about: dict[Any, Any] = {"theme": "light", "heat": False, "images": (), "comment": ""} | picture.info
            self._palette = _Palette(THEMES[about["theme"]], about["heat"], about["images"])
            self._last, self._comment = np.array(self._palette.no_change), about["comment"]
        palette, pixels = self._palette, self._palette(picture)
        change = np.where(pixels == self._last, palette.no_change, pixels).astype(np.uint8)
        # Pillow drops a frame that equals the one before it: repaint a corner pixel in every other frame.
        change[0, 0] = palette.no_change if len(self._frames) % 2 else pixels[0, 0]
        self._frames.append(Image.fromarray(change))
        self._frames[-1].putpalette(palette.colors.astype(np.uint8).tobytes())
        self._last = pixels

    def saved(self, seconds: float = 6.0, hold: float = 1.0) -> bytes:
        """The file. ValueError without a picture."""
        if self._palette is None:
            raise ValueError("a film needs at least one picture")
        pace = min(max(seconds / len(self._frames), 0.02), 0.4)  # browsers do not go faster than 20 ms
        delay = 10 * round(100 * pace)  # ms: the file counts in tens
        file = io.BytesIO()
        self._frames[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=self._frames[1:],
            duration=[delay] * (len(self._frames) - 1) + [delay + round(1000 * hold)],
            loop=0,
            transparency=self._palette.no_change,
            disposal=1,  # each frame is painted over the one before
            optimize=False,
            comment=self._comment,
        )
        return file.getvalue()


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
    grids = [None if p.images() is None else _Grid(scene, p, sheet.theme, size, guess) for p in scene.panels]
    pasted: list[tuple[_Grid, int, int, float]] = []
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
            for layer in _layers(stage, scene, panel, sheet.theme, kind, equal, density):
                layer.show(frame)
            if particles:
                _Cloud(stage, scene, panel, sheet.theme, trails=False, guess=False).show(frame)
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
        ghost = _places(scene.data)
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


class _Layer(Protocol):
    """Something that moves in a panel."""

    @property
    def artists(self) -> tuple[Artist, ...]: ...

    def show(self, frame: int) -> None: ...


def _layers(ax: Axes, scene: Scene, panel: Panel, theme: Theme, kind: int, equal: bool, density: bool) -> list[Any]:
    """What there is to show under (and of single arrows: over) the particles of a panel."""
    layers: list[_Layer] = []
    if panel.heat is not None:
        layers.append(_Heat(ax, scene, panel.heat, theme))
    if density and scene.density is not None:
        layers.append(_Contours(ax, scene, scene.density, theme))
    if panel.arrows is not None and scene.places is not None:
        layers.append(_Arrows(ax, scene, scene.places, panel.arrows, theme, (kind, equal)))
    return layers


class _Heat:
    """A smooth picture in one colour of which there is more or less, and in the corner what its strongest means."""

    def __init__(self, ax: Axes, scene: Scene, heat: Tensor, theme: Theme) -> None:
        self.heat = np.nan_to_num(heat.float().numpy(), nan=scene.heat_max)
        r, colour = scene.half_width, theme.hues[1]
        colours = LinearSegmentedColormap.from_list("heat", [(colour, 0.0), (colour, HEAT)])
        look: dict[str, Any] = {"cmap": colours, "origin": "lower", "aspect": "auto", "interpolation": "bilinear"}
        self.picture = ax.imshow(
            np.zeros(heat.shape[1:]), extent=(-r, r, -r, r), vmin=0, vmax=scene.heat_max, zorder=2, **look
        )
        text: dict[str, Any] = {"size": 9, "family": MONO, "color": theme.faint, "va": "center", "zorder": 11}
        text |= {"transform": ax.transAxes}
        card = FancyBboxPatch((0.735, 0.935), 0.235, 0.04, "round,pad=0.008", transform=ax.transAxes, zorder=10)
        card.set(facecolor=theme.paper, alpha=0.85, linewidth=0)
        ax.add_patch(card)
        ramp = ax.imshow(np.linspace(0, 1, 64)[None], extent=(0.77, 0.9, 0.945, 0.965), zorder=11, **look)
        ramp.set_transform(ax.transAxes)
        zero = ax.text(0.755, 0.955, "0", ha="right", **text)
        most = ax.text(0.915, 0.955, f"{scene.heat_max:.3g}", **text)
        self.artists = (self.picture, card, ramp, zero, most)

    def show(self, frame: int) -> None:
        self.picture.set_data(self.heat[frame])


class _Contours:
    """Lines around the smallest regions that hold 10 % ... 90 % of the mass, at the nearest time there is."""

    def __init__(self, ax: Axes, scene: Scene, density: Density, theme: Theme) -> None:
        self.ticks, self.density = np.array(scene.ticks), density
        cells = density.inside.shape[1]
        self.centres = ((np.arange(cells) + 0.5) / cells * 2 - 1) * scene.half_width
        self.colour = theme.faint
        self.lines = LineCollection([], zorder=2.4)
        ax.add_collection(self.lines, autolim=False)
        self.artists = (self.lines,)

    def show(self, frame: int) -> None:
        nearest = int((self.density.t - self.ticks[frame]).abs().argmin())
        inside = self.density.inside[nearest].double().numpy()
        generator = contour_generator(self.centres, self.centres, inside, line_type=LineType.Separate)
        found: list[tuple[Any, float]] = [(line, share) for share in LEVELS for line in generator.lines(share)]
        shares = np.array([share for _, share in found])
        self.lines.set_segments([line for line, _ in found])
        colours = to_rgba_array([self.colour] * len(found), 0.95 - 0.4 * shares)
        self.lines.set(linewidths=1.7 - shares, colors=colours)


class _Arrows:
    """A vector at each place: thin ones on a grid, or a few thick ones that lie over the particles."""

    def __init__(
        self, ax: Axes, scene: Scene, places: Tensor, arrows: Tensor, theme: Theme, how: tuple[int, bool]
    ) -> None:
        self.scene, self.arrows, self.how = scene, arrows, how
        thick: dict[str, Any] = {"width": 3 / 72, "color": theme.model, "edgecolor": theme.paper, "zorder": 8}
        thin: dict[str, Any] = {"width": 0.85 / 72, "color": theme.ink, "alpha": 0.62, "zorder": 2.6}
        look = thick if scene.spacing is None else thin | {"headwidth": 4.6, "headlength": 5}
        x, y = _places(places).T
        self.quiver = ax.quiver(x, y, 0 * x, 0 * y, angles="xy", units="inches", scale_units="xy", scale=1, **look)
        self.quiver.set_linewidth(1.0 if scene.spacing is None else 0.0)
        self.artists: tuple[Artist, ...] = (self.quiver,)
        if scene.spacing is None:  # an arrow may be too short to be seen
            self.artists += (
                ax.scatter(x, y, s=36, color=theme.paper, edgecolors=theme.model, linewidths=1.6, zorder=7.9),
            )

    def show(self, frame: int) -> None:
        self.quiver.set_UVC(*self.scene.drawn(self.arrows, frame, *self.how).numpy().T)


class _Cloud:
    """What moves in a panel: particles, the trails behind them, lines to the model's guesses at their x0."""

    def __init__(self, ax: Axes, scene: Scene, panel: Panel, theme: Theme, trails: bool, guess: bool) -> None:
        self.run = panel.trajectory
        hue, hues = scene.hue.numpy(), to_rgba_array(theme.hues)
        some = [np.flatnonzero(hue == h)[:: _thin(len(hue), TRAILS)] for h in range(len(hues))]
        self.kin = [kin for kin in some if trails and len(kin)]  # particles with a trail, by their hue
        self.shades = np.array([(*hues[hue[kin[0]], :3], fade) for fade in FADE for kin in self.kin])
        self.to_points = SIDE / (2 * scene.half_width)
        self.strength = 0.5 if guess else 1.0
        self.guessed = np.arange(len(hue))[:: _thin(len(hue), GUESSES)] if guess else np.arange(0)

        self.trails = LineCollection([], linewidths=1.0, zorder=3)
        area = 25 if len(hue) <= 600 else 14
        self.dots = ax.scatter([], [], s=area, marker=DOT, edgecolors=theme.paper, linewidths=0.75, zorder=4)
        self.dots.set(facecolor=hues[hue], alpha=0.65 if guess else 1.0)
        self.lines = LineCollection([], linewidths=1.0, colors=hues[hue[self.guessed]], alpha=0.55, zorder=5)
        self.rings = ax.scatter([], [], s=22, facecolors=theme.paper, linewidths=1.4, zorder=6)
        self.rings.set_edgecolor(hues[hue[self.guessed]])
        ax.add_collection(self.trails, autolim=False)
        ax.add_collection(self.lines, autolim=False)
        self.artists = (self.trails, self.dots, self.lines, self.rings)

    def show(self, frame: int) -> None:
        """Move everything to where it is at this frame."""
        frame = min(frame, len(self.run.x) - 1)
        x, ends = _places(self.run.x[frame]), _places(self.run.x0[frame])[self.guessed]
        self.dots.set_offsets(x)
        self.lines.set_segments(list(np.stack([x[self.guessed], ends], axis=1)))
        self.rings.set_offsets(ends)
        if self.kin:
            self._trail(_places(self.run.x[np.arange(frame - TRAIL, frame + 1).clip(0)]))

    def _trail(self, past: np.ndarray) -> None:
        """Trails through past (TRAIL + 1, B, 2). Those of one hue and age are a single line with gaps:
        quick to draw, and where they cross they do not add up to a glare."""
        piece = TRAIL // len(FADE)
        ages = [past[i : i + piece + 1] for i in range(0, TRAIL, piece)]
        self.trails.set_segments([_line(age[:, kin]) for age in ages for kin in self.kin])
        shown = past[:, np.concatenate(self.kin)]
        covered = np.nansum(np.linalg.norm(np.diff(shown, axis=0), axis=-1)) * self.to_points / SIDE**2
        alpha = self.strength * np.clip(INK / max(covered, 1e-9), 0.1, 0.6)
        self.trails.set_color(self.shades * (1, 1, 1, alpha))


class _Followed:
    """One particle with a ring, and its path: as a line, or as the last steps' two parts at the size they have."""

    def __init__(self, ax: Axes, scene: Scene, panel: Panel, theme: Theme, particle: int, anatomy: bool) -> None:
        self.x = _places(panel.trajectory.x[:, particle])
        self.mean = _places(panel.trajectory.mean[:, particle])
        self.anatomy = anatomy
        hue = theme.hues[int(scene.hue[particle])]
        self.path = LineCollection([], linewidths=1.6, colors=hue, zorder=7)
        self.model = LineCollection([], linewidths=2.0, colors=theme.model, zorder=8)
        self.noise = LineCollection([], linewidths=2.0, colors=theme.noise, zorder=7)
        self.ring = ax.scatter([], [], s=90, facecolors=theme.paper, edgecolors=theme.ink, linewidths=1.6, zorder=9)
        self.dot = ax.scatter([], [], s=30, color=hue, linewidths=0, zorder=10)
        self.artists = (self.path, self.model, self.noise, self.ring, self.dot)
        for lines in self.artists[:3]:
            ax.add_collection(lines, autolim=False)

    def show(self, frame: int) -> None:
        """Move to where it is at this frame."""
        frame = min(frame, len(self.x) - 1)
        self.ring.set_offsets(self.x[frame])
        self.dot.set_offsets(self.x[frame])
        if self.anatomy:
            ends = np.arange(max(1, frame - TRAIL + 1), frame + 1)
            self.model.set_segments(list(np.stack([self.x[ends - 1], self.mean[ends]], axis=1)))
            self.noise.set_segments(list(np.stack([self.mean[ends], self.x[ends]], axis=1)))
        else:
            self.path.set_segments([self.x[: frame + 1]])


class _Grid:
    """The images of a panel, in rows, as large as fits: as many columns as make them largest."""

    def __init__(
        self, scene: Scene, panel: Panel, theme: Theme, size: int, guess: bool = False, follow: int | None = None
    ) -> None:
        images = panel.images("x0" if guess else "x")
        assert images is not None
        self.pixels = scene.shown(images)  # (F, B, H, W, C)
        self.sample = _sample(self.pixels)
        _, count, H, W, C = self.pixels.shape
        self.pixels = self.pixels if C == 3 else self.pixels[..., 0]  # gray images have no last axis for Pillow
        columns = max(1, math.ceil(math.sqrt(count * H / W)))
        rows = max(1, -(-count // columns))
        closest = max(2, round((FRAMED if scene.framed else CLOSE) * size))
        across, down = (size - closest * (n + 1) for n in (columns, rows))
        scale = min(across / (columns * W), down / (rows * H))
        scale = math.floor(scale) if math.floor(scale) >= LOST * scale else scale
        self.look = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
        self.width, self.height = width, height = max(1, math.floor(scale * W)), max(1, math.floor(scale * H))
        left = min((size - columns * width) / (columns + 1), (size - rows * height) / (rows + 1))
        gap = math.floor(min(left, WIDE * size))
        x, y = ((size - n * (length + gap) + gap) // 2 for n, length in ((columns, width), (rows, height)))
        self.places = [(x + i % columns * (width + gap), y + i // columns * (height + gap)) for i in range(count)]

        ours = count == len(scene.hue)  # else image i is not particle i
        framed = scene.framed and ours
        self.frames = [theme.hues[h] for h in scene.hue.tolist()] if framed else [theme.axis] * count
        self.frame = max(1, math.floor(min(gap / 3, size / 140))) if framed else 1  # pixels
        self.rings = {self.frame + max(2, round(size / 75)): theme.ink, self.frame + 1: theme.paper}
        self.follow = follow if ours else None

    def paste(self, picture: Image.Image, frame: int, left: int, top: int) -> None:
        """Onto a finished picture, with the upper left corner of the panel there."""
        draw, pixels = ImageDraw.Draw(picture), self.pixels[min(frame, len(self.pixels) - 1)]

        def around(i: int, by: int, colour: str) -> None:
            x, y = left + self.places[i][0], top + self.places[i][1]
            draw.rectangle((x - by, y - by, x + self.width + by - 1, y + self.height + by - 1), colour)

        def one(i: int) -> None:
            around(i, self.frame, self.frames[i])
            x, y = self.places[i]
            image = Image.fromarray(pixels[i]).resize((self.width, self.height), self.look)
            picture.paste(image, (left + x, top + y))

        for i in range(len(self.places)):
            one(i)
        if self.follow is not None:
            for by, colour in self.rings.items():
                around(self.follow, by, colour)
            one(self.follow)


def _sample(pixels: np.ndarray) -> np.ndarray:
    """Some of the colours, (n, 3), spread over all frames and images (..., C)."""
    colours = pixels.reshape(-1, pixels.shape[-1])
    some = colours[:: _thin(len(colours), SAMPLE)]
    return np.broadcast_to(some, (len(some), 3))


def _places(x: Tensor) -> np.ndarray:
    """Tensor (..., 2) to array, with NaN (never drawn) for particles that have diverged."""
    places = x.float().numpy()
    return np.where(np.abs(places).max(axis=-1, keepdims=True) < FAR, places, np.nan)


@cache
def _font(file: str, size: float) -> ImageFont.FreeTypeFont:
    """One of the fonts that come with matplotlib."""
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", file), size)


def _line(paths: np.ndarray) -> np.ndarray:
    """Paths (L, B, 2), one after the other, as one line (B * (L + 1), 2) with gaps."""
    gaps = np.full_like(paths[:1], np.nan)
    return np.concatenate([paths, gaps]).swapaxes(0, 1).reshape(-1, 2)


def _thin(count: int, most: int) -> int:
    """The stride that leaves at most `most`."""
    return max(1, -(-count // most))


def _clock(scene: Scene, tick: int) -> str:
    return f"t = {tick}" if scene.clock == "t" else f"{scene.clock} {tick}"


def _wrapped(text: str, size: float, room: float, lines: int | None = None) -> str:
    """Text in lines no wider than `room`: a letter is 0.6 sizes wide, rounded to whole pixels."""
    return "\n".join(textwrap.wrap(text, int(room / (0.67 * size)), max_lines=lines, placeholder=" …"))


def _height(wrapped: str, size: float) -> float:
    """Points that wrapped text takes, with a margin."""
    return 1.4 * size * len(wrapped.splitlines()) + (6 if wrapped else 0)


class _Palette:
    """The colours of a GIF, the same in all frames: those of the theme, each in steps on its way to paper. A heat map
    is all gradient: for it there are more steps of its colour. So there are of gray for gray images, and for images in
    colour those that are most like them."""

    def __init__(self, theme: Theme, heat: bool, images: Sequence[np.ndarray] = ()) -> None:
        self.no_change = (COLOURS_OF_RAMPS if heat or images else COLOURS) - 1
        inks = to_rgba_array([*theme.hues, *theme[1:]])[:, :3] * 255
        paper = to_rgba_array(theme.paper)[:, :3] * 255
        share = np.linspace(1, 0, BLENDS, endpoint=False)[:, None, None]
        blends = (share * inks + (1 - share) * paper).reshape(-1, 3)
        room = self.no_change - len(blends)
        shown = _colours(np.concatenate(images), room // 2 if heat else room) if images else blends[:0]
        steps = np.linspace(HEAT, 0, room - len(shown) if heat else 0, endpoint=False)[:, None]
        self.colors = np.concatenate([blends, steps * inks[1] + (1 - steps) * paper, shown]).round().astype(np.float32)
        self.nearest = np.full(1 << 24, self.no_change, np.uint8)  # of each colour code, once it has been met

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """The nearest colour of each pixel, (H, W) uint8. Exact: Pillow's search takes paper for white."""
        codes = _codes(picture)
        new = np.unique(codes[self.nearest[codes] == self.no_change])
        rgb = np.stack([new & 255, new >> 8 & 255, new >> 16], axis=-1).astype(np.float32)
        # |colour - rgb|^2 without |rgb|^2, which is the same for all colours
        self.nearest[new] = (np.square(self.colors).sum(1) - 2 * rgb @ self.colors.T).argmin(1)
        return self.nearest[codes]


def _colours(pixels: np.ndarray, most: int) -> np.ndarray:
    """At most so many colours, (n, 3), for these pixels (N, 3)."""
    if (pixels == pixels[:, :1]).all():
        return np.linspace(0, 255, most)[:, None].repeat(3, axis=1)
    chosen = Image.fromarray(pixels[None].copy()).quantize(most, Image.Quantize.MEDIANCUT)
    return np.array(chosen.getpalette()).reshape(-1, 3)[:most]


def _codes(picture: Image.Image) -> np.ndarray:
    """(H, W): each pixel as one number below 2^24."""
    return np.asarray(picture.convert("RGBA")).view(np.uint32)[..., 0] & 0xFFFFFF
