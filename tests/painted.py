"""What tests have a painter make: it has to find it in a module."""

import os
import signal
import threading
import time
from collections.abc import Generator
from pathlib import Path

from toydiff.draw.scene import Scene
from toydiff.draw.scenes import reverse_scene
from toydiff.experiment import Experiment

SMALL = Experiment(points=100, T=10, width=8, depth=1, batch=16, particles=16)


LOCK = threading.Lock()


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
    """The same, but lets others go first."""
    while not flag.exists():
        time.sleep(0.01)
        yield 0.5
    return os.getpid()


def worked(flag: Path) -> Generator[float, None, float]:
    """The same; returns the seconds that were left for it."""
    seconds = 0.0
    while not flag.exists():
        began = time.monotonic()
        time.sleep(0.01)
        seconds += time.monotonic() - began
        yield 0.5
    return seconds


def exact_scene(experiment: Experiment) -> Scene:
    return reverse_scene(experiment, experiment.exact(), "x")


def die(flag: Path) -> int:
    """Once: the second painter lives."""
    if flag.exists():
        return os.getpid()
    flag.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_again() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
