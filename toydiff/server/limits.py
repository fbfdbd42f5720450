"""How much one server takes on: every limit in one place, each an environment variable with a default that fits the
machine.

TOYDIFF_TRAINEES  tabs that may train at the same time; others watch the exact predictor
TOYDIFF_VISITORS  tabs in all; who comes then is asked to wait
TOYDIFF_WORKERS   processes that train
TOYDIFF_PAINTERS  processes that make pictures; one more comes while all are at work on long ones
TOYDIFF_THREADS   threads with which a worker trains on images
TOYDIFF_SECONDS   of work that one picture may take; one that would take longer is not begun
TOYDIFF_TEACHER   the word that opens the teacher's view; without it there is none
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from toydiff.text import words

PER_CORE = 30  # tabs that train: measured with benchmarks/class.py
SESSION_MEGABYTES = 12  # of a tab that trains, with room to spare
SHORTEST = 8  # characters of the teacher's word
LIMIT_RANGES = {
    "trainees": (1, 10_000),
    "visitors": (1, 10_000),
    "workers": (1, 64),
    "painters": (1, 64),
    "threads": (1, 64),
    "seconds": (1, 3600),
}


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _megabytes() -> float:
    """The machine's memory; unknown: 4 GB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    except (AttributeError, ValueError, OSError):
        return 4000.0


def usual_trainees() -> int:
    """As many as cores and half of the memory carry."""
    return max(2, min(PER_CORE * cores(), int(_megabytes() / 2 / SESSION_MEGABYTES)))


@dataclass(frozen=True)
class Limits:
    """What this server takes on."""

    trainees: int = field(default_factory=usual_trainees)
    visitors: int = field(default_factory=lambda: 2 * usual_trainees())
    workers: int = 1
    painters: int = field(default_factory=lambda: min(4, max(1, cores() // 2)))
    # Of one training on images; those of points are too small for two. Half of the cores: where another program needs
    # one of them, threads that wait for each other are many times slower than one. And always as many: the last digits
    # of a sum depend on it, and one seed is one picture.
    threads: int = field(default_factory=lambda: min(4, max(1, cores() // 2)))
    seconds: int = 30
    teacher: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Limits:
        """The limits that are set. ValueError, with a sentence, for one that cannot be used."""
        found: dict[str, int | str] = {}
        for name, (low, high) in LIMIT_RANGES.items():
            text = environment.get(f"TOYDIFF_{name.upper()}", "").strip()
            if not text:
                continue
            if not (text.isascii() and text.isdigit() and low <= int(text[:9]) <= high):
                raise ValueError(words("limits.number", name=f"TOYDIFF_{name.upper()}", low=low, high=f"{high:,}"))
            found[name] = int(text)
        if "trainees" in found and "visitors" not in found:
            found["visitors"] = 2 * int(found["trainees"])
        if teacher := environment.get("TOYDIFF_TEACHER", ""):
            if len(teacher) < SHORTEST:
                raise ValueError(words("limits.teacher", least=SHORTEST))
            found["teacher"] = teacher
        return cls(**found)  # type: ignore[arg-type]


@cache
def limits() -> Limits:
    """Those of this server."""
    return Limits.from_environment()
