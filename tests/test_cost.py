"""The page of costs: what its numbers are, and that its picture follows clicks and switches."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.test_pages import FAST, NET, choose, experiment, fine, open_page, press, says, texts
from tests.test_player import Film, unpacked
from toydiff.diffusion.samplers import WAYS
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.draw import cost as drawn
from toydiff.draw.cost import COST_SAMPLES, RACED, Bench, Cost, Switches
from toydiff.experiments.experiment import Experiment
from toydiff.measures.clouds import Ruler, spread
from toydiff.text import words
from toydiff.ui import cost as page

SMALL = Experiment(points=200, T=20, particles=8)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench(SMALL, SMALL.exact())


# ---------------------------------------------------------------- what is measured


@pytest.mark.parametrize("way", RACED)
@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_the_calls_are_those_that_were_made(bench, way, steps):
    cost = bench.cost(way, steps)
    assert (cost.way, cost.steps) == (way, steps)
    assert cost.calls == (2 * steps - 1 if way == "heun" else steps)


def test_distance_and_spread_are_those_of_the_samples(bench):
    run = replace(SMALL, steps=5).reverse(SMALL.exact(), "ddpm", SMALL.start(COST_SAMPLES))
    cost = bench.cost("ddpm", 5)
    assert cost.distance == pytest.approx(Ruler(SMALL.data(), COST_SAMPLES).ratio(run.end))
    assert cost.spread == pytest.approx(spread(run.end, SMALL.data()))


def test_a_picture_is_made_again_only_for_what_it_shows(bench):
    scene, _ = page.run_scene(bench, SMALL)
    assert page.run_scene(bench, replace(SMALL, eta=0.5))[0] is scene  # which is a matter of the other film
    assert page.run_scene(bench, replace(SMALL, particles=9))[0] is not scene
    switched = page.switches_scene(bench, SMALL, Switches())
    assert page.switches_scene(bench, replace(SMALL, sampler="heun"), Switches()) is switched
    assert page.switches_scene(bench, SMALL, Switches(eta=0.5)) is not switched


def test_a_bench_travels_with_all_that_it_knows(bench):
    known = bench.cost("ddim", 2)
    other = pickle.loads(pickle.dumps(bench))
    assert other.known("ddim", 2) and not other.known("ddim", 19)
    assert other.cost("ddim", 2) == known
    assert other.cost("ddpm", 3)._replace(seconds=0) == bench.cost("ddpm", 3)._replace(seconds=0)


def test_a_run_is_made_once_however_many_ask_for_it():
    asked = []
    exact = SMALL.exact()

    def model(x, t):
        asked.append(t)
        return exact(x, t)

    shared = Bench(SMALL, model)
    with ThreadPoolExecutor(4) as sessions:
        answers = list(sessions.map(lambda _: page.cost(shared, "ddim", 3), range(4)))
    assert len(asked) == 3
    assert all(answer is answers[0] for answer in answers)


@pytest.mark.parametrize("T", [10, 25, 100, 1000])
def test_every_curve_goes_from_one_call_to_T(T):
    plan = Bench(replace(SMALL, T=T), SMALL.exact()).plan
    assert len(set(plan)) == len(plan)
    assert [steps for _, steps in plan] == sorted(steps for _, steps in plan)
    for name in RACED:
        steps = [n for way, n in plan if way == name]
        assert steps[0] == 1
        assert len(steps) >= 3
        calls = 2 * steps[-1] - 1 if name == "heun" else steps[-1]
        assert T - 1 <= calls <= T


def test_perfect_samples_lie_on_both_sides_of_the_floor(bench):
    low, high = drawn.chance(bench.experiment)
    assert 0 < low < 1 < high < 3


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_with_ten_calls_dpm_solver_is_ahead_of_ddim_and_ddim_of_ddpm(schedule):
    chosen = Experiment(points=600, schedule=schedule)
    ten = Bench(chosen, chosen.exact())
    fast, ddim, ddpm = (ten.cost(way, 10).distance for way in ("dpm-solver++", "ddim", "ddpm"))
    assert fast < 0.85 * ddim
    assert ddim < 0.9 * ddpm


def test_heun_is_better_than_ddim_where_no_step_is_long_and_worse_where_the_first_one_is():
    """Five steps. The cosine schedule leaves most of the noise to the first."""
    linear, cosine = (replace(SMALL, schedule=name, T=100) for name in ("linear", "cosine"))
    for chosen, better in ((linear, True), (cosine, False)):
        both = Bench(chosen, chosen.exact())
        assert (both.cost("heun", 5).distance < both.cost("ddim", 9).distance) == better


def test_all_ways_do_the_same_in_one_jump(bench):
    ends = [bench.run(WAYS[way], 1)[0].end for way in (*RACED, "mean-only")]
    assert all(torch.allclose(end, ends[0], atol=1e-5) for end in ends)
    assert (ends[0] - bench.data.mean(0)).norm(dim=1).max() < 0.2  # x_T is not quite pure noise at T = 20


def cost(way: str, calls: int, distance: float) -> Cost:
    return Cost(way, calls, calls, 0.1, distance, 1.0)


def test_how_many_calls_are_enough():
    measured = [
        *(cost("ddpm", calls, distance) for calls, distance in ((1, 9), (10, 2), (20, 1.1), (40, 0.9))),
        *(cost("ddim", calls, distance) for calls, distance in ((1, 9), (10, 1.2), (20, 1.6), (40, 1.0))),
        *(cost("heun", calls, distance) for calls, distance in ((1, 9), (5, 1.5))),
        *(cost("dpm-solver++", calls, distance) for calls, distance in ((5, 1.3), (1, 9))),
    ]
    needs = drawn.enough(measured, (0.7, 1.5))
    assert list(needs.items())[:4] == [("heun", 5), ("dpm-solver++", 5), ("ddpm", 20), ("ddim", 40)]
    assert needs["ddim-half"] is None


def test_distances_from_the_nearest_data_point():
    data = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 3.0]])
    assert drawn.to_nearest(torch.tensor([[0.0, 2.0], [1.0, 4.0]]), data) == pytest.approx((2**0.5 + 1) / 2)
    assert drawn.between_neighbours(data) == pytest.approx((1 + 1 + 3) / 3)


def test_the_last_kick_and_the_first_jump(bench):
    schedule = SMALL.noise_schedule()
    step = WAYS["ddpm-beta"].sampler(SMALL.exact(), schedule, SMALL.start(), 4, 0)
    assert schedule.grid(5)[-2:] == [4, 0]
    assert drawn.last_kick(schedule, 5) == pytest.approx(step.std.item())
    start, end = drawn.first_jump(schedule, 5)
    for sigma, t in ((start, 20), (end, 16)):
        assert 1 / (1 + sigma**2) == pytest.approx(schedule.alpha_bar[t].item())


# ---------------------------------------------------------------- its pictures


def test_the_film_is_of_the_first_of_the_measured_samples(bench):
    scene = drawn.run_scene(bench, replace(SMALL, sampler="heun", steps=4))
    (panel,) = scene.panels
    run = bench.run(WAYS["heun"], 4)[0]
    assert panel.trajectory.x.shape == (5, 8, 2)
    assert torch.equal(panel.trajectory.x, run.x[:, :8])
    measured = bench.cost("heun", 4)
    assert f"{measured.calls} " in panel.note(0)
    assert f"{measured.distance:.2f}" in panel.note(0)


def test_noise_in_the_last_step_is_fuzz_of_that_width(bench):
    scene, (plain, noisy, _) = drawn.switches_scene(bench, SMALL, Switches("ddpm-beta", True, 0.0))
    _, (_, quiet, _) = drawn.switches_scene(bench, SMALL, Switches("ddpm-beta", False, 0.0))
    run = scene.panels[1].trajectory
    assert (run.end - run.mean[-1]).abs().max() > 0
    assert torch.equal(scene.panels[0].trajectory.end, scene.panels[0].trajectory.mean[-1])
    assert noisy > 1.3 * max(plain, quiet)


def test_each_switch_changes_its_run_and_no_other(bench):
    usual = drawn.switches_scene(bench, SMALL, Switches())[0].panels
    for switches, changed in (
        (Switches(variance="ddpm"), 1),
        (Switches(noisy_end=False), 1),
        (Switches(eta=0.5), 2),
    ):
        panels = drawn.switches_scene(bench, SMALL, switches)[0].panels
        same = [torch.equal(a.trajectory.x, b.trajectory.x) for a, b in zip(usual, panels, strict=True)]
        assert same == [i != changed for i in range(3)], switches
    panels = drawn.switches_scene(bench, SMALL, Switches("ddpm", True, 1.0))[0].panels
    for panel in panels:  # DDPM three times over
        assert torch.allclose(panel.trajectory.x, panels[0].trajectory.x, atol=1e-3)


def test_every_point_of_the_chart_knows_its_run_and_the_chosen_one_is_marked(bench):
    measured = [bench.cost(way, steps) for way in RACED for steps in (1, 2, 5)]
    chosen = bench.cost("ddpm-beta", 7)
    *curves, ring = drawn.chart(measured, chosen, drawn.chance(bench.experiment)).data
    assert [curve.name for curve in curves] == [words(f"names.{way}") for way in RACED]
    for way, curve in zip(RACED, curves, strict=True):
        assert [tuple(run) for run in curve.customdata] == [(way, 1), (way, 2), (way, 5)]
        assert list(curve.y) == [bench.cost(way, steps).distance for steps in (1, 2, 5)]
        assert list(curve.x) == [bench.cost(way, steps).calls for steps in (1, 2, 5)]
    assert (ring.x[0], ring.y[0]) == (chosen.calls, chosen.distance)


def test_one_jump_is_drawn_over_the_data(bench):
    data, mean, samples = drawn.one_jump(bench.data[:5] + 1, bench.data).data
    assert len(data.x) == 200
    assert torch.allclose(torch.tensor([mean.x[0], mean.y[0]]), bench.data.mean(0))
    assert torch.allclose(torch.tensor(samples.x), bench.data[:5, 0] + 1)


# ---------------------------------------------------------------- the page


def films(at: AppTest) -> list[Film]:
    """What the players got: the chosen run, and the runs of the switches."""
    return [unpacked(player.proto.bytes) for player in at.main.get("bidi_component")]


def titles(film: Film) -> list[str]:
    return [panel["title"] for panel in film.header["panels"]]


def test_the_page_shows_the_run_of_the_link():
    at = fine(open_page("cost", **FAST, sampler="heun", steps="5", eta="0.35"))
    chosen, switched = films(at)
    assert titles(chosen) == [words("names.heun")]
    assert chosen.header["ticks"] == Experiment(T=10).noise_schedule().grid(5)
    assert chosen.header["particles"] == 16
    assert "9 " in chosen.header["panels"][0]["notes"][0]
    assert titles(switched)[2] == words("cost.ddim", eta="0.35")
    assert at.slider(key="cost-eta").value == 0.35
    assert len(at.get("plotly_chart")) == 2


@pytest.mark.parametrize(("field", "value"), [("sampler", "dpm-solver++"), ("steps", 3), ("seed", 2), ("T", 25)])
def test_the_controls_change_the_chosen_run(field, value):
    at = open_page("cost", **FAST)
    before = films(at)[0].header["hash"]
    fine(choose(at, field, value))
    assert films(at)[0].header["hash"] != before
    assert at.query_params[field] == str(value)


def test_every_switch_changes_the_scene_and_nothing_else():
    at = open_page("cost", **FAST)
    first, *hashes = (film.header["hash"] for film in films(at))
    for change in (
        lambda: at.toggle(key="cost-last").set_value(False),
        lambda: at.slider(key="cost-eta").set_value(0.5),
        lambda: at.radio(key="cost-variance").set_value("ddpm"),
    ):
        fine(change().run())
        chosen, switched = films(at)
        assert chosen.header["hash"] == first
        assert switched.header["hash"] not in hashes
        hashes.append(switched.header["hash"])
    assert at.toggle(key="cost-last").disabled  # beta-tilde has no noise there
    assert at.query_params["eta"] == "0.5"


def clicked(points: list[dict[str, object]]) -> Experiment:
    """The experiment after a click on the chart has selected these points."""

    def script(points: list[dict[str, object]]) -> None:
        from types import SimpleNamespace

        import streamlit as st

        from toydiff.experiments.experiment import Experiment
        from toydiff.ui import cost as lesson

        st.session_state.experiment = Experiment(sampler="ddim", steps=7)
        st.session_state.calls = SimpleNamespace(selection=SimpleNamespace(points=points))
        lesson.choose("calls")

    at = AppTest.from_function(script, kwargs={"points": points})
    return experiment(fine(at.run()))


def test_a_click_chooses_the_run():
    assert clicked([{"customdata": ["heun", 5]}]) == Experiment(sampler="heun", steps=5)
    assert clicked([{"customdata": ["ddpm", 100]}]) == Experiment(sampler="ddpm", steps=0)
    for beside in ([], [{"x": 1, "y": 2}]):
        assert clicked(beside) == Experiment(sampler="ddim", steps=7)


@pytest.mark.slow
def test_a_network_takes_the_place_of_the_exact_predictor():
    at = fine(open_page("cost", **NET, predictor="network", trained="40"))
    assert says(at, "reverse", "linked-network")
    exact = [film.header["hash"] for film in films(at)]
    fine(press(at, "train-now"))
    assert not at.info
    assert all(film.header["hash"] not in exact for film in films(at))
    assert says(at, "cost", "one-network")
    assert at.query_params["trained"] == "40"


def test_a_schedule_that_leaves_signal_is_named():
    at = fine(open_page("cost", **FAST | {"strength": "0.1"}))
    assert says(at, "cost", "one-signal")
    assert not says(at, "cost", "one-network")


def test_the_page_says_how_many_calls_are_enough():
    at = fine(open_page("cost", **FAST))
    (text,) = [text for text in texts(at) if words("names.dpm-solver++") in text and words("names.ddim-half") in text]
    measured = Experiment(points=100, T=10)
    bench = Bench(measured, measured.exact())
    for way, calls in drawn.enough([bench.cost(*run) for run in bench.plan], drawn.chance(bench.experiment)).items():
        shown = words("cost.never") if calls is None else calls
        assert words("cost.need", name=words(f"names.{way}"), calls=shown) in text


def test_three_data_points_and_one_particle():
    fine(open_page("cost", **FAST | {"points": "3", "particles": "1", "steps": "1"}))
