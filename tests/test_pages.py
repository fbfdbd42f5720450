"""The pages, run by Streamlit's own tester: no browser, real scripts."""

import inspect
import math
import re
from dataclasses import asdict, fields
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.test_player import Film, unpacked
from tests.waiting import PATIENCE, wait_for
from toydiff.data.points import DATASETS
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.experiments.experiment import Experiment
from toydiff.server import live
from toydiff.server.live import Run
from toydiff.server.snapshots import Failed
from toydiff.text import prose, words
from toydiff.ui import export
from toydiff.ui.export import _want
from toydiff.ui.page import PAGES

APP = Path(__file__).parent.parent / "app.py"
LESSONS = [name for name in PAGES if name != "home"]
SAYING = ("markdown", "success", "info", "warning", "error")
FIELDS = [field.name for field in fields(Experiment)]
FAST = {"v": "2", "points": "100", "particles": "16", "T": "10"}
NET = FAST | {"width": "8", "depth": "1", "batch": "16"}


pytestmark = pytest.mark.usefixtures("few_samples")


def open_page(lesson: str, **params: str) -> AppTest:
    """A link opened in a fresh server: the page runs by itself, without app.py."""
    at = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    at.query_params.update(params)
    return at.switch_page(f"pages/{lesson}.py").run()


def fine(at: AppTest) -> AppTest:
    assert [error.message for error in at.exception] == []
    return at


def experiment(at: AppTest) -> Experiment:
    return at.session_state["experiment"]


def texts(at: AppTest) -> list[str]:
    return [element.value for element in at.markdown]


def matches(text: str, lesson: str, section: str) -> bool:
    """Whether a text is this section of the prose, whatever its figures are."""
    parts = Formatter().parse(prose(lesson, section))
    pattern = "".join(re.escape(plain) + (".+?" if name else "") for plain, name, _, _ in parts)
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def says(at: AppTest, lesson: str, section: str) -> bool:
    return any(matches(element.value, lesson, section) for kind in SAYING for element in getattr(at, kind))


def film(at: AppTest) -> Film:
    """What the (first) player on the page got."""
    player = at.main.get("bidi_component")[0]
    return unpacked(player.proto.bytes)


def ticks(at: AppTest) -> list[int]:
    return film(at).header["ticks"]


def saves(at: AppTest, key: str) -> list[str]:
    """The labels of the buttons that save a file."""
    return [button.proto.label for button in at.get("download_button") if button.key == f"{key}-save"]


def choose(at: AppTest, field: str, value: object) -> AppTest:
    kind = "selectbox" if field in Experiment.choices() else "select_slider" if slides(at, field) else "number_input"
    return getattr(at, kind)(key=f"control-{field}").set_value(value).run()


def slides(at: AppTest, field: str) -> bool:
    return any(slider.key == f"control-{field}" for slider in at.select_slider)


# ---------------------------------------------------------------- every page


@cache
def seen(lesson: str) -> AppTest:
    """A page as a link shows it. Tests only look at it."""
    return open_page(lesson, **FAST)


@pytest.mark.parametrize("lesson", PAGES)
def test_each_page_opens_by_itself(lesson):
    at = fine(seen(lesson))
    assert texts(at)[0].endswith(words(f"titles.{lesson}"))
    assert not at.warning
    assert not at.error
    assert at.main.get("bidi_component")  # something plays
    fine(at.run())


@pytest.mark.slow
def test_each_page_opens_through_the_app():
    at = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    at.query_params.update(FAST)
    at.run()
    fine(at)
    assert texts(at)[0].endswith(words("titles.home"))
    for lesson in (*LESSONS, "home"):
        fine(at.switch_page(f"pages/{lesson}.py").run())
        assert texts(at)[0].endswith(words(f"titles.{lesson}"))


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS)
def test_each_lesson_runs_as_a_script_of_its_own(lesson):
    at = AppTest.from_file(str(APP.parent / "pages" / f"{lesson}.py"), default_timeout=PATIENCE)
    at.query_params.update(FAST)
    fine(at.run())
    assert texts(at)[0].endswith(words(f"titles.{lesson}"))


@pytest.mark.parametrize("lesson", PAGES)
def test_each_page_has_the_table_of_contents(lesson):
    at = seen(lesson)
    links = [(link.proto.page, link.proto.label) for link in at.sidebar.get("page_link")]
    assert links == [(name, words(f"nav.{name}")) for name in PAGES]


COURSE = [name for name in PAGES if name not in ("home", "own")]


@pytest.mark.parametrize(("lesson", "after"), list(pairwise(COURSE)))
def test_each_lesson_leads_to_the_next(lesson, after):
    at = seen(lesson)
    assert [link.proto.page for link in at.main.get("page_link")][-1:] == [after]


PLACE = re.compile(r"(?<![{\\\w}^_])\{[a-z_]+\}(?!\})")  # "{steps}", but not "\\bar{x}"


@pytest.mark.parametrize("lesson", PAGES)
def test_no_place_in_a_text_is_left_unfilled(lesson):
    at = seen(lesson)
    for kind in SAYING:
        for element in getattr(at, kind):
            assert not PLACE.findall(element.value)


@pytest.mark.parametrize("lesson", PAGES)
def test_the_address_holds_every_setting(lesson):
    at = seen(lesson)
    assert {name: at.query_params[name] for name in at.query_params} == experiment(at).to_params()
    assert experiment(at) == Experiment(points=100, particles=16, T=10)


def test_settings_stay_when_the_page_is_switched():
    at = choose(open_page("forward", **FAST), "dataset", "moons")
    at.switch_page("pages/reverse.py").run()
    assert fine(at).selectbox(key="control-dataset").value == "moons"
    assert at.query_params["dataset"] == "moons"


# ---------------------------------------------------------------- links that are wrong

NONSENSE = [
    "",
    "nonsense",
    "nan",
    "-1e999",
    "9" * 60,
    "<b>bold</b><script>alert(1)</script>",
    "**bold** [a](http://b) $x$ `code`",
    "\x00\n\n# big",
]


def unusable(field: str, value: str) -> bool:
    return Experiment.from_params({field: value})[1] != []


@pytest.mark.parametrize("value", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_in_a_link_is_named_and_replaced(value):
    assert all(unusable(field, value) for field in FIELDS)
    at = fine(open_page("forward", v="2", **dict.fromkeys(FIELDS, value)))
    assert experiment(at) == Experiment()
    assert len(at.warning) == len(FIELDS)
    for field, warning in zip(FIELDS, at.warning, strict=True):
        assert words(f"fields.{field}") in warning.value
        assert Experiment.allowed(field) in warning.value
        assert str(getattr(Experiment(), field)) in warning.value
    assert at.query_params["dataset"] == Experiment().dataset  # the address is right again
    assert not fine(at.run()).warning  # said once


@pytest.mark.slow
@pytest.mark.parametrize("lesson", PAGES)
def test_every_page_survives_a_wrong_link(lesson):
    wrong = ("dataset", "T", "lr")
    at = fine(open_page(lesson, **FAST | dict.fromkeys(wrong, "<img src=x onerror=alert(1)>")))
    for field, warning in zip(wrong, at.warning, strict=True):
        assert words(f"fields.{field}") in warning.value


@pytest.mark.parametrize(
    "value", [lambda low, _: f"{low - 1:.0f}", lambda _, high: f"{high + 1:.0f}", lambda *_: "1e400", lambda *_: "-inf"]
)
def test_values_out_of_range_are_named_and_replaced(value):
    at = fine(open_page("forward", v="2", **{field: value(*ends) for field, ends in Experiment.ranges().items()}))
    assert experiment(at) == Experiment()
    ranged = [field for field in FIELDS if field in Experiment.ranges()]
    for field, warning in zip(ranged, at.warning, strict=True):
        assert words(f"fields.{field}") in warning.value
        assert Experiment.allowed(field) in warning.value


@pytest.mark.parametrize(
    "text",
    [
        "a` <b>b</b> `c",
        "``` \n# d",
        "![x](http://y)",
        "$\\frac12$ :red[z]",
    ],
)
def test_what_came_with_a_link_is_shown_as_text(text):
    at = fine(open_page("forward", **FAST | {"schedule": text}))
    (warning,) = at.warning
    field, rest = words("problems.link").split("{value}")[0].split("{field}")
    assert warning.value.startswith(field + words("fields.schedule") + rest)
    shown = warning.value.removeprefix(field + words("fields.schedule") + rest)
    code = shown[: shown.index("`")]  # inside one pair of backticks, to the first one that closes
    assert rest.endswith("`")
    assert code.replace("'", "`") == " ".join(text.replace("'", "`").split())
    assert "\n" not in code
    assert not any(element.allow_html for element in at.markdown)


def test_numbers_at_the_edge_of_their_range_work():
    at = fine(open_page("forward", points="3", particles="1", T="10", strength="0.01", seed=str(2**31 - 1)))
    assert not [w for w in at.warning if not matches(w.value, "forward", "not-noise")]
    assert (experiment(at).points, experiment(at).particles) == (3, 1)
    assert film(at).header["particles"] >= 1
    fine(open_page("reverse", points="3", particles="1", T="10", strength="0.01", steps="1"))


def test_unknown_names_in_a_link_are_ignored():
    at = fine(open_page("forward", **FAST, nobody="knows", embed="true"))
    assert not at.warning
    assert experiment(at).T == 10


def test_a_link_changed_by_hand_changes_the_page():
    at = open_page("forward", **FAST)
    at.query_params["dataset"] = "moons"
    fine(at.run())
    assert experiment(at).dataset == "moons"
    assert experiment(at).T == 10
    assert at.selectbox(key="control-dataset").value == "moons"


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize("lesson", ["forward", "reverse"])
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_dataset(lesson, dataset):
    at = fine(open_page(lesson, **FAST, dataset=dataset))
    assert experiment(at).dataset == dataset
    assert np.isfinite(film(at).places(film(at).header["panels"][0]["x"], 11, 16, 2)).all()
    assert film(at).header["ghost"]["count"] == 100


@pytest.mark.parametrize("lesson", ["forward", "reverse"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("T", [10, 25])
def test_every_schedule(lesson, schedule, T):
    at = fine(open_page(lesson, **FAST | {"schedule": schedule, "T": str(T)}))
    expected = list(range(T + 1)) if lesson == "forward" else list(range(T, -1, -1))
    assert ticks(at) == expected


@pytest.mark.parametrize("dataset", ["film-spiral", "circles"])
def test_a_new_dataset_brings_its_usual_number_of_points(dataset):
    at = fine(choose(open_page("forward", **FAST | {"points": "333"}), "dataset", dataset))
    usual = inspect.signature(DATASETS[dataset]).parameters["n"].default
    assert experiment(at).points == usual
    assert at.number_input(key="control-points").value == usual
    assert at.query_params["points"] == str(usual)
    assert at.query_params["dataset"] == dataset


@pytest.mark.parametrize(
    ("lesson", "field", "value"),
    [
        ("forward", "points", 50),
        ("forward", "schedule", "linear"),
        ("forward", "T", 25),
        ("forward", "strength", 0.5),
        ("forward", "particles", 64),
        ("forward", "seed", 7),
        ("reverse", "steps", 5),
        ("reverse", "seed", 3),
        ("train", "width", 16),
        ("train", "depth", 2),
        ("train", "batch", 64),
        ("train", "lr", 0.01),
    ],
)
def test_a_control_changes_the_settings_and_the_address(lesson, field, value):
    at = open_page(lesson, **NET)
    assert getattr(experiment(at), field) != value
    before = film(at).header["hash"]
    fine(choose(at, field, value))
    assert getattr(experiment(at), field) == value
    assert at.query_params[field] == str(value)
    if lesson != "train" or field in ("width", "depth"):
        assert film(at).header["hash"] != before  # and the picture


def test_a_new_T_takes_all_steps_again():
    at = open_page("reverse", **FAST | {"T": "25", "steps": "20"})
    assert len(ticks(at)) == 21
    fine(choose(at, "T", 10))
    assert experiment(at).steps == 0
    assert len(ticks(at)) == 11


def test_more_jumps_than_steps_in_a_link_are_as_many_as_there_are():
    at = fine(open_page("reverse", **FAST, steps="900"))
    assert len(ticks(at)) == 11


def test_an_emptied_number_box_keeps_the_old_value():
    at = open_page("forward", **FAST)
    fine(choose(at, "seed", None))
    assert experiment(at).seed == 0


def test_a_link_may_carry_a_value_between_two_stops():
    at = fine(open_page("forward", **FAST | {"T": "37", "particles": "11"}))
    assert at.select_slider(key="control-T").value == 37
    assert len(ticks(at)) == 38


# ---------------------------------------------------------------- lesson 1


def test_noise_that_is_noise_and_noise_that_is_not():
    at = open_page("forward", **FAST)
    assert [matches(element.value, "forward", "noise") for element in at.success] == [True]
    assert not at.warning
    fine(choose(at, "T", 50))
    fine(choose(at, "strength", 0.05))
    assert not at.success
    assert [matches(element.value, "forward", "not-noise") for element in at.warning] == [True]
    left = experiment(at).noise_schedule().alpha_bar[-1].sqrt().item()
    assert f"{left:.0%}" in at.warning[0].value


def test_both_routes_start_from_the_same_points():
    at = open_page("forward", **FAST)
    chain, jump = (film(at).places(panel["x"], 11, 16, 2) for panel in film(at).header["panels"])
    assert chain[0] == pytest.approx(jump[0])
    assert not np.allclose(chain[5], jump[5], atol=0.01)


# ---------------------------------------------------------------- lesson 2


def run_of(at: AppTest):
    return at.session_state["session"].run


def press(at: AppTest, key: str) -> AppTest:
    return at.button(key=key).click().run()


def labelled(at: AppTest, key: str):
    (button,) = (button for button in at.button if button.label == words(key))
    return button


def metric(at: AppTest, name: str) -> str:
    (value,) = (metric.value for metric in at.metric if metric.label == words(f"train.{name}"))
    return value


def test_training_waits_to_be_started():
    at = open_page("train", **NET)
    assert run_of(at).step == 0
    assert not run_of(at).running
    assert at.button(key="go").label == words("train.start")
    assert at.button(key="reset").disabled
    assert metric(at, "step") == "0"


def test_one_step_is_one_step():
    at = open_page("train", **NET)
    for step in (1, 2, 3):
        fine(press(at, "one"))
        assert run_of(at).step == step
        assert metric(at, "step") == str(step)
    assert ticks(at) == [0, 1, 2, 3]
    assert at.button(key="go").label == words("train.resume")


def test_start_pause_resume_reset():
    at = open_page("train", **NET)
    fine(press(at, "go"))
    run = run_of(at)
    assert run.running
    assert at.button(key="go").label == words("train.pause")
    assert at.button(key="one").disabled
    wait_for(lambda: run.step >= 20)

    fine(press(at, "go"))
    assert not run.running
    step = run.step
    assert at.button(key="go").label == words("train.resume")
    assert metric(at, "step") == f"{step:,}"
    assert ticks(at)[-1] == step

    fine(press(at, "go"))
    wait_for(lambda: run.step > step)
    fine(press(at, "reset"))
    assert not run.running
    assert run_of(at) is not run
    assert run_of(at).step == 0
    assert at.button(key="go").label == words("train.start")


def test_where_the_last_samples_were_not_measured_the_number_is_that_of_those_that_were(monkeypatch):
    """In a class that trains, not every picture is measured."""
    at = open_page("train", **NET)
    press(at, "one")
    snapshot = Run.snapshot
    ratio = run_of(at).snapshot().ratio

    def unmeasured(run):
        now = snapshot(run)
        point = now.evaluations[-1]._replace(step=2, ratio=math.nan)
        return now._replace(evaluations=(*now.evaluations, point))

    monkeypatch.setattr(Run, "snapshot", unmeasured)
    fine(at.run())
    assert f"{ratio:.2f} ×" in [metric.value for metric in at.metric]
    notes = unpacked(at.get("bidi_component")[0].proto.bytes).header["panels"][0]["notes"]
    assert notes[-1] == words("train.not_measured")
    assert f"{ratio:.2f}" in notes[-2]


@pytest.mark.parametrize("others", [0, 29])
def test_in_a_crowd_a_click_on_pause_does_not_wait_for_a_picture(monkeypatch, others):
    monkeypatch.setattr("toydiff.ui.controls.PAUSE_WAIT_SECONDS", 0.3)
    at = press(open_page("train", **NET), "go")
    load, waited = live.load(), []
    monkeypatch.setattr(live, "load", lambda: load._replace(running=1 + others))
    monkeypatch.setattr(Run, "pause", lambda run, patience=None: waited.append(patience))
    press(at, "go")
    assert waited[0] == pytest.approx(0.01 if others else 0.3)


def test_training_goes_on_while_another_page_is_read():
    at = open_page("train", **NET)
    press(at, "go")
    run = run_of(at)
    fine(at.switch_page("pages/forward.py").run())
    step = run.step
    wait_for(lambda: run.step > step)
    fine(at.switch_page("pages/train.py").run())
    assert run_of(at) is run
    assert at.button(key="go").label == words("train.pause")


@pytest.mark.parametrize(("field", "value"), [("lr", 0.01), ("dataset", "moons"), ("width", 16)])
def test_new_settings_before_the_first_step_are_simply_used(field, value):
    at = fine(choose(open_page("train", **NET), field, value))
    assert not at.warning
    assert getattr(run_of(at).experiment, field) == value


def changed(**more) -> AppTest:
    at = press(open_page("train", **NET), "one")
    for field, value in more.items():
        fine(choose(at, field, value))
    return at


def test_changed_settings_are_named():
    at = changed(lr=0.01, width=16)
    (warning,) = at.warning
    assert matches(warning.value, "train", "changed")
    for field, old, new in (("lr", "0.004", "0.01"), ("width", "8", "16")):
        assert f"{words(f'fields.{field}')}: {old} → {new}" in warning.value
    assert run_of(at).experiment.lr == Experiment().lr  # it still is the old network
    assert run_of(at).step == 1


def test_changed_settings_then_a_fresh_start():
    at = changed(lr=0.01)
    fine(labelled(at, "train.fresh").click().run())
    assert not at.warning
    assert run_of(at).experiment.lr == 0.01
    assert run_of(at).step == 0


def test_changed_settings_then_back_to_the_old_ones():
    at = changed(dataset="moons", lr=0.01)
    run = run_of(at)
    fine(labelled(at, "train.back").click().run())
    assert not at.warning
    assert run_of(at) is run
    assert run.step == 1
    assert (experiment(at).dataset, experiment(at).points, experiment(at).lr) == ("spiral", 100, Experiment().lr)
    assert at.query_params["dataset"] == "spiral"
    assert at.number_input(key="control-lr").value == Experiment().lr


def test_settings_that_training_does_not_depend_on_change_nothing():
    at = press(open_page("train", **NET), "one")
    at.switch_page("pages/reverse.py").run()
    fine(choose(choose(at, "steps", 5), "particles", 64))
    fine(at.switch_page("pages/train.py").run())
    assert not at.warning
    assert run_of(at).step == 1


def test_an_exploding_loss_is_explained_and_can_be_left():
    at = open_page("train", **NET | {"lr": "1000", "width": "32", "depth": "2"})
    press(at, "go")
    run = run_of(at)
    wait_for(lambda: not run.running)
    fine(at.run())
    (error,) = at.error
    assert matches(error.value, "train", "diverged")
    assert f"{run.snapshot().diverged_at + 1:,}" in error.value
    assert at.button(key="go").disabled
    assert at.button(key="one").disabled
    assert not at.button(key="reset").disabled

    fine(choose(at, "lr", 0.004))
    fine(labelled(at, "train.fresh").click().run())
    assert not at.error
    assert not at.button(key="go").disabled
    fine(press(at, "one"))
    assert run_of(at).step == 1


# ---------------------------------------------------------------- lesson 1


@pytest.mark.parametrize(
    ("params", "sections"),
    [
        ({}, {"noise", "same"}),
        ({"schedule": "linear", "T": "10"}, {"all-noise", "same"}),
        ({"strength": "0.05"}, {"not-noise", "same"}),
        ({"particles": "1"}, {"noise", "same-few"}),
    ],
)
def test_lesson_1_says_what_is_so(params, sections):
    at = fine(open_page("forward", **FAST | params))
    told = {"noise", "all-noise", "not-noise", "same", "same-few"}
    assert {name for name in told if says(at, "forward", name)} == sections


@pytest.mark.parametrize(("target", "told"), [("stable", True), ("total", False), ("last-step", False)])
def test_lesson_2_says_what_is_added_to_the_paper(target, told):
    assert says(fine(open_page("train", **NET, target=target)), "train", "stable") is told


@pytest.mark.parametrize(("T", "first"), [("100", "β is 0.00063 in"), ("1000", "β is 0.000041 in")])
def test_the_first_step_is_never_none(T, first):
    at = fine(open_page("forward", **FAST | {"T": T, "particles": "16", "schedule": "cosine"}))
    assert any(first in markdown.value for markdown in at.markdown)


@pytest.mark.parametrize(("params", "section"), [({}, "error-noise"), ({"strength": "0.05"}, "error-signal")])
def test_lesson_4_says_where_the_error_is_small(params, section):
    at = fine(open_page("field", **FAST | params))
    sentence = prose("field", section).split("{")[0]
    assert any(sentence in markdown.value for markdown in at.markdown)


# ---------------------------------------------------------------- lesson 3


@pytest.mark.parametrize(
    ("params", "verdict"),
    [
        ({"dataset": "spiral", "T": "50"}, "collapse"),
        ({"dataset": "circles", "points": "2000", "particles": "256", "T": "100"}, "torn"),
        ({"strength": "0.05", "T": "50"}, "hidden"),
        ({"points": "2000", "particles": "256", "dataset": "gaussians", "T": "10"}, "torn"),
        ({"points": "2000", "particles": "256", "schedule": "linear", "strength": "0.5", "T": "100"}, "collapse"),
        ({"steps": "1"}, "few"),
        ({"points": "2000", "particles": "256", "T": "100", "steps": "3"}, "few"),
        ({"particles": "1"}, "alone"),
    ],
)
def test_what_you_see_is_what_is_said(params, verdict):
    at = fine(open_page("reverse", **FAST | params))
    assert [name for name in ("collapse", "torn", "few", "hidden", "alone") if says(at, "reverse", name)] == [verdict]
    assert says(at, "reverse", "ddim-kept") == (verdict not in ("few", "alone"))


@pytest.mark.parametrize(("steps", "text"), [(1, "in one jump"), (5, "in 5 jumps")])
def test_a_stamp_counts_the_jumps(steps, text):
    at = fine(open_page("reverse", **FAST, steps=str(steps)))
    assert any(text in caption.value for caption in at.caption)


def test_three_ways_from_the_same_noise():
    at = open_page("reverse", **FAST)
    ddpm, mean_only, ddim = (film(at).places(panel["x"], 11, 16, 2) for panel in film(at).header["panels"])
    assert ddpm[0] == pytest.approx(mean_only[0])
    assert ddpm[0] == pytest.approx(ddim[0])
    assert mean_only[-1].std() < ddim[-1].std()


def test_without_a_network_the_page_says_so_and_shows_the_exact_predictor():
    exact = film(open_page("reverse", **NET)).header["hash"]
    at = fine(open_page("reverse", **NET, predictor="network"))
    assert [matches(element.value, "reverse", "no-network") for element in at.info] == [True]
    assert at.button(key="train-now").label == words("reverse.train", steps="3,000")
    assert film(at).header["hash"] == exact


def test_a_link_to_a_network_can_be_trained_here():
    at = fine(open_page("reverse", **NET, predictor="network", trained="620"))
    (info,) = at.info
    assert info.value == prose("reverse", "linked-network", steps="620")
    assert at.button(key="train-now").label == words("reverse.train", steps="620")
    before = film(at).header["hash"]

    fine(press(at, "train-now"))
    assert run_of(at).step == 620
    assert not at.info
    assert not [button for button in at.button if button.key == "train-now"]
    assert film(at).header["hash"] != before
    assert at.query_params["trained"] == "620"


def test_a_network_leaves_its_mark_on_the_link():
    at = open_page("train", **NET)
    for _ in range(2):
        press(at, "one")
    at.switch_page("pages/reverse.py").run()
    fine(choose(at, "predictor", "network"))
    assert not at.info
    assert at.query_params["trained"] == "2"
    assert words("page.network", steps="2") in network_stamp(at)


def network_stamp(at: AppTest) -> str:
    return at.session_state["session"].shown["network-scene"][1].stamp


def test_settings_changed_here_are_not_called_a_link():
    at = open_page("reverse", **NET, predictor="network", trained="20")
    fine(press(at, "train-now"))
    fine(choose(at, "dataset", "moons"))
    assert [matches(element.value, "reverse", "no-network") for element in at.info] == [True]


def test_a_network_whose_training_explodes_breaks_nothing():
    params = NET | {"lr": "1000", "width": "32", "depth": "2"}
    at = open_page("reverse", **params, predictor="network", trained="900")
    fine(press(at, "train-now"))
    assert run_of(at).snapshot().diverged_at is not None
    assert [matches(error.value, "train", "diverged-exact") for error in at.error] == [True]
    assert not any(button.key == "train-now" for button in at.button)  # it would explode again
    assert experiment(at).trained == 900  # what the link asked for: it was not reached
    assert np.isfinite(film(at).places(film(at).header["panels"][0]["x"], 11, 16, 2)).all()
    fine(at.switch_page("pages/train.py").run())
    assert says(at, "train", "diverged")


def test_one_link_is_one_picture_particle_for_particle():
    runs = []
    for _ in range(2):
        at = open_page("reverse", **NET, predictor="network", trained="150", seed="5")
        fine(press(at, "train-now"))
        runs.append([panel.trajectory for panel in at.session_state["session"].shown["network-scene"][1].panels])
        runs.append(film(at).header["hash"])
    for first, second in zip(runs[0], runs[2], strict=True):
        assert first.x.equal(second.x)
        assert first.x0.equal(second.x0)
    assert runs[1] == runs[3]


def test_a_link_taken_from_the_address_shows_the_same_picture():
    at = open_page("train", **NET, seed="4")
    for _ in range(3):
        press(at, "one")
    at.switch_page("pages/reverse.py").run()
    choose(at, "predictor", "network")
    link = {name: at.query_params[name] for name in at.query_params}

    other = fine(press(open_page("reverse", **link), "train-now"))
    assert film(other).header["hash"] == film(at).header["hash"]


# ---------------------------------------------------------------- to take home


def kept(at: AppTest, key: str) -> bytes:
    """The file that a button has made."""
    _, content = at.session_state["session"].shown[f"{key}-made"]
    return content


@pytest.mark.parametrize(("lesson", "frames"), [("forward", 11), ("reverse", 11), ("train", 3)])
def test_numbers_have_every_frame(lesson, frames):
    at = open_page(lesson, **NET)
    if lesson == "train":
        press(press(at, "one"), "one")
    assert not saves(at, f"{lesson}-npz")
    fine(press(at, f"{lesson}-npz"))
    (label,) = saves(at, f"{lesson}-npz")
    content = kept(at, f"{lesson}-npz")
    assert label == words("export.save_file", kind="NPZ", size=f"{len(content) / 1e6:.1f}")
    with np.load(BytesIO(content), allow_pickle=False) as file:
        assert file["t"].tolist() == ticks(at) and len(file["t"]) == frames
        assert words(f"names.{experiment(at).dataset}") in str(file["stamp"])


def test_making_a_file_twice_is_harmless():
    at = press(open_page("forward", **FAST), "forward-npz")
    content = kept(at, "forward-npz")
    fine(press(at, "forward-npz"))
    assert kept(at, "forward-npz") == content
    assert len(saves(at, "forward-npz")) == 1


@pytest.mark.parametrize("lesson", PAGES)
def test_what_is_taken_home_has_a_name_and_says_how_it_was_made(lesson):
    """The browser makes it, of what the player got."""
    at = seen(lesson)
    files = {}
    for player in at.main.get("bidi_component"):
        header = unpacked(player.proto.bytes).header if player.proto.bytes else {}
        if "ticks" in header and not header["options"]["compact"]:
            files[header["options"]["file"]] = header["stamp"]
    assert all(re.fullmatch(r"toydiff(-[a-z0-9]+)+", name) for name in files)
    assert all(stamp in [caption.value for caption in at.caption] for stamp in files.values())
    assert all(files.values())
    assert files or lesson in ("own", "teacher")


@pytest.mark.parametrize("end", [st.rerun, st.stop])
def test_a_file_whose_making_was_ended_by_another_click_is_made_by_the_next_run(monkeypatch, end):
    """A click in the same part of a page begins it anew; any other click ends it."""
    at = open_page("forward", **FAST)
    ends, really = [end], export.tried

    def pressed(*arguments: object) -> object:
        if ends:
            ends.pop()()
        return really(*arguments)

    monkeypatch.setattr(export, "tried", pressed)
    press(at, "forward-npz")
    assert not ends
    assert saves(fine(at.run()), "forward-npz")
    assert "forward-npz-wanted" not in at.session_state["session"].shown


def test_a_file_that_cannot_be_made_is_a_sentence_and_is_not_tried_again(monkeypatch):
    at = open_page("forward", **FAST)
    tried: list[object] = []

    def fails(*_: object) -> object:
        tried.append(1)
        raise Failed("no room")

    monkeypatch.setattr(export, "tried", fails)
    press(at, "forward-npz")
    assert [error.value for error in at.error] == ["no room"]
    assert not fine(at.run()).error
    assert len(tried) == 1


def test_what_a_page_has_shown_is_let_go_when_another_one_is_opened():
    at = press(open_page("forward", **FAST), "forward-npz")
    assert "forward-npz-made" in at.session_state["session"].shown
    fine(at.switch_page("pages/own.py").run())
    assert not [name for name in at.session_state["session"].shown if name.startswith("forward")]
    fine(at.switch_page("pages/forward.py").run())
    assert not saves(at, "forward-npz")
    assert saves(fine(press(at, "forward-npz")), "forward-npz")


def test_a_click_whose_part_of_the_page_is_gone_is_noted():
    at = open_page("forward", **FAST)
    _want(at.session_state["session"].shown, "forward-npz")
    assert saves(fine(at.run()), "forward-npz")
    nothing = {}
    _want(nothing, "forward-npz")  # another page was opened meanwhile
    assert not nothing


def test_a_file_of_another_film_is_not_offered():
    at = press(open_page("forward", **FAST), "forward-npz")
    assert saves(at, "forward-npz")
    fine(choose(at, "seed", 1))
    assert not saves(at, "forward-npz")
    fine(press(at, "forward-npz"))
    assert saves(at, "forward-npz")


def test_every_setting_has_its_words():
    for name in asdict(Experiment()):
        assert words(f"fields.{name}").strip()
    for choices in Experiment.choices().values():
        for name in choices:
            assert words(f"names.{name}").strip()
