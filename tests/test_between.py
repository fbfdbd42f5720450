"""From one start noise to another: the arc, the way up from an image, the moons in between; and the page of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.test_image_page import LINK, SMALL, run_of
from tests.test_pages import fine, open_page, press, says
from tests.waiting import wait_for
from toydiff.data import images
from toydiff.data.images import GAP_PHASES, IMAGES, moon, moon_phases
from toydiff.diffusion import exact
from toydiff.diffusion.latent import angle, invert, lerp, slerp
from toydiff.diffusion.samplers import ddim, reverse
from toydiff.diffusion.schedules import cosine, linear
from toydiff.draw import between as drawn
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.measures import moons
from toydiff.measures.moons import PHASE_TOLERANCE, Moons
from toydiff.text import words

SHARES = torch.linspace(0, 1, 11)


# ---------------------------------------------------------------- the arc


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_arc_between_two_axes_is_a_quarter_of_a_circle():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    turned = SHARES * math.pi / 2
    assert slerp(a, b, SHARES).numpy() == pytest.approx(torch.stack([turned.cos(), turned.sin()], 1).numpy(), abs=1e-6)
    assert lerp(a, b, torch.tensor([0.25])).tolist() == [[0.75, 0.25]]
    assert angle(a, b) == pytest.approx(math.pi / 2)


def test_the_arc_has_its_ends_its_length_and_an_even_pace():
    a, b = normal(1, 8, 8), normal(1, 8, 8, seed=1)
    b *= a.norm() / b.norm()
    way = slerp(a, b, SHARES)
    assert way.shape == (11, 1, 8, 8)
    assert way[0].equal(a)
    assert way[-1].equal(b)
    assert way.flatten(1).norm(dim=1).numpy() == pytest.approx(float(a.norm()), rel=1e-5)
    theta = angle(a, b)
    assert [angle(a, one) for one in way] == pytest.approx((SHARES * theta).tolist(), abs=1e-4)
    middle = lerp(a, b, torch.tensor([0.5])).norm() / a.norm()
    assert middle.item() == pytest.approx(math.cos(theta / 2), rel=1e-4)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0, 0.0])
def test_where_there_is_no_single_arc_it_is_the_straight_line(factor):
    a = normal(3, 4)
    assert slerp(a, factor * a, SHARES).equal(lerp(a, factor * a, SHARES))
    assert angle(a, factor * a) == pytest.approx(math.pi if factor < 0 else 0, abs=1e-6)


@pytest.mark.parametrize("size", [1e-6, 1e-2])
def test_next_to_equal_and_opposite_vectors_the_arc_is_sound(size):
    a = normal(64)
    for b in (a + size * normal(64, seed=1), -a + size * normal(64, seed=1)):
        way = slerp(a, b, SHARES)
        assert way.isfinite().all()
        assert way[0].numpy() == pytest.approx(a.numpy(), abs=1e-4)
        assert way[-1].numpy() == pytest.approx(b.numpy(), abs=1e-4)


# ---------------------------------------------------------------- the way up


@pytest.mark.parametrize("schedule", [cosine(100), linear(100)], ids=["cosine", "linear"])
@pytest.mark.parametrize("std", [0.3, 1.0])
def test_up_and_down_again_is_the_same_image_for_gaussian_data(schedule, std):
    mean = normal(1, 8, 8)
    model = exact.gaussian(mean, std, schedule)
    x = mean + std * normal(20, 1, 8, 8, seed=1)
    up = list(invert(model, schedule, x))
    assert [frame.t for frame in up] == list(range(101))
    assert up[0].x.equal(x)
    down = list(reverse(model, schedule, up[-1].x, ddim))
    assert (down[-1].x - x).abs().max() < 2e-3
    # both ways pass through the same places
    assert (down[50].x - up[50].x).abs().max() < 2e-3


def test_the_noise_found_for_gaussian_data_is_that_of_the_closed_form():
    schedule, std = cosine(1000), 0.5
    x = std * normal(50, 1, 4, 4)
    *_, last = invert(exact.gaussian(torch.zeros(1, 4, 4), std, schedule), schedule, x)
    # the probability flow of a Gaussian only stretches: x_T / std_T = x_0 / std
    a = schedule.alpha_bar[-1]
    expected = x / std * (a * std**2 + 1 - a).sqrt().float()
    assert (last.x - expected).abs().max() < 0.03 * expected.abs().max()


@pytest.mark.slow
def test_a_network_comes_back_to_the_image_too():
    experiment = ImageExperiment(T=50, n=200)
    data = experiment.images()
    trainer = experiment.trainer(data, bf16=False)
    trainer.advance(5)
    x, off = drawn.start_of(experiment, trainer.predictor, data.x[:4])
    assert x.shape == (4, 1, 8, 8)
    assert 0 <= off < 0.05
    again = drawn.ddim(experiment, trainer.predictor, x).end
    assert (again - data.x[:4]).square().mean().sqrt().item() == pytest.approx(off, abs=1e-5)


def test_few_jumps_are_enough_of_steps():
    schedule = cosine(20)
    up = list(invert(exact.gaussian(torch.zeros(2), 1.0, schedule), schedule, normal(3, 2), steps=5))
    assert [frame.t for frame in up] == [0, 4, 8, 12, 16, 20]


# ---------------------------------------------------------------- moons


@pytest.fixture(scope="module")
def sky() -> Moons:
    return Moons(16)


@pytest.mark.slow
def test_the_phase_of_a_real_moon_is_found(sky):
    real = moon_phases(500, seed=7, side=16)
    phase, distance = sky.nearest(real.x * real.scale + real.mean)
    wrong = ((phase - real.labels + 0.5) % 1 - 0.5).abs()
    assert wrong.max() < PHASE_TOLERANCE < 0.04
    assert wrong.mean() < 0.01
    assert distance.mean().item() == pytest.approx(sky.floor, rel=0.15)
    assert distance.max() < 4 * sky.floor


@pytest.mark.slow
def test_moons_of_the_grid_are_found_exactly_and_what_fades_is_none(sky):
    half, full = moon(torch.tensor(GAP_PHASES), 16)
    phase, distance = sky.nearest(torch.stack([half, full, (half + full) / 2, torch.rand(1, 16, 16)]))
    assert phase[:2].tolist() == pytest.approx(GAP_PHASES)
    assert distance[:2].max() < 1e-3
    assert distance[2:].min() > 8 * sky.floor
    # worked out by hand: a quarter of the brightness is wrong, on half the disc, wherever the moon is
    assert distance[3] > distance[2]


def test_what_happens_in_the_gap():
    share = torch.linspace(0, 1, 41)
    even, faded = 0.25 + 0.25 * share, 10 * (1 - (2 * share - 1).abs())
    near = torch.ones(41)
    assert moons.verdict(even, near, faded) == "passes"
    assert moons.verdict(torch.where(share < 0.7, 0.25, 0.5), near, faded) == "jumps"
    assert moons.verdict(even, 0.9 * faded, faded) == "fades"
    assert (
        moons.in_gap(torch.tensor([0.25, 0.27, 0.375, 0.48, 0.5, 0.7])).tolist() == [False] * 2 + [True] + [False] * 3
    )
    assert moons.in_gap(even).double().mean().item() == pytest.approx(moons.WAXING, abs=0.03)


@pytest.mark.parametrize("side", [16, 32])
def test_the_sets_with_a_gap_have_none_between_half_and_full(side):
    phase = IMAGES[f"moon-phases-{side}-gap"](500, 0).labels
    assert not ((phase > GAP_PHASES[0]) & (phase < GAP_PHASES[1])).any()
    assert ((phase > GAP_PHASES[1]) & (phase < GAP_PHASES[1] + 0.25)).double().mean() == pytest.approx(1 / 3, abs=0.08)
    assert images.GAP_PHASES == (0.25, 0.5)


# ---------------------------------------------------------------- the way and its film


@pytest.fixture(scope="module")
def gaussian_way():
    """Digits whose predictor is that of Gaussian data: DDIM only shifts and stretches, so everything is known."""
    experiment = replace(SMALL, T=50)
    data = experiment.images()
    model = exact.gaussian(data.x.mean(0), 0.5, experiment.noise_schedule())
    a, b = experiment.start(2, data.shape)
    return experiment, data, drawn.interpolation(experiment, model, a, b), (a, b), model


def test_a_way_is_what_ddim_makes_of_its_noises(gaussian_way):
    experiment, data, way, (a, b), model = gaussian_way
    assert way.arc[0].equal(a)
    assert way.straight[-1].equal(b)
    assert way.of_arc.shape == (drawn.WAY_PLACES, *data.shape)
    again = experiment.reverse(model, "ddim", way.arc[7:9], 50).end
    assert (again - way.of_arc[7:9]).abs().max() < 1e-4
    # linear from noise to image: the image of the straight mix is the fading of both
    assert (way.of_straight - way.blend).abs().max() < 1e-3
    assert (way.of_arc - way.blend).abs().max() > 0.05
    assert drawn.largest_step(way.of_straight) == pytest.approx(1 / (drawn.WAY_PLACES - 1), rel=1e-2)


def test_the_film_of_a_way(gaussian_way):
    experiment, data, way, *_ = gaussian_way
    scene = drawn.way_scene(experiment, data, way, "nobody")
    assert scene.clock == "place"
    assert scene.ticks[0] == 0
    assert scene.ticks[-1] == 100
    assert len(scene.ticks) == len(set(scene.ticks)) == drawn.WAY_PLACES
    noise, arc, straight = scene.panels
    assert noise.trajectory.x[:, 0].equal(way.arc)
    assert arc.trajectory.x[:, 0].equal(way.of_arc)
    assert straight.trajectory.x[:, 0].equal(way.of_straight)
    middle = drawn.WAY_PLACES // 2
    assert f"{way.straight[middle].norm():.1f}" in straight.note(middle)
    assert way.straight[middle].norm() < 0.8 * way.arc[middle].norm()


def test_a_row_of_images_has_every_pixel_as_a_square(gaussian_way):
    _, data, way, *_ = gaussian_way
    row = drawn.row(data, way.of_arc[drawn.STRIP])
    side, gap = 96, 8
    assert row.shape == (side, 11 * side + 10 * gap, 4)
    assert (row[:, :side, 3] == 255).all()
    assert (row[:, side : side + gap, 3] == 0).all()
    last = row[::12, -side::12, 0]
    assert np.array_equal(last, data.pixels(way.of_arc[-1]))


def test_one_noise_ddim_always_goes_to_one_image_and_ddpm_does_not():
    experiment = replace(SMALL, T=50)
    data = experiment.images()
    model = exact.cloud(data.x, experiment.noise_schedule())
    scene, ends = drawn.dice(experiment, data, model, "exact", experiment.start(1, data.shape)[0], 40)
    assert [panel.trajectory.x.shape[1] for panel in scene.panels] == [36, 36]
    assert all((panel.trajectory.x[0] == panel.trajectory.x[0, 0]).all() for panel in scene.panels)
    assert (ends["ddim"] - ends["ddim"][0]).abs().max() < 1e-4
    assert (ends["ddpm"] - ends["ddpm"][0]).flatten(1).norm(dim=1).gt(1).double().mean() > 0.5


# ---------------------------------------------------------------- the page

QUICK = LINK | {"image_T": "10"}


def opened(**params: str) -> AppTest:
    return fine(open_page("between", **QUICK | params))


def films(at: AppTest) -> dict[str, bytes]:
    """What the players got, by their keys."""
    return {one.key: one.proto.bytes for one in at.get("bidi_component") if one.key in ("starts", "between", "dice")}


@pytest.mark.slow
def test_digits_with_the_exact_predictor():
    at = opened()
    assert [info.value for info in at.info] == [words("between.no_network", steps="600")]
    for section in (
        "question",
        "starts",
        "way",
        "lengths",
        "steps",
        "exact",
        "sure",
        "sure-exact",
        "classes",
        "dice",
        "decided",
    ):
        assert says(at, "between", section), section
    for section in ("found", "not-typical", "sure-arc", "moons", "passes", "jumps", "fades"):
        assert not says(at, "between", section), section
    assert [*films(at)] == ["starts", "between", "dice"]
    fine(press(at, "between-a-take"))  # there is no ring yet
    assert words("between.no_ring") in [toast.value for toast in at.toast]
    assert at.number_input(key="between-a").value == 1


@pytest.mark.slow
def test_other_ends():
    at = opened()
    before = films(at)
    fine(at.number_input(key="between-b").set_value(36).run())
    after = films(at)
    assert after["between"] != before["between"]
    assert after["dice"] == before["dice"]  # the first end is the same
    fine(at.segmented_control(key="between-ends-noise").set_value("real").run())
    assert says(at, "between", "found")
    assert says(at, "between", "exact-found")
    assert says(at, "between", "not-typical")
    assert not says(at, "between", "lengths")
    assert not says(at, "between", "sure-exact")
    fine(at.selectbox(key="between-class-a").set_value(3).run())
    fine(at.selectbox(key="between-class-b").set_value(3).run())  # no way at all


@pytest.mark.slow
def test_a_network_of_lesson_7_is_the_same_one_here():
    at = fine(open_page("images", **QUICK))
    fine(press(at, "images-one"))
    run = run_of(at)
    fine(at.switch_page("pages/between.py").run())
    assert words("between.network", steps="1") in [element.value for element in at.markdown]
    assert not at.info
    assert not says(at, "between", "exact")
    assert says(at, "between", "sure-alike") != says(at, "between", "sure-arc")
    kept = at.session_state["session"].kept["between-starts"]
    fine(at.run())
    assert at.session_state["session"].kept["between-starts"] is kept
    assert run_of(at) is run

    run.start()
    wait_for(lambda: run.step > 3)
    fine(at.run())  # while it trains, the page keeps the network that it has
    assert words("between.network", steps="1") in [element.value for element in at.markdown]
    assert at.session_state["session"].kept["between-starts"] is kept
    fine(press(at, "between-newest"))
    assert words("between.network", steps="1") not in [element.value for element in at.markdown]
    assert at.session_state["session"].kept["between-starts"] is not kept
    run.pause()


@pytest.mark.slow
def test_moons_with_and_without_a_gap():
    at = opened(image_data="moon-phases-16")
    for section in ("found", "exact-ends", "moons", "with-all", "moon-samples"):
        assert says(at, "between", section), section
    assert not says(at, "between", "classes")
    fine(press(at, "between-gap"))
    assert at.session_state["image_experiment"].data == "moon-phases-16-gap"
    assert at.query_params["image_data"] == "moon-phases-16-gap"
    assert says(at, "between", "with-gap")
    assert says(at, "between", "jumps")  # the exact predictor knows no moon in the gap
    fine(press(at, "between-gap"))
    assert at.session_state["image_experiment"].data == "moon-phases-16"
    fine(at.segmented_control(key="between-ends-real").set_value("noise").run())
    assert not says(at, "between", "moon-samples")


def test_images_of_two_pixels_have_a_way_too():
    at = opened(image_data="two-pixel")
    assert [*films(at)] == ["starts", "between"]
    fine(at.segmented_control(key="between-ends-noise").set_value("real").run())
    fine(at.number_input(key="between-real-a").set_value(60).run())
    assert says(at, "between", "found")
