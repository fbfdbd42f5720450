"""What moves in a panel of a film: the layers, the particles and the one that is followed, as matplotlib's artists; and
images, which are pasted."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from contourpy import LineType, contour_generator
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba_array
from matplotlib.markers import MarkerStyle
from matplotlib.patches import FancyBboxPatch
from PIL import Image, ImageDraw
from torch import Tensor

from toydiff.draw.scene import Density, Panel, Scene
from toydiff.draw.style import HEAT, MONO, SIDE, Theme

TRAIL, FADE = 12, (0.19, 0.44, 0.71, 1.0)  # frames that a trail looks back; its strength, oldest first
INK = 0.16  # how much of a panel the trails may cover: the longer the hops, the fainter they are
TRAILS, GUESSES = 320, 40  # at most; of more particles, every second or third has one
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)  # the shares of the mass that contours enclose
DOT = MarkerStyle((12, 0))  # a particle: a polygon of 12 sides looks like a circle, and is drawn in half the time
FAR = 100.0  # a particle further out than this has diverged: it is left out
CLOSE, FRAMED, WIDE = 0.01, 0.025, 0.035  # between images, as a part of a panel: at least, at most
LOST = 0.75  # pixels of an image are all equally large, unless images would get smaller than this part
SAMPLE = 2**16  # pixels, at most, of which a GIF chooses its colours for images


class Layer(Protocol):
    """Something that moves in a panel."""

    @property
    def artists(self) -> tuple[Artist, ...]: ...

    def show(self, frame: int) -> None: ...


def layers_of(ax: Axes, scene: Scene, panel: Panel, theme: Theme, kind: int, equal: bool, density: bool) -> list[Any]:
    """What there is to show under (and of single arrows: over) the particles of a panel."""
    layers: list[Layer] = []
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
        x, y = drawable(places).T
        self.quiver = ax.quiver(x, y, 0 * x, 0 * y, angles="xy", units="inches", scale_units="xy", scale=1, **look)
        self.quiver.set_linewidth(1.0 if scene.spacing is None else 0.0)
        self.artists: tuple[Artist, ...] = (self.quiver,)
        if scene.spacing is None:  # an arrow may be too short to be seen
            self.artists += (
                ax.scatter(x, y, s=36, color=theme.paper, edgecolors=theme.model, linewidths=1.6, zorder=7.9),
            )

    def show(self, frame: int) -> None:
        self.quiver.set_UVC(*self.scene.drawn(self.arrows, frame, *self.how).numpy().T)


class Cloud:
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
        x, ends = drawable(self.run.x[frame]), drawable(self.run.x0[frame])[self.guessed]
        self.dots.set_offsets(x)
        self.lines.set_segments(list(np.stack([x[self.guessed], ends], axis=1)))
        self.rings.set_offsets(ends)
        if self.kin:
            self._trail(drawable(self.run.x[np.arange(frame - TRAIL, frame + 1).clip(0)]))

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


class Followed:
    """One particle with a ring, and its path: as a line, or as the last steps' two parts at the size they have."""

    def __init__(self, ax: Axes, scene: Scene, panel: Panel, theme: Theme, particle: int, anatomy: bool) -> None:
        self.x = drawable(panel.trajectory.x[:, particle])
        self.mean = drawable(panel.trajectory.mean[:, particle])
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


class Grid:
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


def drawable(x: Tensor) -> np.ndarray:
    """Tensor (..., 2) to array, with NaN (never drawn) for particles that have diverged."""
    places = x.float().numpy()
    return np.where(np.abs(places).max(axis=-1, keepdims=True) < FAR, places, np.nan)


def _line(paths: np.ndarray) -> np.ndarray:
    """Paths (L, B, 2), one after the other, as one line (B * (L + 1), 2) with gaps."""
    gaps = np.full_like(paths[:1], np.nan)
    return np.concatenate([paths, gaps]).swapaxes(0, 1).reshape(-1, 2)


def _thin(count: int, most: int) -> int:
    """The stride that leaves at most `most`."""
    return max(1, -(-count // most))
