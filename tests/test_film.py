"""Exports: a film is what was asked for, says how it was made, and survives what a class can do to it."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from toydiff import field
from toydiff.draw import film
from toydiff.draw.scene import Density, Kind, Panel, Scene
from toydiff.draw.style import THEMES
from toydiff.trajectory import Trajectory

STAMP = "moons · cosine, T = 7 · seed 0 · ᾱ, β̃ and $x_t$ · " + 4 * "a long story about the network, " + "the end"


def make(frames=8, particles=20, panels=3, title="DDPM", stamp=STAMP):
    generator = torch.Generator().manual_seed(0)

    def walk():
        x = torch.randn(frames, particles, 2, generator=generator).cumsum(0) / 3
        return Trajectory(torch.arange(frames).flip(0), x, x / 2, x / 3)

    notes = tuple(f"spread {i}" for i in range(frames))
    made = tuple(Panel(title, "x ← μ(x, t) + σₜ z, $x̂₀$", walk(), notes) for _ in range(panels))
    return Scene(made, torch.randn(50, 2, generator=generator), stamp)


def opened(data):
    return Image.open(io.BytesIO(data))


def has(picture, color):
    """How many pixels have exactly this colour, a hex string."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.asarray(picture.convert("RGB")) == rgb).all(-1).sum())


def test_pictures_have_one_size_and_show_what_they_should():
    scene = make()
    pictures = list(film.images(scene))
    assert len(pictures) == 8
    assert {picture.size for picture in pictures} == {(900, pictures[0].height)}
    for picture in (pictures[0], pictures[-1]):
        assert picture.mode == "RGB"
        assert has(picture, THEMES["light"].ghost) > 50
        assert sum(has(picture, hue) for hue in THEMES["light"].hues) > 100
    assert np.any(np.asarray(pictures[0]) != np.asarray(pictures[-1]))


def test_asked_for_frames_come_in_that_order():
    scene = make()
    everything = list(film.images(scene))
    some = list(film.images(scene, frames=[5, 2]))
    assert [np.array_equal(a, b) for a, b in zip(some, (everything[5], everything[2]), strict=True)] == [
        True,
        True,
    ]


def test_one_panel_at_any_size():
    scene = make()
    (picture,) = film.images(scene, panel=1, size=576, frames=[0])
    assert picture.width == 2 * (film.SIDE + 2 * film.EDGE)


@pytest.mark.parametrize("theme", THEMES)
def test_options_change_the_picture(theme):
    scene = make()
    plain, trails, guess = (
        next(film.images(scene, theme=theme, trails=trails, guess=guess, frames=[7]))
        for trails, guess in ((False, False), (True, False), (False, True))
    )
    assert has(plain, THEMES[theme].paper) > has(trails, THEMES[theme].paper)
    assert has(plain, THEMES[theme].paper) > has(guess, THEMES[theme].paper)


def test_gif_has_every_picture_holds_the_last_and_loops():
    pictures = list(film.images(make()))
    movie = opened(film.gif(pictures, seconds=0.8, hold=1.0))
    assert movie.n_frames == len(pictures)
    assert movie.size == pictures[0].size
    assert movie.info["loop"] == 0
    delays = []
    for k in range(movie.n_frames):
        movie.seek(k)
        delays.append(movie.info["duration"])
    assert delays == [100] * 7 + [1100]


@pytest.mark.parametrize("theme", THEMES)
def test_gif_shows_the_pictures_in_the_colours_of_the_theme(theme):
    pictures = list(film.images(make(), theme=theme))
    movie = opened(film.gif(pictures))
    for k, picture in enumerate(pictures):
        movie.seek(k)
        shown = movie.convert("RGB")
        for color in (THEMES[theme].page, THEMES[theme].paper, *THEMES[theme].hues):
            assert has(shown, color) >= has(picture, color)
        assert np.abs(np.asarray(shown, float) - np.asarray(picture, float)).mean() < 1


def test_gif_keeps_pictures_that_are_equal():
    (picture,) = film.images(make(panels=1), frames=[0])
    movie = opened(film.gif([picture] * 5))
    assert movie.n_frames == 5
    movie.seek(4)
    assert has(movie, THEMES["light"].page) == has(picture, THEMES["light"].page)


def test_delays_stay_within_what_browsers_play():
    (picture,) = film.images(make(panels=1), frames=[0])
    assert opened(film.gif([picture] * 2, seconds=60)).info["duration"] == 400
    assert opened(film.gif([picture] * 20, seconds=0.01)).info["duration"] == 20


def test_long_runs_are_thinned():
    assert film.spaced(1001)[::119] == [0, 1000]
    assert len(set(film.spaced(1001))) == 120
    assert film.spaced(5) == [0, 1, 2, 3, 4]
    assert film.spaced(1) == [0]


def test_files_say_how_they_were_made():
    scene = make(frames=2)
    assert opened(film.gif(film.images(scene))).info["comment"].decode() == STAMP
    assert opened(film.strip(scene)).text["Description"] == STAMP
    with np.load(io.BytesIO(film.npz(scene))) as file:
        assert str(file["stamp"]) == STAMP


def test_the_stamp_is_never_cut_off():
    """However narrow the picture and however long its words: every letter of the stamp is in the lines."""
    text = "https://example.org/?" + 80 * "seed=0&" + " and more"
    for size in (144, 288, 500):
        sheet = film._Sheet(film.SIDE, 100, size, THEMES["light"])
        for font in (film.STAMP, film.NOTE, 16):
            lines = film._wrapped(text, font, film.SIDE).splitlines()
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")
            widths = [sheet.write(0, 0, line, font, **sheet.block).get_window_extent().width for line in lines]
            assert max(widths) <= size
    short, long = (next(film.images(make(panels=1, stamp=stamp))) for stamp in ("", text))
    assert long.height > short.height + 12 * film.STAMP


def test_strip_has_a_column_per_moment_and_a_row_per_panel():
    def size(panels, moments):
        return opened(film.strip(make(panels=panels, stamp=""), moments)).size

    (six, two_rows), (five, one_row) = size(2, 6), size(1, 5)
    assert six - five == two_rows - one_row == film.SIDE + film.GAP
    assert opened(film.strip(make(), 6, size=144)).width == pytest.approx(six / 2, abs=1)


def test_npz_is_the_trajectory():
    scene = make()
    with np.load(io.BytesIO(film.npz(scene, losses=[3.0, 2.0])), allow_pickle=False) as file:
        assert file["t"].tolist() == scene.ticks
        assert file["titles"].tolist() == ["DDPM"] * 3
        assert file["losses"].tolist() == [3.0, 2.0]
        assert np.array_equal(file["data"], scene.data)
        for i, panel in enumerate(scene.panels):
            for name in ("x", "x0", "mean"):
                assert file[f"{i}.{name}"].dtype == np.float32
                assert np.array_equal(file[f"{i}.{name}"], getattr(panel.trajectory, name))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_particles_that_diverged_are_left_out(bad):
    scene = make(panels=1)
    scene.panels[0].trajectory.x[3:, ::2] = bad
    scene.panels[0].trajectory.x0[2:] = bad
    assert opened(film.gif(film.images(scene, guess=True))).n_frames == 8
    before, after = (
        sum(has(picture, hue) for hue in THEMES["light"].hues)
        for picture in film.images(scene, trails=False, frames=[2, 7])
    )
    assert 0 < after < before
    assert opened(film.strip(scene)).size


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "how", [{"particles": 0}, {"frames": 1}, {"title": 30 * "a long $\\frac title "}, {"title": ""}]
)
def test_odd_scenes_export(how):
    scene = make(panels=2, **how)
    pictures = list(film.images(scene, guess=True))
    assert opened(film.gif(pictures)).n_frames == len(pictures)
    assert opened(film.strip(scene)).size and film.npz(scene)


def test_a_class_can_export_at_once():
    scene = make(frames=3)
    alone = film.gif(film.images(scene))
    with ThreadPoolExecutor(4) as pool:
        assert all(data == alone for data in pool.map(lambda _: film.gif(film.images(scene)), range(8)))


# ---------------------------------------------------------------- layers under the particles


def layered(frames=4, spacing=1.1, **more):
    """Arrows that turn, in the first of two panels, heat that moves in the second, and contours for both."""
    scene = make(frames=frames, panels=2, **more)
    places = field.grid(6, 3.3)
    turn = torch.linspace(0, 3, frames)
    arrows = torch.stack([turn.cos(), turn.sin()], dim=1)[:, None] * (1 + places.norm(dim=1))[:, None]
    heat = torch.stack([torch.linspace(0, 1, 8).roll(k).expand(8, 8) for k in range(frames)])
    x = field.axis(32, 3.3)
    inside = torch.stack([1 - torch.exp(-(x[:, None] ** 2 + x**2) / width) for width in (1.0, 4.0)])
    first, second = scene.panels
    kinds = tuple(
        Kind(name, torch.zeros(frames), torch.full((frames,), v)) for name, v in (("ε", 1.0), ("score", -1.0))
    )
    return replace(
        scene,
        panels=(replace(first, arrows=arrows), replace(second, heat=heat)),
        places=places,
        spacing=spacing,
        kinds=kinds,
        density=Density(torch.tensor([0, frames - 1]), inside),
    )


def pixels(scene, frame=1, **options):
    return np.asarray(next(film.images(scene, frames=[frame], trails=False, **options)), float)


def halves(picture):
    """How much is different in each of the two panels."""
    middle = picture.shape[1] // 2
    return picture[:, :middle].mean(), picture[:, middle:].mean()


@pytest.mark.parametrize("theme", THEMES)
def test_every_layer_is_drawn_in_its_panel(theme):
    scene = layered()
    bare = replace(scene, panels=tuple(replace(p, arrows=None, heat=None) for p in scene.panels))
    without, full = pixels(bare, theme=theme), pixels(scene, theme=theme)
    arrows, heat = halves(np.abs(full - without))
    assert arrows > 0.5 and heat > 2
    contours = halves(np.abs(pixels(scene, theme=theme, density=True) - full))
    assert min(contours) > 0.05
    for options in ({"kind": 1}, {"equal": True}):
        left, right = halves(np.abs(pixels(scene, theme=theme, **options) - full))
        assert left > 0.1 and right == 0  # the arrows, and nothing else
    first, second = (pixels(scene, frame=frame, theme=theme, particles=False) for frame in (1, 2))
    assert min(halves(np.abs(first - second))) > 0.05


def test_particles_can_be_left_out():
    scene, hues = layered(), THEMES["light"].hues
    shown, left_out = (
        next(film.images(scene, panel=0, frames=[1], particles=particles, guess=True, follow=3, size=576))
        for particles in (True, False)
    )
    assert sum(has(shown, hue) for hue in hues) > 100
    assert sum(has(left_out, hue) for hue in hues) == 0


def test_heat_has_one_scale_for_all_frames_and_low_rows_are_low():
    """Row 0 is the lowest y, column 0 the lowest x; more than the most, and what is no number, looks like the most."""
    scene = layered(stamp="")
    heat = torch.zeros(4, 8, 8)
    for frame, value in enumerate((1.0, 100.0, float("nan"))):
        heat[frame, :4, 4:] = value  # lower right
    heat[3, 4:, :4] = 0.5  # upper left, half as strong
    scene = replace(scene, panels=(replace(scene.panels[1], heat=heat, notes=()),), data=torch.zeros(0, 2))
    pictures = [pixels(scene, frame=frame, particles=False) for frame in range(4)]
    middle, unit = (film.EDGE + film.SIDE / 2, film.EDGE + film.HEAD + film.SIDE / 2), film.SIDE / 6.6
    at = {"lower right": (1.5, -1.5), "upper left": (-1.5, 1.5), "lower left": (-1.5, -1.5)}
    place = {name: (int(middle[1] - y * unit), int(middle[0] + x * unit)) for name, (x, y) in at.items()}
    paper = pictures[0][place["lower left"]]
    full = pictures[0][place["lower right"]] - paper
    assert np.abs(full).sum() > 150
    for picture in pictures[1:3]:
        assert np.array_equal(picture[place["lower right"]] - paper, full)
        assert np.array_equal(picture[place["upper left"]], paper)
    assert np.abs(pictures[3][place["upper left"]] - paper - full / 2).max() < 3
    assert np.array_equal(pictures[3][place["lower right"]], paper)


def test_single_arrows_have_their_true_size_and_the_colour_of_the_model():
    scene = replace(layered(spacing=None), places=torch.tensor([[0.0, 0.0]]), kinds=(), data=torch.zeros(0, 2))
    right = torch.tensor([2.0, 0.0]).expand(4, 1, 2)
    scene = replace(scene, panels=(replace(scene.panels[0], arrows=right),))
    (picture,) = film.images(scene, frames=[0], particles=False, size=576)
    model = np.array([int(THEMES["light"].model[i : i + 2], 16) for i in (1, 3, 5)])
    columns = np.flatnonzero((np.asarray(picture) == model).all(-1).any(0))
    start, unit = 2 * (film.EDGE + film.SIDE / 2), 576 / 6.6
    assert columns[0] == pytest.approx(start, abs=8)
    assert columns[-1] == pytest.approx(start + 2 * unit, abs=6)


@pytest.mark.parametrize("theme", THEMES)
def test_gif_has_enough_colours_for_a_gradient(theme):
    pictures = list(film.images(layered(), theme=theme, panel=1, particles=False))
    movie = opened(film.gif(pictures))
    for k, picture in enumerate(pictures):
        movie.seek(k)
        wrong = np.abs(np.asarray(movie.convert("RGB"), float) - np.asarray(picture, float))
        assert wrong.mean() < 1.5
        assert np.percentile(wrong, 99) < 16


def test_strip_shows_layers():
    scene = layered()
    pictures = [
        np.asarray(opened(film.strip(scene, 2, **options))) for options in ({}, {"density": True}, {"equal": True})
    ]
    assert np.any(pictures[0] != pictures[1]) and np.any(pictures[0] != pictures[2])


def test_npz_holds_the_layers():
    scene = layered()
    with np.load(io.BytesIO(film.npz(scene)), allow_pickle=False) as file:
        assert np.array_equal(file["places"], scene.places)
        assert np.array_equal(file["0.arrows"], scene.panels[0].arrows)
        assert np.array_equal(file["1.heat"], scene.panels[1].heat)
        assert np.array_equal(file["density.t"], scene.density.t)
        assert np.array_equal(file["density.inside"], scene.density.inside)
        assert {"1.arrows", "0.heat"}.isdisjoint(file.files)
    with np.load(io.BytesIO(film.npz(make()))) as file:
        assert {"places", "0.arrows", "0.heat", "density.t"}.isdisjoint(file.files)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("spacing", [1.1, None])
def test_layers_of_a_network_that_exploded_export(bad, spacing):
    scene = layered(spacing=spacing)
    scene.panels[0].arrows[2:] = bad
    scene.panels[1].heat[2:] = bad
    pictures = list(film.images(scene, density=True))
    assert opened(film.gif(pictures)).n_frames == 4


@pytest.mark.filterwarnings("error")
def test_a_density_without_lines_exports():
    flat = replace(layered(), density=Density(torch.tensor([0]), torch.zeros(1, 5, 5)))
    assert np.array_equal(pixels(flat, density=True), pixels(flat))
