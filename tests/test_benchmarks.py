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
from benchmarks import baselines, gif, gpu, playback, playback_page, recipe, sampling, steps, table, training
from tests.waiting import PATIENCE
from toydiff.data.points import spiral
from toydiff.draw.scenes import reverse_scene
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.measures.clouds import Ruler, perfect_samples

SMALL = Experiment(T=10, particles=8, points=50)
FEW = 500  # samples to measure


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    for module in (baselines, training):
        monkeypatch.setattr(module, "BASELINE_SAMPLES", FEW)


@pytest.fixture
def scene():
    return reverse_scene(SMALL, SMALL.exact(), "exact predictor")


def test_contestants_take_turns():
    order = []
    taken = table.interleaved(3, lambda: order.append("A") or len(order), lambda: order.append("B") or -len(order))
    assert "".join(order) == "ABABAB"
    assert taken == [[1, 3, 5], [-2, -4, -6]]


def test_a_row_for_each_line():
    text = table.markdown([table.Row("a", "1 s", "2 s", "2 x", "median"), table.skipped("b", "no browser")])
    assert text.splitlines()[2:] == ["| a | 1 s | 2 s | 2 x | median |", "| b | – | – | – | skipped: no browser |"]
    assert len({line.count("|") for line in text.splitlines()}) == 1


def test_a_race_ends_at_the_goal_or_at_the_cap(monkeypatch):
    monkeypatch.setattr(training, "PAUSE", 0.01)
    data, made = spiral(FEW), {}

    def baseline(name, samples):
        def training():
            for made[name] in range(10**9):
                yield

        return baselines.Baseline(training(), lambda: samples)

    clouds = {
        "perfect": perfect_samples(data, FEW, 8)[-1],
        "hopeless": torch.zeros(FEW, 2),
        "broken": torch.full((FEW, 2), torch.nan),
    }
    finish = training.race({name: baseline(name, cloud) for name, cloud in clouds.items()}, data, cap=0.01)
    assert all(made[name] > 0 for name in clouds)
    assert finish["perfect"].ratio < training.GOAL_RATIO
    assert ">" not in str(finish["perfect"])
    assert finish["hopeless"].ratio > training.GOAL_RATIO
    assert str(finish["hopeless"]).startswith(">")
    assert str(finish["broken"]).startswith(">")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "turns"), [("toydiff", 20), ("plain", 400), ("smalldiffusion", 150)])
def test_everybody_learns(name, turns):
    if name == "smalldiffusion" and not find_spec("smalldiffusion"):
        pytest.skip("not installed: smalldiffusion, of requirements-bench.txt")
    baseline = getattr(baselines, name)(Experiment())
    ruler = Ruler(Experiment().data(), FEW)
    next(baseline.training)
    before = ruler.ratio(baseline.samples())
    for _ in range(turns):
        next(baseline.training)
    samples = baseline.samples()
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


@pytest.mark.parametrize("trails", gif.GIF_TRAILS)
def test_both_films_have_all_frames(trails, scene):
    for film in (gif.ours(scene, 4), gif.matplotlibs(scene, 4, trails)):
        assert Image.open(BytesIO(film)).n_frames == 4


def test_plotlys_film_shows_the_same_run(scene):
    figure = playback_page.plotly_film(scene)
    assert len(figure.frames) == len(scene.ticks)
    *_, points = figure.frames[-1].data
    assert points.x.tolist() == scene.panels[-1].trajectory.end[:, 0].tolist()
    for frame in figure.frames:
        assert len(frame.data) == len(figure.data) == 2 * len(scene.panels)


def test_the_stage_shows_what_is_asked_for(monkeypatch, scene):
    monkeypatch.setattr("toydiff.draw.scenes.reverse_scene", lambda *_: scene)
    page = AppTest.from_file(playback_page.__file__, default_timeout=PATIENCE).run()
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
    with command.RESULTS.open("a", encoding="utf-8") as file:
        file.write("\n# Another section\n\nmeasured by hand\n")
    assert command.main([]) == 0
    again = command.RESULTS.read_text("utf-8")
    assert again.endswith("|\n\n# Another section\n\nmeasured by hand\n") and again.count("- Date: ") == 1
    with pytest.raises(SystemExit):
        command.main(["z"])
    assert "a, b" in capsys.readouterr().err


CPU = torch.device("cpu")


def test_without_a_gpu_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "no GPU" in said.err


@pytest.mark.slow
def test_steps_per_second_beside_what_the_chip_could_do(monkeypatch):
    def broken(*_):
        raise RuntimeError("no compiler")

    ways = {"float32": None, "torch.compile": {"backend": "eager"}, "broken": {"backend": broken}}
    monkeypatch.setattr(
        gpu, "PRECISIONS", {name: gpu.Precision(False, "tf32", compiled) for name, compiled in ways.items()}
    )
    experiment = ImageExperiment(batch=4)
    *measured, skipped = gpu.speeds(experiment, 8, CPU, {"tf32": 1e12}, turn=0.05, rounds=2)
    flop = 6 * experiment.work((1, 8, 8))  # multiply and add; forwards, and backwards to the weights and to the inputs
    assert gpu.flop(experiment.trainer()) == pytest.approx(flop, rel=0.05)
    for row, name in zip(measured, ways, strict=False):
        ours, theirs = (float(text.removesuffix(" a second").replace(",", "")) for text in (row.ours, row.theirs))
        assert row.what == f"training steps, 8 x 8, small, batch 4: {name}"
        assert theirs == pytest.approx(1e12 / flop, rel=0.05)
        assert float(row.ratio.removesuffix("%")) == pytest.approx(100 * ours / theirs, abs=0.11)
    assert [("x float32" in row.how) for row in measured] == [False, True]
    assert skipped.what.endswith("broken") and skipped.how.startswith("skipped: ")


def test_a_peak_is_that_of_the_product_that_was_asked_for(monkeypatch):
    asked, usual = [], torch.get_float32_matmul_precision()
    mm, precision = torch.mm, torch.get_float32_matmul_precision
    monkeypatch.setattr(torch, "mm", lambda a, b: asked.append((a.dtype, tuple(b.shape), precision())) or mm(a, b))
    monkeypatch.setattr(gpu, "seconds", lambda work: work() and 0.5)
    assert [gpu.peak(CPU, kind, 8, rounds=2) for kind in gpu.PEAKS] == [2 * 8**3 / 0.5] * 3
    assert set(asked) == {(dtype, (8, 8), how) for dtype, how in gpu.PEAKS.values()}
    assert precision() == usual


@pytest.mark.parametrize(("cap", "looks", "said"), [(60.0, 3, "1.5 s"), (1.0, 2, "> 1 s (then 79% as sure)")])
def test_digits_are_trained_until_the_judge_is_sure_or_the_time_is_up(monkeypatch, cap, looks, said):
    few = {"JUDGED_SAMPLES": 4, "STEPS_BETWEEN_LOOKS": 2, "WARM": 1}
    for name, value in {**few, "seconds": lambda work: work() and 0.5}.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    shares, seen = iter([0.3, 0.79, 0.81]), []
    judge = SimpleNamespace(share=lambda images, x: seen.append(x) or next(shares))
    monkeypatch.setattr(gpu, "judge", lambda: judge)
    score = gpu.race(ImageExperiment(batch=4, n=20), CPU, cap)
    assert (score.step, str(score)) == (2 * looks, said)
    assert [x.shape for x in seen] == [(4, 1, 8, 8)] * looks


def test_the_race_of_the_digits_has_a_winner_if_both_arrive(monkeypatch):
    times = {"cuda": [1.0, 9.0, 2.0], "cpu": [8.0, 6.0, 90.0]}  # by seed

    def race(experiment, device, cap):
        seconds = times[device.type][experiment.seed]
        return gpu.Score(seconds, 50, 0.85 if seconds < cap else 0.7)

    monkeypatch.setattr(gpu, "race", race)
    devices = torch.device("cuda"), CPU
    row = gpu.digits(devices, 3, cap=60.0)
    assert (row.ours, row.theirs, row.ratio) == ("2.0 s", "8.0 s", "4.0 x")
    row = gpu.digits(devices, 3, cap=7.0)
    assert (row.ours, row.theirs, row.ratio) == ("2.0 s", "> 8 s (then 70% as sure)", "–")


@pytest.mark.slow
@pytest.mark.parametrize("table", recipe.TABLES)
def test_the_tables_of_the_recipe_have_as_many_columns_in_each_row(table):
    lines = list(recipe.TABLES[table](lambda work, given: [work(*one) for one in given], range(1), 100, (5, 10), True))
    for part in "\n".join(lines).split("\n\n"):  # an empty line stands between two tables
        assert len({line.count("|") for line in part.splitlines()}) == 1
        assert "nan" not in part
    expected = {"schedules": recipe.CANDIDATES, "switches": recipe.SWITCHES}[table]
    assert all(any(f"| {name} |" in line for line in lines) for name in expected)
