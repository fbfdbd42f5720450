"""One's own data in a real browser: drawn by hand or finger, from a file, and whole lessons that travel in one."""

import math
from collections.abc import Iterator

import pytest

from tests.browser.test_canvas import Sheet
from tests.browser.view import FAST, View, Visitors, upload
from toydiff.experiments import checkpoint
from toydiff.text import words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NET = FAST | {"width": 32, "batch": 64}
HEART = [(0.8 * math.sin(t / 6) ** 3, 0.6 * math.cos(t / 6) - 0.25 * math.cos(t / 3)) for t in range(38)]


@pytest.fixture
def phone(chrome, server) -> Iterator[Visitors]:
    """Visitors with a telephone."""
    telephone = chrome.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    yield Visitors(telephone, server)
    telephone.close()


def learn(view: View) -> View:
    """Press "Learn this", and wait for lesson 2."""
    view.press(words("own.learn"))
    view.until(lambda: view.path == "train", "lesson 2")
    return view.ready()


def offered(view: View, title: str) -> None:
    """Wait until the picture is that of a cloud of this name, which one can learn."""
    view.page.get_by_role("button", name=words("own.learn"), exact=True).wait_for()
    view.page.locator(".player .title", has_text=title).wait_for()
    view.until(lambda: view.at_rest, "the page")


def test_a_drawing_is_learned_in_lesson_2_and_is_the_data_of_lesson_1(visit):
    view = visit("own", NET)
    view.page.locator(".player .title", has_text=words("own.in_use", data=words("names.spiral"))).wait_for()
    Sheet(view).stroke(*HEART, steps=1)
    offered(view, words("own.drawing"))
    assert "dataset=own-" not in view.page.url  # nothing is used before one says so
    learn(view)
    view.until(lambda: "dataset=own-" in view.page.url, "the drawing in the address")
    view.train()
    first = view.step
    view.until(lambda: view.step > first, "more steps")
    view.press(words("train.pause"))
    view.go("forward")
    assert words("own.drawing") in view.text  # the stamp under the film

    view.go("own")
    sheet = Sheet(view)
    view.until(lambda: sheet.count > 100, "the drawing, still there")
    offered(view, words("own.drawing"))
    view.healthy()


def test_a_drawing_is_there_again_when_the_page_is_loaded_again(visit):
    view = visit("own", NET)
    sheet = Sheet(view)
    sheet.stroke(*HEART, steps=1)
    offered(view, words("own.drawing"))
    drawn = sheet.count
    view.page.reload()
    sheet = Sheet(view.ready())
    view.until(lambda: sheet.count == drawn, "the drawing, still there")
    offered(view, words("own.drawing"))
    sheet.stroke((-0.5, 0.7), (0.5, 0.7))
    view.until(lambda: sheet.count > drawn, "more of it")
    view.page.get_by_role("button", name=words("canvas.clear")).click()
    view.page.locator(".player .title", has_text=words("own.in_use", data=words("names.spiral"))).wait_for()
    view.until(lambda: view.at_rest, "the page")
    assert sheet.count == 0
    view.healthy()


def test_a_finger_draws_on_a_telephone(phone):
    view = phone("own", NET)
    sheet = Sheet(view)
    view.until(lambda: view.at_rest, "the page")
    sheet.finger(*HEART)
    offered(view, words("own.drawing"))
    assert sheet.count > 100
    assert view.sideways <= 1
    view.page.get_by_role("button", name=words("own.learn"), exact=True).tap()
    view.until(lambda: "/train" in view.page.url and "dataset=own-" in view.page.url, "lesson 2")
    view.ready()
    view.healthy()


def test_a_lesson_travels_in_a_file(visit):
    view = visit("own", NET | {"schedule": "linear", "seed": 3})
    Sheet(view).stroke(*HEART, steps=1)
    view.page.get_by_role("textbox").first.fill("Heart")
    view.page.keyboard.press("Enter")
    offered(view, "Heart")
    learn(view)
    view.press(words("train.one"))
    view.until(lambda: view.at_rest and view.step == 1, "a step")
    view.go("forward")
    film = view.player("hash")
    view.go("own")
    kept = view.export(words("own.save"), "SAFETENSORS")
    found = checkpoint.unpack(kept, "kept")
    assert (found.data.name, found.experiment.seed, found.experiment.schedule) == ("Heart", 3, "linear")
    assert found.state["step"] == 1

    other = visit("own")
    other.press(words("own.open"))
    box = other.page.get_by_role("dialog")
    upload(box, "<b>a</b>.safetensors", kept[:-30])
    box.get_by_text(words("cli.foreign", file="‹b›a‹/b›.safetensors")).wait_for()
    assert "dataset=own-" not in other.page.url
    upload(box, "lesson.safetensors", kept)
    box.wait_for(state="detached")
    other.page.get_by_text(words("own.opened_train", data="Heart")).wait_for()
    assert found.experiment.dataset in other.page.url
    other.go("forward")
    assert other.player("hash") == film
    other.go("train")
    other.until(lambda: other.step == 1, "the training of the file")
    view.healthy()
    other.healthy()


def test_two_columns_of_a_table_are_chosen(visit):
    rows = [f"{math.cos(t)},{t},{math.sin(t)}" for t in range(300)]
    view = visit("own", NET)
    view.page.get_by_text(words("own.file"), exact=True).click()
    page = view.page.get_by_test_id("stMain")
    page.locator("input[type=file]").wait_for(state="attached")
    upload(page, "ring.csv", "\n".join(["east,time,<b>north</b>", *rows]).encode())
    offered(view, "ring")
    line = view.player("hash")
    page.get_by_role("combobox", name=words("own.y")).click()
    view.page.get_by_role("option", name="‹b›north‹/b›").click()
    view.until(lambda: view.at_rest and view.player("hash") not in (None, line), "the other picture")
    learn(view)
    assert "ring" in view.text
    view.healthy()
