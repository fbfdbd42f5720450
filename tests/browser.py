"""For tests in a real browser: a server of our own, Chromium, and what one can see of a page."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

import pytest

from benchmarks.server import running
from toydiff.text import words

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page

PATIENCE = 30  # seconds that anything may take: the machine may be slow and shared
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def chromium() -> str:
    """Chromium's path. Without it, or without playwright, the test is skipped; in CI (variable CI set) it fails."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    missing = [name for name, there in (("chromium", path), ("playwright", find_spec("playwright"))) if not there]
    if missing:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"not installed: {', '.join(missing)}")
    assert path
    return path


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Until the condition is true. AssertionError when that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


class Server:
    """The app, served to this machine."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.url, self.log = process, f"http://127.0.0.1:{port}", log

    def address(self, path: str = "", params: Mapping[str, object] | None = None) -> str:
        return f"{self.url}/{path}" + (f"?{urlencode(params)}" if params else "")

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def load(self, seconds: float = 1.0) -> float:
        """How many cores it keeps busy now, its workers included."""
        before, began = self._cpu(), time.monotonic()
        time.sleep(seconds)
        return (self._cpu() - before) / (time.monotonic() - began)

    def _cpu(self) -> float:
        if not Path(f"/proc/{self.process.pid}/stat").exists():
            pytest.skip("needs /proc to see what the server does")
        ticks = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # that one has just ended
                _, parent, *numbers = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                if self.process.pid in (int(folder.name), int(parent)):
                    ticks += int(numbers[9]) + int(numbers[10])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(folder: Path, script: str = "app.py") -> Iterator[Server]:
    """A fresh server on a free port; at the end it must not have logged an error in a page."""
    log = folder / "server.log"
    with running(log, script) as (process, port):
        server = Server(process, port, log)
        wait_for(server.healthy, "the server")
        yield server
    assert "Uncaught app execution" not in log.read_text()


class View:
    """A page as somebody sees it, with the errors that the browser reports."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.page.set_default_timeout(1000 * PATIENCE)
        self.errors: list[str] = []
        self.received = 0  # messages from the server
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _listen(self, message: ConsoleMessage) -> None:
        # Streamlit looks for its server under the address of the page before it looks at the root
        sought = "/_stcore/" in message.location["url"] and "404" in message.text
        if message.type == "error" and not sought:
            self.errors.append(message.text)

    def _count(self, _: object) -> None:
        self.received += 1

    def ready(self) -> View:
        """Wait until the script has run and the picture is there."""
        self.page.locator(".player canvas").first.wait_for()
        self.until(lambda: self.at_rest and self.player("hash") is not None, "the page")
        return self

    @property
    def at_rest(self) -> bool:
        return (self.page.locator("[data-testid=stApp]").get_attribute("data-test-script-state") or "") == "notRunning"

    def until(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited in vain: {what}; {self.errors}"
            self.page.wait_for_timeout(50)  # lets the browser's events through, which sleep() would not

    def player(self, what: str) -> str | None:
        """What the player says of itself: frame, tick, playing, theme or hash."""
        return self.page.locator(".player").first.get_attribute(f"data-{what}")

    @property
    def frame(self) -> int:
        return int(self.player("frame") or 0)

    @property
    def playing(self) -> bool:
        return self.player("playing") == "true"

    @property
    def last(self) -> int:
        return int(self.page.locator(".player .slider").first.get_attribute("max") or 0)

    def drawn(self, pictures: int = 20) -> None:
        """Wait until the browser has drawn so often: whatever was under way has happened."""
        self.page.evaluate(
            "n => new Promise(done => { const next = () => n-- ? requestAnimationFrame(next) : done(); next() })",
            pictures,
        )

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def take_home(self, kind: Literal["gif", "strip"], player: int = 0) -> bytes:
        """A file that a player makes here, in the browser, with one click."""
        with self.page.expect_download() as waiting:
            self.page.locator(".player").nth(player).locator(f"[data-export={kind}]").click()
        return Path(waiting.value.path()).read_bytes()

    def export(self, label: str, kind: str) -> bytes:
        """A file of the server's that one button makes and another one saves. Nobody clicks while the page loads."""
        self.until(lambda: self.at_rest, "the page")
        self.press(label)
        return self.saved(kind)

    def saved(self, kind: str) -> bytes:
        """A file that has been made, or is being made."""
        return self.download(words("export.save_file", kind=kind, size="").split("(")[0])

    def download(self, name: str) -> bytes:
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=name).click()
        return Path(waiting.value.path()).read_bytes()

    def go(self, link: str) -> None:
        """Through the table of contents."""
        before = self.page.url.split("?")[0]
        self.page.get_by_test_id("stSidebar").get_by_role("link", name=link).click()
        self.until(lambda: self.page.url.split("?")[0] != before, link)
        self.ready()


class Visitors:
    """Opens pages, each a session of its own, as if by different people. They share what the browser has loaded."""

    def __init__(self, context: BrowserContext, server: Server) -> None:
        self.context, self.server = context, server
        self.views: list[View] = []

    def __call__(
        self,
        path: str = "",
        params: Mapping[str, object] | None = None,
        *,
        url: str | None = None,
        theme: Literal["light", "dark"] = "light",
        motion: Literal["no-preference", "reduce"] = "no-preference",
    ) -> View:
        view = View(self.context.new_page())
        self.views.append(view)
        view.page.emulate_media(color_scheme=theme, reduced_motion=motion)
        view.page.goto(url or self.server.address(path, params))
        return view.ready()

    def leave(self) -> None:
        for view in self.views:
            view.page.close()
        self.views.clear()
