"""One Chromium and one server for all tests here that harm neither. A test that does starts its own."""

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.browser.view import FAST, IMAGES, TEACHER, Server, View, Visitors, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--process-per-site",  # what one tab has compiled, the next one need not: half of the work of a page
]


@pytest.fixture(scope="package")
def chrome() -> "Iterator[Browser]":
    """Without Chromium or playwright the test is skipped; in CI (variable CI set) it fails."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    missing = [name for name, there in (("chromium", path), ("playwright", find_spec("playwright"))) if not there]
    if missing:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"not installed: {', '.join(missing)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def context(chrome, server) -> "Iterator[BrowserContext]":
    """A projector's window. Its pages share what the browser has loaded, as long as one of them is open."""
    context = chrome.new_context(viewport={"width": 1280, "height": 720})
    context.new_page().goto(server.address("_stcore/health"))  # so one stays open, and shows nothing
    yield context
    context.close()


@pytest.fixture(scope="package")
def server(chrome, tmp_path_factory) -> Iterator[Server]:
    """The app, with a teacher's word."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOYDIFF_TEACHER", TEACHER)
        with served(tmp_path_factory.mktemp("server")) as server:
            yield server


@pytest.fixture
def visit(context, server) -> Iterator[Visitors]:
    visitors = Visitors(context, server)
    yield visitors
    visitors.leave()


@pytest.fixture(scope="module")
def page(context, server) -> Iterator[View]:
    """One tab for many tests, which go from page to page in it by the table of contents, as students do."""
    visitors = Visitors(context, server)
    yield visitors(params=FAST | IMAGES)
    visitors.leave()
