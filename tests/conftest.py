"""One thread: the networks here are too small for two, and test processes may share the machine. And what tests in a
real browser begin with."""

from collections.abc import Iterator

import pytest
import torch

from tests.browser import ARGUMENTS, Server, Visitors, chromium, served
from toydiff.ui import live

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def context() -> Iterator[object]:
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser.new_context(viewport={"width": 1280, "height": 720})
        browser.close()


@pytest.fixture(scope="module")
def server(context, tmp_path_factory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def visit(context, server) -> Iterator[Visitors]:
    visitors = Visitors(context, server)
    yield visitors
    visitors.leave()


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """No training survives its test."""
    yield
    for training in live.trainings():
        training.running = False


@pytest.fixture
def few_samples(monkeypatch) -> None:
    """Behind the checkpoints of a training."""
    monkeypatch.setattr(live, "PACE", live.PACE._replace(samples=256))


@pytest.fixture(autouse=True)
def no_painters(monkeypatch) -> None:
    """Pictures are made where a test sees it, and can change how. Servers in processes of their own have painters."""
    monkeypatch.setattr("toydiff.ui.studio.Studio.start", lambda _: None)


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """A click on pause waits for the last picture, however slow the machine is: what comes after a click is certain."""
    monkeypatch.setattr("toydiff.ui.controls.PATIENCE", 600.0)


@pytest.fixture(autouse=True)
def a_page_at_once(monkeypatch) -> None:
    """A page that a test runs is complete at once: what is said of a link is gone when it runs again."""
    monkeypatch.setattr("toydiff.ui.page.UNREAD", 0.0)
