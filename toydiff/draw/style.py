"""The look of all pictures: one palette for the player, the films and the charts."""

from __future__ import annotations

from typing import NamedTuple


class Theme(NamedTuple):
    """Colours of one theme, as hex strings."""

    hues: tuple[str, ...]  # particles, by the angle they start at: ten hues of equal lightness (OKLCH)
    page: str  # around the panels
    paper: str  # the background of a panel
    grid: str
    axis: str
    ghost: str  # the data, behind the particles
    ink: str  # text
    faint: str  # less important text
    model: str  # the model's step: the accent colour
    noise: str  # the noise kick: gray


LIGHT = Theme(
    hues=(
        *("#d7545b", "#ce6500", "#aa8000", "#699700", "#00a36b"),
        *("#00a1ad", "#0092db", "#657be8", "#a266d1", "#c7579e"),
    ),
    page="#ffffff",
    paper="#fcfbf7",
    grid="#ecebe6",
    axis="#d9d7d0",
    ghost="#d4d2ca",
    ink="#1f2733",
    faint="#566273",
    model="#1d5fe0",
    noise="#7d828c",
)

DARK = Theme(
    hues=(
        *("#f98e8e", "#ef9a5a", "#cfae42", "#99c163", "#51cb9b"),
        *("#00c9d2", "#50bdf8", "#94abff", "#c89af0", "#eb8ec5"),
    ),
    page="#0b0f1c",
    paper="#10162a",
    grid="#1b2338",
    axis="#2a3553",
    ghost="#36415f",
    ink="#eef2fb",
    faint="#a3aec6",
    model="#6ea2ff",
    noise="#9aa3b5",
)

HUES = len(LIGHT.hues)
THEMES = {"light": LIGHT, "dark": DARK}


class Look(NamedTuple):
    """Lengths and times of films: of the player's and of those that are taken home, by the browser or in a terminal.
    Lengths are points, of which a panel is `side` wide. The player's header carries it, as `look`."""

    side: int = 288
    edge: int = 10  # the border
    gap: int = 8  # between panels. Three panels are 900 wide
    head: int = 42  # height of the title and the formula above a panel
    corner: int = 9  # radius of a panel's corners, and the margin of its texts
    title: float = 12.5  # sizes of fonts
    formula: float = 10.5
    clock: float = 15
    note: float = 10
    stamp: float = 9.5
    leading: float = 1.35  # from one line to the next, in sizes of the font
    pixels: tuple[int, ...] = (432, 360, 288)  # width of a panel in a file, by the number of panels: 1, 2, 3
    dot: float = 2.5  # radius of a particle
    ghost: float = 0.55  # radius of a point of the data, in radii of a particle
    crowd: int = 600  # of more particles each is smaller, and has no rim
    crowded: float = 0.75  # so much smaller
    trail: float = 0.16  # length of a trail, as a share of all frames,
    trail_least: int = 4  # in frames at least
    trail_most: int = 32  # and at most
    fades: int = 4  # steps in which a trail fades
    fading: float = 1.2  # the power with which it does
    trails: int = 320  # of more particles only every second or third has one
    ink: float = 0.16  # share of a panel that trails may cover, at full strength: the longer the hops, the fainter
    frames: int = 120  # of a file, at most
    seconds: float = 6.0  # that it plays, about
    hold: float = 1.0  # seconds that its last frame stays

    def trail_frames(self, frames: int) -> int:
        """The length of a trail in a film of so many frames."""
        return round(min(self.trail_most, max(self.trail_least, self.trail * frames)))


LOOK = Look()
