"""The page "Why predict all of the noise?": it shows what was computed, for any place, and says where it cannot."""

import re

import pytest
import torch

from tests.test_pages import FAST, NET, experiment, fine, open_page, says, texts
from tests.test_player import Film, unpacked
from toydiff.diffusion import exact
from toydiff.diffusion.bound import bound, kl, posterior, student
from toydiff.diffusion.samplers import SAMPLERS
from toydiff.diffusion.walks import Walks, given, radius
from toydiff.draw import target as pictures
from toydiff.experiments.experiment import Experiment
from toydiff.text import words
from toydiff.ui import target as lesson

SMALL = Experiment(points=200, T=20, particles=16)


pytestmark = pytest.mark.usefixtures("few_samples")


def films(at) -> list[Film]:
    """What each player on the page got, from the top."""
    return [unpacked(player.proto.bytes) for player in at.main.get("bidi_component")]


def table(at, column: str) -> dict[str, str]:
    """The last column of the first table that has this column, by its first."""
    found = next(table.value for table in at.table if column in table.value.columns)
    return dict(zip(found.iloc[:, 0], found[column], strict=True))


def number(text: str) -> float:
    return float(text.split(" ")[0])


def test_the_page_says_everything():
    at = fine(open_page("target", **FAST))
    for section in ("question", "pick", "noises", "same", "share", "variances", "race", "step", "bound", "bound-read"):
        assert says(at, "target", section), section
    assert says(at, "target", "kl-same") and not says(at, "target", "kl-larger")
    assert says(at, "target", "no-network")
    assert not at.warning and not at.error


def test_the_figures_in_the_prose_are_those_of_the_place():
    at = fine(open_page("target", **FAST, x="-0.5", y="1", t="6"))
    shown = experiment(at)
    assert (shown.x, shown.y, shown.time) == (-0.5, 1.0, 6)
    schedule = shown.noise_schedule()
    (x, y), total, last = given(shown.data(), schedule, 6, torch.tensor([-0.5, 1.0]))
    said = " ".join(" ".join(texts(at)).split())
    assert f"({x:.2f}, {y:.2f})" in said
    assert f"variance is {total:.2g} on the left and {last:.3g} on the right" in said
    assert f"**{last / total:,.0f} times as many walks**" in said
    assert f"{(schedule.beta[6] / (1 - schedule.alpha_bar[6])).item():.1%}" in said


def test_the_films_show_walks_that_arrive_and_then_their_noise():
    arrivals, noises = films(fine(open_page("target", **FAST, t="6")))
    assert arrivals.header["clock"] == "t"
    assert arrivals.header["ticks"] == list(range(7))
    assert arrivals.header["options"]["pick"] is True
    assert noises.header["clock"] == "walks"
    assert noises.header["ticks"][0] == 1
    assert noises.header["ticks"][-1] == pictures.DISC_WALKS
    assert [panel["title"] for panel in noises.header["panels"]] == [words("names.total"), words("names.last-step")]


@pytest.mark.slow
@pytest.mark.parametrize("t", [1, 10, 20])
def test_the_scene_counts_walks(t):
    shown = Experiment(points=200, T=20, t=t)
    data, schedule = shown.data(), shown.noise_schedule()
    whole, many, scene = pictures.walks_to_place(shown)
    place = torch.tensor([shown.x, shown.y])
    assert isinstance(many, Walks)
    assert ((whole.panels[0].trajectory.end - place).norm(dim=1) < radius(schedule, t)).all()
    if scene is None:
        assert len(many.x) < pictures.MIN_WALKS
        return
    _, total, last = given(data, schedule, t, place)
    for panel, noise, variance in zip(scene.panels, (many.eps, many.last), (total, last), strict=True):
        run = panel.trajectory
        for frame in (0, len(run.t) // 2, -1):
            n = run.t[frame]
            assert torch.allclose(panel.arrows[frame, 0], noise[:n].mean(0), atol=1e-5)
            assert torch.allclose(run.x[frame, :n], place + noise[:n])
            assert (run.x[frame, n:] == place).all()
        x, y, measured, closed = map(float, re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", panel.notes[-1]))
        assert [x, y] == pytest.approx(noise.mean(0).tolist(), abs=0.006)
        assert measured == pytest.approx(noise.var(0).mean().item(), rel=0.01)
        assert closed == pytest.approx(variance.item(), rel=0.01)


@pytest.mark.parametrize(("t", "section"), [("1", "first"), ("5", "same"), ("10", "certain")])
def test_the_conclusion_fits_the_time(t, section):
    """At t = 1 the last step is all there was; at T of this schedule, x_t is the noise."""
    at = fine(open_page("target", **FAST | {"schedule": "linear", "points": "3"}, x="0.44", y="0.3", t=t))
    assert says(at, "target", "noises")
    assert [name for name in ("first", "same", "certain") if says(at, "target", name)] == [section]


@pytest.mark.slow
def test_where_nobody_comes_the_page_says_so():
    at = fine(open_page("target", **FAST, x="5", y="-5", t="2"))
    assert says(at, "target", "none")
    assert not says(at, "target", "noises") and not says(at, "target", "same")
    assert says(at, "target", "variances") and says(at, "target", "bound")
    (arrivals,) = films(at)
    assert arrivals.header["particles"] == 0


@pytest.mark.slow
def test_a_click_chooses_the_place():
    at = fine(open_page("target", **FAST))
    at.session_state["arrivals-picked"] = (-1.234, 9.0)  # what the player leaves there
    fine(at.run())
    assert (experiment(at).x, experiment(at).y) == (-1.23, 5.0)
    assert at.number_input(key="control-x").value == -1.23
    at.number_input(key="control-x").set_value(0.7).run()  # typed later: the old click does not come back
    fine(at.run())
    assert experiment(at).x == 0.7


@pytest.mark.parametrize(("schedule", "T"), [("linear", 10), ("cosine", 300)])
def test_any_schedule(schedule, T):
    at = fine(open_page("target", **FAST | {"T": str(T), "schedule": schedule}))
    times, measured, variances = pictures.variances(experiment(at))
    assert times[0] == 1 and times[-1] == T and len(variances) == T
    assert torch.allclose(measured[:, 0], torch.ones(len(times)).double(), rtol=0.25)
    assert torch.allclose(measured[:, 1], variances[times - 1], rtol=0.25)


def test_one_step_and_the_whole_bound_are_those_of_the_exact_predictor():
    at = fine(open_page("target", **FAST))
    name, shown = words("page.exact"), experiment(at)
    schedule, data = shown.noise_schedule(), shown.data()
    best = exact.cloud(data, schedule)
    x0, x = lesson._particle(shown, 1, 2)
    for sampler in ("ddpm", "ddpm-beta"):
        at.segmented_control(key="sigma").set_value(sampler).run()
        q, p = posterior(schedule, x0, x, 2), student(best, schedule, SAMPLERS[sampler], x, 2)
        assert number(table(at, words("target.nats"))[name]) == pytest.approx(kl(q, p).item(), rel=0.01)
        terms = bound(best, data, schedule, SAMPLERS[sampler], pictures.DISC_WALKS, shown.generator(9))
        said = table(at, name)
        assert number(said[words("target.all")]) == pytest.approx(terms.sum(0).mean().item(), abs=0.006)
        assert number(said[words("target.first")]) == pytest.approx(terms[0].mean().item(), abs=0.006)
    assert says(fine(at), "target", "kl-larger") and not says(at, "target", "kl-same")


def test_another_time_and_another_particle():
    at = fine(open_page("target", **FAST))
    first = table(at, words("target.nats"))
    at.slider(key="step-10").set_value(8).run()
    second = table(fine(at), words("target.nats"))
    at.number_input(key="particle").set_value(7).run()
    third = table(fine(at), words("target.nats"))
    assert len({*first.values(), *second.values(), *third.values()}) == 3


def test_a_trained_network_is_compared_with_the_exact_predictor():
    at = fine(open_page("train", **NET))
    at.button(key="one").click().run()
    fine(at.switch_page("pages/target.py").run())
    exact_name, name = words("page.exact"), words("page.network", steps="1")
    assert list(table(at, words("target.nats"))) == [exact_name, name]
    assert not says(at, "target", "no-network")
    best, learnt = (number(table(at, who)[words("target.all")]) for who in (exact_name, name))
    assert best < learnt  # after a single step
    start = [table(at, who)[words("target.start")] for who in (exact_name, name)]
    assert start[0] == start[1]  # no network can change it


def test_the_race_differs_in_the_target_alone():
    at = fine(open_page("target", **NET))
    at.button(key="targets-one").click().run()
    first, second = fine(at).session_state["session"].races["targets"].experiments
    assert (first.target, second.target) == ("total", "last-step")
    assert {name for name, value in vars(first).items() if value != vars(second)[name]} == {"target"}


def test_a_link_with_a_time_after_the_end_is_refused_in_words():
    at = fine(open_page("target", **FAST | {"t": "11"}))
    assert len(at.warning) == 1
    assert experiment(at).t == 0


def test_the_step_chart_shows_all_that_it_speaks_of():
    data, schedule = SMALL.data(), SMALL.noise_schedule()
    x0, x = lesson._particle(SMALL, 3, 5)
    q = posterior(schedule, x0, x, 5)
    students = {"exact": student(exact.cloud(data, schedule), schedule, SAMPLERS["ddpm-beta"], x, 5)}
    chart = pictures.step_chart(q, students, x0, x)
    (left, right), (low, high) = chart.layout.xaxis.range, chart.layout.yaxis.range
    circles = [trace for trace in chart.data if trace.mode == "lines" and len(trace.x) > 2]
    assert len(circles) == 2
    for trace, normal in zip(circles, (q, *students.values()), strict=True):
        points = torch.tensor([trace.x, trace.y]).T
        assert torch.allclose((points - normal.mean).norm(dim=1), normal.var.sqrt().float(), rtol=1e-4)
        assert left <= min(trace.x) and max(trace.x) <= right
        assert low <= min(trace.y) and max(trace.y) <= high
    assert chart.layout.yaxis.scaleanchor == "x"


def test_the_charts_over_t():
    schedule, data = SMALL.noise_schedule(), SMALL.data()
    times, measured, variances = pictures.variances(SMALL)
    chart = pictures.variance_chart(variances, times, measured)
    assert [trace.mode for trace in chart.data] == ["lines", "markers"] * 2
    assert chart.data[2].y[0] == pytest.approx(1)
    assert list(chart.data[3].x) == times.tolist()
    terms = bound(exact.cloud(data, schedule), data, schedule, SAMPLERS["ddpm"], 20, SMALL.generator(9))
    chart = pictures.bound_chart({"a": terms, "b": 2 * terms})
    assert [trace.name for trace in chart.data] == ["a", "b"]
    assert list(chart.data[0].x) == list(range(2, 21))
    assert list(chart.data[1].y) == pytest.approx((2 * terms[1:-1].mean(1)).tolist())
