"""The canvas: what Python believes of it, and what one can draw on it in a real browser."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest

from tests.browser import ARGUMENTS, Server, View, chromium, served
from toydiff.draw.style import THEMES
from toydiff.text import words
from toydiff.ui import canvas as canvas_module
from toydiff.ui.canvas import HERE, LABELS, SCRIPTS, UNIT, Drawing, canvas

# ---------------------------------------------------------------- what Python believes


@pytest.fixture
def shown(monkeypatch) -> Callable[..., tuple[Drawing, dict]]:
    """Runs the page once, with what the browser has said so far: the drawing, and what the browser gets."""

    def run(state: object = None, **options: object) -> tuple[Drawing, dict]:
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
    assert drawing.points.shape == (0, 2) and drawing.points.dtype == np.float32
    assert (data["drawing"], data["most"], data["unit"]) == ("", 10_000, UNIT)


def test_what_the_browser_draws_comes_back(shown):
    drawing, data = shown({"drawing": encoded(0, UNIT, -UNIT, UNIT // 2)})
    assert drawing.points.dtype == np.float32
    assert drawing.points == pytest.approx(np.array([[0, 1], [-1, 0.5]]), abs=1 / UNIT)
    assert data["drawing"] == encoded(0, UNIT, -UNIT, UNIT // 2)  # should the browser have to draw it anew


def test_an_erased_drawing_is_empty_and_not_the_one_at_the_beginning(shown):
    assert len(shown({"drawing": ""}, initial=CORNERS)[0].points) == 0


def test_a_drawing_that_is_kept_is_the_same_drawing(shown):
    cloud = np.random.default_rng(0).integers(-UNIT, UNIT + 1, 2000)
    first, sent = shown({"drawing": encoded(*cloud)})
    again, sent_again = shown(initial=first.points)
    assert np.array_equal(first.points, again.points)
    assert first.version == again.version
    assert sent["drawing"] == sent_again["drawing"]


def test_every_drawing_has_its_version(shown):
    texts = ["", encoded(0, 0), encoded(0, 1), encoded(1, 0), encoded(0, 0, 0, 0)]
    assert len({shown({"drawing": text})[0].version for text in texts}) == len(texts)
    assert shown({"drawing": texts[1]})[0].version == shown({"drawing": texts[1]})[0].version


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
    assert empty.points.shape == (0, 2)
    kept, data = shown(state, initial=CORNERS, most=5)
    assert kept.points == pytest.approx(CORNERS, abs=1 / UNIT)
    assert data["drawing"] == KEPT


@pytest.mark.parametrize("state", [None, "text", 7, [], {}, {"another": "thing"}])
def test_a_state_that_is_none_is_not_believed_either(shown, state):
    assert np.array_equal(shown(state, initial=CORNERS)[0].points, shown(initial=CORNERS)[0].points)


def test_as_many_points_as_allowed(shown):
    assert len(shown({"drawing": encoded(*[3] * 10)}, most=5)[0].points) == 5


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
    html, css = ((HERE / f"canvas.{kind}").read_text("utf-8") for kind in ("html", "css"))
    js = "".join((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    said = set(re.findall(r'data-(?:name|say)="([^"]+)"', html)) | set(re.findall(r"labels\.(\w+)", js))
    assert said == set(LABELS) == shown()[1]["labels"].keys()
    assert not re.search(r"https?://|@import|url\(|import |fetch\(", html + css + js)
    assert {path.stem for path in HERE.glob("*.js")} == set(SCRIPTS) - {"../theme"}


# ---------------------------------------------------------------- in a real browser

browser = pytest.mark.browser


class Told(NamedTuple):
    """What Python knows of the drawing, and how often the page has run."""

    runs: int
    count: int
    version: str
    low: list[float]
    high: list[float]


class Sheet:
    """The test page, and a hand that draws. Places are those of the drawing: from -1 to 1, y points up."""

    def __init__(self, view: View) -> None:
        self.view, self.page = view, view.page
        self.root = self.page.locator(".drawing")

    @property
    def box(self) -> dict[str, float]:
        return self.page.locator(".drawing canvas").bounding_box()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where that is in the window."""
        box = self.box
        return box["x"] + box["width"] * (1 + x) / 2, box["y"] + box["height"] * (1 - y) / 2

    def stroke(self, *places: tuple[float, float], steps: int = 5) -> None:
        """With the mouse. It stays where the stroke ends."""
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place), steps=steps)
        self.page.mouse.up()

    def finger(self, *places: tuple[float, float]) -> None:
        """The same with a real touch."""
        touch = self.page.context.new_cdp_session(self.page)
        for kind, place in (("touchStart", places[0]), *(("touchMove", place) for place in places[1:])):
            x, y = self.at(*place)
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        touch.detach()

    def press(self, name: str) -> None:
        self.button(name).click()

    def button(self, name: str):
        return self.root.get_by_role("button", name=words(f"canvas.{name}"), exact=True)

    @property
    def count(self) -> int:
        """How many points one sees."""
        return int(self.root.get_attribute("data-count") or 0)

    @property
    def told(self) -> Told:
        return Told(**json.loads(self.page.get_by_test_id("stText").inner_text()))

    def agreed(self, count: int | None = None) -> Told:
        """Wait until one sees so many points, and Python knows it."""

        def agree() -> bool:
            seen, told = self.count, self.told  # each looked at once: both change
            return self.view.at_rest and told.count == seen and count in (None, seen)

        self.view.until(agree, f"{count} points here and there")
        return self.told

    def drawn(self, *places: tuple[float, float]) -> Told:
        """Draw a line, and wait until Python knows it."""
        before = self.told.version
        self.stroke(*places)
        self.view.until(lambda: self.told.version != before, "another drawing")
        return self.agreed()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    chromium()
    with served(tmp_path_factory.mktemp("canvas"), "tests/canvas_app.py") as server:
        yield server


@pytest.fixture(scope="module")
def chrome() -> Iterator[object]:
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chrome, server) -> Iterator[Callable[..., Sheet]]:
    """Opens the page. At the end no browser may have reported an error, nor Python shown one."""
    views = []

    def open_page(most: int = 10_000, size: tuple[int, int] = (1280, 720), **options: object) -> Sheet:
        context = chrome.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        view = View(context.new_page())
        views.append(view)
        view.page.goto(server.address(params={"most": most}))
        view.page.locator(".drawing[data-count]").wait_for()
        view.until(lambda: view.at_rest, "the page")
        view.page.evaluate("document.fonts.ready")
        view.drawn()
        return Sheet(view)

    yield open_page
    for view in views:
        assert view.errors == []
        assert view.page.get_by_test_id("stException").count() == 0
        view.page.context.close()


def inside(told: Told, low: tuple[float, float], high: tuple[float, float]) -> bool:
    return told.low[0] >= low[0] and told.low[1] >= low[1] and told.high[0] <= high[0] and told.high[1] <= high[1]


WIDTH = 0.06  # more than half of the middle brush


@browser
def test_one_can_draw_without_a_mouse(opened):
    sheet = opened()
    keys = sheet.page.keyboard
    sheet.page.locator(".drawing canvas").focus()
    for _ in range(4):
        keys.press("Shift+ArrowLeft")  # to (-0.6, 0)
    assert sheet.count == 0
    keys.down(" ")
    for _ in range(10):
        keys.press("ArrowUp")
    keys.up(" ")
    told = sheet.agreed()
    assert told.count > 20
    assert inside(told, (-0.6 - WIDTH, -WIDTH), (-0.6 + WIDTH, 0.3 + WIDTH))
    assert told.high[1] > 0.3 - WIDTH
    keys.press("ArrowRight")  # nothing is drawn any more
    sheet.agreed(told.count)
    for _ in range(20):
        keys.press("Shift+ArrowRight")  # no further than the edge
    keys.press(" ")
    sheet.view.until(lambda: sheet.count > told.count, "a dab")
    assert sheet.agreed().high[0] == pytest.approx(1, abs=WIDTH)
    keys.press("Control+z")
    sheet.agreed(told.count)


@browser
def test_a_stroke_of_the_brush_reaches_python(opened):
    sheet = opened()
    assert sheet.told.count == 0
    told = sheet.drawn((-0.8, 0.2), (0.4, 0.6))
    assert told.count > 50
    assert inside(told, (-0.8 - WIDTH, 0.2 - WIDTH), (0.4 + WIDTH, 0.6 + WIDTH))
    assert told.low[0] < -0.7 and told.high[0] > 0.3 and told.high[1] > 0.5  # all of the way, and y points up


@browser
def test_a_finger_draws_and_does_not_scroll(opened):
    sheet = opened(size=(390, 560), has_touch=True, is_mobile=True, device_scale_factor=3)
    main = sheet.page.get_by_test_id("stMain")
    assert main.evaluate("it => it.scrollHeight > it.clientHeight + 50")  # there is somewhere to scroll to
    sheet.finger((0.1, -0.6), (0.1, -0.2), (0.1, 0.3), (0.1, 0.7))
    sheet.view.until(lambda: sheet.count > 50, "points under the finger")
    told = sheet.agreed()
    assert inside(told, (0.1 - WIDTH, -0.6 - WIDTH), (0.1 + WIDTH, 0.7 + WIDTH))
    assert told.high[1] > 0.6
    assert main.evaluate("it => it.scrollTop") == 0
    sheet.button("eraser").tap()
    sheet.root.locator("[data-tool=eraser][aria-pressed=true]").wait_for()
    sheet.finger((0.1, -0.6), (0.1, 0.3))
    sheet.view.until(lambda: sheet.count < told.count, "points that go")
    assert sheet.agreed().low[1] > 0.3
    sheet.button("undo").tap()
    assert sheet.agreed(told.count).version == told.version


@browser
def test_the_eraser_takes_what_is_under_it_and_undo_brings_it_back(opened):
    sheet = opened()
    left = sheet.drawn((-0.8, -0.5), (-0.8, 0.5))
    both = sheet.drawn((0.8, -0.5), (0.8, 0.5))
    assert both.count > left.count and both.version != left.version
    sheet.press("eraser")
    sheet.stroke((0.8, -0.7), (0.8, 0.7), steps=1)  # so fast that the browser reports no place in between
    assert sheet.agreed(left.count).version == left.version
    sheet.stroke((0, 0.9), (0.1, 0.9))  # nothing is there: nothing to undo
    sheet.press("undo")
    assert sheet.agreed(both.count).version == both.version
    sheet.press("undo")
    assert sheet.agreed(left.count).version == left.version
    sheet.page.keyboard.press("Control+Shift+Z")
    assert sheet.agreed(both.count).version == both.version
    sheet.page.keyboard.press("Control+z")
    sheet.agreed(left.count)
    sheet.press("brush")
    other = sheet.drawn((0, -0.5), (0, 0.5))
    assert sheet.button("redo").get_attribute("aria-disabled") == "true"  # that future is gone
    sheet.page.keyboard.press("Control+Shift+Z")
    assert sheet.agreed(other.count).version == other.version


@browser
def test_clear_empties_and_can_be_undone(opened):
    sheet = opened()
    before = sheet.drawn((-0.5, 0), (0.5, 0))
    sheet.press("clear")
    sheet.agreed(0)
    assert sheet.root.locator(".hint").is_visible()
    assert sheet.button("clear").get_attribute("aria-disabled") == "true"
    sheet.press("undo")
    assert sheet.agreed(before.count).version == before.version
    assert not sheet.root.locator(".hint").is_visible()


@browser
def test_the_spray_goes_on_while_the_button_is_held(opened):
    sheet = opened()
    sheet.press("spray")
    sheet.page.mouse.move(*sheet.at(0.3, 0.3))
    sheet.page.mouse.down()
    sheet.view.until(lambda: sheet.count > 100, "a hundred points under a mouse that does not move")
    sheet.page.mouse.up()
    told = sheet.agreed()
    sheet.view.drawn(30)
    assert sheet.count == told.count > 100
    assert inside(told, (0.1, 0.1), (0.5, 0.5))


@browser
def test_sizes_differ_and_exactly_one_tool_and_one_size_are_chosen(opened):
    sheet = opened()
    widths = []
    for size in ("small", "medium", "large"):
        sheet.press(size)
        assert sheet.root.locator("[aria-pressed=true]").count() == 2
        assert sheet.button(size).get_attribute("aria-pressed") == "true"
        told = sheet.drawn((-0.5, 0), (0.5, 0))
        widths.append(told.high[1] - told.low[1])
        sheet.press("clear")
        sheet.agreed(0)
    assert widths[0] < 0.7 * widths[1] < 0.49 * widths[2]
    for tool in ("spray", "eraser", "brush"):
        sheet.press(tool)
        assert sheet.button(tool).get_attribute("aria-pressed") == "true"
        assert sheet.root.locator(".tools [aria-pressed=true]").count() == 1


@browser
def test_a_run_of_the_page_keeps_the_drawing_and_its_history(opened):
    sheet = opened()
    before = sheet.drawn((-0.5, 0), (0.5, 0))
    sheet.page.get_by_role("button", name="rerun").click()
    sheet.view.until(lambda: sheet.told.runs > before.runs, "another run")
    assert sheet.agreed(before.count).version == before.version
    sheet.press("undo")
    sheet.agreed(0)


@browser
def test_a_run_in_the_middle_of_a_stroke_loses_none_of_it_and_hears_of_it_at_the_end(opened):
    sheet = opened()
    first = sheet.drawn((-0.9, -0.9), (-0.5, -0.9))
    sheet.page.mouse.move(*sheet.at(-0.5, 0))
    sheet.page.mouse.down()
    sheet.page.mouse.move(*sheet.at(0, 0), steps=5)
    sheet.view.until(lambda: sheet.count > first.count, "half a stroke")
    half = sheet.count
    sheet.page.get_by_role("button", name="rerun").evaluate("it => it.click()")
    sheet.view.until(lambda: sheet.told.runs > first.runs and sheet.view.at_rest, "another run")
    sheet.page.wait_for_timeout(600)  # longer than the pause after which a finished stroke is sent
    assert (sheet.told.count, sheet.count) == (first.count, half)
    sheet.page.mouse.move(*sheet.at(0.5, 0), steps=5)
    sheet.view.until(lambda: sheet.count > half, "the other half")
    sheet.page.mouse.up()
    told = sheet.agreed()
    assert told.high[0] > 0.4
    sheet.press("undo")  # it was one stroke
    assert sheet.agreed(first.count).version == first.version


@browser
def test_who_leaves_and_comes_back_finds_the_drawing(opened):
    sheet = opened()
    before = sheet.drawn((-0.5, -0.2), (0.5, 0.2))
    shown = sheet.page.get_by_test_id("stCheckbox").locator("label")
    for _ in range(2):
        shown.click()
        sheet.root.wait_for(state="detached")
        sheet.view.until(lambda: sheet.view.at_rest, "a page without it")
        shown.click()
        sheet.page.locator(".drawing[data-count]").wait_for()
        assert sheet.agreed(before.count).version == before.version
        assert not sheet.root.locator(".hint").is_visible()
    more = sheet.drawn((-0.5, 0.8), (0.5, 0.8))
    assert more.count > before.count and more.low[1] == before.low[1]
    sheet.press("undo")
    assert sheet.agreed(before.count).version == before.version


@browser
def test_when_all_points_are_used_the_canvas_says_so(opened):
    sheet = opened(most=100)
    assert sheet.root.locator(".count").inner_text() == words("canvas.count", count="0", most="100")
    sheet.stroke((-0.9, 0), (0.9, 0), (-0.9, 0.5))
    sheet.agreed(100)
    assert sheet.root.locator(".count").inner_text() == words("canvas.full", most="100")
    sheet.press("eraser")
    sheet.stroke((-0.9, 0), (-0.5, 0))
    sheet.view.until(lambda: 0 < sheet.count < 100, "room for more")
    sheet.agreed()
    said = words("canvas.count", count=f"{sheet.count}", most="100")
    sheet.view.until(lambda: sheet.root.locator(".count").inner_text() == said, said)


@browser
def test_what_is_off_the_picture_is_not_drawn(opened):
    sheet = opened()
    told = sheet.drawn((0.5, 0.5), (1.4, 0.5), (0.5, 0.3))
    assert 0.9 < told.high[0] <= 1


def colour_at(sheet: Sheet, x: float, y: float) -> list[int]:
    """Red, green and blue of the pixel there."""
    return sheet.page.locator(".drawing canvas").evaluate(
        """(it, [x, y]) => [...it.getContext("2d").getImageData(
            Math.floor(it.width * (1 + x) / 2), Math.floor(it.height * (1 - y) / 2), 1, 1).data].slice(0, 3)""",
        [x, y],
    )


def rgb(colour: str) -> list[int]:
    return [*bytes.fromhex(colour[1:])]


@browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_paper_and_points_have_the_colours_of_the_theme_also_when_it_changes(opened, theme):
    sheet = opened(color_scheme=theme)
    assert sheet.root.get_attribute("data-theme") == theme
    assert sheet.root.locator(".hint").inner_text() == words("canvas.hint")
    sheet.press("small")
    for _ in range(4):  # so often that no paper is left in the middle
        told = sheet.drawn((-0.5, 0.1), (0.5, 0.1))
    assert colour_at(sheet, 0, 0.1) == pytest.approx(rgb(THEMES[theme].model), abs=3)
    assert colour_at(sheet, -0.9, 0.6) == rgb(THEMES[theme].paper)
    other = {"light": "dark", "dark": "light"}[theme]
    sheet.page.emulate_media(color_scheme=other)
    sheet.view.until(lambda: sheet.root.get_attribute("data-theme") == other, other)
    sheet.view.until(lambda: colour_at(sheet, -0.9, 0.6) == rgb(THEMES[other].paper), "other paper")
    assert colour_at(sheet, 0, 0.1) == pytest.approx(rgb(THEMES[other].model), abs=3)
    assert sheet.agreed(told.count).version == told.version


@browser
@pytest.mark.parametrize("ratio", [1, 2])
@pytest.mark.parametrize("size", [(1280, 720), (390, 844)])
def test_it_fits_on_a_projector_and_on_a_phone_and_is_sharp(opened, size, ratio):
    sheet = opened(size=size, device_scale_factor=ratio)
    assert sheet.root.locator(".frame").bounding_box()["height"] <= 480
    assert abs(sheet.box["width"] - sheet.box["height"]) < 1
    assert 300 < sheet.box["width"] <= size[0] - 20
    width = sheet.page.locator(".drawing canvas").evaluate("it => it.width")
    assert width == pytest.approx(ratio * sheet.box["width"], abs=1)
    for button in sheet.root.get_by_role("button").all():
        box = button.bounding_box()
        assert min(box["width"], box["height"]) >= 40  # for a thumb
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0]
        assert button.get_attribute("aria-label")
    assert sheet.page.locator(".drawing canvas").get_attribute("aria-label") == words("canvas.canvas")


@browser
def test_the_keyboard_reaches_all_buttons(opened):
    sheet = opened()
    before = sheet.drawn((-0.5, 0), (0.5, 0))
    reached = []
    for _ in range(9):
        sheet.page.keyboard.press("Tab")
        reached.append(sheet.root.evaluate("it => it.getRootNode().activeElement.getAttribute('aria-label')"))
    names = ("brush", "spray", "eraser", "small", "medium", "large", "undo", "redo", "clear")
    assert reached == [words(f"canvas.{name}") for name in names]
    sheet.page.keyboard.press("Enter")
    sheet.agreed(0)
    sheet.page.keyboard.press("Meta+z")
    assert sheet.agreed(before.count).version == before.version
