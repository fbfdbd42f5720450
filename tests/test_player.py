"""The player's data: a scene as bytes, and back."""

import json
import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from toydiff.draw.scene import Panel, Scene
from toydiff.draw.style import HUES, THEMES
from toydiff.text import words
from toydiff.trajectory import Trajectory
from toydiff.ui.player import HERE, LABELS, SCRIPTS, pack
from toydiff.ui.player.packing import FAR, UNIT


class Film(NamedTuple):
    """What the browser gets out of the bytes."""

    header: dict
    body: bytes

    def places(self, at: int, *shape: int) -> np.ndarray:
        whole = np.frombuffer(self.body, "<i2", int(np.prod(shape)), at).reshape(shape)
        return whole * self.header["unit"]


def unpacked(data: bytes) -> Film:
    """As unpack.js does it."""
    length = int.from_bytes(data[:4], "little")
    return Film(json.loads(data[4 : 4 + length]), data[4 + length :])


def trajectory(frames: int = 6, particles: int = 5, seed: int = 0) -> Trajectory:
    generator = torch.Generator().manual_seed(seed)
    x, x0, mean = torch.randn(3, frames, particles, 2, generator=generator)
    return Trajectory(torch.arange(frames - 1, -1, -1), x, x0, mean)


def scene(*runs: Trajectory, points: int = 7, **more) -> Scene:
    panels = tuple(
        Panel(f"run {i}", "x ← μ", run, tuple(f"frame {k}" for k in range(len(run.t)))) for i, run in enumerate(runs)
    )
    data = torch.randn(points, 2, generator=torch.Generator().manual_seed(9))
    return Scene(panels, data, "how it was made", **more)


@pytest.fixture
def two() -> Scene:
    return scene(trajectory(seed=1), trajectory(seed=2))


def test_the_header_ends_on_a_multiple_of_four_and_says_what_follows(two):
    data = pack(two)
    assert int.from_bytes(data[:4], "little") % 4 == 0
    film = unpacked(data)
    assert film.header["ticks"] == [5, 4, 3, 2, 1, 0]
    assert film.header["particles"] == 5
    assert [panel["title"] for panel in film.header["panels"]] == ["run 0", "run 1"]
    assert [panel["notes"] for panel in film.header["panels"]] == [[f"frame {k}" for k in range(6)]] * 2
    assert len(film.body) % 4 == 0


def test_positions_come_back_within_one_unit(two):
    film = unpacked(pack(two, guess=True, anatomy=True))
    unit = film.header["unit"]
    assert unit == pytest.approx(two.half_width / UNIT)
    assert np.abs(film.places(film.header["ghost"]["at"], 7, 2) - two.data.numpy()).max() <= unit
    for packed, panel in zip(film.header["panels"], two.panels, strict=True):
        for name in ("x", "x0", "mean"):
            assert packed[name] % 4 == 0
            sent, got = getattr(panel.trajectory, name).numpy(), film.places(packed[name], 6, 5, 2)
            assert np.abs(got - sent).max() <= unit


def test_hues_come_back(two):
    film = unpacked(pack(two))
    hue = np.frombuffer(film.body, np.uint8, 5, film.header["hue"])
    assert hue.tolist() == two.hue.tolist()
    assert hue.max() < HUES


def test_particles_may_be_coloured_by_another_start(two):
    start = torch.tensor([[1.0, 0.1], [1, 0.1], [-1, -0.1], [0.1, 1], [0.1, -1]])
    film = unpacked(pack(replace(two, start=start)))
    hue = np.frombuffer(film.body, np.uint8, 5, film.header["hue"])
    assert hue[0] == hue[1]
    assert len(set(hue.tolist())) == 4


@pytest.mark.parametrize("guess", [False, True])
@pytest.mark.parametrize("anatomy", [False, True])
def test_guesses_and_means_travel_only_when_asked_for(two, guess, anatomy):
    data = pack(two, guess=guess, anatomy=anatomy)
    for panel in unpacked(data).header["panels"]:
        assert (panel["x0"] is not None) == guess
        assert (panel["mean"] is not None) == anatomy
    one = 6 * 5 * 2 * 2  # bytes of one array of positions
    assert len(unpacked(data).body) == 7 * 4 + 8 + 2 * one * (1 + guess + anatomy)


def test_the_same_film_has_the_same_hash():
    first, second = scene(trajectory(seed=1)), scene(trajectory(seed=1))
    assert unpacked(pack(first)).header["hash"] == unpacked(pack(second)).header["hash"]
    assert pack(first) == pack(second)


def nudged(run: Trajectory) -> Trajectory:
    x = run.x.clone()
    x[3, 2, 1] += 0.01
    return replace(run, x=x)


@pytest.mark.parametrize(
    "other",
    [
        scene(nudged(trajectory(seed=1))),
        scene(trajectory(seed=2)),
        scene(trajectory(seed=1), trajectory(seed=1)),
        scene(trajectory(frames=7, seed=1)),
        scene(trajectory(seed=1), points=8),
        scene(trajectory(seed=1), half_width=4.0),
        scene(trajectory(seed=1), clock="step"),
        replace(scene(trajectory(seed=1)), panels=(Panel("another title", "x ← μ", trajectory(seed=1)),)),
    ],
    ids=["one point", "run", "panels", "frames", "data", "view", "clock", "texts"],
)
def test_another_film_has_another_hash(other):
    assert unpacked(pack(other)).header["hash"] != unpacked(pack(scene(trajectory(seed=1)))).header["hash"]


def test_options_are_part_of_the_film(two):
    """Else a rerun that asks for something else would change nothing."""
    plain, asked = unpacked(pack(two)), unpacked(pack(two, autoplay=True, marks="curves"))
    assert asked.header["options"] == {"autoplay": True, "marks": "curves"}
    assert plain.header["hash"] != asked.header["hash"]


@pytest.mark.parametrize(
    ("value", "unit"),
    [(float("nan"), FAR), (float("inf"), FAR), (float("-inf"), -FAR), (1e30, FAR), (-1e30, -FAR), (3.3, UNIT)],
)
def test_what_is_no_place_is_put_off_the_picture(value, unit):
    run = trajectory()
    run.x[2, 3, 0] = value
    film = unpacked(pack(scene(run)))
    x = np.frombuffer(film.body, "<i2", 60, film.header["panels"][0]["x"]).reshape(6, 5, 2)
    assert x[2, 3, 0] == unit
    rest = np.abs(film.places(film.header["panels"][0]["x"], 6, 5, 2) - run.x.numpy())
    rest[2, 3, 0] = 0
    assert rest.max() <= film.header["unit"]


def test_a_film_whose_first_frame_is_no_place_at_all():
    run = trajectory()
    run.x[:] = float("nan")
    film = unpacked(pack(scene(run)))
    assert np.frombuffer(film.body, np.uint8, 5, film.header["hue"]).max() < HUES
    assert film.header["hash"]


def test_the_header_is_json_that_a_browser_reads():
    """JSON has no NaN: JavaScript refuses it."""
    run = trajectory()
    run.x[:] = float("nan")
    data = pack(scene(run), guess=True, anatomy=True)

    def refuse(name: str) -> None:
        raise ValueError(name)

    json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")], parse_constant=refuse)


def test_a_film_without_particles():
    film = unpacked(pack(scene(trajectory(particles=0))))
    assert film.header["particles"] == 0
    assert len(film.header["ticks"]) == 6


def test_a_film_of_one_frame():
    film = unpacked(pack(scene(trajectory(frames=1))))
    assert film.header["ticks"] == [0]
    assert film.places(film.header["panels"][0]["x"], 1, 5, 2) == pytest.approx(
        trajectory(frames=1).x.numpy(), abs=1e-3
    )


def test_panels_of_unequal_length_show_what_they_share():
    long, short = trajectory(frames=6, particles=5, seed=1), trajectory(frames=4, particles=3, seed=2)
    film = unpacked(pack(scene(long, short)))
    assert (len(film.header["ticks"]), film.header["particles"]) == (4, 3)
    for packed, run in zip(film.header["panels"], (long, short), strict=True):
        got = film.places(packed["x"], 4, 3, 2)
        assert np.abs(got - run.x[:4, :3].numpy()).max() <= film.header["unit"]


def test_texts_with_any_letters_come_back():
    text = 'σₜ z — "quoted" </script> 噪声 🌀'
    it = replace(scene(trajectory()), panels=(Panel(text, text, trajectory(), (text,)),))
    panel = unpacked(pack(it, labels={"play": text})).header["panels"][0]
    assert (panel["title"], panel["formula"], panel["notes"]) == (text, text, [text])


def test_every_label_and_every_clock_has_its_words():
    for name in (*LABELS, "clock_t", "clock_step"):
        assert words(f"player.{name}").strip()


def test_every_label_that_the_picture_asks_for_is_sent():
    html = (HERE / "player.html").read_text("utf-8")
    asked = set(re.findall(r'data-(?:name|say)="([^"]+)"', html))
    code = "\n".join((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    asked |= set(re.findall(r"labels\.(\w+)", code)) - {"clock"}
    assert asked
    assert asked <= set(LABELS)


def test_both_themes_travel(two):
    themes = unpacked(pack(two)).header["themes"]
    assert set(themes) == set(THEMES) == {"light", "dark"}
    assert all(len(theme["hues"]) == HUES for theme in themes.values())
