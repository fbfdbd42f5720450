"""The sessions of this server: one for each browser tab, with what it trains, and when the tab left.

A tab keeps the key of its session (components/tab). If it is loaded again, or comes back after its connection was lost,
it gets the same session again, unless it was away for longer than FREED_AFTER_SECONDS.
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

FREED_AFTER_SECONDS = 110.0  # seconds: Streamlit drops a session after 120
PRESENCE_SECONDS = 1.0  # seconds between two checks of who is connected


@dataclass(eq=False)
class Session:
    """One browser tab: what it trains, and its data sets."""

    visit: str  # Streamlit's id of the session; a tab that comes back has a new one
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))  # cannot be guessed
    run: Run | None = None
    image_runs: dict[ImageExperiment, ImageRun] = field(default_factory=dict)  # the newest last
    races: dict[str, Race] = field(default_factory=dict)  # by name, given by their page
    user_data: dict[str, UserDataset] = field(default_factory=dict)  # the oldest first
    kept: dict[str, Any] = field(default_factory=dict)  # what pages have computed for this session, by name
    shown: dict[str, Any] = field(default_factory=dict)  # the same, only until another page is opened
    experiment: Experiment | None = None  # the settings that it looks at
    page: str = ""
    seated: bool = False  # has one of the limited places to train
    teacher: bool = False  # has entered the teacher's word
    left: float | None = None  # when its tab was first found to be gone, time.monotonic()

    def trainings(self) -> Iterator[Training]:
        """All trainings of this session."""
        if self.run is not None:
            yield self.run
        yield from [*self.image_runs.values(), *self.races.values()]

    @property
    def trained(self) -> bool:
        """Whether a training has begun."""
        return any(training.step > 0 or training.running for training in self.trainings())

    def turn(self, page: str) -> None:
        """Another page was opened. What the last one showed is large and quickly made again: drop it."""
        if page != self.page:
            self.shown.clear()
        self.page = page

    def unite(self, old: Session, new: Session) -> None:
        """Take over what both sessions have. For a second, until a tab is recognized, it has a new session: what was
        clicked meanwhile must not be lost."""
        self.user_data = old.user_data | new.user_data
        self.kept = new.kept | old.kept  # the old canvas, not the empty one of the new session
        if old.page == new.page:
            new.shown |= old.shown | new.shown
        self.shown = new.shown  # the same object that buttons on the screen write into
        self.page, self.teacher = new.page, old.teacher or new.teacher

    def free(self) -> None:
        """Stop and drop everything."""
        for training in self.trainings():
            training.running = False
        self.run, self.seated = None, False
        self.image_runs.clear()
        self.races.clear()
        self.user_data.clear()
        self.kept.clear()
        self.shown.clear()


class Room:
    """All sessions, and the limits that they share.

    connected: whether a browser shows the session of that visit now. tidy: is called once a second as well.
    """

    def __init__(self, limits: Limits, connected: Callable[[str], bool], tidy: Callable[[], object]) -> None:
        self.limits, self._connected, self._tidy = limits, connected, tidy
        self.held = False  # whether the teacher has paused all training
        self._sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._gone: dict[str, Session] = {}  # keeps the sessions of tabs that are gone until they are freed
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def enter(self, visit: str) -> Session:
        """A new session."""
        with self._lock:
            session = Session(visit)
            self._sessions[session.key] = session
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="room", daemon=True)
                self._thread.start()
        return session

    def come_back(self, key: str, new: Session) -> Session | None:
        """The session that a tab had before. None if its new one stays: the old one was freed, or only the new one has
        trained. The browser has checked that no other tab uses the key. The page that was left may still be connected,
        kept for the Back button.
        """
        with self._lock:
            old = self._sessions.get(key)
            if old is None or old is new:
                return None
            stays, goes = (new, old) if new.trained and not old.trained else (old, new)
            stays.visit, stays.left = new.visit, None
            stays.unite(old, new)
            self._gone.pop(key, None)
            self._sessions[goes.key] = stays  # if the tab is loaded again at once, it still has this key
            return old if stays is old else None

    def here(self, session: Session) -> bool:
        """Whether its tab is connected: only then does it train."""
        return self._connected(session.visit)

    def present(self) -> list[Session]:
        """All sessions whose tabs are connected, in the order in which they came."""
        with self._lock:
            each = dict.fromkeys(self._sessions.values())  # each once, although it may have two keys
            return [session for session in each if self._connected(session.visit)]

    def full(self, session: Session) -> bool:
        """Whether `limits.visitors` tabs were here before this one."""
        return session not in self.present()[: self.limits.visitors]

    def may_train(self, session: Session) -> bool:
        """Whether this session has, or can get, a place to train. It keeps its place until its tab leaves."""
        if session.seated:
            return True
        with self._lock:
            return sum(other.seated for other in self.present()) < self.limits.trainees

    def sit_down(self, session: Session) -> bool:
        """Take a place to train. False if there is none."""
        with self._lock:
            session.seated = self.may_train(session)
            return session.seated

    def look(self) -> None:
        """Note which tabs have left, and free what was away for too long. Called once a second."""
        now, freed = time.monotonic(), False
        with self._lock:
            for key, session in list(self._sessions.items()):
                if self._connected(session.visit):
                    session.left = None
                    self._gone.pop(key, None)
                elif session.left is None:
                    session.left, session.seated = now, False
                    self._gone[key] = session
                elif now - session.left > FREED_AFTER_SECONDS:
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
            time.sleep(PRESENCE_SECONDS)
            self.look()
            self._tidy()
