"""The controls. Each one shows and changes one field of the settings; its label and help are in words.toml."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from toydiff.data import user_data
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.experiments.settings import Settings
from toydiff.server import live
from toydiff.server.live import ImageRun, Race, Run
from toydiff.server.snapshots import Failed, RaceSnapshot, Snapshot
from toydiff.text import words
from toydiff.ui import state
from toydiff.ui.room import room

# The values at which a slider stops. Every other field has a box to type a number into.
STOPS: dict[str, tuple[float, ...]] = {
    "T": (10, 25, 50, 100, 150, 200, 250, 500, 1000),
    "strength": (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
    "width": (4, 8, 16, 32, 64, 128, 256, 512),
    "depth": (1, 2, 3, 4, 5, 6, 7, 8),
    "batch": (2, 16, 64, 128, 256, 512, 1024, 4096),
    "particles": (1, 16, 64, 128, 256, 500, 1000),
}

BOX_STEPS = {"points": 100, "steps": 10}  # between two values of a number box; elsewhere 1
# the data sets of images in the menu; a link may name others
IMAGE_MENU = ("digits", "moon-phases-16", "moon-phases-16-gap", "moon-phases-32", "two-pixel", "mnist", "fashion-mnist")

Trained = Run | ImageRun | Race

# A click on pause waits so long for the last evaluation, divided by the number of trainings that run.
PAUSE_WAIT_SECONDS = 0.3


def control(field: str, kind: type[Settings] = Experiment) -> None:
    """The widget for one field of this session's settings of a kind."""
    key, help = (
        (f"control-{field}", f"help.{field}")
        if kind is Experiment
        else (f"control-image-{field}", f"images.help_{field}")
    )
    # The settings are the truth. A widget forgets its value when its page is left, so it is told at every run.
    value = st.session_state[key] = getattr(state.settings(kind), field)
    shared: dict[str, Any] = {"key": key, "help": words(help), "on_change": _changed, "args": (field, kind, key)}
    label, stops = words(f"fields.{field}"), STOPS.get(field) if kind is Experiment else None
    if field in kind.choices():
        st.selectbox(label, _menu(field, kind, value), format_func=partial(_name, field, kind), **shared)
    elif stops is not None:  # a link may carry a value between two stops
        st.select_slider(label, sorted({*stops, value}), **shared)
    else:
        low, high = _range(field, kind)
        step, form = (BOX_STEPS.get(field, 1), "%d") if isinstance(value, int) else (None, "%g")
        # value=None: else a box that is emptied jumps to the lowest number
        st.number_input(label, low, high, None, step=step, format=form, **shared)


def _menu(field: str, kind: type[Settings], value: str) -> list[str]:
    """The choices, the user's own data among them, and the one that a link may have brought."""
    own = state.user_keys(kind) if field == kind.user_field else []
    names = IMAGE_MENU if kind is ImageExperiment and field == "data" else kind.choices()[field]
    return list(dict.fromkeys((*names, *own, value)))


def _name(field: str, kind: type[Settings], choice: str) -> str:
    if kind is Experiment or field == kind.user_field:
        return user_data.title(choice)
    return words(f"images.{choice}")


def training_buttons(
    find: Callable[[], Trained | None],
    now: Snapshot | RaceSnapshot | None,
    fresh: Callable[[], Trained] = state.fresh_run,
    reset: Callable[[], object] | None = None,
    key: str = "",
) -> None:
    """Start or pause, one step, reset; and a sentence for what went wrong on the server.

    find: this session's training; if it is None, a start makes a `fresh` one. now: its latest snapshot. reset: what the
    reset button calls, if not `fresh`. key: prefix of the buttons' keys. Clicks are handled in callbacks, before the
    page runs: otherwise it would run twice.
    """
    training = find()
    running, step = (now.running, now.step) if now is not None else (False, 0)
    stopped = now is not None and now.diverged_at is not None
    may = say_if_not_allowed()
    if training is not None and now is not None:
        if now.problem is not None:
            st.error(now.problem.sentence)
        if now.moving and not running:
            training.pause(0)  # the run that stopped it may have ended before the evaluation
        if now.lost is not None:
            st.warning(words("live.lost", steps=f"{now.lost:,}"))
    with st.container(horizontal=True):
        label = "pause" if running else "resume" if step else "start"
        icon = ":material/pause:" if running else ":material/play_arrow:"
        go, off = _pause if running else _start, stopped or not (may or running)
        st.button(
            words(f"train.{label}"),
            type="primary",
            icon=icon,
            disabled=off,
            key=f"{key}go",
            on_click=go,
            args=(find, fresh),
        )
        st.button(
            words("train.one"),
            icon=":material/skip_next:",
            disabled=running or stopped or not may,
            key=f"{key}one",
            on_click=_one_step,
            args=(find, fresh),
        )
        st.button(
            words("train.reset"),
            icon=":material/restart_alt:",
            disabled=step == 0,
            key=f"{key}reset",
            on_click=do,
            args=(reset or fresh,),
        )


def _start(find: Callable[[], Trained | None], fresh: Callable[[], Trained]) -> None:
    if state.may_train():
        state.only(find() or fresh()).start()


def _pause(find: Callable[[], Trained | None], _: object) -> None:
    if (training := find()) is not None:
        training.pause(PAUSE_WAIT_SECONDS / max(1, live.load().running))


def _one_step(find: Callable[[], Trained | None], fresh: Callable[[], Trained]) -> None:
    if state.may_train():
        with suppress(Failed):  # the snapshot says why
            state.only(find() or fresh()).advance(1)


def do(what: Callable[[], object]) -> None:
    """Call a function and drop its result: Streamlit's callbacks return nothing."""
    what()


def train_now(training: Run | ImageRun, steps: int, chunk: int, *, pictures: bool = True) -> None:
    """Train so many more steps while the page waits, with a bar that moves every `chunk` steps. An error is a sentence
    that stays until it is closed. pictures: evaluate after each chunk, not only at the end."""
    state.only(training)
    bar, first = st.progress(0.0), training.step
    try:
        while (done := training.step - first) < steps and training.diverged_at is None:
            bar.progress(done / steps, words("train.progress", step=f"{done:,}", steps=f"{steps:,}"))
            training.advance(min(chunk, steps - done), pictures)
        training.pause()  # evaluates once more
    except Failed as error:
        st.toast(str(error), icon=":material/error:", duration="infinite")
    bar.empty()


def say_if_not_allowed() -> bool:
    """Whether this session may train now. If not, a sentence says why."""
    may = state.may_train()
    if not may:
        here = room()
        st.info(words("room.held") if here.held else words("room.no_place", trainees=here.limits.trainees))
    return may


def _changed(field: str, kind: type[Settings], key: str) -> None:
    value = st.session_state[key]
    if value is None:  # an emptied number box: the old value comes back
        return
    fields = {field: value}
    if field == kind.user_field:
        fields[kind.size_field] = kind(**fields).usual_size
    if kind is ImageExperiment:
        state.change_images(**fields)
        return
    fields |= dict.fromkeys((name for name, limit in kind.limited().items() if limit == field), 0)
    old = st.session_state.experiment
    if replace(old, **fields).training != old.training:
        fields["trained"] = 0  # a link said it of another network
    state.change(**fields)


def _range(field: str, kind: type[Settings]) -> tuple[float, float]:
    low, high = kind.ranges()[field]
    if (limit := kind.limited().get(field)) is not None:
        high = getattr(state.settings(kind), limit)
    return (float(low), float(high)) if isinstance(getattr(kind, field), float) else (int(low), int(high))
