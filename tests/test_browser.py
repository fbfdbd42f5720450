"""The app in a real browser: what only shows there."""

import re
from io import BytesIO
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
import torch

from tests.browser import View, Visitors, served, wait_for
from toydiff.experiment import Experiment
from toydiff.text import prose, words
from toydiff.ui.page import PAGES

pytestmark = pytest.mark.browser

FAST = {"points": 300, "particles": 32, "T": 25}
NET = FAST | {"width": 32, "depth": 2, "batch": 64}
ADDRESS = {name: "" if name == "home" else name for name in PAGES}


def beginning(lesson: str, section: str) -> str:
    """The first words of a section as they stand on the page."""
    return prose(lesson, section).split("{")[0].replace("*", "").strip()


def healthy(view: View) -> None:
    assert view.errors == []
    assert view.page.get_by_test_id("stException").count() == 0


# ---------------------------------------------------------------- every page


def test_a_deep_link_into_a_fresh_server(context, tmp_path):
    with served(tmp_path) as fresh:
        visit = Visitors(context, fresh)
        view = visit("train", NET)
        assert words("titles.train") in view.page.get_by_test_id("stMain").inner_text()
        links = view.page.get_by_test_id("stSidebar").get_by_role("link")
        assert [text.strip().split("\n")[-1] for text in links.all_inner_texts()] == [
            words(f"nav.{name}") for name in PAGES
        ]
        view.go(words("nav.forward"))
        assert view.page.url.startswith(fresh.address("forward"))
        healthy(view)
        visit.leave()


@pytest.mark.parametrize("lesson", PAGES)
def test_every_page_in_light_and_dark_on_a_projector_and_on_a_phone(visit, lesson):
    view = visit(ADDRESS[lesson], FAST)
    assert words(f"titles.{lesson}") in view.page.get_by_test_id("stMain").inner_text()
    assert view.page.title() == words(f"titles.{lesson}")
    for theme in ("light", "dark"):
        view.page.emulate_media(color_scheme=theme)
        view.until(lambda: view.player("theme") == theme, f"{theme} colours")  # noqa: B023, it is asked at once
        for width, height in ((1280, 720), (390, 844)):
            view.page.set_viewport_size({"width": width, "height": height})
            view.drawn()
            view.until(lambda: sideways(view) <= 1, f"nothing sticks out at {width} pixels")
    healthy(view)


def sideways(view: View) -> int:
    """By how many pixels the page is wider than the window."""
    return view.page.evaluate(
        """() => Math.max(...[document.scrollingElement, document.querySelector("[data-testid=stMain]")].map(
            (it) => it.scrollWidth - it.clientWidth))"""
    )


def test_a_page_that_is_opened_in_the_dark(visit):
    view = visit("forward", FAST, theme="dark")
    assert view.player("theme") == "dark"
    healthy(view)


# ---------------------------------------------------------------- home and the player


def test_home_plays_by_itself_and_leads_to_the_first_lesson(visit):
    view = visit()
    first = view.frame
    view.until(lambda: view.frame > first, "a film that plays", seconds=5)
    assert view.playing
    view.press(words("page.start"))
    view.until(lambda: view.page.url.split("?")[0].endswith("/forward"), "lesson 1")
    view.ready()
    assert words("titles.forward") in view.page.get_by_test_id("stMain").inner_text()
    healthy(view)


def test_who_wants_less_motion_sees_a_still(visit):
    view = visit(motion="reduce")
    view.until(lambda: view.frame == view.last, "the last frame")
    view.drawn(30)
    assert (view.frame, view.playing, view.player("tick")) == (view.last, False, "0")
    assert view.last == 100
    view.page.keyboard.press("Space")  # but it plays for who asks
    view.until(lambda: view.playing and 0 < view.frame < view.last, "a film that plays")


def paused(view: View) -> View:
    """Stopped at the first frame."""
    # that moves: a player which has not been drawn yet is not seen yet, and does not listen to keys
    view.until(lambda: view.playing and view.frame > 0, "a film that plays")
    view.page.keyboard.press("Space")
    view.until(lambda: not view.playing, "a film that stands")
    view.page.keyboard.press("Home")
    view.until(lambda: view.frame == 0, "the first frame")
    return view


def test_keys_after_a_click_on_the_text(visit):
    view = visit("reverse", FAST)
    view.until(lambda: view.playing and view.frame > 0, "a film that plays")
    view.page.get_by_role("heading", name=words("titles.reverse")).click()
    view.page.keyboard.press("Space")
    view.until(lambda: not view.playing, "a film that stands")
    assert view.page.evaluate("document.querySelector('[data-testid=stMain]').scrollTop") == 0
    view.page.get_by_test_id("stSidebar").get_by_role("link", name=words("nav.forward")).focus()
    view.page.keyboard.press("Space")
    view.until(lambda: view.playing, "a film that plays")


def test_a_player_that_comes_into_sight_while_much_happens_is_drawn(visit, context):
    # where the browser is late, one report holds the news of two moments: unseen, then seen
    context.add_init_script(
        """const Real = IntersectionObserver;
        window.IntersectionObserver = class extends Real {
          constructor(tell, options) {
            const before = (seen) => ({ isIntersecting: !seen.at(-1).isIntersecting });
            super((seen, me) => tell([before(seen), ...seen], me), options);
          }
        };"""
    )
    view = visit("reverse", FAST)
    view.until(lambda: view.playing and view.frame > 0, "a film that plays")
    healthy(view)


def test_keys(visit):
    view = paused(visit("reverse", FAST))
    view.drawn()
    assert (view.frame, view.player("tick")) == (0, "25")
    for frame in (1, 2, 3):
        view.page.keyboard.press("ArrowRight")
        view.until(lambda: view.frame != frame - 1, "the next frame")  # noqa: B023
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
    healthy(view)


def test_the_slider_scrubs_and_stops(visit):
    view = visit("reverse", FAST)
    slider = view.page.locator(".player .slider")
    for frame in (7, 20, 0):
        slider.fill(str(frame))
        view.until(lambda: view.frame == frame, "the frame under the thumb")  # noqa: B023
    assert not view.playing
    assert view.page.locator(".player .now").inner_text() == f"{words('player.clock_t')} 25"


def test_speed(visit):
    view = visit("home")

    def frames(speed: str) -> int:
        """Frames in a second and a half."""
        view.page.locator(f".player [data-speed='{speed}']").click()
        assert view.page.locator(f".player [data-speed='{speed}']").get_attribute("aria-pressed") == "true"
        view.page.keyboard.press("Home")
        view.page.keyboard.press("Space")
        view.until(lambda: view.playing, "a film that plays")
        first = view.frame
        view.page.wait_for_timeout(1500)
        return view.frame - first

    slow, fast = frames("0.25"), frames("2")
    assert slow > 0
    assert fast > 2 * slow  # eight times in theory


def test_whatever_can_be_switched_says_whether_it_is_on(visit):
    view = visit("reverse", FAST)
    buttons = view.page.locator(".player [data-toggle]:visible").all()
    pressed = {button.get_attribute("data-toggle"): button.get_attribute("aria-pressed") for button in buttons}
    assert pressed == {name: str(name in ("trails", "loop")).lower() for name in pressed}
    assert {"trails", "loop", "guess", "anatomy", "density"} <= set(pressed)


def test_what_is_switched_on_stays_whether_one_waits_for_the_picture_or_not(visit):
    view = visit("reverse", FAST | {"seed": 71})
    trails = view.page.locator(".player [data-toggle=trails]")
    trails.click()
    for seed in ("72", "71", "72"):  # the first one has to be made, the others are there
        before = view.player("hash")
        box = view.page.get_by_role("spinbutton", name=words("fields.seed"))
        box.fill(seed)
        box.press("Enter")
        view.until(lambda before=before: view.at_rest and view.player("hash") != before, "another film")
        assert trails.get_attribute("aria-pressed") == "false"


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


def test_one_panel_can_be_enlarged(visit):
    view = paused(visit("reverse", FAST))
    pictures = view.page.locator(".player canvas:visible")
    assert pictures.count() == 3
    small = pictures.first.bounding_box()["width"]
    view.page.locator(".player .resize").nth(1).click()
    view.until(lambda: pictures.count() == 1, "one panel")
    view.until(lambda: pictures.first.bounding_box()["width"] > 1.2 * small, "a larger one")
    assert view.page.locator(".player .title:visible").inner_text() == words("names.mean-only")
    view.page.keyboard.press("Escape")
    view.until(lambda: pictures.count() == 3, "all panels")
    healthy(view)


def test_playing_does_not_bother_the_server(visit):
    view = visit()
    view.until(lambda: view.playing and view.frame > 0, "a film that plays")
    view.page.evaluate(
        """() => {
            window.states = [];
            const app = document.querySelector("[data-testid=stApp]");
            new MutationObserver(() => states.push(app.dataset.testScriptState))
                .observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] });
        }"""
    )
    view.drawn()
    received, frame = view.received, view.frame
    assert received > 0  # they are counted
    view.page.wait_for_timeout(2000)
    assert view.frame != frame
    assert view.page.evaluate("states") == []
    assert view.received == received


def test_the_mark_on_the_charts_goes_with_the_clock(visit):
    view = visit("forward", FAST)
    marks = view.page.locator(".st-key-curves .toydiff-mark")
    view.until(lambda: marks.count() == 3, "a mark on each chart")

    def places() -> list[float]:
        return marks.evaluate_all("marks => marks.map((mark) => mark.getBoundingClientRect().x)")

    before = places()
    view.until(lambda: all(a != b for a, b in zip(before, places(), strict=True)), "marks that move")
    view.page.keyboard.press("End")
    view.until(lambda: not view.playing and view.frame == view.last, "the last frame")
    view.drawn()
    ends = view.page.locator(".st-key-curves .js-plotly-plot").evaluate_all(
        """(charts) => charts.flatMap((chart) => Object.values(chart._fullLayout._plots).map(
            ({ xaxis }) => chart.getBoundingClientRect().x + xaxis._offset + xaxis._length))"""
    )
    assert sorted(places()) == pytest.approx(sorted(ends), abs=3)  # at t = T: the right end of each axis
    healthy(view)


# ---------------------------------------------------------------- to take home


def test_numbers_to_take_home(visit):
    """Films and strips: tests/test_take_home_browser.py."""
    view = visit("reverse", FAST)
    with np.load(BytesIO(view.export(words("export.numbers"), "NPZ"))) as numbers:
        assert numbers["t"].tolist() == list(range(25, -1, -1))
        assert numbers["data"].shape == (300, 2)
        for panel in range(3):
            assert numbers[f"{panel}.x"].shape == (26, 32, 2)
        assert numbers["0.x"][0] == pytest.approx(numbers["2.x"][0])
        assert words("names.spiral") in str(numbers["stamp"])
    healthy(view)


def test_a_file_that_is_asked_for_before_the_tab_is_recognized_is_not_lost(visit):
    """A page that was loaded again says which tab it is only half a second after it is there: here, much later."""
    view = visit("reverse", FAST)
    remembered = "() => JSON.parse(sessionStorage.getItem('toydiff-session')).key"
    key = view.page.evaluate(remembered)
    view.page.add_init_script(
        """const soon = window.setTimeout;
        window.setTimeout = (act, ms, ...rest) => String(act).includes('"before"')
            ? void (window.recognize = act) : soon(act, ms, ...rest);"""
    )
    view.page.reload()
    view.ready()
    view.until(lambda: view.page.evaluate("() => Boolean(window.recognize)"), "a tab that waits")
    assert view.page.evaluate(remembered) != key
    view.press(words("export.numbers"))
    save = view.page.get_by_role("button", name=words("export.save_file", kind="NPZ", size="").split("(")[0])
    save.wait_for()
    view.page.evaluate("() => window.recognize()")
    view.until(lambda: view.page.evaluate(remembered) == key and view.at_rest, "the session of before")
    with np.load(BytesIO(view.saved("NPZ"))) as numbers:
        assert numbers["data"].shape == (300, 2)
    healthy(view)


# ---------------------------------------------------------------- links


def test_the_address_of_one_session_shows_another_the_same_picture(visit):
    view = visit("reverse", FAST)
    first = view.player("hash")
    seed = view.page.get_by_role("spinbutton", name=words("fields.seed"))
    seed.fill("12")
    seed.press("Enter")
    view.until(lambda: view.player("hash") != first and view.at_rest, "another picture")
    view.until(lambda: "seed=12" in view.page.url, "the address")
    other = visit(url=view.page.url)
    assert other.player("hash") == view.player("hash")
    assert other.page.get_by_role("spinbutton", name=words("fields.seed")).input_value() == "12"


def test_a_wrong_link_is_explained_and_runs_nothing(visit):
    view = visit("forward", FAST | {"dataset": "<img src=x onerror=alert(1)>"})
    asked: list[object] = []
    view.page.on("dialog", lambda dialog: (asked.append(dialog), dialog.dismiss()))
    alert = view.page.get_by_test_id("stAlert").first
    alert.wait_for()
    assert words("fields.dataset") in alert.inner_text()
    assert "<img src=x onerror=alert(1)>" in alert.inner_text()
    assert alert.locator("img").count() == 0
    assert not asked
    healthy(view)


# ---------------------------------------------------------------- training


def step(view: View) -> int:
    metric = view.page.get_by_test_id("stMetric").filter(has=view.page.get_by_text(words("train.step"), exact=True))
    return int(metric.get_by_test_id("stMetricValue").inner_text().replace(",", ""))


def started(view: View) -> View:
    view.press(words("train.start"))
    view.until(lambda: step(view) > 0, "the first steps")
    return view


def test_training_is_seen_to_get_on_and_can_be_paused(visit):
    view = started(visit("train", NET))
    first, picture = step(view), view.player("hash")
    view.until(lambda: step(view) > first, "more steps")
    view.until(lambda: view.player("hash") != picture, "a new picture")
    view.press(words("train.pause"))
    view.page.get_by_role("button", name=words("train.resume"), exact=True).wait_for()
    view.until(lambda: view.at_rest and view.player("tick") == str(step(view)), "its last picture")
    now = step(view)
    view.page.wait_for_timeout(1500)
    assert step(view) == now
    healthy(view)


def test_training_survives_another_page_and_ends_with_the_browser(visit, server):
    view = started(visit("train", NET))
    view.go(words("nav.forward"))
    paused(view)
    view.until(lambda: server.load() > 0.2, "training behind another page")
    view.go(words("nav.train"))
    view.page.get_by_role("button", name=words("train.pause"), exact=True).wait_for()
    there = step(view)
    assert there > 0
    view.until(lambda: step(view) > there, "more steps")
    healthy(view)

    visit.leave()
    wait_for(lambda: server.load() < 0.1, "a server that rests: nobody is there to train for")


def test_a_learning_rate_of_1000_is_explained_and_leaves_nothing_to_pause(visit):
    view = visit("train", NET | {"lr": 1000})
    view.press(words("train.start"))
    view.page.get_by_text(beginning("train", "diverged")).wait_for()
    view.until(lambda: view.page.locator(".st-key-go button").is_disabled(), "no button to go on")
    assert view.page.get_by_role("button", name=words("train.reset"), exact=True).is_enabled()
    healthy(view)


# ---------------------------------------------------------------- fields, places, curves, races


def test_an_arrow_can_be_read(visit):
    """What stands under the pictures is what the exact predictor says at the place one points at."""
    view = paused(visit("field", FAST))  # at t = T
    assert not view.playing
    line = view.page.locator(".player .inspector").first
    assert line.inner_text() == words("player.hint")
    box = view.page.locator(".player canvas").nth(1).bounding_box()
    view.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
    view.until(lambda: line.inner_text() != words("player.hint"), "an arrow that is read")
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", line.inner_text().replace("−", "-"))]
    place, exact = torch.tensor([numbers[:2]]), [numbers[i : i + 2] for i in range(2, len(numbers) - 1)]
    assert place[0].tolist() == pytest.approx([-0.4 * 3.3, 0.6 * 3.3], abs=0.15)  # x to the right, y upwards
    experiment = Experiment(points=FAST["points"], T=FAST["T"])
    (best,) = experiment.exact()(place, torch.tensor([experiment.T])).tolist()
    assert any(vector == pytest.approx(best, rel=0.02, abs=0.02) for vector in exact), (best, numbers)
    healthy(view)


def test_a_click_chooses_the_place(visit):
    view = visit("target", FAST | {"dataset": "gaussians"})
    box = view.page.locator(".player canvas").first.bounding_box()
    view.page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.35 * box["height"])

    def chosen() -> dict[str, str]:
        return dict(parse_qsl(urlsplit(view.page.url).query))

    view.until(lambda: chosen()["x"] != str(Experiment().x), "the new place in the address")
    assert float(chosen()["x"]) == pytest.approx(0.2 * 3.3, abs=0.1)
    assert float(chosen()["y"]) == pytest.approx(0.3 * 3.3, abs=0.1)
    view.until(lambda: view.at_rest, "the page")
    healthy(view)


def test_a_point_of_the_chart_shows_its_run(visit):
    view = visit("cost", FAST)
    point = view.page.locator(".st-key-calls .scatterlayer .trace").nth(4).locator("path.point").nth(4)
    point.wait_for()
    view.until(lambda: view.at_rest, "the page")
    before, box = view.player("hash"), point.bounding_box()
    view.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.until(lambda: view.player("hash") != before, "another film")
    view.until(lambda: "dpm-solver" in view.page.url, "the way in the address")
    view.until(lambda: view.at_rest, "the page")
    healthy(view)


def test_two_networks_race_and_go_on_behind_another_page(visit):
    view = visit("target", NET)
    view.page.locator(".st-key-targets-go button").click()
    metrics = view.page.get_by_test_id("stMetricValue")

    def steps() -> int:
        texts = (text.replace(",", "") for text in metrics.all_inner_texts())
        return max((int(text) for text in texts if text.isdigit()), default=0)  # there are none before it begins

    view.until(lambda: steps() > 0, "the first steps")
    view.go(words("nav.forward"))
    view.go(words("nav.target"))
    view.until(lambda: steps() > 0, "the race, where it was")
    view.page.locator(".st-key-targets-go button").click()
    view.until(
        lambda: view.page.locator(".st-key-targets-go").inner_text().strip().endswith(words("train.resume")),
        "a race that pauses",
    )
    healthy(view)


def test_an_emptied_number_box_keeps_the_old_value(visit):
    view = visit("forward", FAST | {"seed": 7})
    box = view.page.get_by_role("spinbutton", name=words("fields.seed"))
    view.until(lambda: box.input_value() == "7", "the seed of the link")
    box.fill("")
    box.press("Enter")
    view.until(lambda: box.input_value() != "", "a number")
    assert box.input_value() == "7"
    assert "seed=7" in view.page.url
