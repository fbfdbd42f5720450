"""An impatient hand on a real mouse: a double click breaks nothing and does nothing twice."""

import pytest

from tests.browser.view import Visitors
from toydiff.text import words

pytestmark = [pytest.mark.browser, pytest.mark.slow]

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

    view.go("forward")
    export = view.page.get_by_role("button", name=words("export.numbers"))
    save = view.page.get_by_role("button", name=words("export.save_file", kind="NPZ", size="").split("(")[0])
    export.dblclick()
    save.first.wait_for()
    view.until(lambda: view.at_rest, "the numbers")
    assert save.count() == 1

    files: list[object] = []
    view.page.on("download", lambda file: files.append(file))
    for kind in ("gif", "strip"):
        before = len(files)
        button = view.page.locator(f".player [data-export={kind}]").first
        button.dblclick()
        view.until(lambda: len(files) > before and not button.get_attribute("aria-busy"), "a file")  # noqa: B023
        button.dispatch_event("click", {"detail": 2})  # a hand may be slower than a browser that makes a strip
        view.take_home(kind)  # and it can be pressed again
        view.until(lambda: len(files) >= before + 2, "another file")  # noqa: B023, it is asked at once
        view.drawn()
        assert len(files) == before + 2
    view.healthy()
