"""The app in a real browser: every page, links, trainings, and what a click on a picture chooses."""

import re
from io import BytesIO

import numpy as np
import pytest
import torch

from tests.browser.view import FAST
from tests.waiting import wait_for
from toydiff.experiments.experiment import Experiment
from toydiff.text import prose, words
from toydiff.ui.page import PAGES

pytestmark = pytest.mark.browser

NET = FAST | {"width": 32, "depth": 2, "batch": 64}


def beginning(lesson: str, section: str) -> str:
    """The first words of a section as they stand on the page."""
    return prose(lesson, section).split("{")[0].replace("*", "").strip()


# ---------------------------------------------------------------- every page


def test_a_deep_link_into_a_fresh_server(visit):
    """The first test of all that asks the server for a page."""
    view = visit("train", NET)
    assert words("titles.train") in view.text
    links = view.page.get_by_test_id("stSidebar").get_by_role("link")
    assert [text.strip().split("\n")[-1] for text in links.all_inner_texts()] == [
        words(f"nav.{name}") for name in PAGES
    ]
    view.go("forward")
    view.healthy()


@pytest.mark.slow
@pytest.mark.parametrize("lesson", PAGES)
def test_every_page_in_the_dark_on_a_phone_and_in_the_light_on_a_projector(page, lesson):
    page.go(lesson)
    assert words(f"titles.{lesson}") in page.text
    assert page.page.title() == words(f"titles.{lesson}")
    for theme, width, height in (("dark", 390, 844), ("light", 1280, 720)):
        page.page.emulate_media(color_scheme=theme)
        page.page.set_viewport_size({"width": width, "height": height})
        page.until(lambda: page.player("theme") == theme, f"{theme} colours")  # noqa: B023, it is asked at once
        page.drawn(5)
        page.until(lambda: page.sideways <= 1, f"nothing sticks out at {width} pixels")
    page.healthy()


# ---------------------------------------------------------------- to take home


def test_numbers_to_take_home(page):
    """Films and strips: tests/browser/test_take_home.py."""
    page.go("reverse")
    with np.load(BytesIO(page.export(words("export.numbers"), "NPZ"))) as numbers:
        assert numbers["t"].tolist() == list(range(25, -1, -1))
        assert numbers["data"].shape == (300, 2)
        for panel in range(3):
            assert numbers[f"{panel}.x"].shape == (26, 32, 2)
        assert numbers["0.x"][0] == pytest.approx(numbers["2.x"][0])
        assert words("names.spiral") in str(numbers["stamp"])
    page.healthy()


@pytest.mark.slow
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

    def recognized() -> bool:
        view.page.evaluate("() => window.recognize()")  # it waits until nothing has been pressed for a while
        return view.page.evaluate(remembered) == key and view.at_rest

    view.until(recognized, "the session of before")
    with np.load(BytesIO(view.saved("NPZ"))) as numbers:
        assert numbers["data"].shape == (300, 2)
    view.healthy()


# ---------------------------------------------------------------- links


@pytest.mark.slow
def test_the_address_of_one_session_shows_another_the_same_picture(visit, page):
    page.go("reverse")
    first = page.player("hash")
    seed = page.page.get_by_role("spinbutton", name=words("fields.seed"))
    seed.fill("12")
    seed.press("Enter")
    page.until(lambda: page.player("hash") != first and page.at_rest, "another picture")
    page.until(lambda: page.params["seed"] == "12", "the address")
    other = visit(url=page.page.url)
    assert other.player("hash") == page.player("hash")
    assert other.page.get_by_role("spinbutton", name=words("fields.seed")).input_value() == "12"


def test_an_emptied_number_box_keeps_the_old_value(page):
    page.go("reverse")
    box = page.page.get_by_role("spinbutton", name=words("fields.seed"))
    before = page.params["seed"]
    page.until(lambda: box.input_value() == before, "the seed of the address")
    box.fill("")
    box.press("Enter")
    page.until(lambda: box.input_value() != "", "a number")
    assert box.input_value() == page.params["seed"] == before


@pytest.mark.slow
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
    view.healthy()


# ---------------------------------------------------------------- training


@pytest.mark.slow
def test_training_is_seen_to_get_on_is_paused_and_goes_on_behind_another_page_until_the_tab_is_closed(visit, server):
    view = visit("train", NET).train()
    first, picture = view.step, view.player("hash")
    view.until(lambda: view.step > first, "more steps")
    view.until(lambda: view.player("hash") != picture, "a new picture")
    now = view.pause().step
    view.press(words("train.one"))
    view.until(lambda: view.at_rest and view.step > now, "one step more")
    assert view.step == now + 1  # none was made since the pause

    view.press(words("train.resume"))
    view.until(lambda: view.step > now + 1, "more steps")
    view.go("forward")
    before = server.trained()
    view.until(lambda: server.trained() > before + 0.5, "work behind another page")
    view.go("train")
    view.page.get_by_role("button", name=words("train.pause"), exact=True).wait_for()
    there = view.step
    view.until(lambda: view.step > there, "more steps")
    view.healthy()

    view.leave()
    seen = [0.0] * 20

    def rests() -> bool:
        """No work in twenty looks one after the other."""
        seen[:] = [*seen[1:], server.trained()]
        return seen[0] == seen[-1]

    wait_for(rests, "a server that rests: nobody is there to train for")


@pytest.mark.slow
def test_a_learning_rate_of_1000_is_explained_and_leaves_nothing_to_pause(visit):
    view = visit("train", NET | {"lr": 1000})
    view.press(words("train.start"))
    view.page.get_by_text(beginning("train", "diverged")).wait_for()
    view.until(lambda: view.page.locator(".st-key-go button").is_disabled(), "no button to go on")
    assert view.page.get_by_role("button", name=words("train.reset"), exact=True).is_enabled()
    view.healthy()


@pytest.mark.slow
def test_two_networks_race_and_go_on_behind_another_page(visit):
    view = visit("target", NET)
    view.page.locator(".st-key-targets-go button").click()
    metrics = view.page.get_by_test_id("stMetricValue")

    def steps() -> int:
        texts = (text.replace(",", "") for text in metrics.all_inner_texts())
        return max((int(text) for text in texts if text.isdigit()), default=0)  # there are none before it begins

    view.until(lambda: steps() > 0, "the first steps")
    view.go("forward")
    view.go("target")
    view.until(lambda: steps() > 0, "the race, where it was")
    view.page.locator(".st-key-targets-go button").click()
    view.until(
        lambda: view.page.locator(".st-key-targets-go").inner_text().strip().endswith(words("train.resume")),
        "a race that pauses",
    )
    view.healthy()


# ---------------------------------------------------------------- a click on a picture, or on a curve


def test_an_arrow_can_be_read(page):
    """What stands under the pictures is what the exact predictor says at the place one points at."""
    page.go("field").rewind()  # to t = T
    line = page.page.locator(".player .inspector").first
    page.until(lambda: line.inner_text() == words("player.hint"), "a hint")
    box = page.page.locator(".player canvas").nth(1).bounding_box()
    page.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.2 * box["height"])
    page.until(lambda: line.inner_text() != words("player.hint"), "an arrow that is read")
    numbers = [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", line.inner_text().replace("−", "-"))]
    place, exact = torch.tensor([numbers[:2]]), [numbers[i : i + 2] for i in range(2, len(numbers) - 1)]
    assert place[0].tolist() == pytest.approx([-0.4 * 3.3, 0.6 * 3.3], abs=0.15)  # x to the right, y upwards
    experiment, _ = Experiment.from_params(page.params)
    (best,) = experiment.exact()(place, torch.tensor([experiment.T])).tolist()
    assert any(vector == pytest.approx(best, rel=0.02, abs=0.02) for vector in exact), (best, numbers)
    page.healthy()


def test_a_click_chooses_the_place(page):
    page.go("target")
    before = page.params["x"]
    canvas = page.page.locator(".player canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.page.mouse.click(box["x"] + 0.6 * box["width"], box["y"] + 0.35 * box["height"])
    page.until(lambda: page.params["x"] != before, "the new place in the address")
    assert float(page.params["x"]) == pytest.approx(0.2 * 3.3, abs=0.1)
    assert float(page.params["y"]) == pytest.approx(0.3 * 3.3, abs=0.1)
    page.until(lambda: page.at_rest, "the page")
    page.healthy()


@pytest.mark.slow
def test_a_point_of_the_chart_shows_its_run(page):
    page.go("cost")
    point = page.page.locator(".st-key-calls .scatterlayer .trace").nth(4).locator("path.point").nth(4)
    point.wait_for()
    page.until(lambda: page.at_rest, "the page")
    before, box = page.player("hash"), point.bounding_box()
    page.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.until(lambda: page.player("hash") != before, "another film")
    page.until(lambda: page.params["sampler"].startswith("dpm-solver"), "the sampler in the address")
    page.until(lambda: page.at_rest, "the page")
    page.healthy()
