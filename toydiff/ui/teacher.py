"""The teacher's view: the teacher's word, the table of the class, and the button that pauses all training."""

from __future__ import annotations

import hmac
import math
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import streamlit as st

from toydiff.data import user_data
from toydiff.server import live
from toydiff.server.limits import cores
from toydiff.server.live import ImageRun, Race, Run, Training
from toydiff.server.memory import used_bytes
from toydiff.server.sessions import Session
from toydiff.server.snapshots import RaceSnapshot
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.room import room

PARAMETER = "teacher"  # of an address that carries the word
DELAY = 0.5  # seconds that every answer to a word takes
MAX_WRONG_WORDS, MINUTE = 3, 60.0  # wrong words of one session in so many seconds
REFRESH = 2.0  # seconds
MAX_WORD_LENGTH = 200  # characters of a word

_paused: WeakSet[Training] = WeakSet()  # paused by the teacher, who resumes them together
_lock = threading.Lock()


# ---------------------------------------------------------------- who is the teacher


def offered() -> bool:
    """Whether this server has a teacher's view."""
    return bool(room().limits.teacher)


def known() -> bool:
    """Whether this tab has given the teacher's word, now or before it was loaded again."""
    mine = state.session()
    mine.teacher |= st.session_state.get("teacher", False)  # given before the tab found an older session
    return mine.teacher


def recognize() -> None:
    """Take the teacher's word out of the address, where one stands, and see whether it is the right one."""
    if PARAMETER in st.query_params:
        word = st.query_params[PARAMETER]
        del st.query_params[PARAMETER]  # first of all: the screen may be projected
        _try(word)


def ask() -> None:
    """A field for the teacher's word: what is typed there stands in no address and in no log."""
    if problem := st.session_state.pop("teacher-problem", None):
        st.error(problem)
    with st.form("teacher-word", clear_on_submit=True, width=420):
        word = st.text_input(words("teacher.word"), type="password", autocomplete="off", max_chars=MAX_WORD_LENGTH)
        if st.form_submit_button(words("teacher.enter"), type="primary"):
            _try(word)
            st.rerun()


def _try(word: str) -> None:
    """Let this tab see the view if the word is right. After MAX_WRONG_WORDS wrong ones a MINUTE, none is compared."""
    if known() or not offered():
        return
    now = time.monotonic()
    wrong = [at for at in st.session_state.get("teacher-wrong", []) if now - at < MINUTE]
    if len(wrong) >= MAX_WRONG_WORDS:
        st.session_state["teacher-problem"] = words("teacher.later")
        return
    time.sleep(DELAY)
    if hmac.compare_digest(_bytes(word), _bytes(room().limits.teacher)):
        st.session_state.teacher = True
        return
    st.session_state["teacher-wrong"] = [*wrong, now]
    st.session_state["teacher-problem"] = words("teacher.wrong")


def _bytes(word: str) -> bytes:
    return word.encode("utf-8", "surrogatepass")


# ---------------------------------------------------------------- what the class does


class StepRates:
    """How fast every training is: its steps between one look and the next."""

    def __init__(self) -> None:
        self._at = -float("inf")
        self._steps: WeakKeyDictionary[Training, int] = WeakKeyDictionary()
        self._rates: WeakKeyDictionary[Training, float] = WeakKeyDictionary()

    def look(self, trainings: Sequence[Training], now: float) -> None:
        """now: in seconds. Of two looks in the same second the second one sees nothing new."""
        seconds = now - self._at
        if seconds < 1:
            return
        steps = {training: training.step for training in trainings}
        rates = {one: max(0, step - self._steps[one]) / seconds for one, step in steps.items() if one in self._steps}
        self._at, self._steps, self._rates = now, WeakKeyDictionary(steps), WeakKeyDictionary(rates)

    def of(self, training: Training) -> float | None:
        """Steps per second. None: seen for the first time."""
        return self._rates.get(training)

    @property
    def total(self) -> float:
        return sum(self._rates.values())


class Numbers(NamedTuple):
    """What the server is doing. None: this system does not say."""

    here: int  # tabs of students,
    training: int  # those of them that train now
    places: int  # for more that want to
    steps: float  # per second, of all together
    load: float | None  # processes that want a core, in the last minute
    memory: float | None  # megabytes, of this process and of those that train


def students() -> list[Session]:
    """All tabs but the teacher's, in the order in which they came."""
    return [session for session in room().present() if not session.teacher]


def numbers(rates: StepRates) -> Numbers:
    """What the server is doing now."""
    there = students()
    training = sum(any(one.running for one in session.trainings()) for session in there)
    places = room().limits.trainees - sum(session.seated for session in room().present())
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    ours, workers = used_bytes(), sum(held or 0 for held in live.load().memory)
    return Numbers(len(there), training, max(0, places), rates.total, load, ours and (ours + workers) / 1e6)


def table(sessions: Sequence[Session], rates: StepRates) -> dict[str, list[Any]]:
    """One row for each session, column by column: its current training, or else the data of its page."""
    rows = [_row(number, session, rates) for number, session in enumerate(sessions, 1)]
    return {column: [row[column] for row in rows] for column in COLUMNS}


COLUMNS = ("number", "page", "data", "state", "step", "speed", "good")


def _row(number: int, session: Session, rates: StepRates) -> dict[str, Any]:
    training = _shown(session)
    begun = training is not None and (training.step > 0 or training.running)
    return {
        "number": number,
        "page": words(f"nav.{session.page}") if session.page else "",
        "data": _data(session, training),
        "state": words(f"teacher.{_state(training)}"),
        "step": training.step if training is not None and begun else None,
        "speed": _rounded(rates.of(training)) if training is not None and begun else None,
        "good": _good(training) if training is not None and begun else "",
    }


def _rounded(speed: float | None) -> float | None:
    return speed if speed is None else round(speed, 1 if speed < 10 else None)


def _shown(session: Session) -> Training | None:
    images = [*session.image_runs.values()][::-1] if session.page in ("images", "between") else []
    theirs: list[Training] = [*images, *session.trainings()]
    return max(theirs, key=lambda training: (training.running, training.step > 0), default=None)


def _state(training: Training | None) -> str:
    if training is not None and training.diverged_at is not None:
        return "exploded"
    if training is not None and training.running:
        return "trains"
    return "stands" if training is not None and training.step > 0 else "watches"


def _data(session: Session, training: Training | None) -> str:
    """The title of its data set."""
    match training:
        case ImageRun():
            name = training.experiment.data
        case Run():
            name = training.experiment.dataset
        case Race():
            name = training.experiments[0].dataset
        case _:
            name = session.experiment.dataset if session.experiment else ""
    try:
        return user_data.title(name) if name else ""
    except user_data.DatasetNotFound:
        return words("teacher.own")


def _good(training: Training) -> str:
    """The ratio that was measured last; of a race, that of each network."""
    assert isinstance(training, Run | ImageRun | Race)
    now = training.snapshot()
    form = "{:.0%}" if isinstance(training, ImageRun) else "{:,.2f} ×"
    ratios = [lane.ratio for lane in (now.lanes if isinstance(now, RaceSnapshot) else (now,))]
    # it is measured only for some data sets of images
    return " | ".join(form.format(ratio) for ratio in ratios if not math.isnan(ratio))


@st.fragment(run_every=REFRESH)
def watch() -> None:
    """The buttons, the numbers and the table, every two seconds."""
    keep_paused()
    there = students()
    rates: StepRates = st.session_state.setdefault("teacher-pace", StepRates())
    rates.look([training for session in there for training in session.trainings()], time.monotonic())
    held, now = room().held, numbers(rates)
    with st.container(horizontal=True, vertical_alignment="center"):
        label, icon = ("go_on", ":material/play_arrow:") if held else ("pause", ":material/pause:")
        st.button(
            words(f"teacher.{label}"),
            type="primary",
            icon=icon,
            key="teacher-hold",
            on_click=resume_all if held else pause_everybody,
        )
        st.markdown(words("teacher.held" if held else "teacher.free"), width="content")
    figures = {
        "here": f"{now.here}",
        "training": f"{now.training}",
        "watching": f"{now.here - now.training}",
        "places": f"{now.places}",
        "steps": f"{now.steps:,.0f}",
        "load": "–" if now.load is None else words("teacher.load_of", load=f"{now.load:.1f}", cores=cores()),
        "memory": "–" if now.memory is None else f"{now.memory:,.0f} MB",
    }
    with st.container(horizontal=True):
        for name, figure in figures.items():
            st.metric(words(f"teacher.{name}"), figure, help=words(f"teacher.{name}_help"), width="content")
    if not there:
        st.info(words("teacher.nobody"))
        return
    columns = {
        "number": st.column_config.NumberColumn(words("teacher.number"), width=40),
        "page": st.column_config.TextColumn(words("teacher.page"), width=190),
        "data": st.column_config.TextColumn(words("teacher.data"), width=260),
        "state": st.column_config.TextColumn(words("teacher.state"), width=100),
        "step": st.column_config.NumberColumn(words("train.step"), format="localized", width=80),
        "speed": st.column_config.NumberColumn(
            words("train.speed"), format="localized", help=words("teacher.speed_help"), width=110
        ),
        "good": st.column_config.TextColumn(words("teacher.good"), help=words("teacher.good_help"), width=110),
    }
    st.dataframe(
        table(there, rates),
        column_config=columns,
        hide_index=True,
        height="content",
        placeholder="",
        key="teacher-table",
        alt=words("teacher.table_alt"),
    )


# ---------------------------------------------------------------- pause and resume


def pause_everybody() -> None:
    """Stop all training until `resume_all`. Each training finishes its step; its page notices by itself."""
    with _lock:
        room().held = True
    keep_paused()


def resume_all() -> None:
    """Allow training again, and resume what the teacher has paused."""
    with _lock:
        room().held = False
        for session in students():
            for training in session.trainings():  # not one that was reset meanwhile
                if training in _paused:
                    training.start()
        _paused.clear()


def keep_paused() -> None:
    """While all training is paused, also pause what was started at the same moment, or by a tab that came back."""
    with _lock:
        if not room().held:
            return
        for session in students():
            for training in session.trainings():
                if training.running:
                    training.pause(0)  # does not wait
                    _paused.add(training)
