"""(e) Our player against Plotly frames in a real browser: the first picture, and pictures per second while playing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.table import Row, SkippedError, in_turn

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STAGE = Path(__file__).with_name("stage.py")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]
MEASURE = STAGE.with_name("playback.js")


@contextmanager
def served() -> Iterator[str]:
    """The address of the stage, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"port": port, "address": "127.0.0.1", "headless": "true", "fileWatcherType": "none"}
    command = [sys.executable, "-m", "streamlit", "run", str(STAGE), *(f"--server.{k}={v}" for k, v in options.items())]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=STAGE.parent.parent, stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise SkippedError("the Streamlit server did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


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
        with served() as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            visits = in_turn(rounds, *(partial(visit, browser, url, name, watch) for name in ("player", "plotly")))
            browser.close()
    except Error as error:
        raise SkippedError(error.message.splitlines()[0]) from error
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
