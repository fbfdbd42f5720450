"""The player's data: a scene as bytes, and back."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch

from toydiff.components.bundle import component as source
from toydiff.components.player.packing import FARTHEST_UNITS, PACKED_UNIT, pack
from toydiff.data.images import Images
from toydiff.data.points import DATASETS
from toydiff.diffusion import exact, field
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.scene import Density, Kind, Panel, Scene
from toydiff.draw.style import HUES, THEMES
from toydiff.text import words
from toydiff.ui import player as player_module
from toydiff.ui.player import PLAYER_LABELS, Chosen


class Film(NamedTuple):
    """What the browser gets out of the bytes."""

    header: dict
    body: bytes

    def floats(self, at: int, *shape: int) -> np.ndarray:
        return np.frombuffer(self.body, "<f4", int(np.prod(shape)), at).reshape(shape)

    def bytes(self, at: int, *shape: int) -> np.ndarray:
        return np.frombuffer(self.body, np.uint8, int(np.prod(shape)), at).reshape(shape)

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
    assert unit == pytest.approx(two.half_width / PACKED_UNIT)
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
    [
        (float("nan"), FARTHEST_UNITS),
        (float("inf"), FARTHEST_UNITS),
        (float("-inf"), -FARTHEST_UNITS),
        (1e30, FARTHEST_UNITS),
        (-1e30, -FARTHEST_UNITS),
        (3.3, PACKED_UNIT),
    ],
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
    for name in (*PLAYER_LABELS, "clock_t", "clock_step"):
        assert words(f"player.{name}").strip()


def test_every_label_that_the_picture_asks_for_is_sent():
    js, html, _ = source("player")
    asked = set(re.findall(r'data-(?:name|say)="([^"]+)"', html))
    asked |= set(re.findall(r"labels\.(\w+)", js)) - {"clock"}
    assert asked
    assert asked <= set(PLAYER_LABELS)


def test_both_themes_travel(two):
    themes = unpacked(pack(two)).header["themes"]
    assert set(themes) == set(THEMES) == {"light", "dark"}
    assert all(len(theme["hues"]) == HUES for theme in themes.values())


# ---------------------------------------------------------------- layers under the particles

FRAMES, PLACES, CELLS = 6, 9, 4


@pytest.fixture
def layered(two) -> Scene:
    """The first panel has arrows of the size of eps, near 1 at t = 5 and in hundreds at t = 0; the second has heat."""
    generator = torch.Generator().manual_seed(3)
    arrows = torch.randn(FRAMES, PLACES, 2, generator=generator) * torch.logspace(0, 3, FRAMES)[:, None, None]
    heat = 2 * torch.rand(FRAMES, CELLS, CELLS, generator=generator)
    inside = torch.rand(3, CELLS, CELLS, generator=generator)
    first, second = two.panels
    return replace(
        two,
        panels=(replace(first, arrows=arrows), replace(second, heat=heat)),
        places=field.grid(3, 3.3),
        spacing=2.2,
        kinds=(
            Kind("ε", torch.zeros(FRAMES), torch.ones(FRAMES)),
            Kind("μ − x", torch.linspace(0, 1, FRAMES), -torch.rand(FRAMES, generator=generator)),
        ),
        heat_max=2.0,
        density=Density(torch.tensor([0, 2, 5]), inside),
    )


def packed_arrows(film: Film, panel: int, places: int) -> np.ndarray:
    about = film.header["panels"][panel]["arrows"]
    frames = len(film.header["ticks"])
    whole = np.frombuffer(film.body, "<i2", frames * places * 2, about["at"]).reshape(frames, places, 2)
    return whole * film.floats(about["unit"], frames, 1, 1)


def test_arrows_come_back_whatever_the_size_of_their_frame(layered):
    film = unpacked(pack(layered))
    sent, got = layered.panels[0].arrows.numpy(), packed_arrows(film, 0, PLACES)
    longest = np.abs(sent).max(axis=(1, 2))
    assert longest[-1] > 100 * longest[0]
    assert (np.abs(got - sent).max(axis=(1, 2)) < longest / 50_000).all()
    places = film.places(film.header["field"]["at"], PLACES, 2)
    assert np.abs(places - layered.places.numpy()).max() <= film.header["unit"]
    assert (film.header["field"]["count"], film.header["field"]["spacing"]) == (PLACES, 2.2)


def test_the_exact_eps_can_be_read_to_one_percent_at_every_t():
    """Near t = 0 it is hundreds far from the data and about 1 near it."""
    points, schedule = DATASETS["spiral"](500, 0), SCHEDULES["cosine"](100)
    places, times = field.grid(25, 3.3), torch.tensor([100, 50, 10, 3, 2, 1])
    arrows = field.field(exact.cloud(points, schedule), places, times)
    shown = replace(scene(trajectory()), places=places, spacing=0.264)
    shown = replace(shown, panels=(replace(shown.panels[0], arrows=arrows),))
    got = packed_arrows(unpacked(pack(shown)), 0, 625)
    length = arrows.norm(dim=2).numpy()
    wrong = np.linalg.norm(got - arrows.numpy(), axis=2)
    assert length.max() > 50
    assert wrong.max() < 0.01  # a hundredth of what eps usually is
    assert (wrong <= 0.01 * length)[length > 1].all()


def test_kinds_come_back(layered):
    film = unpacked(pack(layered))
    for packed, kind in zip(film.header["field"]["kinds"], layered.kinds, strict=True):
        assert packed["name"] == kind.name
        assert film.floats(packed["x"], FRAMES).tolist() == kind.x.tolist()
        assert film.floats(packed["value"], FRAMES).tolist() == kind.value.tolist()


def test_heat_comes_back_within_one_percent_of_its_scale(layered):
    film = unpacked(pack(layered))
    about = film.header["panels"][1]["heat"]
    assert (about["m"], film.header["heatMax"]) == (CELLS, 2.0)
    got = film.bytes(about["at"], FRAMES, CELLS, CELLS) / 255 * 2
    assert np.abs(got - layered.panels[1].heat.numpy()).max() < 0.02


def test_density_comes_back_only_when_asked_for(layered):
    assert "density" not in unpacked(pack(layered)).header
    film = unpacked(pack(layered, density=True))
    about = film.header["density"]
    assert (about["t"], about["m"]) == ([0, 2, 5], CELLS)
    got = film.bytes(about["at"], 3, CELLS, CELLS) / 255
    assert np.abs(got - layered.density.inside.numpy()).max() < 0.01


def test_every_layer_starts_on_a_multiple_of_four(layered):
    header = unpacked(pack(layered, density=True)).header
    starts = [header["field"]["at"], header["density"]["at"], header["panels"][1]["heat"]["at"]]
    starts += header["panels"][0]["arrows"].values()
    starts += [kind[part] for kind in header["field"]["kinds"] for part in ("x", "value")]
    assert all(start % 4 == 0 for start in starts)


def test_a_film_without_layers_carries_none_of_them(two):
    film = unpacked(pack(two, density=True))
    assert film.header.keys().isdisjoint({"field", "density", "heatMax"})
    assert all(panel.keys().isdisjoint({"arrows", "heat"}) for panel in film.header["panels"])
    assert pack(two) == pack(two, density=True)


@pytest.mark.parametrize("layer", ["arrows", "heat", "density", "kinds", "spacing", "places", "heat_max"])
def test_another_layer_is_another_film(layered, layer):
    first, second = layered.panels
    changed = {
        "arrows": lambda: {"panels": (replace(first, arrows=-first.arrows), second)},
        "heat": lambda: {"panels": (first, replace(second, heat=2 - second.heat))},
        "density": lambda: {"density": replace(layered.density, inside=1 - layered.density.inside)},
        "kinds": lambda: {"kinds": layered.kinds[:1]},
        "spacing": lambda: {"spacing": None},
        "places": lambda: {"places": layered.places + 0.1},
        "heat_max": lambda: {"heat_max": 3.0},
    }[layer]()
    hashes = {unpacked(pack(it, density=True)).header["hash"] for it in (layered, replace(layered, **changed))}
    assert len(hashes) == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_layers_of_a_network_that_exploded(layered, bad):
    first, second = layered.panels
    first.arrows[2] = bad
    second.heat[2] = bad
    film = unpacked(pack(layered))
    assert np.isfinite(packed_arrows(film, 0, PLACES)).all()
    rest = [0, 1, 3, 4, 5]  # every frame has a scale of its own
    assert np.allclose(packed_arrows(film, 0, PLACES)[rest], first.arrows[rest], rtol=0.01, atol=0.05)
    heat = film.bytes(film.header["panels"][1]["heat"]["at"], FRAMES, CELLS, CELLS)
    assert (heat[2] == (0 if bad < 0 else 255)).all()


class Component:
    """In place of the browser: keeps what it gets, answers what somebody has chosen."""

    def __init__(self, chosen: dict | None = None) -> None:
        self.chosen = chosen

    def __call__(self, *, data: bytes, **_: object) -> SimpleNamespace:
        self.film = unpacked(data)
        return SimpleNamespace(chosen=self.chosen)


@pytest.fixture
def component(monkeypatch) -> Component:
    component = Component()
    monkeypatch.setattr(player_module, "_component", component)
    return component


def test_whatever_can_be_switched_has_a_word(component):
    html = source("player").html
    toggles = re.findall(r'data-toggle="([^"]+)"', html)
    offers = ["guess", "anatomy"]
    player_module.player(scene(trajectory()), key="x", trails=False, offers=offers, contours=lambda: None)
    options = component.film.header["options"]
    assert options["show"] == {"trails": False, "loop": True, "particles": True}
    assert options["offers"] == [*offers, "density"]
    assert {*options["show"], *options["offers"]} <= set(toggles) <= set(PLAYER_LABELS)
    assert set(re.findall(r'<button class="pill" data-toggle.*data-say="([^"]+)"', html)) == set(toggles)


def test_a_layer_is_sent_when_it_is_first_switched_on(component, monkeypatch, layered):
    def sent(*asked: str, of: Scene = layered) -> list[bool]:
        monkeypatch.setattr(player_module.st, "session_state", {"x": {"layers": [*asked]}} if asked else {})
        bare = replace(of, density=None)
        player_module.player(bare, key="x", offers=["guess", "anatomy"], contours=lambda: layered.density)
        first = component.film.header["panels"][0]
        return [first["x0"] is not None, first["mean"] is not None, "density" in component.film.header]

    assert sent() == [False, False, False]
    assert sent("guess") == [True, False, False]
    assert sent("density", "anatomy") == [False, True, True]
    still = scene(pictures(), pixels=LOOK)
    still = replace(still, panels=(replace(still.panels[0], still=torch.zeros(3, 1, 8, 8)),))
    assert sent("guess", of=still) == [False, False, False]
    assert component.film.header["options"]["offers"] == ["density"]  # where nothing moves, nothing is guessed


def test_whatever_can_be_taken_home_has_a_name_and_words(component):
    html = source("player").html
    kinds = re.findall(r'data-export="([^"]+)"', html)
    assert kinds == ["gif", "strip"]
    assert re.findall(r'data-say="(gif|strip)"', html) == kinds
    player_module.player(scene(trajectory()), key="x", name="toydiff-moons")
    assert component.film.header["options"]["file"] == "toydiff-moons"
    assert component.film.header["stamp"] == "how it was made"
    labels = component.film.header["labels"]
    for kind in kinds:
        assert (labels[kind], labels[f"{kind}_help"]) == (words(f"player.{kind}"), words(f"player.{kind}_help"))


def test_a_player_asks_for_what_is_chosen_only_where_a_page_wants_to_know(component):
    asked = []
    for more in ({}, {"pick": True}, {"choose": True}):
        player_module.player(scene(trajectory()), key="x", **more)
        options = component.film.header["options"]
        asked.append((options["pick"], options["choose"]))
    assert asked == [(False, False), (True, False), (False, True)]


def test_who_is_followed_comes_back(component):
    assert player_module.player(scene(trajectory()), key="x") == Chosen(None, None)
    assert player_module.player(scene(trajectory()), key="x", follow=3).followed == 3
    component.chosen = {"followed": None, "picked": None}
    assert player_module.player(scene(trajectory()), key="x", follow=3).followed is None
    component.chosen = {"followed": 0, "picked": None}
    assert player_module.player(scene(trajectory()), key="x", follow=3, choose=True) == Chosen(0, None)


def test_a_place_on_an_axis_is_picked_as_numbers_with_a_point(component):
    """JavaScript sends 0 for 0.0, and a widget for x would not take a whole number."""
    component.chosen = {"picked": [0, 1.5]}
    picked = player_module.player(scene(trajectory()), key="x", pick=True).picked
    assert picked == (0.0, 1.5)
    assert all(isinstance(at, float) for at in picked)


# ---------------------------------------------------------------- panels of images

SHAPES = [(1, 8, 8), (3, 5, 3), (1, 1, 2)]  # (C, H, W)
LOOK = Images("test", torch.zeros(0), None, mean=0.5, scale=0.5).pixels


def pictures(shape=(1, 8, 8), frames: int = 6, images: int = 5, seed: int = 0) -> Trajectory:
    generator = torch.Generator().manual_seed(seed)
    x, x0, mean = torch.randn(3, frames, images, *shape, generator=generator)
    return Trajectory(torch.arange(frames - 1, -1, -1), x, x0, mean)


def shown(images: torch.Tensor) -> np.ndarray:
    """What a screen shows of (..., C, H, W): -1 is black, 0 gray, 1 white."""
    gray = np.clip(images.numpy() * np.float32(0.5) + np.float32(0.5), 0, 1)
    return np.moveaxis(np.round(gray * np.float32(255)).astype(np.uint8), -3, -1)


@pytest.mark.parametrize("shape", SHAPES)
def test_images_travel_as_the_bytes_that_are_shown(shape):
    runs = [pictures(shape, seed=seed) for seed in (1, 2)]
    film = unpacked(pack(scene(*runs, pixels=LOOK), guess=True, anatomy=True))
    C, H, W = shape
    for packed, run in zip(film.header["panels"], runs, strict=True):
        assert packed["shape"] == [5, H, W, C]
        for part in ("x", "x0", "mean"):
            assert packed[part] % 4 == 0
            sent = shown(getattr(run, part))
            assert sent.min() == 0 and sent.max() == 255  # there is something to cut off at both ends
            assert np.array_equal(film.bytes(packed[part], 6, 5, H, W, C), sent)


def test_of_images_too_guesses_and_means_travel_only_when_asked_for():
    images = scene(pictures(), pixels=LOOK)
    plain, full = (unpacked(pack(images, guess=asked, anatomy=asked)) for asked in (False, True))
    assert [plain.header["panels"][0][part] for part in ("x0", "mean")] == [None, None]
    assert len(full.body) - len(plain.body) == 2 * 6 * 5 * 64


def test_panels_of_images_of_unequal_length_show_what_they_share():
    long, short = pictures(frames=6, images=5, seed=1), pictures(frames=4, images=3, seed=2)
    film = unpacked(pack(scene(long, short, pixels=LOOK)))
    assert (len(film.header["ticks"]), film.header["particles"]) == (4, 3)
    for packed, run in zip(film.header["panels"], (long, short), strict=True):
        assert packed["shape"] == [3, 8, 8, 1]
        assert np.array_equal(film.bytes(packed["x"], 4, 3, 8, 8, 1), shown(run.x[:4, :3]))


def test_particles_and_the_images_that_they_are_stand_side_by_side():
    """The bridge: particle i of the plane is image i of two pixels. It has one colour, and the plane is as it was."""
    run = trajectory(seed=1)
    as_images = Trajectory(run.t, *(part[..., None, None, :] for part in (run.x, run.x0, run.mean)))
    mixed, plane = scene(run, as_images, pixels=LOOK), scene(run)
    film, alone = unpacked(pack(mixed, guess=True)), unpacked(pack(plane, guess=True))
    (points, images), (before,) = film.header["panels"], alone.header["panels"]
    assert points.keys() == before.keys()
    assert np.array_equal(film.places(points["x0"], 6, 5, 2), alone.places(before["x0"], 6, 5, 2))
    assert np.array_equal(film.bytes(images["x"], 6, 5, 1, 2, 1), shown(as_images.x))
    for order in (mixed, replace(mixed, panels=mixed.panels[::-1]), scene(as_images, pixels=LOOK)):
        assert order.hue.tolist() == plane.hue.tolist()
    assert mixed.framed and plane.framed and not scene(as_images, pixels=LOOK).framed


def test_images_of_many_pixels_have_no_angle_to_be_coloured_by():
    assert len(set(scene(pictures(images=40), pixels=LOOK).hue.tolist())) == 1
    assert len(scene(pictures(images=40), pixels=LOOK).hue) == 40


@pytest.mark.parametrize("count", [1, 5, 9])
def test_a_panel_that_stands_still_travels_once(count):
    run, still = pictures(seed=1), torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    one = scene(run, pixels=LOOK)
    both = replace(one, panels=(Panel("true mean", "", run, still=still), *one.panels))
    film, alone = (unpacked(pack(it, guess=True, anatomy=True)) for it in (both, one))
    packed = film.header["panels"][0]
    assert (packed["shape"], packed["still"]) == ([count, 8, 8, 1], True)
    assert (packed["x0"], packed["mean"]) == (None, None)
    assert np.array_equal(film.bytes(packed["x"], 1, count, 8, 8, 1), shown(still[None]))
    assert len(film.body) - len(alone.body) == 64 * count
    assert film.header["ticks"] == alone.header["ticks"] and film.header["particles"] == 5


def test_data_of_images_is_no_ghost():
    film = unpacked(pack(replace(scene(pictures(), pixels=LOOK), data=torch.randn(7, 1, 8, 8))))
    assert film.header["ghost"]["count"] == 0


def test_a_film_of_points_knows_nothing_of_images(two):
    with_pixels = replace(two, pixels=LOOK)
    for panel in unpacked(pack(two, guess=True)).header["panels"]:
        assert panel.keys() == {"title", "formula", "notes", "x", "x0", "mean"}
    assert pack(two) == pack(with_pixels)


def test_images_that_nobody_can_show_are_refused():
    with pytest.raises(ValueError, match="pixels"):
        pack(scene(pictures()))


def test_one_pixel_more_is_another_film():
    first, second = pictures(), pictures()
    second.x[3, 2, 0, 4, 4] += 0.1
    hashes = {unpacked(pack(scene(run, pixels=LOOK))).header["hash"] for run in (first, second)}
    assert len(hashes) == 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf"), 1e30])
def test_images_of_a_network_that_exploded(bad):
    run = pictures()
    run.x[2] = bad
    film = unpacked(pack(scene(run, pixels=LOOK), guess=True))
    got = film.bytes(film.header["panels"][0]["x"], 6, 5, 8, 8, 1)
    assert set(got[2].ravel().tolist()) <= {0, 255}
    assert np.array_equal(got[[0, 1, 3, 4, 5]], shown(run.x[[0, 1, 3, 4, 5]]))
