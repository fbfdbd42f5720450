"""Give free memory back to the system. glibc keeps it: each thread gets an arena, and a class starts thousands of
threads."""

from __future__ import annotations

import ctypes
from contextlib import suppress

ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -8, -3, -1  # parameters of mallopt, in malloc.h
ARENAS = 2
LARGE, SPARE = 128 * 1024, 32 * 1024**2  # bytes


def few_arenas() -> None:
    """Let all threads share ARENAS arenas. Does nothing on systems without glibc."""
    _set(ARENA_MAX, ARENAS)


def map_large_blocks() -> None:
    """Map each large block, such as a film, separately, so that it is given back as soon as it is free. Otherwise the
    films of a class leave holes. Not for a process that needs large blocks all the time: mapping them is slow."""
    _set(MMAP_THRESHOLD, LARGE)
    _set(TRIM_THRESHOLD, SPARE)


def _set(setting: int, value: int) -> None:
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(setting, value)


def give_back() -> None:
    """Give free memory back now. Takes some hundredths of a second."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
