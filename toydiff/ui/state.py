"""What one browser tab is looking at: its experiment, in the session and in the address bar, and its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st
from streamlit.runtime import Runtime, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

from toydiff.experiment import Experiment, Problem
from toydiff.text import words
from toydiff.ui.live import Race, Run, Training


def experiment() -> tuple[Experiment, list[Problem]]:
    """The settings of this session. A link brings its own; what it got wrong is listed. Call once per page run."""
    state = st.session_state
    params = st.query_params.to_dict()
    problems: list[Problem] = []
    if "experiment" not in state:
        state.experiment, problems = Experiment.from_params(params)
    elif params and params != state.get("address"):  # the link was changed by hand, or by the Back button
        state.experiment, problems = Experiment.from_params(state.experiment.to_params() | params)
    write_address()
    return state.experiment, problems


def change(**fields: object) -> None:
    """Change settings. ValueError for a value that is out of range."""
    st.session_state.experiment = replace(st.session_state.experiment, **fields)
    write_address()


def write_address() -> None:
    """The address bar always holds all settings: copying it shares the picture."""
    address = st.session_state.experiment.to_params()
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)
    st.session_state.address = address


def run() -> Run | None:
    """This session's training, if it has started one."""
    return st.session_state.get("run")


def current_run() -> Run:
    """This session's training, perhaps of older settings; a fresh one if there is nothing to lose."""
    old = run()
    if old is None or (old.step == 0 and old.experiment != st.session_state.experiment.training):
        return fresh_run()
    return old


def fresh_run() -> Run:
    """A new training of the current experiment, at step 0, in place of the old one."""
    old = run()
    if old is not None:
        old.running = False
    st.session_state.run = Run(st.session_state.experiment.training, _watched())
    return st.session_state.run


def races() -> dict[str, Race]:
    """This session's races, each under the name that its page gave it."""
    return st.session_state.setdefault("races", {})


def current_race(key: str, *experiments: Experiment) -> Race:
    """The race of that name, perhaps of older settings; a fresh one if there is nothing to lose."""
    old = races().get(key)
    if old is None or (old.step == 0 and old.experiments != experiments):
        return fresh_race(key, *experiments)
    return old


def fresh_race(key: str, *experiments: Experiment) -> Race:
    """A new race of these experiments, at step 0, in place of the old one of that name."""
    if key in races():
        races()[key].running = False
    races()[key] = Race(*experiments, alive=_watched())
    return races()[key]


def only(training: Training) -> Training:
    """The same, and everything else that this session trains pauses: a session trains one thing at a time."""
    for other in (run(), *races().values()):
        if other is not None and other is not training and other.running:
            other.pause()
            st.toast(words("train.other_pauses"), icon=":material/pause:")
    return training


def _watched() -> Callable[[], bool]:
    """Asks, from any thread, whether this session is still there."""
    context = get_script_run_ctx()
    session = context.session_id if context else ""
    return lambda: not Runtime.exists() or get_instance().is_active_session(session)
