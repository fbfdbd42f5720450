"""What is done before a page."""

from __future__ import annotations

import gc
import socket
from contextlib import suppress

import streamlit as st
import torch

from toydiff.server import live
from toydiff.server.memory import few_arenas, map_large_blocks
from toydiff.server.render_pool import render_pool

INTERNET = socket.AF_INET, socket.AF_INET6


def prepare() -> None:
    """Make room for a class. Before each page, and before each part of one that runs by itself: Streamlit runs them in
    new threads, where torch would start one more for a product of matrices, or for a mean, and have it wait in a loop
    for the next one: a quarter of the app's time."""
    _set_up()
    torch.set_num_threads(1)  # of the thread that says so


@st.cache_resource
def _set_up() -> None:
    """Processes that train and that paint, and a garbage collector that skips the libraries.

    torch leaves a heap of a million objects. A collection that walks it holds the interpreter, and with it every
    student, for a second; frozen objects are not walked. (Streamlit's own collection after every script run is off
    in .streamlit/config.toml.)
    """
    few_arenas()
    map_large_blocks()
    live.prepare()
    render_pool().start()
    send_at_once()
    gc.collect()
    gc.freeze()


def send_at_once() -> None:
    """Send every message when it is there. asyncio does not say so to what a listening socket accepts that was made
    like Streamlit's, without the name of its protocol: the second message of a page would wait until the browser's
    machine has said that it has the first, and it takes its time to say so, on Linux 40 ms.

    Whatever such a socket accepts from now on inherits it.
    """
    for one in gc.get_objects():
        if type(one) is socket.socket and one.type == socket.SOCK_STREAM and one.family in INTERNET:
            with suppress(OSError):  # it has been closed
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
