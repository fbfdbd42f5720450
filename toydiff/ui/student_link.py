"""The link for students: the address of this server, the link to a lesson, and its QR code."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlencode, urlsplit

import segno
import streamlit as st

from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.text import words
from toydiff.ui import page, state, teacher

MAX_ADDRESS_LENGTH = 200  # characters of an address
CODE_PIXELS = 320  # pixels of a code that is not shown in full screen
ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:(?P<port>\d{1,5}))?"
    r"(?P<path>(/[a-z0-9_~-][a-z0-9._~-]*)*)/?",
    re.IGNORECASE | re.ASCII,
)

# Without side bar and title, the code is as large as the screen allows, for the back row.
FULL_SCREEN = """<style>
[data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stMain"] h1 { display: none; }
[data-testid="stMainBlockContainer"] { padding: 0.5rem 1.5rem; }
.st-key-teacher-code [data-testid="stElementToolbar"] { display: none; }
.st-key-teacher-code img { width: min(100vh - 2.5rem, 100vw - 3rem) !important; max-width: 100% !important; }
.st-key-teacher-link code { font-size: clamp(1.1rem, 1.8vw, 3rem) !important; }
[data-testid="stMetricValue"] { font-size: 4rem; line-height: 1.2; }
[data-testid="stMetricLabel"] p { font-size: 1.4rem; }
</style>"""


def lesson_address(address: str, lesson: str, experiment: Experiment, image_experiment: ImageExperiment) -> str:
    """The address of a lesson with these settings. Default values are left out: a short link makes a coarse code, which
    can be read from far away."""
    params: dict[str, str] = {}
    for prefix, settings in (("", experiment), (state.IMAGE, image_experiment)):
        params |= {prefix + name: value for name, value in settings.changed_params().items()}
    page = "" if lesson == "home" else lesson
    return f"{address}/{page}" + (f"?{urlencode(params)}" if params else "")


def code(link: str) -> str:
    """The link as a QR code, an SVG: black on white whatever the theme is, since not every camera reads it reversed."""
    svg = io.BytesIO()
    segno.make_qr(link, error="l").save(svg, kind="svg", scale=10, border=4, dark="#000", light="#fff", xmldecl=False)
    return svg.getvalue().decode()


def usual_address(url: str | None) -> str:
    """A guess at the address of this server for students: that of the teacher's page, `url`. If its host is valid on
    this machine only, the host is replaced by this machine's address in its network."""
    port = st.get_option("server.port")
    parts = urlsplit(url or f"http://localhost:{port}")
    host = parts.hostname or "localhost"
    if _only_here(host):
        host = _in_the_network()
    host = f"[{host}]" if ":" in host else host
    place = f"{host}:{parts.port}" if parts.port else host
    return f"{parts.scheme}://{place}{parts.path.removesuffix('/teacher').rstrip('/')}"


def checked(address: str) -> str:
    """The address of a server: http or https, a host, perhaps a port and a path. ValueError, with a sentence, for
    anything else."""
    found = ADDRESS.fullmatch(address.strip().partition("?")[0])
    if found is None or len(address) > MAX_ADDRESS_LENGTH or not _is_host(found["host"]):
        raise ValueError(words("teacher.address_wrong"))
    if found["port"] is not None and not 1 <= int(found["port"]) <= 65535:
        raise ValueError(words("teacher.address_wrong"))
    port, path = f":{int(found['port'])}" if found["port"] else "", found["path"]
    if path.rpartition("/")[2] in (*page.PAGES, "teacher"):  # of one of its pages
        path = path.rpartition("/")[0]
    return f"{found['scheme'].lower()}://{found['host']}{port}{path}"


def choices() -> tuple[str, str]:
    """The controls for the lesson and the address of the server. Returns both. In full screen, the number of students
    who have come stands there instead."""
    now, url = st.session_state, st.context.url
    kept: dict[str, str] = now.setdefault("teacher-way", {"lesson": "train", "address": usual_address(url)})
    if full_screen():
        _arrivals()
    else:
        for name in kept:  # a widget forgets its value when it is not shown, so it is told at every run
            now[f"teacher-{name}"] = kept[name]
        names = {lesson: words(f"nav.{lesson}") for lesson in page.PAGES}
        shown: Callable[[str], str] = names.__getitem__
        label, key = words("teacher.lesson"), "teacher-lesson"
        st.selectbox(label, names, key=key, format_func=shown, on_change=_chosen, args=["lesson"])
        label, key = words("teacher.address"), "teacher-address"
        st.text_input(label, key=key, max_chars=MAX_ADDRESS_LENGTH, on_change=_chosen, args=["address"])
        if _only_here(_host(kept["address"])):
            st.warning(words("teacher.nowhere"))
        elif _only_here(_host(url or "") or "localhost") and kept["address"] == usual_address(url):
            st.info(words("teacher.only_here"))
    st.toggle(words("teacher.large"), key="teacher-large", help=words("teacher.large_help"))
    return kept["lesson"], kept["address"]


def show_code(link: str) -> None:
    """The QR code of a link; in full screen as large as the screen lets it be."""
    if full_screen():
        st.html(FULL_SCREEN)
    with st.container(key="teacher-code"):
        st.image(
            code(link), width="content" if full_screen() else CODE_PIXELS, alt=words("teacher.code_alt", link=link)
        )


def full_screen() -> bool:
    """Whether only the code and its link are shown."""
    return bool(st.session_state.get("teacher-large", False))


@st.fragment(run_every=teacher.REFRESH)
def _arrivals() -> None:
    """The number of students who have come."""
    teacher.keep_paused()
    st.metric(words("teacher.here"), len(teacher.students()))


def _chosen(name: str) -> None:
    st.session_state["teacher-way"][name] = st.session_state[f"teacher-{name}"]


def _host(address: str) -> str:
    with suppress(ValueError):  # what a teacher types need not be an address
        return urlsplit(address).hostname or ""
    return ""


def _is_host(host: str) -> bool:
    """Whether this is a name or an IP address. One in brackets, or that ends with a number, must be the latter."""
    if host.startswith("[") or host.rpartition(".")[2].isdigit():
        try:
            return ip_address(host.strip("[]")).version == (6 if host.startswith("[") else 4)
        except ValueError:
            return False
    labels = host.split(".")
    return all(0 < len(label) < 64 and label[0] != "-" and label[-1] != "-" for label in labels)


def _only_here(host: str) -> bool:
    """Whether a host name means this machine on every machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _in_the_network() -> str:
    """The address that this machine has for others; without a network, its name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, suppress(OSError):
        asked.connect(("192.0.2.1", 9))  # only chooses the way: nothing is sent
        host: str = asked.getsockname()[0]
        if not _only_here(host):
            return host
    return socket.gethostname()
