"""How much memory this process uses, and how it gives free memory back to the system. glibc keeps free memory: each
thread gets an arena, and a class starts thousands of threads."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

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


def used_bytes() -> int | None:
    """The memory that this process uses; where the system does not say, the most that it ever used; else None."""
    with suppress(OSError, AttributeError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with suppress(ImportError):
        import resource  # not on Windows

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None


def give_back() -> None:
    """Give free memory back now. Takes some hundredths of a second."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
