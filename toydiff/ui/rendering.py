"""Pictures that take long, as pages ask for them: the page waits, says so, and can be left meanwhile.

Where a picture is made, and for whom it is kept:

made                in a render worker; not kept
made_bit_by_bit     in the process for uploads; not kept
shared              in a render worker, for all sessions
cached_under        the same, for arguments that cannot be compared
cached_in_session   wherever its function makes it, for this session

What is loaded in the app's own process for all sessions stands under `st.cache_resource`; a number that is quickly
computed from settings under `lru_cache`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

import streamlit as st

from toydiff.server.render_pool import RenderJob, RenderPool, render_pool, upload_pool
from toydiff.server.snapshots import Failed
from toydiff.text import words
from toydiff.ui import state

Given = ParamSpec("Given")
Made = TypeVar("Made")

LOOK_SECONDS = 0.25  # between two looks at a job


def made(make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """What a function makes of its arguments, in a render worker: all of them can be pickled. While the page waits, it
    shows the queue. A ValueError comes through; if the worker fails, the page ends with a sentence."""
    return cast(Made, _fetched(partial(make, *arguments, **named), None))


def made_bit_by_bit(
    make: Callable[Given, Generator[float, None, Made]], *arguments: Given.args, **named: Given.kwargs
) -> Made:
    """Like `made`, but in the process for uploads. The function yields how much is done, which the page shows, and
    returns the result."""
    return cast(Made, _fetched(partial(make, *arguments, **named), None, upload_pool()))


def tried(make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """Like `made`, but raises Failed if the worker fails."""
    return cast(Made, _waited(partial(make, *arguments, **named), None))


def shared(make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """Like `made`, once for all sessions, for arguments that can be compared. The result is never changed."""
    return cached_under((make, arguments, tuple(named.items())), make, *arguments, **named)


def cached_under(key: object, make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """Like `shared` for any arguments, once for each key."""
    return cast(Made, _fetched(partial(make, *arguments, **named), key))


def cached_in_session(name: str, key: object, make: Callable[[], Made], *, this_page: bool = False) -> Made:
    """What `make` makes, kept in this session under a name until its key is another one. this_page: or until another
    page is opened, because films are large."""
    memory = state.session().shown if this_page else state.session().kept
    found = memory.get(name)

    def remember() -> None:
        nonlocal found
        memory[name] = found = key, make()

    wait_in_place(found is not None and found[0] == key, remember)
    assert found is not None
    result: Made = found[1]
    return result


@contextmanager
def exclusive(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock. While another session holds it, the page shows that something is computed, and can be left."""
    held = lock.acquire(blocking=False)
    try:
        if not held:
            with st.spinner(words("page.computing")):  # here too a click on something else can end this run
                line = st.empty()
                while not (held := lock.acquire(timeout=LOOK_SECONDS)):
                    line.empty()
        yield
    finally:
        if held:
            lock.release()


def wait_in_place(there: bool, wait: Callable[[], object]) -> None:
    """Wait, unless the result is there, in a container that the page always has. So everything after it keeps its
    place in the page, and a film that keeps its place keeps what was switched on in it."""
    place = st.empty()
    if not there:
        with place.container():
            wait()
        place.empty()


def _fetched(make: Callable[[], Any], key: object, pool: RenderPool | None = None) -> Any:
    try:
        return _waited(make, key, pool)
    except Failed as error:
        st.error(str(error))
        st.stop()


def _waited(make: Callable[[], Any], key: object, pool: RenderPool | None = None) -> Any:
    pool = pool or render_pool()
    with pool.requested(make, key) as job:
        wait_in_place(job.picture.done(), partial(_wait, pool, job))
        return job.picture.result()


def _wait(pool: RenderPool, job: RenderJob) -> None:
    """Until the picture is there. A rerun of the page can end this function."""
    with st.spinner(words("page.computing")):
        line = st.empty()
        tell = lambda share: line.progress(share) if share else line.empty()  # noqa: E731
        while True:
            pool.go_on(job, tell)
            with suppress(TimeoutError):
                job.picture.exception(LOOK_SECONDS)
                break
            if ahead := pool.ahead(job):
                line.caption(words("studio.ahead", n=ahead))
            else:
                tell(job.asked.share if job.asked is not None else 0.0)
        line.empty()
