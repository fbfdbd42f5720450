"""An impatient hand on a real mouse: a double click breaks nothing and does nothing twice."""

import pytest

from tests.browser import Visitors
from toydiff.text import words

pytestmark = pytest.mark.browser

NET = {"points": 100, "particles": 16, "T": 10, "width": 8, "depth": 1, "batch": 16}


def test_a_double_click_on_start_reset_and_export(visit: Visitors):
    view = visit("train", NET)
    start, pause, resume, reset = (
        view.page.get_by_role("button", name=words(f"train.{name}"), exact=True)
        for name in ("start", "pause", "resume", "reset")
    )
    steps = view.page.get_by_test_id("stMetricValue").first
    start.dblclick()
    pause.or_(resume).wait_for()  # the second click comes before the answer to the first one, or after it
    view.until(lambda: steps.inner_text() != "0", "a training")
    if pause.count():
        pause.click()
    resume.wait_for()
    reset.dblclick()
    start.wait_for()
    view.until(lambda: steps.inner_text() == "0" and not reset.is_enabled(), "a new training")

    view.go(words("nav.forward"))
    export = view.page.get_by_role("button", name=words("export.numbers"))
    save = view.page.get_by_role("button", name=words("export.save_file", kind="NPZ", size="").split("(")[0])
    export.dblclick()
    save.first.wait_for()
    view.until(lambda: view.at_rest, "the numbers")
    assert save.count() == 1

    files: list[object] = []
    view.page.on("download", lambda file: files.append(file))
    said = view.page.locator(".player .said").first
    for kind in ("gif", "strip"):
        before = len(files)
        button = view.page.locator(f".player [data-export={kind}]").first
        button.dblclick(delay=150)  # a hand is slower than a browser that makes a strip
        view.until(lambda: len(files) > before and said.inner_text(), "a file")  # noqa: B023
        view.until(lambda: not button.get_attribute("aria-busy"), "a button that is free")  # noqa: B023
        view.drawn(30)
        assert len(files) == before + 1
        view.take_home(kind)  # and it can be pressed again
        view.until(lambda: len(files) == before + 2, "another file")  # noqa: B023
    assert view.errors == []
    assert view.page.get_by_test_id("stException").count() == 0
