"""What a training worker and a render worker begin with, and how they read messages."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from typing import Any, BinaryIO

import torch

from toydiff.server import transport
from toydiff.server.memory import few_arenas


def begin(nice: int) -> tuple[BinaryIO, BinaryIO]:
    """Set this process up. Returns the streams of incoming and of outgoing messages. nice: as for os.nice."""
    source, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with messages
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if hasattr(os, "nice"):
        os.nice(nice)
    few_arenas()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # a collection need not visit the objects of libraries
    return source, out


def read(source: BinaryIO, take: Callable[[tuple[Any, ...]], None]) -> None:
    """Pass messages on. If the app has ended, end this process at once."""
    try:
        while True:
            message, _ = transport.receive(source)
            take(message)
            del message  # it may be large
    except EOFError:
        pass
    except Exception:
        logging.getLogger(__name__).exception("a message could not be read")
    finally:
        os._exit(0)
