"""Still images."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import streamlit as st
from PIL import Image


def still(pixels: np.ndarray, alt: str, width: int | Literal["stretch"], caption: str | None = None) -> None:
    """A picture: (height, width) gray, or (height, width, 3 or 4) in colour, 0..255 (uint8).

    It travels inside the page. Streamlit would drop a file beside the page at the next run, and on a slow network the
    browser fetches it later than that.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    st.image(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", caption, width, alt=alt)


def enlarged(shown: Sequence[tuple[str, np.ndarray]], side: int) -> None:
    """Pictures (H, W) or (H, W, 3) with their captions, in a row: every pixel a sharp square."""
    with st.container(horizontal=True):
        for caption, picture in shown:
            larger = max(1, math.ceil(side / max(picture.shape[:2])))
            still(picture.repeat(larger, 0).repeat(larger, 1), caption, side, caption or None)
