"""The supervisor of a worker process, in the app: it starts the process, starts a new one if that dies, and sends and
receives its messages."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol
from weakref import WeakValueDictionary

from toydiff.server import cpu_affinity, transport
from toydiff.server.snapshots import Beat

ROOT = Path(__file__).resolve().parents[2]
WATCH_SECONDS = 1.0  # seconds between two checks of all trainings
SILENCE_SECONDS = 120.0  # seconds without a message, while a request waits, after which the process is killed
MAX_RESTART_SECONDS = 30.0  # seconds between two attempts to start a process, at most


class Died(Exception):  # noqa: N818
    """The process died before it answered. A new one runs: ask again."""


class Answer(Future[Any]):
    """The answer of a worker process, when it comes."""

    share = 0.0  # of the work that is done, 0 ... 1
    size = 0  # bytes of the message


class Listener(Protocol):
    """What hears the news of a worker process: a training."""

    def heard(self, what: str, *more: Any) -> None:
        """Take a message. Called from any thread."""

    def revive(self, guilty: bool) -> None:
        """A new process has started, without any job. guilty: the old one died while it worked for this training."""

    def look_after(self) -> None:
        """Called every WATCH_SECONDS seconds, to see whether a browser is there. Must not wait."""


class WorkerProcess:
    """One worker process, and its successors. Only `Future.result` waits for it. module: what it runs."""

    def __init__(self, module: str = "toydiff.server.training_worker") -> None:
        self._module = module
        self.lock = threading.RLock()  # held while a training and its process are synchronized
        self.beat = Beat(0.0, None)
        self._listeners: WeakValueDictionary[int, Listener] = WeakValueDictionary()
        self._waiting: dict[int, Answer] = {}
        self._requests = itertools.count()
        self._outbox: SimpleQueue[tuple[Any, ...] | None] = SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._turn: int | None = None  # the number of the training that it works for now
        self._heard = time.monotonic()
        self._closed = self._born = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def born(self) -> bool:
        """Whether the process has loaded everything and sent its first sign of life."""
        return self._born

    def start(self) -> None:
        """Start the process, unless it runs."""
        with self.lock:
            if self._process is None:
                self._spawn()
                atexit.register(self.close)
                threading.Thread(target=self._read, name="news", daemon=True).start()
                threading.Thread(target=self._look_after, name="watch", daemon=True).start()

    def close(self) -> None:
        """End the process. Its memory is lost."""
        self._closed = True
        atexit.unregister(self.close)
        self._outbox.put(None)
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def listen(self, key: int, listener: Listener) -> None:
        """Send the news of this number to a listener, as long as the listener exists."""
        with self.lock:
            self._listeners[key] = listener

    def listeners(self) -> list[Any]:
        """All listeners."""
        with self.lock:
            return list(self._listeners.values())

    def send(self, what: str, key: int, *more: Any) -> None:
        """Send a message without an answer. From any thread, also during a garbage collection."""
        self._outbox.put((what, key, None, *more))

    def ask(self, what: str, key: int, *more: Any) -> Answer:
        """Send a message with an answer. The answer raises Died if the process ends first, or the error that it had."""
        answer = Answer()
        with self.lock:
            if not self._waiting:
                self._heard = time.monotonic()
            request = next(self._requests)
            self._waiting[request] = answer
            self._outbox.put((what, key, request, *more))
        return answer

    # ---------------------------------------------------------------- threads

    def _spawn(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # numpy's threads wait for work at full speed; torch's are set in `child_main.begin`
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
        )
        cpu_affinity.put(process.pid, cpu_affinity.ALL)  # the new process must not inherit this one's processors
        self._process, self._outbox, self._turn, self._born = process, SimpleQueue(), None, False
        threading.Thread(target=self._write, args=(process, self._outbox), name="orders", daemon=True).start()

    def _write(self, process: subprocess.Popen[bytes], outbox: SimpleQueue[tuple[Any, ...] | None]) -> None:
        assert process.stdin is not None
        while (message := outbox.get()) is not None:
            try:
                transport.send(process.stdin, message)
            except OSError:  # the process has died: `_read` notices it too
                break
            except Exception as error:
                logging.getLogger(__name__).exception("a message could not be sent")
                self._answered(message[2], None, error)
            del message  # it may be large
        with suppress(OSError):
            process.stdin.close()

    def _read(self) -> None:
        while True:
            process = self._process
            assert process is not None and process.stdout is not None
            try:
                (what, *more), size = transport.receive(process.stdout)
            except Exception as error:
                if self._closed:
                    return
                if not isinstance(error, EOFError):
                    logging.getLogger(__name__).exception("news that could not be read")
                process.kill()
                self._again()
                continue
            self._heard = time.monotonic()
            with _logged("news that could not be taken in"):
                self._take(size, what, *more)
            del more

    def _look_after(self) -> None:
        while not self._closed:
            time.sleep(WATCH_SECONDS)
            if self._waiting and time.monotonic() - self._heard > SILENCE_SECONDS and self._process is not None:
                self._process.kill()  # it hangs
            for listener in self.listeners():
                with _logged("a training that could not be looked after"):
                    listener.look_after()
                del listener  # otherwise this thread keeps the last one alive

    def _take(self, size: int, what: str, *more: Any) -> None:
        if what == "answer":
            request, value, error = more
            self._answered(request, value, error, size)
        elif what == "share":
            request, share = more
            if (asked := self._waiting.get(request)) is not None:
                asked.share = share
        elif what == "turn":
            (self._turn,) = more
        elif what == "beat":
            (self.beat,) = more
            self._born = True
        else:
            key, *news = more
            listener = self._listeners.get(key)
            if listener is not None:
                listener.heard(what, *news)

    def _answered(self, request: int | None, value: object, error: Exception | None, size: int = 0) -> None:
        answer = self._waiting.pop(request, None) if request is not None else None
        if answer is None:
            return
        answer.size = size
        if error is None:
            answer.set_result(value)
        else:
            answer.set_exception(error)

    def _again(self) -> None:
        """Start a new process in place of the dead one, and resume every training in it."""
        assert self._process is not None and self._process.stdout is not None
        self._process.stdout.close()
        self._outbox.put(None)
        ended = self._process.wait()
        logging.getLogger(__name__).warning("the process %s ended (%s): a new one", self._module, ended)
        pause = 0.0 if self._born else 1.0  # do not restart a process at full speed if it cannot even begin
        guilty, alive = self._turn, False
        while not alive and not self._closed:
            time.sleep(pause)
            with self.lock:
                try:
                    self._spawn()
                    alive = True
                except OSError:
                    logging.getLogger(__name__).exception("no process %s", self._module)
                    pause = min(MAX_RESTART_SECONDS, 2 * pause + 1)
                for key, listener in list(self._listeners.items()) if alive else []:
                    with _logged("a training that could not go on"):
                        listener.revive(key == guilty)
                self._heard = time.monotonic()
                waiting, self._waiting = self._waiting, {}
            for answer in waiting.values():
                answer.set_exception(Died())


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """Log an error instead of raising it: a thread that serves all trainings must not end because of one."""
    try:
        yield
    except Exception:
        logging.getLogger(__name__).exception(what)
