"""Pictures that take long: painters make them, processes of their own, in the order in which they are asked for.

So the app has its hands free for everybody else, and of two people who want the same picture, one waits for it and
both have it. While there is no painter yet, whoever asks makes it in place.

What a generator makes is long, like somebody's own pictures, which are read one by one: in between the painter makes
another picture, if there is one, but a seventh of the time is left for what is long. So whoever moves a slider does not
wait for all of somebody else's pictures, and in a busy class those are read all the same.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from inspect import isgeneratorfunction
from math import inf
from typing import Any, ParamSpec, TypeVar, cast

import streamlit as st

from toydiff.data import user_data
from toydiff.data.user_data import Gone, Own
from toydiff.experiments.settings import Settings
from toydiff.server.limits import limits
from toydiff.server.render_worker import finished
from toydiff.server.snapshots import Failed
from toydiff.server.transport import packed
from toydiff.server.worker_process import Answer, Died, Link
from toydiff.text import words

Given = ParamSpec("Given")
Made = TypeVar("Made")

SHELF, ROOM = 16, 80_000_000  # shared pictures: those that are wanted, and those that were made lately; their bytes
GIVE_UP = 60.0  # seconds without any painter, after which one that has cost a painter is given up
LOOK = 0.25  # seconds between two looks at the line
LONG = 6.0  # seconds: of painters that have been at work on one picture for longer, nobody knows when they are free
REST = 30.0  # seconds after which a reserve that has nothing to do is let go
ATTEMPTS = 2  # painters that one picture may cost


class Order:
    """A picture that somebody wants."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make: Callable[[], Any] | None = make  # None: it is made
        maker: object = make.func if isinstance(make, partial) else make
        self.long = isgeneratorfunction(maker)
        self.picture = Answer()
        self.watched = 0  # by so many who wait for it
        self.asked: Answer | None = None  # of a painter; or of whoever makes it in place, the picture itself
        self.since = inf  # when it was begun
        self.attempts = 0
        self.brought: tuple[Own, ...] = ()  # what the painter has to be given


class Studio:
    """The painters, and the line before them. One more, the reserve, comes when all have been at one picture for long,
    so that a picture of half a minute holds up nobody's picture of half a second."""

    def __init__(self, painters: int) -> None:
        self._links = [Link("toydiff.server.render_worker") for _ in range(painters)]
        self._reserve, self._rested = Link("toydiff.server.render_worker"), inf
        self._at_work: defaultdict[Link, list[Order]] = defaultdict(list)  # at most one that is long, and one other
        self._line: list[Order] = []
        self._shelf: OrderedDict[object, Order] = OrderedDict()
        self._lock = threading.RLock()

    def start(self) -> None:
        """The processes, if there are none. They take a second or two until they can paint."""
        for link in self._links:
            link.start()

    def close(self) -> None:
        """End the processes."""
        for link in (*self._links, self._reserve):
            link.close()

    @property
    def open(self) -> bool:
        """Whether a painter is there."""
        return any(link.born for link in self._links)

    @contextmanager
    def ordered(self, make: Callable[[], Any], key: object = None) -> Iterator[Order]:
        """The order for a picture, as long as somebody waits inside; after that nobody begins it any more. With a key:
        the same one for all who ask for it."""
        with self._lock:
            order = self._shelf.get(key) if key is not None else None
            if order is None or (order.picture.done() and order.picture.exception()):
                order = Order(make)
                if key is not None:
                    self._shelf[key] = order
            if key is not None:
                self._shelf.move_to_end(key)
                self._tidy()
            order.watched += 1
            if order.asked is None and not order.picture.done() and order not in self._line:
                self._queue(order)
        try:
            yield order
        finally:
            with self._lock:
                order.watched -= 1
                if not order.watched and order in self._line:
                    self._line.remove(order)

    def clear(self) -> None:
        """Let go of the pictures that are kept: nobody is there who could ask for them again."""
        with self._lock:
            self._shelf.clear()

    def _tidy(self) -> None:
        made = [key for key, order in self._shelf.items() if order.picture.done()]
        room = sum(self._shelf[key].picture.size for key in made)
        while len(made) > SHELF or (len(made) > 1 and room > ROOM):
            room -= self._shelf.pop(made.pop(0)).picture.size

    def ahead(self, order: Order) -> int:
        """How many others come first."""
        with self._lock:
            if order not in self._line:
                return 0
            return sum(one.long == order.long for one in self._line[: self._line.index(order)])

    def go_on(self, order: Order, tell: Callable[[float], object]) -> None:
        """Give the first ones in the line to painters that are free. If there is none at all, make this one in place,
        but not if it has cost a painter already; tell: how much of it is done."""
        with self._lock:
            self._hand_out()
            if order.asked is not None or order.picture.done() or self.open:
                return
            if order.attempts and time.monotonic() - order.since < GIVE_UP:  # perhaps there is a painter soon
                return
            self._line.remove(order)
            if order.attempts:
                order.picture.set_exception(Failed(words("studio.died")))
                return
            order.asked = order.picture
        assert order.make is not None
        try:
            picture = finished(order.make(), tell)
            order.picture.size = len(packed(picture))
            order.picture.set_result(picture)
            order.make = None
            with self._lock:
                self._tidy()
        except Exception as error:
            order.picture.set_exception(error)
        except BaseException:  # the page of whoever made it ends here; perhaps somebody else wants it
            with self._lock:
                order.asked = None
                if order.watched > 1:  # whoever comes now finds it in the line
                    self._queue(order, first=True)
            raise

    def _queue(self, order: Order, first: bool = False) -> None:
        self._line.insert(0 if first else len(self._line), order)

    def _hand_out(self) -> None:
        """Give what can be begun to painters."""
        for order in list(self._line):
            link = self._free(order)
            if link is not None:
                self._line.remove(order)
                self._begin(link, order)

    def _free(self, order: Order) -> Link | None:
        """A painter that can begin with this one."""
        free = [link for link in self._links if link.born and self._has_room(link, order)]
        others = (one for orders in self._at_work.values() for one in orders if not one.long)
        begun = max((one.since for one in others), default=inf)
        if not free and not order.long and time.monotonic() - begun > LONG:
            self._call_reserve()
            free = [self._reserve] if self._reserve.born and self._has_room(self._reserve, order) else []
        return min(free, key=lambda link: len(self._at_work[link]), default=None)

    def _call_reserve(self) -> None:
        if self._reserve.pid is None:
            with suppress(OSError, RuntimeError):  # the machine has no room for one more
                self._reserve.start()
            self._rest()

    def _rest(self) -> None:
        """If the reserve has nothing to do from now on, it is let go after a while."""
        self._rested = time.monotonic()
        rest = threading.Timer(REST, self._dismiss, [self._reserve])
        rest.daemon = True
        rest.start()

    def _has_room(self, link: Link, order: Order) -> bool:
        return all(one.long != order.long for one in self._at_work[link])

    def _dismiss(self, link: Link) -> None:
        """End the process of the reserve, if it has had nothing to do."""
        with self._lock:
            unused = link is self._reserve and not self._at_work[link] and time.monotonic() - self._rested >= REST
            if unused:
                del self._at_work[link]
                self._reserve = Link("toydiff.server.render_worker")
        if unused:
            link.close()

    def _begin(self, link: Link, order: Order) -> None:
        order.asked, order.since = order.picture, time.monotonic()
        try:
            asked = link.ask("paint", 0, packed(order.make), order.brought)
        except Exception as error:
            order.picture.set_exception(error)
            return
        order.asked = asked
        self._at_work[link].append(order)
        asked.add_done_callback(partial(self._answered, link, order))

    def _answered(self, link: Link, order: Order, answer: Answer) -> None:
        error = answer.exception()
        with self._lock:
            self._at_work[link].remove(order)
            if link is self._reserve:
                self._rest()
            again = False
            if isinstance(error, Died):
                order.attempts += 1
                again = order.attempts < ATTEMPTS
                error = Failed(words("studio.died"))
            elif isinstance(error, Gone) and not order.brought:
                with suppress(Gone):  # nobody here has it either
                    order.brought = _brought(order.make)
                again = bool(order.brought)
            if again:
                order.asked = None
                if order.watched:
                    self._queue(order, first=True)
            else:  # nothing keeps what it was made of
                order.picture.share, order.asked, order.make, order.brought = 1.0, order.picture, None, ()
                order.picture.size = answer.size
        if not again and error is None:
            order.picture.set_result(answer.result())
        elif not again:
            order.picture.set_exception(error)
        with self._lock:
            self._tidy()
            self._hand_out()


@cache
def studio() -> Studio:
    """That of this server."""
    return Studio(limits().painters)


def made(make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """What a function makes of its arguments, all of which can be pickled. It may be a generator, which yields how much
    is done and returns the picture. While the page waits, it says for how many others, and how much is done.
    ValueErrors come through; where a painter fails, the page ends with a sentence."""
    return cast(Made, _fetched(partial(make, *arguments, **named), None))


def tried(make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """The same, but where a painter fails, so does this: Failed."""
    return cast(Made, _waited(partial(make, *arguments, **named), None))


def shared(make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """The same for arguments that can be compared: made once, for all sessions. Never to be changed."""
    return under((make, arguments, tuple(named.items())), make, *arguments, **named)


def under(key: object, make: Callable[Given, Made], *arguments: Given.args, **named: Given.kwargs) -> Made:
    """The same for any arguments, made once for a key."""
    return cast(Made, _fetched(partial(make, *arguments, **named), key))


@contextmanager
def in_turn(lock: threading.Lock) -> Iterator[None]:
    """Hold a lock that others may hold for as long as a picture takes. Meanwhile the page says that something is being
    computed, and can be left."""
    held = lock.acquire(blocking=False)
    try:
        if not held:
            with st.spinner(words("page.computing")):  # here too a click on something else can end this run
                line = st.empty()
                while not (held := lock.acquire(timeout=LOOK)):
                    line.empty()
        yield
    finally:
        if held:
            lock.release()


def wait_in_place(there: bool, wait: Callable[[], object]) -> None:
    """Wait, if it is not there, in a place that the page always has. So what comes after it has its own place whether
    one has to wait or not; and a film that keeps its place keeps what was switched on in it."""
    place = st.empty()
    if not there:
        with place.container():
            wait()
        place.empty()


def _fetched(make: Callable[[], Any], key: object) -> Any:
    try:
        return _waited(make, key)
    except Failed as error:
        st.error(str(error))
        st.stop()


def _waited(make: Callable[[], Any], key: object) -> Any:
    with studio().ordered(make, key) as order:
        wait_in_place(order.picture.done(), partial(_wait, order))
        return order.picture.result()


def _wait(order: Order) -> None:
    """Until the picture is there. A rerun of the page can end this function."""
    place = studio()
    with st.spinner(words("page.computing")):
        line = st.empty()
        tell = lambda share: line.progress(share) if share else line.empty()  # noqa: E731
        while True:
            place.go_on(order, tell)
            with suppress(TimeoutError):
                order.picture.exception(LOOK)
                break
            if ahead := place.ahead(order):
                line.caption(words("studio.ahead", n=ahead))
            else:
                tell(order.asked.share if order.asked is not None else 0.0)
        line.empty()


def _brought(make: Callable[[], Any] | None) -> tuple[Own, ...]:
    """The data of somebody's own that its arguments name: a painter cannot find it. Gone if nobody can."""
    if not isinstance(make, partial):
        return ()
    arguments = (*make.args, *make.keywords.values(), getattr(make.func, "__self__", None))
    settings = (one if isinstance(one, Settings) else getattr(one, "experiment", None) for one in arguments)
    keys = {getattr(one, one.brought) for one in settings if isinstance(one, Settings)}
    return tuple(user_data.find(key) for key in keys if user_data.is_key(key))
