"""What all tests have in common: which process runs which, and that nothing is left behind.

One thread: the networks here are too small for two, and test processes may share the machine.
"""

import re
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from streamlit.components.v2 import manifest_scanner
from xdist.scheduler import LoadScopeScheduling

from toydiff.server import live

torch.set_num_threads(1)

# AppTest searches all that is installed for components, each time: a tenth of a second.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


# Which of the tests in a browser begin last, in whichever process is free then: those that need nothing of what the
# others share, and some that take long, with a browser and a server of their own.
LAST = {name: name for name in ("deploy", "sheets")} | dict.fromkeys(("images", "own"), "more")


class Lanes(LoadScopeScheduling):
    """Tests of one file run in one process, and so do those that share a browser and a server. They come first: they
    take longest, and wait much, so that they leave most of a core to the others."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return f"browser {_late(nodeid)}" if file.startswith("tests/browser/") else file


def _late(nodeid: str) -> str:
    """The group of those that begin last; "" for all others."""
    found = re.match(r"tests/browser/test_(\w+)\.py", nodeid)
    return LAST.get(found[1], "") if found else ""


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    return Lanes(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = ["", "more", *LAST]
    items.sort(key=lambda item: order.index(_late(item.nodeid)))


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """No training survives its test."""
    yield
    for training in live.trainings():
        training.running = False


@pytest.fixture
def few_samples(monkeypatch) -> None:
    """Behind the checkpoints of a training."""
    monkeypatch.setattr(live, "EVAL_SETTINGS", live.EVAL_SETTINGS._replace(samples=256))


@pytest.fixture(autouse=True)
def no_render_workers(monkeypatch) -> None:
    """Pictures are made where a test sees it and can change how. Only servers in other processes have workers."""
    monkeypatch.setattr("toydiff.server.render_pool.RenderPool.start", lambda _: None)


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    """A click on pause waits for the last picture, however slow the machine is: what comes after a click is certain."""
    monkeypatch.setattr("toydiff.ui.controls.PAUSE_WAIT_SECONDS", 600.0)


@pytest.fixture(autouse=True)
def a_page_at_once(monkeypatch) -> None:
    """A page that a test runs is complete at once: what is said of a link is gone when it runs again."""
    monkeypatch.setattr("toydiff.ui.page.UNREAD", 0.0)
