"""The page of vector fields, and the scenes on it."""

import pytest
import torch

from tests.test_pages import FAST, NET, experiment, film, fine, open_page, says, texts
from tests.test_player import unpacked
from toydiff.diffusion.field import next_step
from toydiff.draw import scenes
from toydiff.draw.fields import ARROWS, Truth, answers, field_scene
from toydiff.experiments.experiment import Experiment
from toydiff.text import words

SMALL = Experiment(points=60, T=12, particles=8)


@pytest.fixture(scope="module")
def truth():
    return Truth(SMALL)


def test_the_exact_field_stands_beside_the_network_and_their_difference_is_heat(truth):
    model = SMALL.trainer().predictor
    scene, errors = field_scene(truth, answers(truth, {"network": model}), "nobody")
    network, best, difference = scene.panels
    t = truth.times.clamp(min=1)
    for frame in (0, 5, 12):
        times = torch.full((len(scene.places),), int(t[frame]))
        assert torch.allclose(network.arrows[frame], model(scene.places, times), atol=1e-5)
        assert torch.allclose(best.arrows[frame], SMALL.exact()(scene.places, times), atol=1e-4, rtol=1e-4)
    assert difference.heat.shape == (13, ARROWS, ARROWS)
    assert difference.trajectory.x.isnan().all()  # nobody walks on the difference
    assert list(errors) == ["network"]
    assert errors["network"].equal(truth.probe.error(model))
    assert network.notes[3] == words("field.error", error=f"{errors['network'][3]:.2f}")


def test_the_heat_lies_where_the_difference_is(truth):
    """A predictor that is wrong in the upper right quarter only."""
    exact = SMALL.exact()

    def wrong(x, t):
        return exact(x, t) + 0.5 * (x > 0).all(1, keepdim=True)

    scene, _ = field_scene(truth, answers(truth, {"wrong": wrong}), "nobody")
    heat = scene.panels[-1].heat
    upper = ARROWS // 2 + 1
    assert torch.allclose(heat[:, upper:, upper:], torch.tensor(0.5**0.5), atol=1e-4)
    assert heat[:, :upper].max() < 1e-4 and heat[:, :, :upper].max() < 1e-4


def test_two_networks_leave_no_room_for_a_difference(truth):
    model = SMALL.trainer().predictor
    scene, errors = field_scene(truth, answers(truth, {"a": model, "b": SMALL.exact()}), "nobody")
    assert [panel.title for panel in scene.panels] == ["a", "b", words("page.exact")]
    assert not errors["b"].any() and errors["a"].all()


def test_the_arrows_can_be_shown_as_the_next_step(truth):
    kinds = {kind.name: kind for kind in truth.base.kinds}
    assert list(kinds) == [words("field.eps"), words("field.score"), words("field.next_step")]
    a, b = next_step(truth.schedule, truth.times)
    assert kinds[words("field.next_step")].x.equal(a) and kinds[words("field.next_step")].value.equal(b)


def test_what_the_field_says_changes_with_t(truth):
    notes = truth.panel.notes
    parts = [words(f"field.{name}").split(":")[0] for name in ("middle", "between", "places")]
    said = [next(i for i, part in enumerate(parts) if note.startswith(part)) for note in notes]
    assert said == sorted(said)
    assert (said[0], said[-1]) == (0, 2)


def test_a_long_run_is_thinned_from_T_to_0():
    times = Truth(Experiment(T=1000)).times
    assert (len(times), times[0], times[-1]) == (101, 1000, 0)


# The page


def test_the_page_shows_an_untrained_network_beside_the_exact_field():
    at = fine(open_page("field", **FAST))
    shown = at.main.get("bidi_component")
    assert len(shown) == 1  # the field: the race has not begun
    for section in ("question", "read", "words", "error", "no-time"):
        assert says(at, "field", section), section
    press(at, "time-one")
    assert len(at.main.get("bidi_component")) == 3  # and the race, and its fields
    assert says(at, "field", "one-field")


def press(at, key):
    next(button for button in at.button if button.key == key).click()
    return fine(at.run())


def test_a_step_of_training_changes_the_learned_field_and_not_the_exact_one():
    def arrows(at):
        field = unpacked(at.main.get("bidi_component")[0].proto.bytes)
        return field.header["panels"]

    at = fine(open_page("field", **NET, lr="1"))
    before = arrows(at)
    press(at, "one")
    after = arrows(at)
    assert before[0]["title"] != after[0]["title"]  # it says after how many steps
    assert before[1]["title"] == after[1]["title"]
    assert before[0]["notes"] != after[0]["notes"]
    assert before[1]["notes"] == after[1]["notes"]


@pytest.mark.slow
def test_a_file_is_kept_while_the_field_learns_on():
    at = press(press(fine(open_page("field", **NET)), "one"), "field-npz")
    press(at, "one")
    assert [button.key for button in at.get("download_button")] == ["field-npz-save"]


def test_new_settings_are_said_and_the_old_field_stays():
    at = press(fine(open_page("field", **NET)), "one")
    at.query_params["dataset"] = "moons"
    fine(at.run())
    assert experiment(at).dataset == "moons"
    assert says(at, "train", "changed")
    assert "60" not in texts(at)[0]


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["one", "time-one"])
@pytest.mark.parametrize("T", [12, 20])
def test_the_race_may_be_of_another_T_than_the_field(trained, T):
    """Each of the two keeps the settings that it was trained with; the other takes the new ones at once."""
    at = press(fine(open_page("field", **NET)), trained)
    at.query_params["T"] = str(T)
    fine(at.run())
    if trained == "one":
        press(at, "time-one")  # the race, of which nothing was there before
    frames = [len(unpacked(shown.proto.bytes).header["ticks"]) for shown in at.main.get("bidi_component")]
    assert (frames[0], frames[2]) == ((11, T + 1) if trained == "one" else (T + 1, 11))


@pytest.mark.parametrize("page", ["forward", "reverse", "field"])
def test_contours_are_not_computed_before_somebody_wants_to_see_them(page, monkeypatch):
    def never(_: Experiment) -> None:
        raise AssertionError("nobody has asked")

    monkeypatch.setattr(scenes, "contours", never)
    at = fine(open_page(page, **FAST))
    first = film(at)
    assert "density" in first.header["options"]["offers"]
    assert "density" not in first.header
