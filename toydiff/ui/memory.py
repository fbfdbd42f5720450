"""Memory that is free goes back to the machine. glibc would keep it: an arena of its own for every thread, of which a
class starts thousands, and none of them given back."""

from __future__ import annotations

import ctypes
from contextlib import suppress

ARENA_MAX = -8  # the number of that setting in malloc.h
ARENAS = 2


def few_arenas() -> None:
    """Have the threads share their arenas. Elsewhere than on Linux with glibc: nothing."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(ARENA_MAX, ARENAS)


def give_back() -> None:
    """Give back what is free now; some hundredths of a second."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
