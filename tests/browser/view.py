"""For tests in a real browser: a server of our own, and what one can see and do of a page."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from benchmarks.server import Server as Tree
from benchmarks.server import running
from tests.waiting import PATIENCE, wait_for
from toydiff.text import words

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page

TEACHER = "open-sesame"  # the teacher's word
FAST = {"v": 2, "points": 300, "particles": 32, "T": 25}  # settings of a page that is quickly there
IMAGES = {"image_T": 10, "image_batch": 8, "image_n": 60}


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

    def workers(self) -> list[int]:
        """The processes that train for this server."""
        if not Path("/proc/self/stat").exists():
            pytest.skip("needs /proc to find the process that trains")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # that one has just ended
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if (
                    parent == self.process.pid
                    and b"toydiff.server.training_worker" in (folder / "cmdline").read_bytes()
                ):
                    found.append(int(folder.name))
        return found

    def trained(self) -> float:
        """Seconds of work that these processes have done so far."""
        return Tree(self.url, self.workers()).cpu()


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

    def healthy(self) -> None:
        """Nothing went wrong so far."""
        assert self.errors == []
        assert self.page.get_by_test_id("stException").count() == 0

    @property
    def at_rest(self) -> bool:
        return (self.page.locator("[data-testid=stApp]").get_attribute("data-test-script-state") or "") == "notRunning"

    @property
    def path(self) -> str:
        """The page in the address; "" for the home page."""
        return urlsplit(self.page.url).path.strip("/")

    @property
    def params(self) -> dict[str, str]:
        """The settings in the address."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    @property
    def text(self) -> str:
        """All that stands beside the side bar."""
        return self.page.get_by_test_id("stMain").inner_text()

    @property
    def alerts(self) -> str:
        return " ".join(self.page.get_by_test_id("stAlert").all_inner_texts())

    @property
    def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(
            self.page.evaluate(
                """() => Math.max(...[document.scrollingElement, document.querySelector("[data-testid=stMain]")].map(
                    (it) => it.scrollWidth - it.clientWidth))"""
            )
        )

    def metric(self, label: str) -> str:
        """The number that stands under a label; "" while it is not there."""
        found = self.page.get_by_test_id("stMetric").filter(has_text=re.compile(f"^{re.escape(label)}")).first
        return found.get_by_test_id("stMetricValue").inner_text().strip() if found.count() else ""

    @property
    def step(self) -> int:
        """How many steps the training has made, as the page says; -1 while it does not."""
        return int(self.metric(words("train.step")).replace(",", "") or -1)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait, and let the browser's events through meanwhile, which sleep() would not."""
        wait_for(condition, f"{what}; {self.errors}", lambda _: self.page.wait_for_timeout(60))

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

    def rewind(self) -> View:
        """Stop the film on its first frame."""
        self.until(lambda: self.player("frame") is not None, "a player that is drawn")
        self.page.locator(".player").first.focus()
        self.page.keyboard.press("Home")
        self.until(lambda: self.frame == 0 and not self.playing, "the first frame")
        return self

    def take_the_clock(self) -> None:
        """From now on this page draws only when a test says so, and time passes for it only then."""
        self.page.evaluate(CLOCK)

    def passes(self, milliseconds: float) -> None:
        """So much time passes, and everything that waits for its next picture is drawn."""
        self.page.evaluate("ms => window.passes(ms)", milliseconds)

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

    def train(self, steps: int = 1) -> View:
        """Start the training on this page, and wait until it has made so many steps."""
        self.press(words("train.start"))
        self.until(lambda: self.step >= steps, "the first steps")
        return self

    def pause(self) -> View:
        """Stop it, and wait for the picture of its last step: then no more will come."""
        self.press(words("train.pause"))
        self.page.get_by_role("button", name=words("train.resume"), exact=True).wait_for()
        self.until(lambda: self.at_rest and self.player("tick") == str(self.step), "its last picture")
        return self

    def go(self, lesson: str) -> View:
        """To a page, through the table of contents."""
        path = "" if lesson == "home" else lesson
        if self.path != path:
            self.page.get_by_test_id("stSidebar").get_by_role("link", name=words(f"nav.{lesson}")).click()
            self.until(lambda: self.path == path and words(f"titles.{lesson}") in self.text, lesson)
        return self.ready()

    def leave(self) -> None:
        self.page.close()


# Time passes, and pictures are drawn, when `window.passes` is called. What was asked for before that is drawn first.
CLOCK = """() => {
    const [real, cancel] = [window.requestAnimationFrame.bind(window), window.cancelAnimationFrame.bind(window)];
    const waiting = new Map();
    let [id, now] = [1e9, performance.now()];
    window.requestAnimationFrame = (draw) => (waiting.set(++id, draw), id);
    window.cancelAnimationFrame = (one) => waiting.delete(one) || cancel(one);
    window.passes = (ms) => {
        now += ms;
        const due = [...waiting.values()];
        waiting.clear();
        for (const draw of due) draw(now);
    };
    return new Promise((done) => real(done));
}"""


def upload(place: Any, name: str, content: bytes) -> None:
    """Choose a file, in a page or in a dialog of it."""
    place.locator("input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": content})


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
        motion: bool = False,
        script: str = "",
    ) -> View:
        """motion: films play by themselves, and keep the processor busy; else they stand on their last frame, as for
        people who want less of it. script: runs in the page before anything else."""
        view = View(self.context.new_page())
        self.views.append(view)
        view.page.add_init_script(script)
        view.page.emulate_media(color_scheme=theme, reduced_motion="no-preference" if motion else "reduce")
        view.page.goto(url or self.server.address(path, params))
        return view.ready()

    def leave(self) -> None:
        for view in self.views:
            view.leave()
        self.views.clear()
