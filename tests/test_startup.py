"""What is done before a page: in each of its threads, and once."""

import os
import socket
import threading
from types import SimpleNamespace

import pytest
import torch

from toydiff.server.limits import cores
from toydiff.ui import startup, state


@pytest.fixture
def nothing_is_started(monkeypatch) -> None:
    monkeypatch.setattr(startup, "_set_up", lambda: None)


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def follow() -> None:
    quiet = SimpleNamespace(moving=False, lost=None)
    state.follow(quiet, quiet)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task") or cores() < 2, reason="needs Linux and two processors")
@pytest.mark.parametrize("before", [startup.prepare, follow])
def test_a_page_computes_in_its_own_thread(nothing_is_started, before):
    seen = []

    def page() -> None:
        before()
        others = threads()
        torch.rand(200, 20) @ torch.rand(20, 200)
        seen.append(threads() - others)

    one = threading.Thread(target=page)
    one.start()
    one.join()
    assert seen == [0]


@pytest.mark.parametrize("family", startup.INTERNET)
def test_every_message_is_sent_at_once(family):
    with socket.socket(family) as listening, socket.socket(family) as browser:
        assert listening.proto == 0  # as Streamlit makes it
        try:
            listening.bind(("", 0))
        except OSError:
            pytest.skip("this machine has no such addresses")
        listening.listen()
        startup.send_at_once()
        browser.connect(listening.getsockname()[:2])
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_closed_socket_is_no_error():
    gone = socket.socket()
    gone.close()
    startup.send_at_once()
    assert gone.fileno() == -1
