"""A Streamlit server on this machine, and what it takes of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import nan
from pathlib import Path
from time import perf_counter

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass
class Server:
    """A running server, and the processes to look at."""

    url: str
    pids: Sequence[int] = ()
    log: Path | None = None

    def tree(self) -> list[int]:
        """These processes and all their children."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has just ended
                parents[int(path.parent.name)] = int(path.read_text().rsplit(")", 1)[1].split()[1])
        found = list(self.pids)
        for pid in found:  # which grows
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def weigh(self) -> float:
        """Resident memory in MB, all processes together. What they share counts in each."""
        pages = 0
        for pid in self.tree():
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6 if pages else nan

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        ticks = 0
        for pid in self.tree():
            with suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK") if self.pids else nan

    def wait(self, alive: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until it answers. RuntimeError where it does not start."""
        end = perf_counter() + seconds
        while alive() and perf_counter() < end:
            with suppress(OSError):
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5).close()
                return
            time.sleep(0.2)
        raise RuntimeError(f"the server did not start: {self.log.read_text(errors='replace') if self.log else ''}")

    def tracebacks(self) -> int:
        return self.log.read_text(errors="replace").count("Traceback (most recent call last)") if self.log else 0


@contextmanager
def running(log: Path, script: str = "app.py") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The app, or another script, in a process of its own, and the free port of this machine that it will listen on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {"port": port, "address": "127.0.0.1", "headless": "true", "fileWatcherType": "none"}
    command = [sys.executable, "-m", "streamlit", "run", script, *(f"--server.{k}={v}" for k, v in options.items())]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def served(log: Path, script: str = "app.py") -> Iterator[Server]:
    """The same once it answers. RuntimeError where it does not start."""
    with running(log, script) as (process, port):
        server = Server(f"http://127.0.0.1:{port}", [process.pid], log)
        server.wait(lambda: process.poll() is None)
        yield server
