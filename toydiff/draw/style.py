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

SIDE = 288  # width of a panel in a film, in points
MONO = "DejaVu Sans Mono"  # comes with matplotlib, like DejaVu Sans: both have β̃, x̂₀ and σₜ
