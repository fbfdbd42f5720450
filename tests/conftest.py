"""What all tests have in common: which process runs which, and that nothing is left behind.

One thread: the networks here are too small for two, and test processes may share the machine.
"""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from streamlit.components.v2 import manifest_scanner
from xdist.scheduler import LoadScopeScheduling

from toydiff.ui import live

torch.set_num_threads(1)

# AppTest searches all that is installed for components, each time: a tenth of a second.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


ALONE = ("tests/browser/test_deploy.py", "tests/browser/test_sheets.py")  # need nothing of what the others share


class Lanes(LoadScopeScheduling):
    """Tests of one file run in one process, and so do those that share a browser and a server, which come first: two
    stacks of Chromium, server, worker and painter at once are slower than one after the other beside all else."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return "browser" if file.startswith("tests/browser/") and file not in ALONE else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Lanes:
    return Lanes(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the end, whichever process is free takes those."""
    items.sort(key=lambda item: item.nodeid.startswith(ALONE))


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
