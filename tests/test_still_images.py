"""Pictures that do not move: what a browser gets of them."""

import base64
import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests.test_image_page import LINK
from tests.test_pages import fine, open_page
from toydiff.ui.still_images import enlarged, still

COLOURS = [(4, 6), (4, 6, 3), (4, 6, 4)]


def sources(at: AppTest) -> list[str]:
    return [one.url for element in at.get("image") for one in element.proto.imgs]


def decoded(source: str) -> np.ndarray:
    kind, content = source.split(",")
    assert kind == "data:image/png;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(content))))


def show(draw: Callable, *arguments: object) -> AppTest:
    def page(draw, arguments):  # as a script of its own it knows no types
        draw(*arguments)

    return fine(AppTest.from_function(page, args=[draw, arguments]).run())


@pytest.mark.parametrize("shape", COLOURS)
def test_every_pixel_arrives_as_it_was(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert (decoded(*sources(show(still, pixels, "it", 100))) == pixels).all()
    larger = decoded(*sources(show(enlarged, [("it", pixels)], 13)))
    assert (larger[::3, ::3] == pixels).all() and larger.shape[:2] == (12, 18)


@pytest.mark.parametrize("lesson", ["images", "between"])
def test_no_picture_of_a_page_is_a_file_beside_it(lesson):
    """A file would be gone by the time a slow browser comes for it: the page may have run again."""
    at = fine(open_page(lesson, **LINK))
    assert sources(at) and all(decoded(source).size for source in sources(at))
