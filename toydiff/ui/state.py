"""What one browser tab is looking at: its experiment, in the session and in the address bar, and its training."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from torch import Tensor

from toydiff.data import user_data
from toydiff.data.images import Images
from toydiff.data.points import MIN_POINTS
from toydiff.data.user_data import UserDataset
from toydiff.experiments.experiment import Experiment, PointTraining
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.experiments.settings import Problem, Settings
from toydiff.server import live
from toydiff.server.live import ImageRun, Race, Run, Training
from toydiff.server.sessions import Session
from toydiff.server.snapshots import RaceSnapshot, Snapshot
from toydiff.text import words
from toydiff.ui.room import room
from toydiff.ui.startup import prepare
from toydiff.ui.tab import tab

SETTINGS_NAMES: dict[type[Settings], str] = {Experiment: "experiment", ImageExperiment: "image_experiment"}
IMAGE = "image_"  # prefix of the URL parameters of an ImageExperiment: Experiment has fields of the same names
LOOKS_PER_SECOND = 10  # of all sessions together, at their trainings: they cost a fifth of a core
FIELD_LOOKS_PER_SECOND = 3  # the same where each look draws a new field: most of a core
IMAGE_RUNS = 3  # trainings on images that a session keeps
MAX_USER_DATASETS, MAX_USER_BYTES = 8, 100_000_000  # a user's data sets that a session keeps, and their bytes

Kind = TypeVar("Kind", Experiment, ImageExperiment)


def experiment() -> tuple[Experiment, list[Problem]]:
    """The settings of this session. A link brings its own; what it got wrong is listed. Call once per page run."""
    state = st.session_state
    params = st.query_params.to_dict()
    problems: list[Problem] = []
    if "experiment" not in state:
        state.experiment, problems = Experiment.from_params(params)
        state.image_experiment, more = ImageExperiment.from_params(_of_images(params))
        problems += more
    elif params and params != state.get("address"):  # the link was changed by hand, or by the Back button
        state.experiment, problems = Experiment.from_params(state.experiment.to_params() | params)
        settings = state.image_experiment.to_params() | _of_images(params)
        state.image_experiment, more = ImageExperiment.from_params(settings)
        problems += more
    state.experiment, more = _with_data(state.experiment)
    state.image_experiment, others = _with_data(state.image_experiment)
    write_address()
    return state.experiment, problems + more + others


def settings(kind: type[Settings]) -> Settings:
    """This session's settings of a kind."""
    found: Settings = st.session_state[SETTINGS_NAMES[kind]]
    return found


def change(**fields: object) -> None:
    """Change settings. ValueError for a value that is out of range."""
    st.session_state.experiment = replace(st.session_state.experiment, **fields)
    write_address()


def change_images(**fields: object) -> None:
    """The same for the settings of the page of images."""
    st.session_state.image_experiment = replace(st.session_state.image_experiment, **fields)
    write_address()


def write_address() -> None:
    """The address bar always holds all settings: copying it shares the picture. Those for images only where they are
    not the usual ones."""
    images = st.session_state.setdefault("image_experiment", ImageExperiment()).changed_params()
    address = st.session_state.experiment.to_params() | {IMAGE + name: value for name, value in images.items()}
    if st.query_params.to_dict() != address:
        st.query_params.from_dict(address)
    st.session_state.address = address


def user_keys(kind: type[Settings]) -> list[str]:
    """The keys of this session's own data sets for settings of this kind, the oldest first."""
    points = kind is Experiment
    return [key for key, one in _user_data().items() if isinstance(one.data, Tensor) is points]


def use_dataset(one: UserDataset) -> None:
    """Keep a data set for this session, and use it in the settings. If there are too many, the oldest unused go."""
    _user_data()[one.key] = one
    if isinstance(one.data, Tensor):
        change(dataset=one.key, points=max(MIN_POINTS, len(one)), trained=0)
    else:
        change_images(data=one.key, n=max(MIN_POINTS, len(one)))
    used = {st.session_state.experiment.dataset, st.session_state.image_experiment.data}
    unused = [key for key in _user_data() if key not in used]
    while unused and (
        len(_user_data()) > MAX_USER_DATASETS or sum(held.bytes for held in _user_data().values()) > MAX_USER_BYTES
    ):
        del _user_data()[unused.pop(0)]


def session() -> Session:
    """The session of this browser tab on this server."""
    if "session" not in st.session_state:
        st.session_state.session = room().enter(_visit())
    mine: Session = st.session_state.session
    mine.visit = _visit()  # the Back button may bring a page back whose session another one has taken over
    return mine


def come_back() -> None:
    """A tab that was loaded again, or lost its connection, gets its old session back. If that is gone, `lost()`."""
    mine = session()
    answered = st.session_state.get("answered")
    before = tab(mine.key, mine.trained, answered)
    if before is None or before.key == answered:  # a tab that was in doubt may ask twice
        return
    st.session_state.answered = before.key
    found = room().come_back(before.key, mine)
    if found is not None:
        st.session_state.session = found
        st.rerun()
    if before.trained:
        st.session_state.lost = True


def lost() -> bool:
    """Whether this tab has lost a training, and not begun another one since."""
    return st.session_state.get("lost", False)


def may_train() -> bool:
    """Whether this session may train now: the teacher has not paused the class (or this is the teacher), and there is a
    place."""
    mine = session()
    return (mine.teacher or not room().held) and room().may_train(mine)


def run() -> Run | None:
    """This session's training, if it has started one."""
    return session().run


def current_run() -> Run:
    """This session's training, perhaps of older settings; a fresh one if there is nothing to lose."""
    old = run()
    if old is None or (old.step == 0 and old.experiment != st.session_state.experiment.training):
        return fresh_run()
    return old


def fresh_run(experiment: PointTraining | None = None, state: dict[str, Any] | None = None) -> Run:
    """A new training of the current experiment or of another one, at step 0 or where the state of a Trainer is, in
    place of the old one."""
    fresh, old = Run(experiment or st.session_state.experiment, _watched(), state), run()
    if old is not None:
        old.running = False
    session().run = fresh
    return fresh


def image_runs() -> dict[ImageExperiment, ImageRun]:
    """This session's trainings on images, each under its settings, the newest last."""
    return session().image_runs


def current_image_run(experiment: ImageExperiment, images: Images) -> ImageRun:
    """This session's training of these settings; a fresh one if there is none."""
    return image_runs().get(experiment) or fresh_image_run(experiment, images)


def fresh_image_run(experiment: ImageExperiment, images: Images, state: dict[str, Any] | None = None) -> ImageRun:
    """A new training on images, at step 0 or where the state of a Trainer is, in place of one with the same settings,
    and of those that never began. The others are kept, but not more than IMAGE_RUNS."""
    fresh, runs = ImageRun(experiment, images, _watched(), state), image_runs()
    gone = [key for key, run in runs.items() if key == experiment or run.step == 0]
    others = [key for key in runs if key not in gone]
    for key in gone + others[: max(0, len(others) - IMAGE_RUNS + 1)]:
        runs.pop(key).running = False
    runs[experiment] = fresh
    return fresh


def races() -> dict[str, Race]:
    """This session's races, each under the name that its page gave it."""
    return session().races


def fresh_race(key: str, *experiments: PointTraining) -> Race:
    """A new race of these experiments, at step 0, in place of the old one of that name."""
    end_race(key)
    races()[key] = Race(*experiments, alive=_watched())
    return races()[key]


def end_race(key: str) -> None:
    """Forget the race of that name, if there is one."""
    if key in races():
        races().pop(key).running = False


def every(now: Snapshot | RaceSnapshot, seconds: float = 1.0, looks: int = LOOKS_PER_SECOND) -> float | None:
    """Seconds between two looks at a training, longer where many train at once; None where nothing moves."""
    return seconds * max(1.0, live.load().running / looks) if now.moving else None


def follow(old: Snapshot | RaceSnapshot, new: Snapshot | RaceSnapshot) -> None:
    """Run the whole page again if a training has stopped by itself, or has lost steps because its process died."""
    prepare()
    if (old.moving and not new.moving) or new.lost not in (None, old.lost):
        st.rerun()


def only(training: Training) -> Training:
    """Pause everything else that this session trains, because it trains one thing at a time. Returns `training`."""
    room().sit_down(session())
    st.session_state.lost = False
    for other in session().trainings():
        if other is not training and other.running:
            other.pause(0)
            st.toast(words("train.other_pauses"), icon=":material/pause:")
    return training


def _user_data() -> dict[str, UserDataset]:
    return session().user_data


def _with_data(settings: Kind) -> tuple[Kind, list[Problem]]:
    """The settings if their data is here; with the usual data, and the problem, if a user's data set is gone."""
    key = getattr(settings, settings.user_field)
    if not user_data.is_key(key):
        return settings, []
    try:
        _user_data()[key] = user_data.find(key)  # held from now on, even if it came with another user's link
        return settings, []
    except user_data.DatasetNotFound:
        usual = type(settings)()
        fields = {name: getattr(usual, name) for name in (settings.user_field, settings.size_field)}
        return replace(settings, **fields), [Problem(settings.user_field, key, "", fields[settings.user_field])]


def _of_images(params: dict[str, str]) -> dict[str, str]:
    return {name.removeprefix(IMAGE): value for name, value in params.items() if name.startswith(IMAGE)}


def _visit() -> str:
    """Streamlit's id of this session."""
    context = get_script_run_ctx()
    return context.session_id if context else ""


def _watched() -> Callable[[], bool]:
    """A function that tells, from any thread, whether a browser shows this session."""
    mine = weakref.ref(session())  # a training does not keep its session
    return lambda: (now := mine()) is not None and room().here(now)
