"""(e) Our player against Plotly frames in a real browser: the first picture, and pictures per second while playing."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.server import served
from benchmarks.table import Row, SkippedError, interleaved

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PLAYBACK_PAGE = Path(__file__).with_name("playback_page.py")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
MEASURE = PLAYBACK_PAGE.with_name("playback.js")


def visit(browser: Browser, url: str, name: str, watch: float) -> tuple[float, float]:
    """Somebody who opens the page and presses one button: first picture in ms, pictures per second."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.add_init_script(path=MEASURE)
    page.goto(url)
    page.get_by_role("button", name=name).wait_for()
    page.wait_for_timeout(1000)  # the page has come to rest
    first = page.evaluate(f"first('{name}')")
    if name == "plotly":
        page.locator(".updatemenu-button").click()
    rate = page.evaluate(f"rate({1000 * watch})")
    page.close()
    return first, rate


def rows(quick: bool = False) -> list[Row]:
    """Two rows, of visitors who have nothing in the browser's cache."""
    rounds, watch = (1, 1.0) if quick else (3, 4.0)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise SkippedError(error) from error
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SkippedError("Chromium is not installed")
    try:
        with (
            TemporaryDirectory() as folder,
            served(Path(folder, "log"), str(PLAYBACK_PAGE)) as server,
            sync_playwright() as play,
        ):
            browser = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            visits = interleaved(
                rounds, *(partial(visit, browser, server.url, name, watch) for name in ("player", "plotly"))
            )
            browser.close()
    except Error as error:
        raise SkippedError(error.message.splitlines()[0]) from error
    except RuntimeError as error:
        raise SkippedError("the Streamlit server did not start") from error
    ours, theirs = ([median(values) for values in zip(*seen, strict=True)] for seen in visits)
    what = "3 x 256 particles, 101 frames, trails"
    how = f"Plotly frames (SVG scatter) in the same Streamlit page, Chromium without a GPU; median of {rounds} visits"
    return [
        Row(
            f"first picture, {what}",
            f"{ours[0] / 1000:.2f} s",
            f"{theirs[0] / 1000:.2f} s",
            f"{theirs[0] / ours[0]:.0f} x",
            f"{how}, from the click that asks for the film",
        ),
        Row(
            f"playing, {what}",
            f"{ours[1]:.0f} pictures/s",
            f"{theirs[1]:.0f} pictures/s",
            f"{ours[1] / theirs[1]:.1f} x",
            f"{how}, {watch:.0f} s each; the browser stops at 60",
        ),
    ]
