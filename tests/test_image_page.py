"""The page of images: it trains, pauses and plays; its numbers are those of the runs; whatever a link says, it
opens."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.test_pages import film, fine, open_page, press, says, ticks
from toydiff import exact
from toydiff.draw.images import apart, closest, forward_scene, nearest_scene, share, ways_scene
from toydiff.experiment import Experiment
from toydiff.image_experiment import ImageExperiment
from toydiff.images import digits
from toydiff.judge import LEARNED, Judge
from toydiff.text import words
from toydiff.ui import live, state
from toydiff.ui.live import ImageRun, Run

SMALL = ImageExperiment(T=10, batch=8, n=60)
LINK = {f"image_{name}": str(getattr(SMALL, name)) for name in ("T", "batch", "n")} | {"T": "10", "points": "100"}


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """No training survives its test."""
    yield
    for training in live.trainings():
        training.running = False


def run_of(at: AppTest) -> ImageRun:
    return at.session_state["image_runs"][at.session_state["image_experiment"]]


def opened(**params: str) -> AppTest:
    return fine(open_page("images", **LINK | params))


# ---------------------------------------------------------------- the judge


def test_the_judge_is_as_sure_of_held_out_digits_as_it_is_of_real_ones_and_less_of_noise():
    judge, real = Judge(), digits()
    assert judge.accuracy > 0.97
    assert judge.share(real, real.x[LEARNED:]) == pytest.approx(1)
    assert 0.1 < judge.floor < 0.4
    other = digits(500, seed=3)  # in another scale
    assert judge.share(other, other.scaled(real.x * real.scale + real.mean)) == pytest.approx(
        judge.share(real, real.x), abs=0.01
    )


# ---------------------------------------------------------------- the scenes


def test_variance_and_distances_against_numbers_worked_out_by_hand():
    data = torch.tensor([0.0, 4.0]).reshape(2, 1, 1, 1).expand(2, 1, 1, 2)
    assert share(data / 2, data) == pytest.approx(0.25)
    assert apart(data, data.mean(0)).tolist() == pytest.approx([8**0.5] * 2)
    distance, nearest = closest(data + 1, data)
    assert distance.tolist() == pytest.approx([2**0.5] * 2)
    assert nearest.tolist() == [0, 1]
    assert closest(data, data, rank=2)[1].tolist() == [1, 0]


def test_the_exact_predictor_gives_training_images_back_and_mean_only_one_picture():
    experiment = replace(SMALL, T=100)
    images = experiment.images()
    scene, variance = ways_scene(experiment, images, exact.cloud(images.x, experiment.noise_schedule()), "exact")
    assert scene.ticks == list(range(100, -1, -2))
    first = scene.panels[0].trajectory.x[0]
    assert all(panel.trajectory.x[0].equal(first) for panel in scene.panels)
    assert variance["mean-only"] < 0.05
    assert min(variance["ddpm"], variance["ddim"]) > 0.5
    beside, distance = nearest_scene(experiment, images, scene.panels[0].trajectory, "exact")
    assert distance.mean() < 0.3 * closest(images.x, images.x, rank=2)[0].mean()
    still = beside.panels[1].still
    assert apart(still, scene.panels[0].trajectory.end).tolist() == pytest.approx(distance.tolist(), abs=1e-2)
    assert all((one == images.x).flatten(1).all(1).any() for one in still)


def test_images_dissolve_into_noise():
    images = SMALL.images()
    scene = forward_scene(SMALL, images)
    assert scene.ticks == list(range(11))
    for panel in scene.panels:
        run = panel.trajectory
        assert (run.x[0][:, None] == images.x).flatten(2).all(2).any(1).all()
        assert run.end.std().item() == pytest.approx(1, abs=0.1)


# ---------------------------------------------------------------- the training


def test_a_run_on_images_trains_as_the_trainer_does_and_one_seed_is_one_film():
    images = SMALL.images()
    runs = [ImageRun(SMALL, images) for _ in range(2)]
    for run in runs:
        run.advance(2)
        run.advance(1, picture=False)
    trainer = SMALL.trainer(images)
    trainer.advance(3)
    assert runs[0].snapshot().losses.equal(trainer.losses)
    first, second = (run.snapshot() for run in runs)
    assert [point.step for point in first.checkpoints] == [0, 2]  # none was asked for at 3
    assert first.trajectory.x.equal(second.trajectory.x)
    assert first.trajectory.x.shape == (2, 36, *images.shape)
    assert all(0.1 < point.ratio < 1.1 for point in first.checkpoints)


def test_points_and_images_train_in_turns():
    points, pictures = Run(Experiment(points=50, particles=4, T=10)), ImageRun(SMALL, SMALL.images())
    points.start()
    pictures.start()
    wait_for(lambda: points.step > 0 and pictures.step > 0)
    points.pause()
    pictures.pause()


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# ---------------------------------------------------------------- the page


def test_before_the_training_the_exact_predictor_is_shown():
    at = opened()
    assert at.session_state["image_experiment"] == SMALL
    assert run_of(at).step == 0
    assert [info.value for info in at.info] == [words("images.no_network", steps="600")]
    for section in ("question", "numbers", "by-heart", "exact", "judge"):
        assert says(at, "images", section), section
    assert says(at, "images", "one") != says(at, "images", "several")
    assert len(at.get("bidi_component")) == 4


def test_start_pause_reset():
    at = opened()
    fine(press(at, "images-go"))
    run = run_of(at)
    assert run.running
    wait_for(lambda: run.step > 2)
    fine(press(at, "images-go"))
    assert not run.running
    assert ticks(at)[-1] == run.step
    assert not at.info
    assert not says(at, "images", "exact")
    fine(press(at, "images-reset"))
    assert run_of(at) is not run
    assert run_of(at).step == 0


def test_one_step_and_the_button_that_trains():
    at = opened()
    fine(press(at, "images-one"))
    assert run_of(at).step == 1
    assert ticks(at) == [0, 1]
    fine(press(at, "images-reset"))
    assert not at.button(key="images-train-now").disabled
    assert at.button(key="images-reset").disabled


def test_training_now_makes_that_many_steps(monkeypatch):
    run = ImageRun(SMALL, SMALL.images())
    from toydiff.ui import images as lesson

    monkeypatch.setattr(state, "only", lambda training: training)
    lesson.train_now(run, 13)
    assert run.step == 13
    assert [point.step for point in run.snapshot().checkpoints] == [0, 13]


@pytest.mark.parametrize("data", ["moon-phases-16", "two-pixel"])
def test_other_images(data):
    at = opened()
    fine(at.selectbox(key="control-image-data").set_value(data).run())
    assert at.session_state["image_experiment"].data == data
    assert at.query_params["image_data"] == data
    assert film(at).header["panels"]
    assert says(at, "images", "bridge") == (data == "two-pixel")
    assert not says(at, "images", "judge")
    fine(press(at, "images-one"))


def test_every_set_keeps_its_own_network():
    at = fine(press(opened(), "images-one"))
    run = run_of(at)
    fine(at.number_input(key="control-image-seed").set_value(5).run())
    assert run_of(at).step == 0
    fine(at.number_input(key="control-image-seed").set_value(0).run())
    assert run_of(at) is run


def test_what_a_link_got_wrong_is_named():
    at = opened(image_data="cats", image_T="-3")
    assert len(at.warning) == 2
    assert at.session_state["image_experiment"] == ImageExperiment(batch=8, n=60)
    assert "image_data" not in at.query_params


def test_images_that_cannot_be_had_are_explained_and_the_digits_stay(monkeypatch):
    def nothing(*_, **__):
        raise OSError

    monkeypatch.setattr("sklearn.datasets.fetch_openml", nothing)
    at = opened(image_data="mnist")
    assert [error.value for error in at.error] == [words("pictures.no_network", name="MNIST")]
    assert at.session_state["image_experiment"].data == "digits"
    assert not fine(at.run()).error


def test_an_exploding_loss_is_explained():
    at = opened(image_lr="1000")
    run = run_of(at)
    run.advance(200)
    assert run.diverged_at is not None
    fine(at.run())
    assert words("images.diverged", step=f"{run.diverged_at + 1:,}", lr="1000") in [e.value for e in at.error]
    assert at.button(key="images-go").disabled
