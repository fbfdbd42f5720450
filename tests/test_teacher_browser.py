"""The teacher's view in a real browser: everybody stops and goes on by themselves, and the word is seen nowhere."""

from collections.abc import Iterator

import pytest

from tests.browser import Server, View, served
from toydiff.text import words

pytestmark = pytest.mark.browser
WORD = "open-sesame"
QUICK = {
    "points": 100,
    "particles": 16,
    "T": 10,
    "width": 8,
    "depth": 1,
    "image_n": 60,
    "image_T": 10,
    "image_batch": 4,
}
GO = {"train": "go", "field": "go", "target": "targets-go", "images": "images-go"}  # keys of the buttons that train


@pytest.fixture(scope="module")
def server(context, tmp_path_factory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOYDIFF_TEACHER", WORD)
        with served(tmp_path_factory.mktemp("server")) as server:
            yield server


@pytest.fixture
def teacher(context, server) -> Iterator[View]:
    view = View(context.new_page())
    view.page.goto(server.address("teacher", {"teacher": WORD}))
    hold(view).wait_for()
    yield view
    if hold(view).inner_text().endswith(words("teacher.go_on")):
        hold(view).click()
        hold(view).get_by_text(words("teacher.pause")).wait_for()
    view.page.close()


def hold(view):
    return view.page.locator(".st-key-teacher-hold button")


def press(view, name):
    view.page.get_by_role("button", name=words(f"teacher.{name}")).click()


def shown(view, go):
    """The words on the button that trains, once the page is at rest; else nothing."""
    texts = view.page.locator(f".st-key-{go} button").all_inner_texts()
    return texts[0].split("\n")[-1] if view.at_rest and len(texts) == 1 else ""


def is_held(view):
    return words("room.held") in " ".join(view.page.get_by_test_id("stAlert").all_inner_texts())


@pytest.mark.parametrize("lesson", GO)
def test_everybody_stops_and_goes_on(visit, teacher, lesson):
    student, go = visit(lesson, QUICK), GO[lesson]
    button = student.page.locator(f".st-key-{go} button")
    button.click()
    student.until(lambda: shown(student, go) == words("train.pause"), "the training")
    press(teacher, "pause")
    student.until(lambda: shown(student, go) == words("train.resume") and is_held(student), "that it stopped")
    assert button.is_disabled()
    press(teacher, "go_on")
    student.until(lambda: shown(student, go) == words("train.pause") and not is_held(student), "that it goes on")
    student.until(button.is_enabled, "the button")
    button.click()
    student.until(lambda: shown(student, go) == words("train.resume"), "that it stops when its student says so")
    assert not student.errors
    assert not teacher.errors


def test_who_only_looks_finds_the_buttons_off_and_then_on(visit, teacher):
    student = visit("train", QUICK)
    press(teacher, "pause")
    hold(teacher).get_by_text(words("teacher.go_on")).wait_for()
    student.page.locator(".st-key-go button").click()  # it could not know
    student.until(lambda: is_held(student), "the sentence")
    assert student.page.locator(".st-key-go button").is_disabled()
    press(teacher, "go_on")
    student.until(lambda: not is_held(student) and shown(student, "go") == words("train.start"), "the button")
    assert student.page.locator(".st-key-go button").is_enabled()


def test_the_word_is_seen_nowhere(teacher, server):
    assert WORD not in teacher.page.url
    assert WORD not in teacher.page.content()
    assert "dataset=spiral" in teacher.page.url
    teacher.page.reload()  # the tab knows its session
    hold(teacher).wait_for()
    assert WORD not in teacher.page.url
    assert WORD not in server.log.read_text()
    assert not teacher.errors


def test_a_student_finds_no_way_to_the_view(visit, server):
    student = visit("forward", QUICK)
    assert not student.page.get_by_test_id("stSidebar").get_by_role("link", name=words("nav.teacher")).count()
    student.page.goto(server.address("teacher", {"teacher": "something-else"}))
    student.page.get_by_text(words("teacher.wrong")).wait_for()
    assert not hold(student).count()
    assert "something-else" not in student.page.url


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_code_fills_the_screen(teacher, theme):
    page = teacher.page
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.get_by_test_id("stCheckbox").filter(has_text=words("teacher.large")).locator("label").click()
    code = page.locator(".st-key-teacher-code img")
    teacher.until(lambda: code.count() == 1 and (code.bounding_box() or {}).get("height", 0) > 600, "a large code")
    box = code.bounding_box()
    assert box
    assert abs(box["width"] - box["height"]) < 2
    assert box["y"] >= 0 and box["y"] + box["height"] <= 720
    assert not page.get_by_test_id("stSidebar").is_visible()
    page.get_by_test_id("stCheckbox").filter(has_text=words("teacher.large")).locator("label").click()
    hold(teacher).wait_for()
