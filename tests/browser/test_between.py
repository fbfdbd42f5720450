"""Lesson 8 in a real browser: the films play, a click chooses an end, and the walk goes there."""

import pytest

from tests.browser.view import FAST, IMAGES, View
from toydiff.text import words

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def number(view: View, label: str) -> str:
    return view.page.get_by_role("spinbutton", name=label, exact=True).input_value()


def test_a_click_puts_a_ring_and_the_ring_becomes_an_end(visit):
    view = visit("between", FAST | IMAGES)
    take = view.page.get_by_role("button", name=words("between.take_b"), exact=True)
    assert number(view, words("between.b")) == "2"
    walk = view.page.locator(".player").nth(1)
    before = walk.get_attribute("data-hash")

    canvas = view.page.locator(".player canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    canvas.click(position={"x": box["width"] * 0.42, "y": box["height"] * 0.25})  # third column, second row: number 9
    view.drawn()
    take.click()
    view.until(lambda: number(view, words("between.b")) == "9", "the end with the ring")
    view.until(lambda: walk.get_attribute("data-hash") != before, "another walk")
    view.healthy()
