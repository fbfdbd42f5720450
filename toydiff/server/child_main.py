"""What every process of the app's own begins with."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from toydiff.server import transport
from toydiff.server.memory import few_arenas


def begin(nice: int) -> tuple[BinaryIO, BinaryIO]:
    """Where messages come from, and where they go. `nice`: how far this process stands back behind others."""
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not end up between the messages
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if hasattr(os, "nice"):
        os.nice(nice)
    few_arenas()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a collection need not walk through the libraries
    return source, out


def read(source: BinaryIO, take: Callable[[tuple[Any, ...]], None]) -> None:
    """Pass messages on. If the app is gone, by whatever end, so are we, in the middle of whatever we do."""
    try:
        while True:
            message, _ = transport.receive(source)
            take(message)
            del message  # which may be large
    except EOFError:
        pass
    except Exception:
        logging.getLogger(__name__).exception("a message could not be read")
    finally:
        os._exit(0)


def memory() -> int | None:
    """The bytes that this process holds, where that can be known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None  # not Linux
