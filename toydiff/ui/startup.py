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
    """Set the process up, and limit torch to one thread in this thread. Call it before each page and each fragment that
    runs by itself: Streamlit runs them in new threads. In each of them torch would start a second thread, which waits
    in a loop for the next product of matrices: a quarter of the app's time."""
    _set_up()
    torch.set_num_threads(1)  # torch keeps this number per thread


@st.cache_resource
def _set_up() -> None:
    """Start the processes that train and that render, and let the garbage collector skip the libraries.

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
    """Switch off Nagle's algorithm. asyncio does so only for sockets that name their protocol, and Streamlit's
    listening socket does not. With it, the second message of a page waits until the browser has acknowledged the
    first: 40 ms on Linux. Connections that are accepted from now on inherit the setting.
    """
    for one in gc.get_objects():
        if type(one) is socket.socket and one.type == socket.SOCK_STREAM and one.family in INTERNET:
            with suppress(OSError):  # it has been closed
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
