"""Exports: a film is what was asked for, says how it was made, and survives what a class can do to it."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from toydiff.draw import film
from toydiff.draw.scene import Panel, Scene
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
