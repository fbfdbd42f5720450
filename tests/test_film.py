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
from toydiff.draw.artists import Grid
from toydiff.draw.scene import Density, Kind, Panel, Scene
from toydiff.draw.style import SIDE, THEMES
from toydiff.images import Images
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
    assert picture.width == 2 * (SIDE + 2 * film.EDGE)


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
        sheet = film._Sheet(SIDE, 100, size, THEMES["light"])
        for font in (film.STAMP, film.NOTE, 16):
            lines = film._wrapped(text, font, SIDE).splitlines()
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")
            widths = [sheet.write(0, 0, line, font, **sheet.block).get_window_extent().width for line in lines]
            assert max(widths) <= size
    short, long = (next(film.images(make(panels=1, stamp=stamp))) for stamp in ("", text))
    assert long.height > short.height + 12 * film.STAMP


def test_strip_has_a_column_per_moment_and_a_row_per_panel():
    def size(panels, moments):
        return opened(film.strip(make(panels=panels, stamp=""), moments)).size

    (six, two_rows), (five, one_row) = size(2, 6), size(1, 5)
    assert six - five == two_rows - one_row == SIDE + film.GAP
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
    middle, unit = (film.EDGE + SIDE / 2, film.EDGE + film.HEAD + SIDE / 2), SIDE / 6.6
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
    start, unit = 2 * (film.EDGE + SIDE / 2), 576 / 6.6
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
        assert np.array_equal(file["density.inside"], scene.density.inside.float())
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


# ---------------------------------------------------------------- panels of images

LOOK = Images("test", torch.zeros(0), None, mean=0.5, scale=0.5).pixels  # -1 is black, 1 white
QUARTERS = torch.tensor([[[1.0, -1], [-1, 1]], [[-1.0, 1], [-1, 1]], [[-1.0, -1], [1, -1]]])  # (C, H, W)
COLOURS = {(0, 0): "#ff0000", (0, 1): "#00ff00", (1, 0): "#0000ff", (1, 1): "#ffff00"}  # by row and column


def run_of(x, frames=4):
    """A film in which all images are black, and in the last frame x; their x0 is x at all frames."""
    still = x.expand(frames, *x.shape)
    moving = torch.where((torch.arange(frames) < frames - 1)[:, None, None, None, None], -1.0, still)
    return Trajectory(torch.arange(frames).flip(0), moving, still, moving)


def of_images(*runs, **more):
    panels = tuple(Panel(f"run {i}", "x ← μ", run) for i, run in enumerate(runs))
    return Scene(panels, torch.zeros(0, 2), more.pop("stamp", STAMP), pixels=LOOK, **more)


def noise(shape, frames=4, images=5, seed=0):
    x = torch.randn(frames, images, *shape, generator=torch.Generator().manual_seed(seed))
    return Trajectory(torch.arange(frames).flip(0), x, x / 2, x)


def boxes(picture, color):
    """Rows and columns, first and last, of all that has this colour."""
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    rows, columns = np.nonzero((np.asarray(picture.convert("RGB")) == rgb).all(-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize("size", [144, 288, 432])
def test_an_image_is_shown_sharp_and_the_right_way_up(size):
    (picture,) = film.images(of_images(run_of(QUARTERS[None]), stamp=""), frames=[3], size=size)
    found = {place: boxes(picture, colour) for place, colour in COLOURS.items()}
    top, _, left, _ = found[0, 0]
    for (row, column), (first, last, start, end) in found.items():
        side = last - first + 1
        assert has(picture, COLOURS[row, column]) == side**2 == (end - start + 1) ** 2  # one square, without a blur
        assert (first, start) == (top + row * side, left + column * side)
    assert size > 2 * side > 0.9 * size


@pytest.mark.parametrize("count", [1, 2, 5, 9, 64])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 2), (3, 32, 32), (1, 3, 2)])
def test_every_image_has_its_place_and_none_lies_over_another(shape, count):
    grid = Grid(of_images(noise(shape, 1, count)), of_images(noise(shape, 1, count)).panels[0], THEMES["light"], 288)
    covered = np.zeros((288, 288), int)
    for x, y in grid.places:
        covered[y : y + grid.height, x : x + grid.width] += 1
    assert covered.sum() == count * grid.width * grid.height  # all of them are on the canvas
    assert covered.max() == 1
    assert grid.width * shape[1] == pytest.approx(grid.height * shape[2], abs=max(shape))
    rows = sorted({y for _, y in grid.places})
    assert grid.places == sorted(grid.places, key=lambda place: place[::-1])  # in the order in which one reads
    if shape[1] == shape[2]:
        assert sum(y == rows[0] for _, y in grid.places) == int(np.ceil(count**0.5))
    assert covered.mean() > 0.3


def test_images_change_with_the_film_and_become_their_guess():
    scene = of_images(run_of(QUARTERS[None]))
    first, last = film.images(scene, frames=[0, 3])
    guess, _ = film.images(scene, frames=[0, 3], guess=True)
    assert has(first, "#ff0000") == 0
    assert has(guess, "#ff0000") == has(last, "#ff0000") > 1000
    plain, guessed = (opened(film.strip(scene, 2, guess=asked)) for asked in (False, True))
    assert has(guessed, "#ff0000") == 2 * has(plain, "#ff0000") > 1000


def test_a_panel_that_stands_still_shows_the_same_at_all_frames_and_no_time():
    run = run_of(-QUARTERS[None])
    scene = Scene((Panel("true mean", "", run, still=QUARTERS[None]),), torch.zeros(0, 2), pixels=LOOK)
    first, *others = film.images(scene)
    assert has(first, "#ff0000") > 1000
    assert all(np.array_equal(first, other) for other in others)
    moving = replace(scene, panels=(replace(scene.panels[0], still=None, trajectory=run_of(QUARTERS[None])),))
    assert np.any(np.asarray(first) != np.asarray(next(film.images(moving, frames=[3]))))


@pytest.mark.parametrize("theme", THEMES)
def test_the_image_that_is_followed_has_a_ring_in_all_panels(theme):
    run = noise((3, 8, 8))
    scene = of_images(run, run, run)
    others = torch.zeros(2, 3, 8, 8)  # two images: not those of the particles
    scene = replace(scene, panels=(*scene.panels[:2], Panel("mean", "", run, still=others)))
    without, ring = (np.asarray(next(film.images(scene, theme=theme, frames=[1], follow=i))) for i in (None, 3))
    changed = (without != ring).any(-1)
    thirds = [part.sum() for part in np.array_split(changed, 3, axis=1)]
    assert thirds[0] == thirds[1] > 100 and thirds[2] == 0
    ink = np.array([int(THEMES[theme].ink[i : i + 2], 16) for i in (1, 3, 5)])
    assert (ring[changed] == ink).all(-1).sum() > 100


@pytest.mark.parametrize("theme", THEMES)
def test_beside_its_particle_an_image_has_a_frame_of_the_same_colour(theme):
    start = torch.tensor([[1.0, 0.1], [-1, 0.1], [0.1, 1], [0.1, -1]])
    x = start.expand(4, 4, 2)
    points = Trajectory(torch.arange(4), x, x, x)
    images = noise((1, 8, 8), images=4)
    plane, grid = Panel("plane", "", points), Panel("image", "", images)
    both = Scene((plane, grid), torch.zeros(0, 2), pixels=LOOK)
    hues = [THEMES[theme].hues[h] for h in both.hue]
    (framed,) = film.images(both, theme=theme, panel=1, frames=[0])
    (alone,) = film.images(replace(both, panels=(grid,)), theme=theme, frames=[0])
    assert len(set(hues)) > 2
    for image, hue in enumerate(hues):
        assert has(framed, hue) > 100 and has(alone, hue) == 0
        top, bottom, left, right = boxes(framed, hue)
        if hues.count(hue) == 1:  # around the image in that place, two by two
            assert (top > framed.height / 2) == (image > 1) and (left > framed.width / 2) == (image % 2 == 1)
            inside = np.asarray(framed)[top + 4 : bottom - 4, left + 4 : right - 4].reshape(-1, 3)
            assert set(inside[:, 0]) == set(LOOK(images.x[0, image]).ravel())


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("channels", "mean", "most"), [(1, 0.5, 6), (3, 8, 60)])
def test_a_gif_has_colours_for_images(theme, channels, mean, most):
    """Gray is gray to the eye; of colours there are some 140, chosen for the film."""
    pictures = list(film.images(of_images(noise((channels, 8, 8), images=16)), theme=theme))
    movie = opened(film.gif(pictures))
    for k, picture in enumerate(pictures):
        movie.seek(k)
        shown, wanted = np.asarray(movie.convert("RGB"), float), np.asarray(picture, float)
        wrong = np.abs(shown - wanted)
        assert wrong.mean() < mean
        assert np.percentile(wrong, 99) < most


def test_heat_and_images_share_the_colours_of_a_gif():
    scene = layered()
    images = noise((1, 8, 8), images=20)
    scene = replace(scene, panels=(*scene.panels, Panel("image", "", images)), pixels=LOOK)
    pictures = list(film.images(scene, particles=False))
    movie = opened(film.gif(pictures))
    movie.seek(2)
    wrong = np.abs(np.asarray(movie.convert("RGB"), float) - np.asarray(pictures[2], float))
    _, heat, image = np.array_split(wrong, 3, axis=1)
    assert heat.mean() < 1.5 and image.mean() < 1.5
    assert np.percentile(heat, 99) < 16 and np.percentile(image, 99) < 16


def test_npz_holds_images_as_the_network_sees_them():
    run, still = noise((3, 5, 3)), torch.randn(2, 3, 5, 3, generator=torch.Generator().manual_seed(1))
    scene = replace(of_images(run), data=torch.zeros(7, 3, 5, 3))
    scene = replace(scene, panels=(*scene.panels, Panel("mean", "", run, still=still)))
    with np.load(io.BytesIO(film.npz(scene)), allow_pickle=False) as file:
        assert file["data"].shape == (7, 3, 5, 3)
        assert np.array_equal(file["0.x"], run.x) and np.array_equal(file["0.x0"], run.x0)
        assert np.array_equal(file["1.still"], still)
        assert {"0.still", "1.x", "1.x0", "1.mean"}.isdisjoint(file.files)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 2), (3, 64, 64), (1, 28, 28)])
@pytest.mark.parametrize("images", [0, 1, 64])
def test_images_of_any_size_and_number_export(shape, images):
    run = noise(shape, frames=2, images=images)
    run.x[1] = float("nan")
    scene = of_images(run, run)
    assert opened(film.gif(film.images(scene, guess=True, size=144))).n_frames == 2
    assert opened(film.strip(scene, 2, size=144)).size and film.npz(scene)
