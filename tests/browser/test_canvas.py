"""The canvas in a real browser: what one draws on it, by mouse, finger and keys, reaches Python."""

import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.browser.view import Server, View, served
from toydiff.draw.style import THEMES
from toydiff.text import words

pytestmark = pytest.mark.browser


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
def canvas(tmp_path_factory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("canvas"), "tests/browser/canvas_app.py") as server:
        yield server


@pytest.fixture
def opened(chrome, context, canvas) -> Iterator[Callable[..., Sheet]]:
    """Opens the page, in a browser of its own where that is to be another one. At the end none may have reported an
    error, nor Python shown one."""
    views, others = [], []

    def open_page(most: int = 10_000, **options: object) -> Sheet:
        if options:
            others.append(chrome.new_context(**{"viewport": {"width": 1280, "height": 720}} | options))
        view = View((others[-1] if options else context).new_page())
        views.append(view)
        view.page.goto(canvas.address(params={"most": most}))
        view.page.locator(".drawing[data-count]").wait_for()
        view.until(lambda: view.at_rest, "the page")
        view.page.evaluate("document.fonts.ready")
        view.drawn(3)
        return Sheet(view)

    yield open_page
    for view in views:
        view.healthy()
        view.leave()
    for other in others:
        other.close()


# Counts what the canvas is about to send: strokes that are done and wait a moment for another one.
SENDING = """
  const [soon, stop] = [window.setTimeout, window.clearTimeout];
  window.sending = { now: new Set(), ever: 0 };
  window.setTimeout = (act, ...rest) => {
    if (!String(act).includes('tell("drawing"')) return soon(act, ...rest);
    const id = soon(() => (sending.now.delete(id), act()), ...rest);
    sending.now.add(id);
    sending.ever += 1;
    return id;
  };
  window.clearTimeout = (id) => (sending.now.delete(id), stop(id));
"""


@pytest.fixture(scope="module")
def shared(context, canvas) -> Iterator[View]:
    view = View(context.new_page())
    view.page.add_init_script(SENDING)
    view.page.goto(canvas.address())
    yield view
    view.leave()


@pytest.fixture
def sheet(shared) -> Iterator[Sheet]:
    """A page that was just loaded, on a projector."""
    shared.page.mouse.move(0, 0)
    shared.page.reload()
    shared.page.locator(".drawing[data-count]").wait_for()
    shared.until(lambda: shared.at_rest, "the page")
    shared.drawn(3)
    yield Sheet(shared)
    shared.healthy()


def inside(told: Told, low: tuple[float, float], high: tuple[float, float]) -> bool:
    return told.low[0] >= low[0] and told.low[1] >= low[1] and told.high[0] <= high[0] and told.high[1] <= high[1]


WIDTH = 0.06  # more than half of the middle brush


@pytest.mark.slow
def test_one_can_draw_without_a_mouse(sheet):
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


def test_a_stroke_of_the_brush_reaches_python(sheet):
    assert sheet.told.count == 0
    told = sheet.drawn((-0.8, 0.2), (0.4, 0.6))
    assert told.count > 50
    assert inside(told, (-0.8 - WIDTH, 0.2 - WIDTH), (0.4 + WIDTH, 0.6 + WIDTH))
    assert told.low[0] < -0.7 and told.high[0] > 0.3 and told.high[1] > 0.5  # all of the way, and y points up


@pytest.mark.slow
def test_a_finger_draws_and_does_not_scroll(opened):
    sheet = opened(viewport={"width": 390, "height": 560}, has_touch=True, is_mobile=True, device_scale_factor=3)
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


def test_the_eraser_takes_what_is_under_it_and_undo_brings_it_back(sheet):
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


def test_clear_empties_and_can_be_undone(sheet):
    before = sheet.drawn((-0.5, 0), (0.5, 0))
    sheet.press("clear")
    sheet.agreed(0)
    assert sheet.root.locator(".hint").is_visible()
    assert sheet.button("clear").get_attribute("aria-disabled") == "true"
    sheet.press("undo")
    assert sheet.agreed(before.count).version == before.version
    assert not sheet.root.locator(".hint").is_visible()


@pytest.mark.slow
def test_the_spray_goes_on_while_the_button_is_held(sheet):
    sheet.press("spray")
    sheet.page.mouse.move(*sheet.at(0.3, 0.3))
    sheet.page.mouse.down()
    sheet.view.until(lambda: sheet.count > 100, "a hundred points under a mouse that does not move")
    sheet.page.mouse.up()
    told = sheet.agreed()
    sheet.view.drawn(30)
    assert sheet.count == told.count > 100
    assert inside(told, (0.1, 0.1), (0.5, 0.5))


@pytest.mark.slow
def test_sizes_differ_and_exactly_one_tool_and_one_size_are_chosen(sheet):
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


@pytest.mark.slow
def test_a_run_of_the_page_keeps_the_drawing_and_its_history(sheet):
    before = sheet.drawn((-0.5, 0), (0.5, 0))
    sheet.page.get_by_role("button", name="rerun").click()
    sheet.view.until(lambda: sheet.told.runs > before.runs, "another run")
    assert sheet.agreed(before.count).version == before.version
    sheet.press("undo")
    sheet.agreed(0)


@pytest.mark.slow
def test_a_run_in_the_middle_of_a_stroke_loses_none_of_it_and_hears_of_it_at_the_end(sheet):
    first = sheet.drawn((-0.9, -0.9), (-0.5, -0.9))
    sheet.page.mouse.move(*sheet.at(-0.5, 0))
    sheet.page.mouse.down()
    sheet.page.mouse.move(*sheet.at(0, 0), steps=5)
    sheet.view.until(lambda: sheet.count > first.count, "half a stroke")
    half = sheet.count
    sheet.page.get_by_role("button", name="rerun").evaluate("it => it.click()")
    sheet.view.until(lambda: sheet.told.runs > first.runs and sheet.view.at_rest, "another run")
    # the first stroke was sent, and nothing is on its way: another one is sent when it is done
    assert sheet.page.evaluate("[sending.ever > 0, sending.now.size]") == [True, 0]
    assert (sheet.told.count, sheet.count) == (first.count, half)
    sheet.page.mouse.move(*sheet.at(0.5, 0), steps=5)
    sheet.view.until(lambda: sheet.count > half, "the other half")
    sheet.page.mouse.up()
    told = sheet.agreed()
    assert told.high[0] > 0.4
    sheet.press("undo")  # it was one stroke
    assert sheet.agreed(first.count).version == first.version


@pytest.mark.slow
def test_who_leaves_and_comes_back_finds_the_drawing(sheet):
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_is_off_the_picture_is_not_drawn(sheet):
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


@pytest.mark.slow
def test_paper_and_points_have_the_colours_of_the_theme_also_when_it_changes(opened):
    theme, other = "dark", "light"
    sheet = opened(color_scheme=theme)
    assert sheet.root.get_attribute("data-theme") == theme
    assert sheet.root.locator(".hint").inner_text() == words("canvas.hint")
    sheet.press("small")
    for _ in range(4):  # so often that no paper is left in the middle
        told = sheet.drawn((-0.5, 0.1), (0.5, 0.1))
    assert colour_at(sheet, 0, 0.1) == pytest.approx(rgb(THEMES[theme].model), abs=3)
    assert colour_at(sheet, -0.9, 0.6) == rgb(THEMES[theme].paper)
    sheet.page.emulate_media(color_scheme=other)
    sheet.view.until(lambda: sheet.root.get_attribute("data-theme") == other, other)
    sheet.view.until(lambda: colour_at(sheet, -0.9, 0.6) == rgb(THEMES[other].paper), "other paper")
    assert colour_at(sheet, 0, 0.1) == pytest.approx(rgb(THEMES[other].model), abs=3)
    assert sheet.agreed(told.count).version == told.version


@pytest.mark.slow
@pytest.mark.parametrize(("size", "ratio"), [((1280, 720), 1), ((390, 844), 2)])
def test_it_fits_on_a_projector_and_on_a_phone_and_is_sharp(opened, size, ratio):
    sheet = opened(viewport=dict(zip(("width", "height"), size, strict=True)), device_scale_factor=ratio)
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


@pytest.mark.slow
def test_the_keyboard_reaches_all_buttons(sheet):
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
