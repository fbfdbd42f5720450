"""The benchmarks compare like with like. How fast anything is, no test asks."""

import sys
from importlib.util import find_spec
from io import BytesIO
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import __main__ as command
from benchmarks import gif, playback, racers, sampling, stage, steps, table, training
from toydiff.data import spiral
from toydiff.draw.scenes import reverse_scene
from toydiff.experiment import Experiment
from toydiff.metrics import Ruler, perfect_samples

SMALL = Experiment(T=10, particles=8, points=50)
FEW = 500  # samples to measure


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    for module in (racers, training):
        monkeypatch.setattr(module, "SAMPLES", FEW)


@pytest.fixture
def scene():
    return reverse_scene(SMALL, SMALL.exact(), "exact predictor")


def test_contestants_take_turns():
    order = []
    taken = table.in_turn(3, lambda: order.append("A") or len(order), lambda: order.append("B") or -len(order))
    assert "".join(order) == "ABABAB"
    assert taken == [[1, 3, 5], [-2, -4, -6]]


def test_a_row_for_each_line():
    text = table.markdown([table.Row("a", "1 s", "2 s", "2 x", "median"), table.skipped("b", "no browser")])
    assert text.splitlines()[2:] == ["| a | 1 s | 2 s | 2 x | median |", "| b | – | – | – | skipped: no browser |"]
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_a_race_ends_at_the_goal_or_at_the_cap(monkeypatch):
    monkeypatch.setattr(training, "PAUSE", 0.01)
    data, made = spiral(FEW), {}

    def racer(name, samples):
        def training():
            for made[name] in range(10**9):
                yield

        return racers.Racer(training(), lambda: samples)

    clouds = {
        "perfect": perfect_samples(data, FEW, 8)[-1],
        "hopeless": torch.zeros(FEW, 2),
        "broken": torch.full((FEW, 2), torch.nan),
    }
    finish = training.race({name: racer(name, cloud) for name, cloud in clouds.items()}, data, cap=0.01)
    assert all(made[name] > 0 for name in clouds)
    assert finish["perfect"].ratio < training.GOAL
    assert ">" not in str(finish["perfect"])
    assert finish["hopeless"].ratio > training.GOAL
    assert str(finish["hopeless"]).startswith(">")
    assert str(finish["broken"]).startswith(">")


@pytest.mark.parametrize(("name", "turns"), [("toydiff", 20), ("plain", 400), ("smalldiffusion", 150)])
def test_everybody_learns(name, turns):
    if name == "smalldiffusion" and not find_spec("smalldiffusion"):
        pytest.skip("not installed: smalldiffusion, of requirements-bench.txt")
    racer = getattr(racers, name)(Experiment())
    ruler = Ruler(Experiment().data(), FEW)
    next(racer.training)
    before = ruler.ratio(racer.samples())
    for _ in range(turns):
        next(racer.training)
    samples = racer.samples()
    assert samples.shape == (FEW, 2)
    assert ruler.ratio(samples) < 0.8 * before


def test_without_smalldiffusion_its_rows_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "smalldiffusion", None)
    for name in ("toydiff", "plain"):
        monkeypatch.setattr(training, name, lambda experiment: None)
    monkeypatch.setattr(training, "race", lambda racers, data, cap: dict.fromkeys(racers, training.Finish(2.0, 1.4)))
    missing, plain = training.rows(quick=True)
    assert missing.how.startswith("skipped: ")
    assert "smalldiffusion" in missing.how
    assert (plain.ours, plain.theirs, plain.ratio) == ("2.0 s", "2.0 s", "1 x")
    assert "torchvision" not in sys.modules


def test_the_products_of_a_step_are_all_there_is_to_multiply():
    net = Experiment(depth=3, width=20).model().net
    x = torch.randn(7, net[0].in_features)
    with FlopCounterMode(display=False) as counter:
        net(x).sum().backward()
    assert sum(2 * n * k * m for n, k, m in steps.products(net, 7)) == counter.get_total_flops()
    steps.only_products(net, 7)(2)


def test_our_sampler_and_that_of_diffusers_arrive_at_the_same_points():
    experiment = Experiment()
    model, x = experiment.exact(), experiment.start(50)
    ours, theirs = (run(experiment, model, x) for run in (sampling.ours, sampling.diffusers))
    assert ours.std() > 0.5
    assert (ours - theirs).abs().max() < 0.01


@pytest.mark.parametrize("trails", gif.TRAILS)
def test_both_films_have_all_frames(trails, scene):
    for film in (gif.ours(scene, 4), gif.matplotlibs(scene, 4, trails)):
        assert Image.open(BytesIO(film)).n_frames == 4


def test_plotlys_film_shows_the_same_run(scene):
    figure = stage.plotly_film(scene)
    assert len(figure.frames) == len(scene.ticks)
    *_, points = figure.frames[-1].data
    assert points.x.tolist() == scene.panels[-1].trajectory.end[:, 0].tolist()
    for frame in figure.frames:
        assert len(frame.data) == len(figure.data) == 2 * len(scene.panels)


def test_the_stage_shows_what_is_asked_for(monkeypatch, scene):
    monkeypatch.setattr("toydiff.draw.scenes.reverse_scene", lambda *_: scene)
    page = AppTest.from_file(stage.__file__, default_timeout=60).run()
    assert [button.label for button in page.button] == ["player", "plotly"]
    for button in (0, 1):
        page.button[button].click().run()
        assert not page.exception
        assert len(page.get("plotly_chart")) == button
        assert len(page.main.get("bidi_component")) == 1 - button


def test_without_a_browser_the_row_says_so(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(playback.shutil, "which", lambda name: None)
    (row,) = command.measured(["e"], quick=True)
    assert row.how.startswith("skipped: ")


def test_only_a_complete_run_is_written(monkeypatch, tmp_path, capsys):
    row = table.Row("what", "1 s", "2 s", "2 x", "how")
    monkeypatch.setattr(command, "BENCHMARKS", dict.fromkeys("ab", SimpleNamespace(rows=lambda quick: [row])))
    monkeypatch.setattr(command, "RESULTS", tmp_path / "RESULTS.md")
    for arguments in (["a"], ["--quick"], ["b", "--quick"]):
        assert command.main(arguments) == 0
        assert not command.RESULTS.exists()
    assert command.main([]) == 0
    assert table.markdown([row, row]) in command.RESULTS.read_text("utf-8")
    assert "`python -m benchmarks`" in command.RESULTS.read_text("utf-8")
    assert table.markdown([row, row]) in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command.main(["z"])
    assert "a, b" in capsys.readouterr().err
