"""Memory that is free goes back to the machine. glibc would keep it: an arena of its own for every thread, of which a
class starts thousands, and none of them given back."""

from __future__ import annotations

import ctypes
from contextlib import suppress

ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -8, -3, -1  # the numbers of these settings in malloc.h
ARENAS = 2
LARGE, SPARE = 128 * 1024, 32 * 1024**2  # bytes


def few_arenas() -> None:
    """Have the threads share their arenas. Elsewhere than on Linux with glibc: nothing."""
    _set(ARENA_MAX, ARENAS)


def large_apart() -> None:
    """Have everything large, like a film, taken from the machine by itself and given back as soon as it is free. Else
    the films of a class, made and forgotten, leave holes that stay. Not where something large is needed all the time:
    to take it costs more than most sums do."""
    _set(MMAP_THRESHOLD, LARGE)
    _set(TRIM_THRESHOLD, SPARE)


def _set(setting: int, value: int) -> None:
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(setting, value)


def give_back() -> None:
    """Give back what is free now; some hundredths of a second."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
