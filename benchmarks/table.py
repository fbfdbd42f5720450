"""One row per comparison, and the way all of them are measured: in turn, so that a busy machine is unfair to nobody."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeVar

import torch

T = TypeVar("T")


class SkippedError(Exception):
    """Cannot be measured here: the text says why."""


class Row(NamedTuple):
    """A line of the table."""

    what: str
    ours: str
    theirs: str
    ratio: str
    how: str


def skipped(what: str, why: object) -> Row:
    """The line of what cannot be measured here."""
    return Row(what, "–", "–", "–", f"skipped: {why}")


def seconds(work: Callable[[], object]) -> float:
    """How long the work takes."""
    began = perf_counter()
    work()
    return perf_counter() - began


def interleaved(rounds: int, *measures: Callable[[], T]) -> list[list[T]]:
    """What each measure gave, taken A B A B ... in so many rounds."""
    taken = [[measure() for measure in measures] for _ in range(rounds)]
    return [list(values) for values in zip(*taken, strict=True)]


def markdown(rows: Iterable[Row]) -> str:
    """The table."""
    lines = [Row._fields, ["---"] * len(Row._fields), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """Processor, cores, and the versions that matter."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
