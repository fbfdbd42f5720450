"""Which process runs on which processor, where there are two and a class trains.

The app's threads wake each other all the time. Linux wakes them beside the worker too, which stands back and waits
although the other processor is free, and a worker with its low priority is not moved there. With a processor of its own
it makes half as many steps more, and the app answers sooner. Whoever is alone, with a browser on the same machine, is
better served by all processors for everybody.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

ALL: set[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()  # that this app may use


def possible() -> bool:
    """Whether there is anything to share out: two processors, on Linux. With more of them one is always free."""
    return len(ALL) == 2


def arrange(crowd: bool, worker: int | None) -> None:
    """Give the worker, a process, one processor and this process the other one; without a crowd, both all of them."""
    own, others = ({max(ALL)}, {min(ALL)}) if crowd and worker is not None else (ALL, ALL)
    put(os.getpid(), others)
    if worker is not None:
        put(worker, own)


def put(process: int, processors: set[int]) -> None:
    """Have every thread of a process run on these. What it starts from now on inherits that."""
    if not possible():
        return
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):  # it has ended
            if os.sched_getaffinity(int(thread.name)) != processors:
                os.sched_setaffinity(int(thread.name), processors)
