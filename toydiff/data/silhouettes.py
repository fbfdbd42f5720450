"""Points from the ink of a picture or of written words: the darker a place, the more points it gets."""

from __future__ import annotations

import math
import os
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from glob import glob
from importlib.metadata import distribution

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from toydiff.data.pictures import MAX_PIXELS, Refused, opened, upright
from toydiff.data.points import _rng, standardized
from toydiff.text import shown, words

MAX_LETTERS = 12
SILHOUETTE_PIXELS = 400  # pixels: as fine as 10,000 points can show
FAINT = 0.1  # share of the darkest: fainter places are paper or the noise of a JPEG, not ink

FONT_PIXELS = (120, 109, 160)  # pixels; coloured emoji have one size only: Noto's 109, Apple's 160
OUTLINES = ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf")  # these come with matplotlib
FOLDERS = (  # of fonts, on Linux, a Mac and Windows
    *("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts"),
    *("/System/Library/Fonts", "/Library/Fonts", "~/Library/Fonts"),
    *("C:/Windows/Fonts", "~/AppData/Local/Microsoft/Windows/Fonts"),
)
BOXES = ("lastresort", "adobeblank", "fallback")  # fonts that draw the same box for every character
JOINER = "\u200d"  # joins two emoji into one
STYLES = "\ufe0e\ufe0f"  # asks for an emoji in black or in colour
HIDDEN = ("Cc", "Cf", "Cs")  # categories of Unicode: control characters, format characters, surrogates


@dataclass(frozen=True, eq=False)
class Silhouette:
    """A picture in gray, to be filled with points."""

    name: str  # safe to show
    light: np.ndarray  # (H, W) uint8, H and W at most SILHOUETTE_PIXELS

    def cloud(self, n: int, seed: int = 0, *, invert: bool | None = None) -> Tensor:
        """(n, 2): points on the dark parts, or with `invert` on the light ones. None: on the parts unlike the picture's
        edge. ValueError if there are none."""
        ink = 1 - self.light / 255
        edge = float(np.median(np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])))
        if edge > 0.5 if invert is None else invert:
            ink, edge = 1 - ink, 1 - edge
        if edge <= 0.5:  # the edge is the paper, which need not be quite white
            ink = np.clip(ink - edge, 0, None)
        if ink.max() < FAINT:
            raise ValueError(words("bring.no_ink"))
        return filled(np.where(ink < FAINT * ink.max(), 0, ink), n, seed)


def filled(ink: np.ndarray, n: int, seed: int) -> Tensor:
    """(n, 2): points drawn in proportion to the ink (H, W), each anywhere within its pixel; y is up."""
    rng = _rng(n, seed)
    pixel = rng.choice(ink.size, size=n, p=ink.ravel() / ink.sum())
    row, column = np.divmod(pixel, ink.shape[1]) + rng.random((2, n))
    return standardized(torch.from_numpy(np.stack([column, -row], 1)))


def from_picture(name: str, content: bytes) -> Silhouette:
    """The whole picture. ValueError if it is damaged or larger than MAX_PIXELS."""
    try:
        picture = opened(content, MAX_PIXELS)
    except Refused as reason:
        raise ValueError(words("bring.picture", reason=reason)) from reason
    try:
        picture = upright(picture, SILHOUETTE_PIXELS)
        picture.thumbnail((SILHOUETTE_PIXELS, SILHOUETTE_PIXELS))
        light = _gray(picture, "white")
        if light.min() > 255 * (1 - FAINT):  # white on a transparent ground is meant for a dark page
            light = _gray(picture, "black")
        return Silhouette(name, light)
    except Exception as error:  # a damaged picture fails in many ways
        raise ValueError(words("bring.picture", reason=words("pictures.broken"))) from error


def _gray(picture: Image.Image, paper: str) -> np.ndarray:
    """(H, W) uint8: the picture in gray, on paper of the given colour."""
    page = Image.new("RGBA", picture.size, paper)
    return np.asarray(Image.alpha_composite(page, picture.convert("RGBA")).convert("L"))


def text(string: str, n: int, seed: int = 0) -> Tensor:
    """(n, 2): a word or an emoji, as fonts of this machine draw it. ValueError if it is empty, longer than MAX_LETTERS,
    or has a character that no font here has."""
    runs: list[tuple[str, str]] = []  # (font, the part of the string that it draws)
    for character in tidy(string):
        font = runs[-1][0] if runs and _joins(character, runs[-1][0]) else _font(character)
        if runs and runs[-1][0] == font:
            runs[-1] = (font, runs[-1][1] + character)
        else:
            runs.append((font, character))
    drawn = [(part, _loaded(font)) for font, part in runs]
    widths = [font.getlength(part) for part, font in drawn]
    high = max(FONT_PIXELS)
    page = Image.new("RGB", (2 * high + math.ceil(sum(widths)), 3 * high), "white")
    x = float(high)
    for (part, font_here), width in zip(drawn, widths, strict=True):
        ImageDraw.Draw(page).text((x, 2 * high), part, "black", font_here, anchor="ls", embedded_color=True)
        x += width
    ink = 1 - np.asarray(page.convert("L")) / 255
    if ink.max() < FAINT:
        raise ValueError(words("bring.no_text"))
    return filled(ink, n, seed)


def tidy(string: str) -> str:
    """The string in one line, without invisible characters. ValueError if nothing is left, or more than MAX_LETTERS."""
    string = unicodedata.normalize("NFC", string[:1000])
    string = "".join(c for c in string if c.isspace() or c == JOINER or unicodedata.category(c) not in HIDDEN)
    string = " ".join(string.translate(dict.fromkeys(map(ord, STYLES))).split())
    letters = sum(c != JOINER and unicodedata.category(c)[0] != "M" for c in string)
    if not letters:
        raise ValueError(words("bring.no_text"))
    if letters > MAX_LETTERS or len(string) > 4 * MAX_LETTERS:
        raise ValueError(words("bring.long_text", most=MAX_LETTERS))
    return string


def _joins(character: str, font: str) -> bool:
    """Whether a character is drawn onto or into the one before it, with that one's font."""
    return character == JOINER or (unicodedata.category(character)[0] == "M" and _draws(_loaded(font), character))


@lru_cache(1000)
def _font(character: str) -> str:
    """The first font that has the character."""
    for font in _fonts():
        try:
            if _draws(_loaded(font), character):
                return font
        except OSError:  # a font that FreeType cannot read
            continue
    raise ValueError(words("bring.no_font", character=shown(character), code=f"U+{ord(character):04X}"))


@cache
def _fonts() -> list[str]:
    """All fonts of this machine; those that come with matplotlib are first."""
    own = [str(distribution("matplotlib").locate_file(f"matplotlib/mpl-data/fonts/ttf/{name}")) for name in OUTLINES]
    found = (glob(f"{os.path.expanduser(folder)}/**/*.[to]t[fc]", recursive=True) for folder in FOLDERS)
    system = sorted(font for fonts in found for font in fonts)
    return own + [font for font in system if not any(box in font.lower().replace(" ", "") for box in BOXES)]


def _loaded(font: str) -> ImageFont.FreeTypeFont:
    for size in FONT_PIXELS[:-1]:
        try:
            return ImageFont.truetype(font, size)
        except OSError:
            continue
    return ImageFont.truetype(font, FONT_PIXELS[-1])


def _draws(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Whether a font has a character, and does not draw its box for missing characters instead."""
    drawn, box = (font.getmask(c) for c in (character, "\uffff"))  # U+FFFF will never be a character
    return drawn.size != box.size or bytes(drawn) != bytes(box)
