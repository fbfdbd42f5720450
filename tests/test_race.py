"""Two networks side by side: always after the same number of steps, and each one what it would be alone."""

import base64
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from plotly.graph_objects import Figure
from streamlit.testing.v1 import AppTest

from tests.test_live import EVAL_SETTINGS, SMALL
from tests.test_player import Film, unpacked
from tests.waiting import PATIENCE, wait_for
from toydiff.draw import charts
from toydiff.experiments.experiment import Experiment
from toydiff.server import live
from toydiff.server.live import Race, Run
from toydiff.server.snapshots import Failed, Snapshot, Trouble, times
from toydiff.text import words

EXPLODES = replace(SMALL, lr=1e3, width=32, depth=2)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    """Few samples."""
    monkeypatch.setattr(live, "EVAL_SETTINGS", EVAL_SETTINGS)


def same(lane: Snapshot, other: Snapshot) -> bool:
    """Whether both were trained and measured alike, bit for bit."""
    pairs = list(zip(lane.evaluations, other.evaluations, strict=True))
    return lane.losses.equal(other.losses) and all(
        a.samples.equal(b.samples) and (a.step, a.ratio) == (b.step, b.ratio) for a, b in pairs
    )


OTHERS = [
    replace(SMALL, **{field: name})
    for field in ("network", "target")
    for name in Experiment.choices()[field]
    if name != getattr(SMALL, field)
]


@pytest.mark.parametrize("other", [*OTHERS, replace(SMALL, width=64, seed=5)])
def test_both_make_the_same_steps_and_each_is_what_it_would_be_alone(other):
    race, alone = Race(SMALL, other), [Run(SMALL), Run(other)]
    for n in (1, 7, 12):
        for training in (race, *alone):
            training.advance(n)
    now = race.snapshot()
    assert now.step == 20
    for lane, run in zip(now.lanes, alone, strict=True):
        assert [point.step for point in lane.evaluations] == [0, 1, 8, 20]
        assert len(lane.losses) == 20
        assert same(lane, run.snapshot())
    assert not now.lanes[0].losses.equal(now.lanes[1].losses)


def test_a_lane_knows_nothing_of_its_place():
    races = Race(SMALL, OTHERS[0]), Race(OTHERS[0], SMALL)
    for race in races:
        race.advance(15)
    first, second = (race.snapshot().lanes for race in races)
    assert same(first[0], second[1])
    assert same(first[1], second[0])


def test_a_race_trains_in_the_worker_until_it_is_paused():
    race = Race(SMALL, OTHERS[0])
    race.start()
    assert race.snapshot().running
    wait_for(lambda: race.step >= 20)
    race.pause()
    now = race.snapshot()
    assert not now.running
    assert [len(lane.losses) for lane in now.lanes] == [now.step, now.step]
    assert [lane.evaluations[-1].step for lane in now.lanes] == [now.step, now.step]


def test_the_predictors_are_those_of_the_lanes():
    race, x, t = Race(SMALL, OTHERS[0]), torch.randn(5, 2), torch.full((5,), 3)
    race.advance(10)
    models, step = race.predictors()
    race.advance(10)
    assert step == 10
    for model, experiment in zip(models, race.experiments, strict=True):
        alone = Run(experiment)
        alone.advance(10)
        assert model(x, t).equal(alone.predictor()[0](x, t))


@pytest.mark.parametrize("calm", [SMALL, *OTHERS])
@pytest.mark.parametrize("place", [0, 1])
def test_where_one_explodes_both_stop_at_the_same_step(calm, place):
    race = Race(EXPLODES, calm) if place == 0 else Race(calm, EXPLODES)
    race.advance(30)
    now = race.snapshot()
    assert not now.running
    assert 0 < now.step < 30
    assert now.diverged_at == now.step - 1
    assert [len(lane.losses) for lane in now.lanes] == [now.step, now.step]
    assert [lane.diverged_at for lane in now.lanes] == (
        [now.diverged_at, None] if place == 0 else [None, now.diverged_at]
    )
    alone = Run(calm)
    alone.advance(now.step)
    assert same(now.lanes[1 - place], alone.snapshot())  # set back where it had gone on, and nothing is left of that
    assert now.lanes[place].evaluations[-1].samples.isfinite().all()
    for again in (race.start, lambda: race.advance(1)):
        again()
        assert not race.running
        assert race.step == now.step


@pytest.mark.parametrize("experiment", [SMALL, OTHERS[0]])
def test_the_field_error_is_the_distance_from_the_exact_predictor(experiment, monkeypatch):
    monkeypatch.setattr(live, "EVAL_SETTINGS", EVAL_SETTINGS._replace(samples=5000))
    race = Race(replace(experiment, lr=0.02), SMALL)
    race.advance(100)
    schedule, data, exact = experiment.noise_schedule(), experiment.data(), experiment.exact()
    model, generator = race.predictors()[0][0], torch.Generator().manual_seed(9)
    expected = 0.0
    for t in range(1, experiment.T + 1):
        eps = torch.randn(5000, 2, generator=generator)
        times = torch.full((5000,), t)
        x = schedule.noised(data[torch.randint(len(data), (5000,), generator=generator)], eps, times)
        expected += (model(x, times) - exact(x, times)).square().sum(1).mean().item() / experiment.T
    assert race.snapshot().lanes[0].evaluations[-1].error == pytest.approx(expected**0.5, rel=0.1)
    assert math.isnan(Run(SMALL).snapshot().evaluations[-1].error)  # only races are measured


@pytest.mark.parametrize("n", [0, 1, 300, 301, 1000])
def test_averaged_losses(n):
    losses = torch.rand(n, generator=torch.Generator().manual_seed(0))
    steps, means = charts.averaged(losses)
    assert len(steps) == len(means) <= charts.CURVE_POINTS
    assert n - charts.CURVE_POINTS < max(steps, default=0) <= n
    for begin, end, mean in zip([0, *steps], steps, means, strict=False):
        assert mean == pytest.approx(losses[begin:end].mean().item())


def drawn(chart: charts.Chart) -> Figure:
    """The same, looked at by plotly: an error for what it does not know."""
    return Figure(chart.to_dict())


def floats(packed: dict[str, str]) -> list[float]:
    assert packed["dtype"] == "f4"
    return np.frombuffer(base64.b64decode(packed["bdata"]), "<f4").tolist()


@pytest.mark.parametrize("goals", [[], [1.0], [0.3, 20.0]])
def test_a_chart_of_a_race(goals):
    curves = {"a": ([0, 10, 20], [9.0, 3.0, 1.0]), "b": ([0, 10, 20], [90.0, 30.0, 10.0])}
    figure = drawn(charts.race(curves, goals, "title", "axis", "best"))
    assert figure.layout.yaxis.type == "log"
    assert {line.name: (floats(line.x), floats(line.y)) for line in figure.data} == curves
    assert [line.line.color for line in figure.data] == list(charts.LANES)
    assert [(line.y0, line.y1, line.line.dash) for line in figure.layout.shapes] == [(g, g, "dash") for g in goals]
    assert [10**text.y for text in figure.layout.annotations] == pytest.approx(goals)
    if len(goals) == 2:  # each in the colour of its network
        assert [line.line.color for line in figure.layout.shapes] == list(charts.LANES)


@pytest.mark.parametrize("value", [0.03, 1.0, 47.0])
def test_the_chart_of_a_race_that_has_not_begun_has_few_labels(value):
    axis = drawn(charts.race({"a": ([0], [value]), "b": ([0], [value])}, [], "title", "axis", "best")).layout.yaxis
    low, high = axis.range
    assert 10**low < value < 10**high
    assert 2 <= sum(10**low <= tick <= 10**high for tick in axis.tickvals) <= 6


# ---------------------------------------------------------------- on a page

NAMES = ("With t", "Without t")
NETWORKS = ("mlp", "mlp-no-time")
SETTINGS = Experiment(points=100, T=10, width=8, depth=1, batch=16)
SCRIPT = f"""
from dataclasses import replace
import streamlit as st
from toydiff.ui import page, state
from toydiff.ui.controls import training_buttons
from toydiff.ui.race import race

experiment = page.begin("train")
page.settings("lr", "seed", "particles")
if st.session_state.get("away"):
    run = state.current_run()
    training_buttons(state.run, run.snapshot())
else:
    race("time", replace(experiment, network="mlp"), replace(experiment, network="mlp-no-time"), {NAMES})
"""


def opened(**params: object) -> AppTest:
    at = AppTest.from_string(SCRIPT, default_timeout=PATIENCE)
    settings = {"points": 100, "particles": 16, "T": 10, "width": 8, "depth": 1, "batch": 16} | params
    at.query_params.update({"v": "2"} | {name: str(value) for name, value in settings.items()})
    return fine(at.run())


def fine(at: AppTest) -> AppTest:
    assert [error.message for error in at.exception] == []
    return at


def race_of(at: AppTest) -> Race:
    return at.session_state["session"].races["time"]


def begun(at: AppTest) -> bool:
    return "time" in at.session_state["session"].races


def press(at: AppTest, key: str) -> AppTest:
    return fine(at.button(key=key).click().run())


def away(at: AppTest, gone: bool = True) -> AppTest:
    at.session_state["away"] = gone
    return fine(at.run())


def film(at: AppTest) -> Film:
    (player,) = at.main.get("bidi_component")
    return unpacked(player.proto.bytes)


def numbers(at: AppTest, name: str) -> list[str]:
    return [metric.value for metric in at.metric if metric.label == words(name)]


def test_nothing_is_computed_before_somebody_starts_it(monkeypatch):
    asked = []
    monkeypatch.setattr(live.WorkerProcess, "ask", lambda link, what, *more: asked.append(what))
    at = opened()
    assert not begun(at) and asked == []
    assert [info.value for info in at.info] == [words("race.waits", first=NAMES[0], second=NAMES[1])]
    assert at.button(key="time-go").label == words("train.start")
    assert at.button(key="time-reset").disabled
    assert not at.main.get("bidi_component") and not at.get("plotly_chart")


def test_it_begins_with_both_networks_untrained():
    at = opened()
    at.session_state["session"].races["time"] = Race(*(replace(SETTINGS, network=name) for name in NETWORKS))
    at = fine(at.run())
    assert [panel["title"] for panel in film(at).header["panels"]] == list(NAMES)
    assert film(at).header["ticks"] == [0]
    assert numbers(at, "train.loss") == ["–", "–"]
    assert at.button(key="time-go").label == words("train.start")
    assert at.button(key="time-reset").disabled
    alts = [chart.proto.alt for chart in at.get("plotly_chart")]
    assert len(alts) == 3
    assert all(name in alt for name in NAMES for alt in alts)


def test_one_step_is_one_step_of_both():
    at = opened()
    assert not begun(at)
    for step in (1, 2, 3):
        press(at, "time-one")
        assert [len(lane.losses) for lane in race_of(at).snapshot().lanes] == [step, step]
        assert film(at).header["ticks"] == list(range(step + 1))
    now = race_of(at).snapshot()
    assert numbers(at, "train.step") == ["3"]
    assert numbers(at, "train.loss") == [f"{lane.losses.mean():.3g}" for lane in now.lanes]
    assert numbers(at, "train.quality") == [f"{times(lane.evaluations[-1].ratio)} ×" for lane in now.lanes]
    assert numbers(at, "race.error") == [f"{lane.evaluations[-1].error:.3g}" for lane in now.lanes]


def test_where_the_last_samples_were_not_measured_the_number_is_that_of_those_that_were(monkeypatch):
    """In a class that trains, not every picture is measured."""
    at = opened()
    assert not begun(at)
    press(at, "time-one")
    snapshot, before = Race.snapshot, numbers(at, "train.quality")

    def unmeasured(race):
        now = snapshot(race)
        point = [lane.evaluations[-1]._replace(step=2, ratio=math.nan) for lane in now.lanes]
        lanes = [lane._replace(evaluations=(*lane.evaluations, point[i])) for i, lane in enumerate(now.lanes)]
        return now._replace(lanes=tuple(lanes))

    monkeypatch.setattr(Race, "snapshot", unmeasured)
    assert numbers(fine(at.run()), "train.quality") == before
    notes = film(at).header["panels"][0]["notes"]
    assert notes[-1] == words("train.not_measured")
    assert "×" in notes[-2]


def test_start_pause_reset():
    at = press(opened(), "time-go")
    race = race_of(at)
    assert race.running
    assert at.button(key="time-go").label == words("train.pause")
    assert at.button(key="time-one").disabled
    wait_for(lambda: race.step > 0)
    press(at, "time-go")
    assert not race.running
    assert at.button(key="time-go").label == words("train.resume")
    press(at, "time-go")
    press(at, "time-reset")
    assert not race.running
    assert not begun(at)
    assert at.info
    press(at, "time-one")
    assert race_of(at) is not race
    assert race_of(at).step == 1


def test_it_goes_on_while_another_page_is_read():
    at = press(opened(), "time-go")
    race = race_of(at)
    step = race.step
    away(at)
    wait_for(lambda: race.step > step)
    away(at, False)
    assert race_of(at) is race
    assert race.running
    assert at.button(key="time-go").label == words("train.pause")


@pytest.mark.parametrize("button", ["go", "one"])
def test_a_session_trains_one_thing_at_a_time(button):
    at = press(away(opened()), "go")
    run = at.session_state["session"].run
    assert run.running
    press(away(at, False), f"time-{button}")
    assert not run.running
    if button == "one":
        press(at, "time-go")
    assert race_of(at).running
    press(away(at), button)
    assert not race_of(at).running


def test_new_settings_before_the_first_step_are_simply_used():
    at = opened()
    fine(at.number_input(key="control-seed").set_value(3).run())
    assert not at.warning
    press(at, "time-one")
    assert [experiment.seed for experiment in race_of(at).experiments] == [3, 3]


def changed() -> tuple[AppTest, Race]:
    at = press(opened(), "time-one")
    race = race_of(at)
    fine(at.number_input(key="control-seed").set_value(3).run())
    (warning,) = at.warning
    assert f"{words('fields.seed')}: 0 → 3" in warning.value
    assert race_of(at) is race
    return at, race


def test_changed_settings_then_a_fresh_start():
    at, race = changed()
    press(at, "time-fresh")
    assert not at.warning
    assert not begun(at)
    press(at, "time-one")
    assert race_of(at) is not race
    assert [experiment.seed for experiment in race_of(at).experiments] == [3, 3]
    assert race_of(at).step == 1


def test_changed_settings_then_back_to_the_old_ones():
    at, race = changed()
    press(at, "time-back")
    assert not at.warning
    assert race_of(at) is race
    assert at.session_state["experiment"].seed == 0


def test_settings_that_training_does_not_depend_on_change_nothing():
    at = press(opened(), "time-one")
    fine(at.select_slider(key="control-particles").set_value(64).run())
    assert not at.warning
    assert race_of(at).step == 1


def test_an_exploding_loss_is_explained():
    at = press(opened(lr=1000, width=32, depth=2), "time-one")
    race_of(at).advance(30)
    fine(at.run())
    lanes = dict(zip(NAMES, race_of(at).snapshot().lanes, strict=True))
    exploded = {name: lane.diverged_at for name, lane in lanes.items() if lane.diverged_at is not None}
    assert exploded
    assert [error.value for error in at.error] == [
        words("race.diverged", name=name, step=f"{step + 1:,}", lr="1000") for name, step in exploded.items()
    ]
    assert at.button(key="time-go").disabled
    assert at.button(key="time-one").disabled
    assert not at.button(key="time-reset").disabled


def test_what_went_wrong_on_the_server_is_said(monkeypatch):
    at = press(opened(), "time-one")
    now = race_of(at).snapshot()
    monkeypatch.setattr(Race, "snapshot", lambda race: now._replace(lost=1234))
    assert [warning.value for warning in fine(at.run()).warning] == [words("live.lost", steps="1,234")]
    problem = Trouble("live.no_memory", {})
    monkeypatch.setattr(Race, "snapshot", lambda race: now._replace(problem=problem))
    at = fine(at.run())
    assert not at.warning
    assert [error.value for error in at.error] == [words("live.no_memory")]


def test_a_step_that_fails_is_said(monkeypatch):
    def fails(race, n, picture=True):
        race._record.stop(Trouble("live.failed", {}))
        raise Failed

    at = opened()
    monkeypatch.setattr(Race, "advance", fails)
    assert [error.value for error in press(at, "time-one").error] == [words("live.failed")]
