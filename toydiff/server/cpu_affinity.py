"""On which processor each process runs, on a machine with two, while a class trains.

The app's threads wake each other all the time. Linux also wakes them on the processor of the training worker. The
worker then waits, although the other processor is free: its priority is low, so it is not moved there. With a processor
of its own it makes half as many steps again, and the app answers sooner. With one student, whose browser runs on the
same machine, it is better to leave all processors to all processes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

ALL: set[int] = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()  # that this app may use


def possible() -> bool:
    """Whether this is Linux with two processors. With more, one is always free."""
    return len(ALL) == 2


def arrange(crowd: bool, worker: int | None) -> None:
    """If crowd, one processor for the worker and the other for this process; else all for both. worker: its pid."""
    own, others = ({max(ALL)}, {min(ALL)}) if crowd and worker is not None else (ALL, ALL)
    put(os.getpid(), others)
    if worker is not None:
        put(worker, own)


def put(process: int, processors: set[int]) -> None:
    """Run every thread of a process on these processors. New threads inherit it."""
    if not possible():
        return
    for thread in Path(f"/proc/{process}/task").glob("*"):
        with suppress(OSError):  # the thread has ended
            if os.sched_getaffinity(int(thread.name)) != processors:
                os.sched_setaffinity(int(thread.name), processors)
