"""Several replicas behind HAProxy, with the very files of deploy/, as a browser meets them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from streamlit import config

from benchmarks.server import REPOSITORY
from tests.browser.view import Server, View, Visitors, served
from tests.waiting import wait_for
from toydiff.text import words

pytestmark = [pytest.mark.haproxy, pytest.mark.slow]

DEPLOY = REPOSITORY / "deploy"
SETTINGS = {"dataset": "moons", "points": 300, "particles": 32, "T": 25, "seed": 7, "width": 32, "depth": 2}
COMMON = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "toydiff.env").read_text("utf-8"), re.MULTILINE))
MEGABYTE = 2**20
LIMIT = int(COMMON["STREAMLIT_SERVER_MAX_UPLOAD_SIZE"])  # MEGABYTEs
NOBODY = "127.0.0.1:9"  # an address that refuses


def program(name: str) -> str:
    """Its path. Without it the test is skipped; in CI (variable CI set) it fails."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")  # which is not everybody's path
    if not path:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"not installed: {name}")
    assert path
    return path


def environment(*replicas: str, **more: str) -> dict[str, str]:
    """What HAProxy is started with: the addresses of at most four replicas."""
    places = (*replicas, *[NOBODY] * 4)[:4]
    return os.environ | COMMON | {f"TOYDIFF_REPLICA_{i}": place for i, place in enumerate(places, 1)} | more


def place(server: Server) -> str:
    return server.url.removeprefix("http://")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def proxied(folder: Path, *replicas: str, port: int | None = None, **more: str) -> Iterator[Server]:
    """HAProxy with the configuration of deploy/, in front of replicas."""
    port, log = port or free_port(), folder / f"haproxy-{time.monotonic_ns()}.log"
    variables = environment(*replicas, TOYDIFF_BIND=f"127.0.0.1:{port}", **more)
    with log.open("wb") as out:
        command = [program("haproxy"), "-db", "-f", str(DEPLOY / "haproxy.cfg")]
        process = subprocess.Popen(command, env=variables, stdout=out, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: process.poll() is not None or listens(port), "the proxy")
        assert process.poll() is None, log.read_text()
        yield Server(process, port, log)
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Answer:
    """What comes back for one request, and who it was asked of."""

    def __init__(self, server: Server, path: str, method: str = "GET", **headers: str) -> None:
        connection = HTTPConnection(urlsplit(server.url).netloc, timeout=30)
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        self.status: int = response.status
        self.headers: HTTPMessage = response.headers
        self.body = response.read()
        self.by_streamlit = self.headers.get("server") == "uvicorn"
        connection.close()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory) -> str:
    """For localhost, signed by nobody."""
    folder = tmp_path_factory.mktemp("certificate")
    key, chain, both = (folder / name for name in ("key.pem", "chain.pem", "both.pem"))
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command = [program("openssl"), "req", *options, "-keyout", str(key), "-out", str(chain)]
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(chain.read_text() + key.read_text())
    return str(both)


@pytest.fixture(scope="module")
def replicas(tmp_path_factory) -> Iterator[list[Server]]:
    """Two, with the variables that a real replica gets."""
    program("haproxy")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in COMMON.items():
            patch.setenv(name, value)
        patch.setenv("STREAMLIT_SERVER_COOKIE_SECRET", "the same for all")
        yield [stack.enter_context(served(tmp_path_factory.mktemp("replica"))) for _ in range(2)]


@pytest.fixture(scope="module")
def proxy(replicas, tmp_path_factory) -> Iterator[Server]:
    with proxied(tmp_path_factory.mktemp("proxy"), *map(place, replicas)) as server:
        wait_for(server.healthy, "a replica behind the proxy")
        yield server


@contextmanager
def person(chrome: Any, server: Server, **options: Any) -> Iterator[Visitors]:
    """Somebody with a browser, and cookies, of their own."""
    context = chrome.new_context(viewport={"width": 1280, "height": 720}, **options)
    yield Visitors(context, server)
    context.close()


def cookie(visit: Visitors) -> dict[str, Any]:
    """The one by which the proxy knows where somebody belongs."""
    (found,) = [cookie for cookie in visit.context.cookies() if cookie["name"] == "toydiff"]
    return found


def seed_is(view: View, seed: int) -> None:
    """In the address and in the side bar, where a box shows its least value before it shows its own."""
    box = view.page.get_by_role("spinbutton", name=words("fields.seed"))
    view.until(lambda: box.input_value() == str(seed), f"seed {seed}")
    assert view.params["seed"] == str(seed)


def set_seed(view: View, seed: int) -> None:
    box = view.page.get_by_role("spinbutton", name=words("fields.seed"))
    box.fill(str(seed))
    box.press("Enter")
    view.until(lambda: f"seed={seed}" in view.page.url and view.at_rest, "the setting in the address")


def connected(view: View) -> bool:
    return view.page.locator("[data-testid=stApp]").get_attribute("data-test-connection-state") == "CONNECTED"


def sockets(log: Path) -> Counter[tuple[str, str]]:
    """Closed WebSockets: how many for each replica and what became of the cookie: V valid, N nothing to be changed."""
    return Counter(re.findall(r'replicas/(\d) \S+ 101 \d+ - - ..(..) .*"GET \S*/_stcore/stream ', log.read_text()))


# ---------------------------------------------------------------- the files


@pytest.mark.parametrize("switches", [(), ("TOYDIFF_STATS",), ("TOYDIFF_CERT",), ("TOYDIFF_STATS", "TOYDIFF_CERT")])
def test_haproxy_accepts_its_configuration(switches, certificate):
    values = {"TOYDIFF_STATS": "127.0.0.1:8404", "TOYDIFF_CERT": certificate}
    variables = environment(**{name: values[name] for name in switches})
    command = [program("haproxy"), "-c", "-f", "haproxy.cfg"]
    check = subprocess.run(command, cwd=DEPLOY, env=variables, capture_output=True, text=True)
    assert check.returncode == 0, check.stderr
    assert "WARNING" not in check.stderr


def test_streamlit_knows_every_option_that_it_is_given():
    known = {option.env_var for option in config.get_config_options().values()}
    given = set(re.findall(r"\bSTREAMLIT_\w+", "".join(path.read_text("utf-8") for path in DEPLOY.iterdir())))
    assert given >= {"STREAMLIT_SERVER_COOKIE_SECRET", "STREAMLIT_SERVER_MAX_UPLOAD_SIZE"}
    assert given <= known


def test_every_variable_is_one_that_somebody_reads():
    readers = [DEPLOY / "haproxy.cfg", *REPOSITORY.glob("toydiff/**/*.py")]
    read = {name for path in readers for name in re.findall(r"TOYDIFF_\w+", path.read_text("utf-8"))}
    assert {name for path in DEPLOY.iterdir() for name in re.findall(r"TOYDIFF_\w+", path.read_text("utf-8"))} <= read


@pytest.mark.parametrize("name", ["toydiff@.service", "toydiff-proxy.service"])
def test_a_unit_is_started_again_however_often_it_ends(name):
    about_units, _, about_services = (DEPLOY / name).read_text("utf-8").partition("[Service]")
    assert "Restart=always" in about_services.splitlines()
    assert "StartLimitIntervalSec=0" in about_units.splitlines()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path):
    for name, unit in (("toydiff@.service", "toydiff@8501.service"), ("toydiff-proxy.service",) * 2):
        text = (DEPLOY / name).read_text("utf-8")
        for program in ("/opt/toydiff/venv/bin/python", "/usr/sbin/haproxy"):  # which need not be installed to check
            text = text.replace(program, sys.executable)
        (tmp_path / unit).write_text(text.replace("/opt/toydiff", str(REPOSITORY)), "utf-8")
        command = ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)]
        check = subprocess.run(command, capture_output=True, text=True)
        assert (check.returncode, str(tmp_path) in check.stderr) == (0, False), check.stderr


# ---------------------------------------------------------------- what the proxy does to a request


class Echo(BaseHTTPRequestHandler):
    """A replica that takes long to say that it is well, and else says what it was asked."""

    slowness = 1.2  # seconds: more than there are between two checks
    checks = 0

    def do_GET(self) -> None:
        if self.path == "/_stcore/health":
            time.sleep(self.slowness)
            type(self).checks += 1
        body = str(self.headers).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # the proxy does not wait for the last one
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def test_what_a_browser_says_of_its_address_is_not_believed_and_a_slow_replica_is_not_given_up(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        with proxied(tmp_path, f"127.0.0.1:{echo.server_port}") as server:
            lies = {"X_Forwarded_For": "6.6.6.6", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "evil"}
            asked = Answer(server, "/", Host="class.example", Cookie="toydiff=1; other=2", **lies)
            seen = {name.lower(): value for name, value in re.findall(r"^(\S+): (.*?)\r?$", asked.body.decode(), re.M)}
            assert {name: seen[name] for name in seen if name.startswith("x-")} == {
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "class.example",
            }
            assert seen["host"] == "class.example"  # Streamlit compares it with the origin of a WebSocket
            assert seen["cookie"] == "other=2"

            wait_for(lambda: Echo.checks >= 2, "slow answers, two of them: as many as end a replica that has failed")
            assert Answer(server, "/").status == 200
            assert "replicas/1 is DOWN" not in server.log.read_text()
        echo.shutdown()


def test_a_file_over_the_limit_is_refused_before_it_travels(proxy):
    path = "/_stcore/upload_file/nobody/nothing"
    too_large = Answer(proxy, path, "PUT", Content_Length=str((LIMIT + 1) * MEGABYTE))
    assert (too_large.status, too_large.by_streamlit) == (413, False)
    # Streamlit has more to say about the rest, without waiting for it: this session does not exist.
    fits = Answer(proxy, path, "PUT", Content_Length=str(LIMIT * MEGABYTE))
    assert fits.status != 413
    assert fits.by_streamlit


def test_health_is_for_all_and_metrics_are_not(proxy, replicas):
    assert Answer(proxy, "/_stcore/health").body == b"ok"
    assert Answer(replicas[0], "/_stcore/metrics").status == 200
    for path in ("/_stcore/metrics", "/reverse/_stcore/metrics"):
        assert Answer(proxy, path).status == 404


def test_who_is_where(tmp_path):
    port = free_port()
    with proxied(tmp_path, TOYDIFF_STATS=f"127.0.0.1:{port}") as proxy:
        stats = Server(proxy.process, port, proxy.log)
        assert b"replicas" in Answer(stats, "/").body
        assert b'haproxy_server_status{proxy="replicas",server="1",state="UP"}' in Answer(stats, "/metrics").body
        assert Answer(proxy, "/metrics").status == 503  # not at the door of everybody


def test_scripts_travel_compressed(proxy):
    (script,) = re.findall(r'src="\./(static/js/index\.[^"]+\.js)"', Answer(proxy, "/").body.decode())
    plain, packed = Answer(proxy, f"/{script}"), Answer(proxy, f"/{script}", Accept_Encoding="gzip")
    assert plain.headers["content-encoding"] is None
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < 0.5 * len(plain.body)


# ---------------------------------------------------------------- what people notice of it: nothing


@pytest.mark.browser
def test_everybody_stays_with_a_replica_and_everything_works_through_the_proxy(chrome, proxy):
    with person(chrome, proxy) as ada, person(chrome, proxy) as bob:
        first = ada("reverse", SETTINGS)
        second = bob("reverse", SETTINGS)
        assert {cookie(ada)["value"], cookie(bob)["value"]} == {"1", "2"}  # where the fewest are
        assert first.player("hash") == second.player("hash")
        for visit, view in ((ada, first), (bob, second)):
            before = cookie(visit)
            assert (before["httpOnly"], before["sameSite"], before["secure"]) == (True, "Lax", False)
            view.page.reload()
            view.ready()
            assert cookie(visit) == before
            seed_is(view, 7)
        with Image.open(BytesIO(first.take_home("strip"))) as picture:
            assert picture.format == "PNG"
        with np.load(BytesIO(second.export(words("export.numbers"), "NPZ"))) as numbers:
            assert numbers["data"].shape == (300, 2)
        assert first.errors == second.errors == []
    wait_for(lambda: sockets(proxy.log).total() == 4, "WebSockets that are closed")
    assert sockets(proxy.log) == {("1", "VN"): 2, ("2", "VN"): 2}
    assert "dataset" not in proxy.log.read_text()  # nothing of the address: it may hold the teacher's word


@pytest.mark.browser
def test_https(chrome, replicas, certificate, tmp_path):
    secure = free_port()
    more = {"TOYDIFF_CERT": certificate, "TOYDIFF_BIND_TLS": f"127.0.0.1:{secure}"}
    with proxied(tmp_path, *map(place, replicas), **more) as server:
        sent_on = Answer(server, "/reverse?seed=7", Host="localhost")
        assert (sent_on.status, sent_on.headers["location"]) == (308, "https://localhost/reverse?seed=7")
        with person(chrome, server, ignore_https_errors=True) as visit:
            view = visit(url=f"https://localhost:{secure}/reverse?{urlsplit(server.address(params=SETTINGS)).query}")
            seed_is(view, 7)
            assert cookie(visit)["secure"]
            assert view.page.request.get(view.page.url).headers["strict-transport-security"] == "max-age=2592000"
            # not what the browser reports: with this certificate it asks again for a file when it is busy, and says so
            assert view.page.get_by_test_id("stException").count() == 0


@pytest.mark.browser
def test_nobody_there_is_a_page_that_comes_back_by_itself_and_a_training_survives_a_restart(chrome, replicas, tmp_path):
    port, backends = free_port(), [*map(place, replicas)]
    with person(chrome, replicas[0]) as visit:
        with proxied(tmp_path, port=port) as server:
            assert Answer(server, "/train").status == 503
            page = visit.context.new_page()
            page.goto(server.address("train", SETTINGS))
            sentence = (DEPLOY / "503.http").read_text("utf-8").split("<p>")[1].split("</p>")[0]
            assert sentence in page.inner_text("body")
        with proxied(tmp_path, *backends, port=port):
            view = View(page).ready()
            seed_is(view, 7)
            view.train()
            before = cookie(visit)
        view.until(lambda: not connected(view), "a page that has lost its server")
        there = view.step
        with proxied(tmp_path, *backends, port=port):
            view.until(lambda: connected(view) and view.step > there, "more steps of the same training")
        assert cookie(visit) == before


@pytest.mark.browser
def test_when_a_replica_dies_its_students_go_on_elsewhere_with_their_settings(chrome, replicas, tmp_path):
    """The last test with these replicas."""
    victim = replicas[1]
    with ExitStack() as stack:
        server = stack.enter_context(proxied(tmp_path, place(replicas[0]), place(victim)))
        visit = stack.enter_context(person(chrome, server))
        visit.context.add_cookies([{"name": "toydiff", "value": "2", "url": server.url}])
        idle, trains = visit("reverse", SETTINGS), visit("train", SETTINGS)
        assert cookie(visit)["value"] == "2"
        before = idle.player("hash")
        for view in (idle, trains):
            set_seed(view, 12)
        idle.until(lambda: idle.player("hash") != before, "the picture of another seed")
        trains.press(words("train.start"))
        trains.until(lambda: trains.step > 0, "the first steps")
        addresses, picture = (idle.page.url, trains.page.url), idle.player("hash")
        idle.page.evaluate(STATES)

        victim.process.kill()
        idle.until(lambda: "running" in idle.page.evaluate("states"), "the page anew, without a reload")
        trains.page.get_by_role("button", name=words("train.start"), exact=True).wait_for()
        for view in (idle, trains):
            view.until(lambda: view.at_rest and connected(view), "a page that is there")  # noqa: B023
            seed_is(view, 12)
        assert (idle.page.url, trains.page.url) == addresses
        assert cookie(visit)["value"] == "1"
        idle.until(lambda: idle.player("hash") == picture, "the same picture")
        assert trains.step == 0  # what it had learned died with the replica
        trains.page.get_by_text(words("room.lost").replace("*", "").split(":")[0]).wait_for()
        for view in (idle, trains):
            set_seed(view, 13)  # at the first attempt
            assert view.params["dataset"] == "moons"
            assert view.take_home("strip").startswith(b"\x89PNG")
            assert view.page.get_by_test_id("stException").count() == 0


# What the script of a page does from now on, in `states`.
STATES = """() => {
    window.states = [];
    const app = document.querySelector("[data-testid=stApp]");
    new MutationObserver(() => states.push(app.dataset.testScriptState))
        .observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] });
}"""
