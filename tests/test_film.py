"""Films from a terminal: a GIF is what was asked for, says how it was made, and survives what a run can be."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw import film
from toydiff.draw.gif import Movie
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.style import LOOK, THEMES

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
    assert [np.array_equal(a, b) for a, b in zip(some, (everything[5], everything[2]), strict=True)] == [True, True]


@pytest.mark.parametrize("size", [144, 288, 576])
def test_panels_of_any_size(size):
    (picture,) = film.images(make(panels=1), size=size, frames=[0])
    assert picture.width == size / LOOK.side * (LOOK.side + 2 * LOOK.edge)


@pytest.mark.parametrize("theme", THEMES)
def test_particles_have_a_trail_once_they_have_moved(theme):
    scene = make()
    for panel in scene.panels:
        panel.trajectory.x[4:] = panel.trajectory.x[4]  # from here on they rest
    first, moving, rest = film.images(scene, theme=theme, frames=[0, 4, 7])
    assert has(first, THEMES[theme].paper) > has(moving, THEMES[theme].paper) + 1000
    long_ago = make(frames=8 + LOOK.trail_most)
    for panel in long_ago.panels:
        panel.trajectory.x[4:] = panel.trajectory.x[4]
    (without,) = film.images(long_ago, theme=theme, frames=[7 + LOOK.trail_most])
    assert has(without, THEMES[theme].paper) > has(rest, THEMES[theme].paper) + 1000


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


@pytest.mark.slow
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


def test_a_film_without_pictures_is_an_error():
    with pytest.raises(ValueError, match="picture"):
        Movie().saved()


def test_a_gif_says_how_it_was_made():
    assert opened(film.gif(film.images(make(frames=2)))).info["comment"].decode() == STAMP


def test_the_stamp_is_never_cut_off():
    """However narrow the picture and however long its words: every letter of the stamp is in the lines."""
    text = "https://example.org/?" + 80 * "seed=0&" + " and more"
    for size in (144, 288, 500):
        sheet = film._Sheet(LOOK.side, 100, size, THEMES["light"])
        for font in (LOOK.stamp, LOOK.note, 16):
            lines = film._wrapped(text, font, LOOK.side).splitlines()
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")
            widths = [sheet.write(0, 0, line, font).get_window_extent().width for line in lines]
            assert max(widths) <= size
    short, long = (next(film.images(make(panels=1, stamp=stamp))) for stamp in ("", text))
    assert long.height > short.height + 12 * LOOK.stamp


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_particles_that_diverged_are_left_out(bad):
    scene = make(panels=1)
    scene.panels[0].trajectory.x[3:, ::2] = bad
    pictures = list(film.images(scene))
    assert opened(film.gif(pictures)).n_frames == 8
    before, after = (sum(has(pictures[frame], hue) for hue in THEMES["light"].hues) for frame in (2, 7))
    assert 0 < after < before


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "how", [{"particles": 0}, {"frames": 1}, {"title": 30 * "a long $\\frac title "}, {"title": ""}, {"stamp": ""}]
)
def test_odd_scenes_export(how):
    pictures = list(film.images(make(panels=2, **how)))
    assert opened(film.gif(pictures)).n_frames == len(pictures)


def test_a_class_can_export_at_once():
    scene = make(frames=3)
    alone = film.gif(film.images(scene))
    with ThreadPoolExecutor(4) as pool:
        assert all(data == alone for data in pool.map(lambda _: film.gif(film.images(scene)), range(8)))


@pytest.mark.parametrize(("panels", "width"), [(1, 432), (2, 360), (3, 288)])
def test_a_panel_is_as_wide_as_in_the_browsers_film(panels, width):
    (picture,) = film.images(make(panels=panels), frames=[0])
    points = 2 * LOOK.edge + panels * (LOOK.side + LOOK.gap) - LOOK.gap
    assert picture.width == pytest.approx(points * width / LOOK.side, abs=1)
