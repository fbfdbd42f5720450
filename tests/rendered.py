"""What tests have a render worker make: it has to find it in a module."""

import os
import signal
import threading
import time
from collections.abc import Generator
from pathlib import Path

from toydiff.draw.scene import Scene
from toydiff.draw.scenes import reverse_scene
from toydiff.experiments.experiment import Experiment

SMALL = Experiment(points=100, T=10, width=8, depth=1, batch=16, particles=16)


class Lock:
    """A lock that somebody else holds, for so many attempts to get it."""

    def __init__(self) -> None:
        self.refusals = 0
        self._lock = threading.Lock()
        self.locked, self.release = self._lock.locked, self._lock.release

    def refuse(self, times: int) -> None:
        self.refusals = times

    def acquire(self, *how: object, **more: object) -> bool:
        if self.refusals:
            self.refusals -= 1
            return False
        return self._lock.acquire(*how, **more)


LOCK = Lock()


def place() -> int:
    """Where this is computed."""
    return os.getpid()


def unsendable() -> object:
    return lambda: 1


def wrong(error: Exception) -> None:
    raise error


def slowly(steps: int, each: float) -> Generator[float, None, int]:
    for step in range(steps):
        time.sleep(each)
        yield (step + 1) / steps
    return steps


def until(flag: Path) -> int:
    """As long as a test wants."""
    while not flag.exists():
        time.sleep(0.01)
    return os.getpid()


def step_by_step(flag: Path) -> Generator[float, None, int]:
    """The same, and says how much is done."""
    while not flag.exists():
        time.sleep(0.01)
        yield 0.5
    return os.getpid()


def exact_scene(experiment: Experiment) -> Scene:
    return reverse_scene(experiment, experiment.exact(), "x")


def die(flag: Path) -> int:
    """Once: the second worker lives."""
    if flag.exists():
        return os.getpid()
    flag.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_again() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
