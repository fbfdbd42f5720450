"""The canvas: what Python believes of it. What one can draw on it: tests/browser/test_canvas.py."""

import base64
import re
from collections.abc import Callable

import numpy as np
import pytest

from toydiff.components.bundle import component
from toydiff.components.canvas.drawing import UNIT
from toydiff.text import words
from toydiff.ui import canvas as canvas_module
from toydiff.ui.canvas import CANVAS_LABELS, canvas

# ---------------------------------------------------------------- what Python believes


@pytest.fixture
def shown(monkeypatch) -> Callable[..., tuple[np.ndarray, dict]]:
    """Runs the page once, with what the browser has said so far: the drawing, and what the browser gets."""

    def run(state: object = None, **options: object) -> tuple[np.ndarray, dict]:
        sent = {}
        monkeypatch.setattr(canvas_module, "_component", lambda **given: sent.update(given))
        monkeypatch.setattr(canvas_module.st, "session_state", {"cloud": state})
        return canvas(key="cloud", **options), sent["data"]

    return run


def encoded(*numbers: int) -> str:
    return base64.b64encode(np.array(numbers, "<i2").tobytes()).decode()


CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [0, 0.5]], np.float32)
KEPT = encoded(*(round(UNIT * float(number)) for number in CORNERS.ravel()))


def test_nothing_is_drawn_at_first(shown):
    drawing, data = shown()
    assert drawing.shape == (0, 2) and drawing.dtype == np.float32
    assert (data["drawing"], data["most"], data["unit"]) == ("", 10_000, UNIT)


def test_what_the_browser_draws_comes_back(shown):
    drawing, data = shown({"drawing": encoded(0, UNIT, -UNIT, UNIT // 2)})
    assert drawing.dtype == np.float32
    assert drawing == pytest.approx(np.array([[0, 1], [-1, 0.5]]), abs=1 / UNIT)
    assert data["drawing"] == encoded(0, UNIT, -UNIT, UNIT // 2)  # should the browser have to draw it anew


def test_an_erased_drawing_is_empty_and_not_the_one_at_the_beginning(shown):
    assert len(shown({"drawing": ""}, initial=CORNERS)[0]) == 0


def test_a_drawing_that_is_kept_is_the_same_drawing(shown):
    cloud = np.random.default_rng(0).integers(-UNIT, UNIT + 1, 2000)
    first, sent = shown({"drawing": encoded(*cloud)})
    again, sent_again = shown(initial=first)
    assert np.array_equal(first, again)
    assert sent["drawing"] == sent_again["drawing"]


@pytest.mark.parametrize(
    "garbage",
    [
        *(None, 7, True, 1e300, float("nan"), ["AAAA"], {"a": 1}, b"AAAAAA==", [[0.1, 0.2]]),
        *("?", "AAAA", "AAAAA", "AAAAAA", "AAAAAA==x", "AA AAAA==", "ÀAAAAA==", "[[0, 0]]", "\0" * 8, "=" * 8),
        encoded(0),  # half a point
        encoded(0, 0, 0),  # one and a half
        encoded(0, -UNIT - 1),  # off the picture
        encoded(*[0] * 12),  # one more than allowed
        encoded(*[0] * 2_000_000),
    ],
    ids=lambda garbage: repr(garbage)[:20],
)
def test_garbage_is_not_believed(shown, garbage):
    state = {"drawing": garbage}
    empty, _ = shown(state, most=5)
    assert empty.shape == (0, 2)
    kept, data = shown(state, initial=CORNERS, most=5)
    assert kept == pytest.approx(CORNERS, abs=1 / UNIT)
    assert data["drawing"] == KEPT


@pytest.mark.parametrize("state", [None, "text", 7, [], {}, {"another": "thing"}])
def test_a_state_that_is_none_is_not_believed_either(shown, state):
    assert np.array_equal(shown(state, initial=CORNERS)[0], shown(initial=CORNERS)[0])


def test_as_many_points_as_allowed(shown):
    assert len(shown({"drawing": encoded(*[3] * 10)}, most=5)[0]) == 5


@pytest.mark.parametrize(
    "initial",
    [
        np.zeros((6, 2)),
        np.zeros((3, 3)),
        np.zeros(4),
        np.zeros((1, 2, 2)),
        np.array([[0, 1.001]]),
        np.array([[0, np.nan]]),
        np.array([[-np.inf, 0]]),
    ],
    ids=["many", "columns", "flat", "deep", "far", "nan", "inf"],
)
def test_what_is_no_drawing_is_refused_with_a_sentence(shown, initial):
    with pytest.raises(ValueError, match=re.escape(words("canvas.initial", most="5"))):
        shown(initial=initial, most=5)


def test_all_that_is_said_has_its_words_and_nothing_comes_from_a_network(shown):
    js, html, css = component("canvas")
    said = set(re.findall(r'data-(?:name|say)="([^"]+)"', html)) | set(re.findall(r"labels\.(\w+)", js))
    assert said == set(CANVAS_LABELS) == shown()[1]["labels"].keys()
    assert not re.search(r"https?://|@import|url\(|import |fetch\(", html + css + js)
