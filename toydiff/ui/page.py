"""How every page begins and what every page does: set up, title, prose, sentences for what went wrong."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import streamlit as st
from streamlit.errors import StreamlitAPIException

from toydiff.data import user_data
from toydiff.diffusion.exact import Model
from toydiff.experiments.experiment import Experiment, PointTraining
from toydiff.server.live import Run
from toydiff.server.snapshots import Snapshot
from toydiff.text import prose, words
from toydiff.ui import runs, state, teacher
from toydiff.ui.controls import control, do, say_if_not_allowed, train_now, training_buttons
from toydiff.ui.room import room
from toydiff.ui.startup import prepare

PAGES = {
    "home": ":material/home:",
    "forward": ":material/blur_on:",
    "train": ":material/model_training:",
    "reverse": ":material/auto_fix_high:",
    "field": ":material/explore:",
    "target": ":material/hub:",
    "cost": ":material/speed:",
    "images": ":material/image:",
    "between": ":material/gradient:",
    "own": ":material/draw:",
}
UNREAD = 20.0  # seconds for which problems of a link stay on the page: a slow browser needs a part of them
PROGRESS_STEPS = 500  # training steps between two movements of the bar
STYLE = Path(__file__).with_name("page.css").read_text("utf-8")


def begin(lesson: str) -> Experiment:
    """Start a page: the settings of this session, the title, and a sentence for each setting of the link that could
    not be used. Every page can be the first one that a browser opens, so each one begins here."""
    st.set_page_config(page_title=words(f"titles.{lesson}"), page_icon="🌀", layout="wide")
    st.html(f"<style>{STYLE}</style>")
    _let_in(lesson)
    held = room().held
    st.fragment(_keep_alive, run_every=2.0 if held else "1h")(held)
    experiment, problems = state.experiment()
    # A browser runs the page several times until it is complete. Each run would lose the problems that the first found.
    until, said, about = st.session_state.get("said", (0.0, [], None))
    settings = lesson, experiment, st.session_state.image_experiment
    if problems:
        st.session_state.said = time.monotonic() + UNREAD, problems, settings
    elif time.monotonic() < until and about == settings:  # after a changed setting they have been read
        problems = said
    with st.sidebar:
        for name, icon in PAGES.items():
            link_to(name, words(f"nav.{name}"), icon)
        if teacher.known():
            link_to("teacher", words("nav.teacher"), ":material/co_present:")
        state.come_back()
    state.session().experiment = experiment
    st.markdown(f"# {words(f'titles.{lesson}')}")
    if state.lost():
        st.warning(words("room.lost"))
    for problem in problems:
        if user_data.is_key(problem.value):
            st.warning(words("problems.gone"))
            continue
        st.warning(words("problems.link", field=words(f"fields.{problem.name}"), **_escaped(problem._asdict())))
    return experiment


def _keep_alive(held: bool) -> None:
    """A timed no-op, so that the browser asks for the page again after it has reconnected to another server. Without it
    the browser would show the old page and lose the first click. While the teacher has paused all training, it also
    looks whether that is over, and brings the buttons back."""
    if held and not room().held:
        st.rerun()


def _let_in(lesson: str) -> None:
    """Set the server up. If it is full, or its limits are wrong, the page is one sentence."""
    try:
        here = room()
    except ValueError as error:
        st.error(str(error))
        st.stop()
    prepare()
    mine = state.session()
    mine.turn(lesson)
    teacher.recognize()
    if here.full(mine) and not teacher.known():
        st.markdown(f"# {words(f'titles.{lesson}')}")
        st.info(words("room.full", visitors=here.limits.visitors))
        st.button(words("room.again"), icon=":material/refresh:")
        st.stop()


def link_to(name: str, label: str, icon: str = ":material/arrow_forward:") -> None:
    """A link to another page, in the same session."""
    with suppress(StreamlitAPIException):  # a page that runs without app.py has no neighbours
        st.page_link(f"pages/{name}.py", label=label, icon=icon, width="stretch")


def settings(*fields: str, title: str = "settings") -> Experiment:
    """Controls for some fields, in the side bar. Returns the experiment as they set it."""
    with st.sidebar:
        st.markdown(f"**{words(f'page.{title}')}**")
        for field in fields:
            control(field)
    return st.session_state.experiment


def say(lesson: str, section: str, **values: object) -> None:
    """Write a section of the lesson's prose."""
    st.markdown(prose(lesson, section, **values))


def differing(old: PointTraining, new: PointTraining) -> dict[str, object]:
    """The fields in which two experiments differ, with their old values."""
    return {name: value for name, value in asdict(old).items() if value != getattr(new, name)}


def difference(old: PointTraining, new: PointTraining) -> str:
    """The same for people: "T: 100 → 50"."""
    return ", ".join(
        f"{words(f'fields.{name}')}: {_shown(name, value)} → {_shown(name, getattr(new, name))}"
        for name, value in differing(old, new).items()
    )


def training(lesson: str) -> tuple[Run, Snapshot]:
    """The question of a lesson beside the buttons of this session's training. Returns the training and its snapshot."""
    run = state.current_run()
    now = run.snapshot()
    question, buttons = st.columns(2, vertical_alignment="center")
    with question:
        say(lesson, "question")
    with buttons:
        training_buttons(state.run, now)
    _offer_fresh_run(run)
    return run, now


def _offer_fresh_run(run: Run) -> None:
    """If the settings are no longer those of the training: a sentence, and two buttons, start fresh or go back."""
    new: PointTraining = st.session_state.experiment.training
    if run.experiment == new:
        return
    st.warning(prose("train", "changed", changed=difference(run.experiment, new)))
    fresh, back = st.columns(2)
    fresh.button(words("train.fresh"), type="primary", width="stretch", on_click=do, args=(state.fresh_run,))
    old = differing(run.experiment, new)
    back.button(words("train.back"), width="stretch", on_click=state.change, kwargs=old)


def say_if_exploded(run: Run) -> None:
    """A sentence if the training of this session has stopped because its loss exploded."""
    if run.diverged_at is not None:
        st.error(prose("train", "diverged", step=f"{run.diverged_at + 1:,}", lr=f"{run.experiment.lr:g}"))


def network(experiment: Experiment) -> tuple[Model, int] | None:
    """The network to show, and after how many steps; None for the exact predictor. Where a network is asked for and
    there is none: a sentence, and a button that trains one."""
    trained = runs.network(experiment) if experiment.predictor == "network" else None
    if trained is not None:
        state.change(trained=trained[1])  # the link says which network made the picture
    elif experiment.predictor == "network":
        if (step := runs.exploded(experiment)) is not None:  # the same training would explode again
            st.error(prose("train", "diverged-exact", step=f"{step + 1:,}", lr=f"{experiment.lr:g}"))
            link_to("train", words("page.to_train"))
            return None
        steps = experiment.trained or 3000
        st.info(prose("reverse", "linked-network" if experiment.trained else "no-network", steps=f"{steps:,}"))
        label, may = words("reverse.train", steps=f"{steps:,}"), say_if_not_allowed()
        if st.button(label, type="primary", key="train-now", disabled=not may):
            train_now(state.fresh_run(), steps, PROGRESS_STEPS)
            st.rerun()
    return trained


def _shown(name: str, value: object) -> str:
    return user_data.title(str(value)) if name in Experiment.choices() else f"{value:,}"


def _escaped(values: dict[str, object]) -> dict[str, object]:
    """The text of a link as it is, never as Markdown."""
    value = " ".join(str(values["value"]).replace("`", "'").split()) or words("page.empty")
    return values | {"value": value}
