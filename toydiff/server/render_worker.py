"""A render worker: a process that makes the pictures that take long, one after another, so that the app stays prompt.

`python -m toydiff.server.render_worker`, started by `supervisor.py`. It ends when the app has ended.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the app, which then ends this process

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, BinaryIO

import torch

import toydiff.draw.scenes  # noqa: F401, what most pictures need
from toydiff.data import user_data
from toydiff.data.user_data import UserDataset
from toydiff.server import child_main, transport
from toydiff.server.memory import give_back, used_bytes
from toydiff.server.snapshots import Beat, Failed
from toydiff.text import words

RENDER_NICE = 1  # just below the app: a page waits for it
RENDER_BEAT_SECONDS = 1.0  # seconds between two signs of life
HELD = 4  # data sets of users that it keeps


class Out:
    """The outgoing stream, shared by several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def send(self, *message: object) -> None:
        with self._lock:
            transport.send(self._stream, message)

    def live(self) -> None:
        """Send signs of life: one picture may take a minute."""
        with suppress(BrokenPipeError):
            while True:
                self.send("beat", Beat(0.0, used_bytes()))
                time.sleep(RENDER_BEAT_SECONDS)


def main() -> None:
    """Answer ("paint", _, request, make, datasets) with ("answer", request, picture, error), until the app is gone;
    before that, now and then, with ("share", request, how much is done).

    make: a function without arguments, packed. datasets: the users' data sets that it needs.
    """
    source, stream = child_main.begin(RENDER_NICE)
    torch.set_flush_denormal(True)  # weights below 1e-38 change no picture, and cost a tenth of the time
    inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
    out, held = Out(stream), deque[UserDataset](maxlen=HELD)
    threading.Thread(target=child_main.read, args=(source, inbox.put), daemon=True).start()
    threading.Thread(target=out.live, daemon=True).start()

    with suppress(BrokenPipeError):
        while True:
            _, _, request, make, datasets = inbox.get()
            held.extend(user_data.keep(one.name, one.data) for one in datasets)
            picture, error = rendered(make, partial(out.send, "share", request))
            try:
                out.send("answer", request, picture, error)
            except Exception:  # it cannot be sent, or the app has ended
                logging.getLogger(__name__).exception("a picture could not be sent")
                out.send("answer", request, None, Failed(words("studio.failed")))
            del make, datasets, picture, error
            give_back()


def rendered(make: bytes, tell: Callable[[float], object]) -> tuple[object, Exception | None]:
    """What the packed function makes, or what went wrong: if that is our fault, a sentence, and the log says more.
    A generator yields how much is done, which is told, and returns the picture."""
    try:
        return finished(transport.unpacked(make)(), tell), None
    except ValueError as error:
        return None, error
    except MemoryError:
        return None, Failed(words("studio.no_memory"))
    except Exception:
        logging.getLogger(__name__).exception("a picture could not be made")
        return None, Failed(words("studio.failed"))


def finished(picture: object, tell: Callable[[float], object]) -> object:
    """The picture; of a generator, the one that it returns."""
    if not isinstance(picture, Generator):
        return picture
    while True:
        try:
            tell(next(picture))
        except StopIteration as end:
            return end.value


if __name__ == "__main__":
    main()
