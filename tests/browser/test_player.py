"""The film in a real browser: keys, speed, buttons, and what it does to the page around it."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.browser.view import FAST, View, Visitors
from toydiff.text import words

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def film(context, server) -> Iterator[View]:
    """A page whose film plays by itself. Tests share it, and find it wherever the last one left it."""
    visitors = Visitors(context, server)
    yield visitors("reverse", FAST, motion=True)
    visitors.leave()


@pytest.mark.slow
def test_home_plays_by_itself_and_leads_to_the_first_lesson(visit):
    view = visit(motion=True)
    view.until(lambda: view.playing and view.frame > 0, "a film that plays")
    view.press(words("page.start"))
    view.until(lambda: view.path == "forward", "lesson 1")
    view.ready()
    assert words("titles.forward") in view.text
    view.healthy()


@pytest.mark.slow
def test_who_wants_less_motion_sees_a_still(visit):
    view = visit()
    view.until(lambda: view.frame == view.last, "the last frame")
    view.take_the_clock()
    for _ in range(30):
        view.passes(100)
    assert (view.frame, view.playing, view.player("tick")) == (view.last, False, "0")
    assert view.last == 100
    view.page.keyboard.press("Space")  # but it plays for who asks
    view.passes(0)
    for _ in range(10):
        view.passes(100)
    assert view.playing and 0 < view.frame < view.last


@pytest.mark.slow
def test_a_player_that_comes_into_sight_while_much_happens_is_drawn(visit):
    # where the browser is late, one report holds the news of two moments: unseen, then seen
    late = """const Real = IntersectionObserver;
    window.IntersectionObserver = class extends Real {
      constructor(tell, options) {
        const before = (seen) => ({ isIntersecting: !seen.at(-1).isIntersecting });
        super((seen, me) => tell([before(seen), ...seen], me), options);
      }
    };"""
    view = visit("reverse", FAST, motion=True, script=late)
    view.until(lambda: view.playing and view.frame > 0, "a film that plays")
    view.healthy()


def test_keys(film):
    view = film.rewind()
    view.drawn()
    assert (view.frame, view.player("tick")) == (0, "25")
    for frame in (1, 2, 3):
        view.page.keyboard.press("ArrowRight")
        view.until(lambda: view.frame != frame - 1, "the next frame")  # noqa: B023, it is asked at once
        view.drawn()
        assert (view.frame, view.player("tick")) == (frame, str(25 - frame))
    view.page.keyboard.press("ArrowLeft")
    view.until(lambda: view.frame == 2, "the frame before")
    view.page.keyboard.press("End")
    view.until(lambda: view.frame == 25, "the last frame")
    view.page.keyboard.press("Space")
    view.until(lambda: view.playing and 0 < view.frame < 25, "a film that plays again")
    view.page.keyboard.press("Space")
    view.until(lambda: not view.playing, "a film that stands")
    view.drawn()
    frame = view.frame
    view.drawn(30)
    assert view.frame == frame
    view.healthy()


def test_keys_after_a_click_on_the_text(film):
    view = film.rewind()
    view.page.get_by_role("heading", name=words("titles.reverse")).click()
    view.page.keyboard.press("Space")
    view.until(lambda: view.playing, "a film that plays")
    assert view.page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == 0
    view.page.get_by_test_id("stSidebar").get_by_role("link", name=words("nav.forward")).focus()
    view.page.keyboard.press("Space")
    view.until(lambda: not view.playing, "a film that stands")


def test_the_slider_scrubs_and_stops(film):
    slider = film.page.locator(".player .slider")
    for frame in (7, 20, 0):
        slider.fill(str(frame))
        film.until(lambda: film.frame == frame, "the frame under the thumb")  # noqa: B023, it is asked at once
    assert not film.playing
    assert film.page.locator(".player .now").inner_text() == f"{words('player.clock_t')} 25"


def test_speed(visit):
    view = visit("home")  # 100 steps in six seconds, at speed 1
    view.take_the_clock()

    def frames(speed: str) -> int:
        """Frames in 1.2 seconds of the player's own time."""
        button = view.page.locator(f".player [data-speed='{speed}']")
        button.click()
        assert button.get_attribute("aria-pressed") == "true"
        view.page.keyboard.press("Home")
        view.page.keyboard.press("Space")
        view.passes(0)  # the first picture of a movement
        for _ in range(24):
            view.passes(50)
        return view.frame

    assert {speed: frames(speed) for speed in ("0.25", "1", "2")} == {"0.25": 5, "1": 20, "2": 40}


def test_whatever_can_be_switched_says_whether_it_is_on(film):
    buttons = film.page.locator(".player [data-toggle]:visible").all()
    pressed = {button.get_attribute("data-toggle"): button.get_attribute("aria-pressed") for button in buttons}
    assert pressed == {name: str(name in ("trails", "loop")).lower() for name in pressed}
    assert {"trails", "loop", "guess", "anatomy", "density"} <= set(pressed)


def test_the_film_has_the_colours_of_the_theme_also_when_it_changes(film):
    for theme in ("dark", "light"):
        film.page.emulate_media(color_scheme=theme)
        film.until(lambda: film.player("theme") == theme, f"{theme} colours")  # noqa: B023, it is asked at once


def test_one_panel_can_be_enlarged(film):
    view = film.rewind()
    pictures = view.page.locator(".player canvas:visible")
    assert pictures.count() == 3
    small = pictures.first.bounding_box()["width"]
    view.page.locator(".player .resize").nth(1).click()
    view.until(lambda: pictures.count() == 1, "one panel")
    view.until(lambda: pictures.first.bounding_box()["width"] > 1.2 * small, "a larger one")
    assert view.page.locator(".player .title:visible").inner_text() == words("names.mean-only")
    view.page.keyboard.press("Escape")
    view.until(lambda: pictures.count() == 3, "all panels")
    view.healthy()


@pytest.mark.slow
def test_playing_does_not_bother_the_server(film):
    view = film.rewind()
    view.page.evaluate(
        """() => {
            window.states = [];
            const app = document.querySelector("[data-testid=stApp]");
            new MutationObserver(() => states.push(app.dataset.testScriptState))
                .observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] });
        }"""
    )
    received, seen = view.received, {0}
    assert received > 0  # they are counted
    view.page.keyboard.press("Space")
    while len(seen) < 9:
        view.until(lambda: view.frame not in seen, "the next frame")
        seen.add(view.frame)
    assert view.page.evaluate("states") == []
    assert view.received == received
    view.rewind()


@pytest.mark.slow
def test_what_is_switched_on_stays_whether_one_waits_for_the_picture_or_not(film):
    trails = film.page.locator(".player [data-toggle=trails]")
    trails.click()
    for seed in ("72", "71", "72"):  # the first ones have to be made, the last one is there
        before = film.player("hash")
        box = film.page.get_by_role("spinbutton", name=words("fields.seed"))
        box.fill(seed)
        box.press("Enter")
        film.until(lambda before=before: film.at_rest and film.player("hash") != before, "another film")
        assert trails.get_attribute("aria-pressed") == "false"


@pytest.mark.slow
def test_what_is_switched_on_stays_while_the_network_of_a_field_learns(visit):
    view = visit("field", FAST | {"T": 10})
    particles = view.page.locator(".player [data-toggle=particles]").first
    particles.click()
    for press in ("start", "pause", "resume"):
        view.page.get_by_role("button", name=words(f"train.{press}")).first.click()
        before = view.player("hash")
        if press != "pause":
            view.until(lambda before=before: view.player("hash") != before, "another film")
        view.until(lambda: view.at_rest, "the page")
        assert particles.get_attribute("aria-pressed") == "true"


def test_the_mark_on_the_charts_goes_with_the_clock(visit):
    view = visit("forward", FAST)
    marks = view.page.locator(".st-key-curves .toydiff-mark")
    view.until(lambda: marks.count() == 3, "a mark on each chart")
    charts = view.page.locator(".st-key-curves .js-plotly-plot")

    def places(frame: int) -> list[float]:
        """Where the marks are, left to right, when the film stands on a frame."""
        view.page.locator(".player .slider").fill(str(frame))
        view.until(lambda: view.frame == frame, "the frame")
        view.drawn()
        return sorted(marks.evaluate_all("marks => marks.map((mark) => mark.getBoundingClientRect().x)"))

    assert all(x < y for frames in pairwise((1, 10, 25)) for x, y in zip(*map(places, frames), strict=True))
    ends = charts.evaluate_all(
        """(charts) => charts.flatMap((chart) => Object.values(chart._fullLayout._plots).map(
            ({ xaxis }) => chart.getBoundingClientRect().x + xaxis._offset + xaxis._length))"""
    )
    assert places(view.last) == pytest.approx(sorted(ends), abs=3)  # at t = T: the right end of each axis
    view.healthy()
