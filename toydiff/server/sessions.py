"""Who is in the room: every browser tab that this server knows, what it has, and when it went away.

A tab keeps the key of its session (components/tab). If it is loaded again, or comes back after its connection was lost,
it finds everything where it was, unless it was away for longer than FREED_AFTER.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from toydiff.data.user_data import UserDataset
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.limits import Limits
from toydiff.server.live import ImageRun, Race, Run, Training
from toydiff.server.memory import give_back
from toydiff.server.render_pool import render_pool

FREED_AFTER = 110.0  # seconds: Streamlit itself lets go of a session after 120
LOOK = 1.0  # seconds between two looks at who is still there


@dataclass(eq=False)
class Session:
    """One browser tab: what it trains and what it brought along."""

    visit: str  # what Streamlit calls the session; a tab that comes back has another one
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))  # nobody else can know it
    run: Run | None = None
    image_runs: dict[ImageExperiment, ImageRun] = field(default_factory=dict)  # the newest last
    races: dict[str, Race] = field(default_factory=dict)  # each under the name that its page gave it
    user_data: dict[str, UserDataset] = field(default_factory=dict)  # the oldest first
    kept: dict[str, Any] = field(default_factory=dict)  # what pages have computed for it
    shown: dict[str, Any] = field(default_factory=dict)  # films of points, and files, of the page that it looks at
    experiment: Experiment | None = None  # what it looks at
    page: str = ""
    seated: bool = False  # has one of the places for those who train
    teacher: bool = False  # has given the teacher's word
    left: float | None = None  # when it was seen to be gone

    def trainings(self) -> Iterator[Training]:
        """Everything that this session has trained or is training."""
        if self.run is not None:
            yield self.run
        yield from [*self.image_runs.values(), *self.races.values()]

    @property
    def trained(self) -> bool:
        """Whether there is anything to lose."""
        return any(training.step > 0 or training.running for training in self.trainings())

    def turn(self, page: str) -> None:
        """It looks at this page now. What the last one showed is large, and soon made again."""
        if page != self.page:
            self.shown.clear()
        self.page = page

    def unite(self, old: Session, new: Session) -> None:
        """Have what both have. Until a tab is recognized, for a second or so, it has a new session: what is clicked
        there must not be lost."""
        self.user_data = old.user_data | new.user_data
        self.kept = new.kept | old.kept  # not the empty canvas of the new one
        if old.page == new.page:
            new.shown |= old.shown | new.shown
        self.shown = new.shown  # the very one that the buttons on the screen write into
        self.page, self.teacher = new.page, old.teacher or new.teacher

    def free(self) -> None:
        """Let go of everything."""
        for training in self.trainings():
            training.running = False
        self.run, self.seated = None, False
        self.image_runs.clear()
        self.races.clear()
        self.user_data.clear()
        self.kept.clear()
        self.shown.clear()


class Room:
    """All sessions, and the rules for them.

    connected: whether a browser shows the session of that visit now. tidy: is called once a second as well.
    """

    def __init__(self, limits: Limits, connected: Callable[[str], bool], tidy: Callable[[], object]) -> None:
        self.limits, self._connected, self._tidy = limits, connected, tidy
        self.held = False  # the teacher has paused everybody
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._gone: dict[str, Session] = {}  # held until they are freed
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def enter(self, visit: str) -> Session:
        """A session for a tab that has none."""
        with self._lock:
            session = Session(visit)
            self._sessions[session.key] = session
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="room", daemon=True)
                self._thread.start()
        return session

    def come_back(self, key: str, new: Session) -> Session | None:
        """The session that a tab had before, in place of its new one. None if that one stays: the other was freed, or
        had trained nothing while this one has begun. Nobody else uses the key: the browser has asked its other tabs.
        But a page that was left may still be connected, kept for the Back button.
        """
        with self._lock:
            old = self._sessions.get(key)
            if old is None or old is new:
                return None
            stays, goes = (new, old) if new.trained and not old.trained else (old, new)
            stays.visit, stays.left = new.visit, None
            stays.unite(old, new)
            self._gone.pop(key, None)
            self._sessions[goes.key] = stays  # loaded again at once, the tab still knows the one that went
            return old if stays is old else None

    def here(self, session: Session) -> bool:
        """Whether somebody looks at it now: only then does it train."""
        return self._connected(session.visit)

    def present(self) -> list[Session]:
        """All sessions that somebody looks at, in the order in which they came."""
        with self._lock:
            everybody = dict.fromkeys(self._sessions.values())  # once, whatever a tab may call them
            return [session for session in everybody if self._connected(session.visit)]

    def full(self, session: Session) -> bool:
        """Whether as many tabs as the machine can carry were here before this one."""
        return session not in self.present()[: self.limits.visitors]

    def may_train(self, session: Session) -> bool:
        """Whether there is a place for this session among those that train. It keeps its place until it leaves."""
        if session.seated:
            return True
        with self._lock:
            return sum(other.seated for other in self.present()) < self.limits.trainees

    def sit_down(self, session: Session) -> bool:
        """Take a place among those that train. False: there is none."""
        with self._lock:
            session.seated = self.may_train(session)
            return session.seated

    def look(self) -> None:
        """See who went away; free what was away for too long. The room does this every second."""
        now, freed = time.monotonic(), False
        with self._lock:
            for key, session in list(self._sessions.items()):
                if self._connected(session.visit):
                    session.left = None
                    self._gone.pop(key, None)
                elif session.left is None:
                    session.left, session.seated = now, False
                    self._gone[key] = session
                elif now - session.left > FREED_AFTER:
                    session.free()
                    freed = True
                    self._gone.pop(key, None)
                    del self._sessions[key]
            empty = freed and not self._sessions
        if empty:
            render_pool().clear()
        if freed:
            give_back()

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK)
            self.look()
            self._tidy()
