"""The teacher's view in a real browser: everybody stops and goes on by themselves, and the word is seen nowhere."""

from collections.abc import Iterator

import pytest

from tests.browser.view import FAST, IMAGES, TEACHER, View, Visitors
from toydiff.text import words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

QUICK = FAST | IMAGES | {"T": 10, "width": 8, "depth": 1}
GO = {"train": "go", "target": "targets-go", "images": "images-go"}  # keys of the buttons that train


@pytest.fixture(scope="module")
def teacher(context, server) -> Iterator[View]:
    view = View(context.new_page())
    view.page.goto(server.address("teacher", {"teacher": TEACHER}))
    hold(view).wait_for()
    yield view
    if hold(view).inner_text().endswith(words("teacher.go_on")):
        press(view, "go_on")
    view.leave()


@pytest.fixture(scope="module")
def student(context, server) -> Iterator[View]:
    visitors = Visitors(context, server)
    yield visitors("train", QUICK)
    visitors.leave()


def hold(view):
    return view.page.locator(".st-key-teacher-hold button")


def press(view, name):
    """The button that stops everybody, or lets them go on: then it is the other one."""
    view.until(lambda: view.at_rest, "the page")
    hold(view).filter(has_text=words(f"teacher.{name}")).click()
    other = {"pause": "go_on", "go_on": "pause"}[name]
    hold(view).filter(has_text=words(f"teacher.{other}")).wait_for()


def shown(view, go):
    """The words on the button that trains, once the page is at rest; else nothing."""
    texts = view.page.locator(f".st-key-{go} button").all_inner_texts()
    return texts[0].split("\n")[-1] if view.at_rest and len(texts) == 1 else ""


def stands(view, go):
    """Nothing trains there, whether it had made a step or not."""
    return shown(view, go) in (words("train.start"), words("train.resume"))


def is_held(view):
    return words("room.held") in view.alerts


def test_who_only_looks_finds_the_buttons_off_and_then_on(student, teacher):
    press(teacher, "pause")
    student.page.locator(".st-key-go button").click()  # it could not know
    student.until(lambda: is_held(student), "the sentence")
    assert student.page.locator(".st-key-go button").is_disabled()
    press(teacher, "go_on")
    student.until(lambda: not is_held(student) and shown(student, "go") == words("train.start"), "the button")
    assert student.page.locator(".st-key-go button").is_enabled()


@pytest.mark.parametrize("lesson", GO)
def test_everybody_stops_and_goes_on(student, teacher, lesson):
    student.go(lesson)
    go = GO[lesson]
    button = student.page.locator(f".st-key-{go} button")
    student.until(lambda: shown(student, go) != "", "the button")
    button.click()
    student.until(lambda: shown(student, go) == words("train.pause"), "the training")
    press(teacher, "pause")
    student.until(lambda: stands(student, go) and is_held(student), "that it stopped")
    assert button.is_disabled()
    press(teacher, "go_on")
    student.until(lambda: shown(student, go) == words("train.pause") and not is_held(student), "that it goes on")
    student.until(button.is_enabled, "the button")
    button.click()
    student.until(lambda: stands(student, go), "that it stops when its student says so")
    assert not student.errors
    assert not teacher.errors


def test_the_word_is_seen_nowhere(teacher, server):
    assert TEACHER not in teacher.page.url
    assert TEACHER not in teacher.page.content()
    assert "dataset=spiral" in teacher.page.url
    teacher.page.reload()  # the tab knows its session
    hold(teacher).wait_for()
    assert TEACHER not in teacher.page.url
    assert TEACHER not in server.log.read_text()
    assert not teacher.errors


def test_a_student_finds_no_way_to_the_view(student, server):
    assert not student.page.get_by_test_id("stSidebar").get_by_role("link", name=words("nav.teacher")).count()
    student.page.goto(server.address("teacher", {"teacher": "something-else"}))
    student.page.get_by_text(words("teacher.wrong")).wait_for()
    assert not hold(student).count()
    assert "something-else" not in student.page.url


def test_the_code_fills_the_screen(teacher):
    page = teacher.page
    switch = page.get_by_test_id("stCheckbox").filter(has_text=words("teacher.large")).locator("label")
    switch.click()
    code = page.locator(".st-key-teacher-code img")
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        teacher.until(lambda: code.count() == 1 and (code.bounding_box() or {}).get("height", 0) > 600, "a large code")
        box = code.bounding_box()
        assert box
        assert abs(box["width"] - box["height"]) < 2
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720
        assert not page.get_by_test_id("stSidebar").is_visible()
    switch.click()
    hold(teacher).wait_for()
