"""Writes a GIF while it is drawn: a frame keeps only the pixels that change, and all frames share one palette."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.colors import to_rgba_array
from PIL import Image

from toydiff.draw.style import LOOK, THEMES, Theme

BLENDS = 6  # shades of each of the 19 colours of a theme, from full strength towards paper
PALETTE_COLOURS = 128
NO_CHANGE = PALETTE_COLOURS - 1  # the last index marks pixels that do not change


class Movie:
    """A GIF that grows picture by picture, and keeps only the pixels that change."""

    def __init__(self) -> None:
        self._frames: list[Image.Image] = []
        self._palette: _Palette | None = None
        self._last, self._comment = np.zeros(0), ""

    def add(self, picture: Image.Image) -> None:
        """Append a picture. All have one size."""
        if self._palette is None:
            self._palette = _Palette(THEMES[picture.info.get("theme", "light")])
            self._last, self._comment = np.array(NO_CHANGE), picture.info.get("comment", "")
        pixels = self._palette(picture)
        change = np.where(pixels == self._last, NO_CHANGE, pixels).astype(np.uint8)
        # Pillow drops a frame that equals the one before it: repaint a corner pixel in every other frame.
        change[0, 0] = NO_CHANGE if len(self._frames) % 2 else pixels[0, 0]
        self._frames.append(Image.fromarray(change))
        self._frames[-1].putpalette(self._palette.colors.astype(np.uint8).tobytes())
        self._last = pixels

    def saved(self, seconds: float = LOOK.seconds, hold: float = LOOK.hold) -> bytes:
        """The file. ValueError without a picture."""
        if self._palette is None:
            raise ValueError("a film needs at least one picture")
        pace = min(max(seconds / len(self._frames), 0.02), 0.4)  # seconds; browsers do not go faster than 20 ms a frame
        delay = 10 * round(100 * pace)  # ms: the file counts in tens
        file = io.BytesIO()
        self._frames[0].save(
            file,
            "GIF",
            save_all=True,
            append_images=self._frames[1:],
            duration=[delay] * (len(self._frames) - 1) + [delay + round(1000 * hold)],
            loop=0,
            transparency=NO_CHANGE,
            disposal=1,  # each frame is painted over the one before
            optimize=False,
            comment=self._comment,
        )
        return file.getvalue()


class _Palette:
    """The colours of a GIF, the same in all frames: those of the theme, each in BLENDS shades towards paper."""

    def __init__(self, theme: Theme) -> None:
        inks = to_rgba_array([*theme.hues, *theme[1:]])[:, :3] * 255
        paper = to_rgba_array(theme.paper)[:, :3] * 255
        share = np.linspace(1, 0, BLENDS, endpoint=False)[:, None, None]
        self.colors = (share * inks + (1 - share) * paper).reshape(-1, 3).round().astype(np.float32)
        self.nearest = np.full(1 << 24, NO_CHANGE, np.uint8)  # index of each colour code; NO_CHANGE: not met yet

    def __call__(self, picture: Image.Image) -> np.ndarray:
        """The nearest colour of each pixel, (H, W) uint8. The search is exact; Pillow's takes paper for white."""
        codes = _codes(picture)
        new = np.unique(codes[self.nearest[codes] == NO_CHANGE])
        rgb = np.stack([new & 255, new >> 8 & 255, new >> 16], axis=-1).astype(np.float32)
        # |colour - rgb|^2 without |rgb|^2, which is the same for all colours
        self.nearest[new] = (np.square(self.colors).sum(1) - 2 * rgb @ self.colors.T).argmin(1)
        return self.nearest[codes]


def _codes(picture: Image.Image) -> np.ndarray:
    """(H, W): each pixel as one number below 2^24."""
    return np.asarray(picture.convert("RGBA")).view(np.uint32)[..., 0] & 0xFFFFFF
