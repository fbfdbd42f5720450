"""What is drawn to be taken home, without a page around it: the player's scripts in a browser get a scene, and Pillow
reads what comes out."""

import base64
import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from tests.test_film import STAMP, has, make
from tests.test_player_scripts import decoded, layered, rgb
from toydiff.components.bundle import component
from toydiff.components.player.packing import pack
from toydiff.data.images import Images
from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.scene import Density, Panel, Scene
from toydiff.draw.style import LOOK, THEMES
from toydiff.text import words

pytestmark = pytest.mark.browser

EDGE, SPACE, HEAD, SIDE = LOOK.edge, LOOK.gap, LOOK.head, LOOK.side
TOGGLES = ("trails", "guess", "anatomy", "density", "equal", "particles")
BENCH = """
const raw = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const coded = (content) => new Promise((done) => {
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(",")[1]);
  reader.readAsDataURL(new Blob([content]));
});
function shotOf({ data, theme, enlarged, ...moment }) {
  const film = readFilm(readHeader(raw(data)));
  Object.assign(film, { magnification: magnification(film), protagonist: protagonist(film) });
  const shot = { film, theme: film.themes[theme], enlarged, sans: "sans-serif", mono: "monospace" };
  return { ...shot, moment: { ...moment, fresh: 1, inspected: null } };
}
window.bench = {
  gif: async (shown) => coded(await gifOf(shotOf(shown), () => {})),
  strip: async (shown) => coded(await stripOf(shotOf(shown))),
  async pictures({ frames, ...shown }) {
    const sheet = new FilmSheet(shotOf(shown));
    const all = frames.map((frame) => sheet.picture(frame));
    const { width, height } = all[0];
    return { width, height, content: await coded(new Blob(all.map((one) => one.data))) };
  },
  written: (shown) => new FilmSheet(shotOf(shown)).stamp,
};
"""


class Bench:
    """The player's scripts on an empty page."""

    def __init__(self, page: object) -> None:
        self.page = page
        page.set_content("<!doctype html><title>bench</title>")
        page.add_script_tag(content=component("player").js + BENCH, type="module")
        page.wait_for_function("window.bench")

    def ask(self, what: str, **given: object) -> object:
        return self.page.evaluate("([what, given]) => bench[what](given)", [what, given])

    def of(self, what: str, scene: Scene, *, theme: str = "light", enlarged: int | None = None, **more: object):
        """What a page would ask for while it shows that of a scene."""
        on = {name: more.pop(name, name == "particles") for name in TOGGLES}
        moment = {"on": on, "kind": 0, "followed": None, "picked": None} | more
        labels = {"clock": words(f"player.clock_{scene.clock}")}
        data = base64.b64encode(pack(scene, guess=True, anatomy=True, density=True, labels=labels)).decode()
        return self.ask(what, data=data, theme=theme, enlarged=enlarged, **moment)

    def gif(self, scene: Scene, **shown: object) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(self.of("gif", scene, **shown))))

    def strip(self, scene: Scene, **shown: object) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(self.of("strip", scene, **shown))))

    def pictures(self, scene: Scene, *frames: int, **shown: object) -> np.ndarray:
        """(K, H, W, 3): the film at these frames, as numbers to calculate with."""
        got = self.of("pictures", scene, frames=frames, **shown)
        pixels = np.frombuffer(base64.b64decode(got["content"]), np.uint8)
        assert (pixels[3::4] == 255).all()
        return pixels.reshape(len(frames), got["height"], got["width"], 4)[..., :3].astype(float)

    def picture(self, scene: Scene, frame: int, **shown: object) -> np.ndarray:
        return self.pictures(scene, frame, **shown)[0]


@pytest.fixture(scope="module")
def bench(context) -> Iterator[Bench]:
    page = context.new_page()
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield Bench(page)
    page.close()
    assert errors == []


def same(picture: np.ndarray, colour: str) -> np.ndarray:
    """Where exactly this colour is."""
    red, green, blue = rgb(colour)
    return (picture[..., 0] == red) & (picture[..., 1] == green) & (picture[..., 2] == blue)


def count(picture: np.ndarray, colour: str) -> int:
    return int(same(picture, colour).sum())


def boxes(picture: np.ndarray, colour: str) -> tuple[int, int, int, int]:
    """Rows and columns, first and last, of all that has this colour."""
    rows, columns = np.nonzero(same(picture, colour))
    return rows.min(), rows.max(), columns.min(), columns.max()


def difference(one: np.ndarray, other: np.ndarray, panels: int) -> list[float]:
    """How much is different in each of the panels, side by side."""
    return [part.mean() for part in np.array_split(np.abs(one - other), panels, axis=1)]


# ---------------------------------------------------------------- films


@pytest.mark.parametrize(("panels", "width"), [(1, 462), (2, 755), (3, 900)])
def test_a_film_is_wide_enough_to_be_seen(bench, panels, width):
    movie = bench.gif(make(frames=2, panels=panels))
    assert (movie.format, movie.n_frames, movie.width) == ("GIF", 2, width)
    assert movie.height > movie.width / panels


@pytest.mark.parametrize("theme", THEMES)
def test_a_gif_shows_every_picture_in_the_colours_of_the_theme(bench, theme):
    scene = make(frames=5)
    movie = bench.gif(scene, theme=theme, trails=True)
    assert movie.info["comment"].decode() == STAMP
    frames, pictures = decoded(movie), bench.pictures(scene, *range(5), theme=theme, trails=True)
    assert len(frames) == 5
    look = THEMES[theme]
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame - picture).mean() < 1
        assert np.abs(frame - picture).max() < 60
        for colour in (look.page, look.paper, look.ghost, *look.hues):
            assert count(frame, colour) >= count(picture, colour)
        assert count(picture, look.paper) > 50_000 and count(picture, look.ghost) > 50
        assert sum(count(picture, hue) for hue in look.hues) > 100
    assert all(np.any(one != other) for one, other in pairwise(frames))


def test_a_long_film_is_thinned_and_its_end_is_held(bench):
    scene = make(frames=201, panels=1, particles=8)
    movie = bench.gif(scene, enlarged=0)
    assert movie.n_frames == 120
    delays = []
    for k in (0, 60, 119):
        movie.seek(k)
        delays.append(movie.info["duration"])
    assert delays == [50, 50, 1050]
    frames, pictures = decoded(movie), bench.pictures(scene, 0, 101, 200)
    for frame, picture in zip(frames[[0, 60, 119]], pictures, strict=True):
        assert np.abs(frame - picture).max() < 60 and np.abs(frame - picture).mean() < 1


@pytest.mark.parametrize(("frames", "pace"), [(1, 1400), (2, 400), (20, 300)])
def test_a_film_lasts_about_six_seconds(bench, frames, pace):
    assert bench.gif(make(frames=frames, panels=1, particles=3)).info["duration"] == pace


def test_of_panels_one_may_be_chosen(bench):
    scene = make(panels=3)
    alone = replace(scene, panels=scene.panels[1:2], start=scene.panels[0].trajectory.x[0])
    chosen, wanted, other = (
        bench.picture(*given, 5, enlarged=which) for *given, which in (((scene), 1), ((alone), None), ((scene), 0))
    )
    assert chosen.shape[1] == 462
    assert np.array_equal(chosen, wanted)
    assert np.any(chosen != other)


def test_what_is_switched_on_is_in_the_picture(bench):
    scene = make(panels=2)
    plain = bench.picture(scene, 7)
    for shown in ({"trails": True}, {"guess": True}, {"anatomy": True}, {"followed": 3}, {"picked": (1, 1)}):
        with_it = bench.picture(scene, 7, **shown)
        assert min(difference(plain, with_it, 2)) > 0.02, shown


def around(picture: np.ndarray, place: tuple[float, float], scene: Scene, panel: int = 0) -> np.ndarray:
    """(3, 3, 3): the pixels at a place of the plane, in a film of that many panels."""
    unit = {1: 1.5, 2: 1.25, 3: 1}[len(scene.panels)]
    scale = SIDE / 2 / scene.half_width
    left, top = EDGE + panel * (SIDE + SPACE) + SIDE / 2, EDGE + HEAD + SIDE / 2
    column, row = int(unit * (left + scale * place[0])), int(unit * (top - scale * place[1]))
    return picture[row - 1 : row + 2, column - 1 : column + 2]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("panels", [1, 3])
def test_a_particle_has_the_hue_of_where_it_began_and_stands_where_it_is(bench, theme, panels):
    look = THEMES[theme]
    angle = 2 * torch.pi * torch.arange(10) / 10 + 0.1
    start = 1.6 * torch.stack([angle.cos(), angle.sin()], 1)
    places = torch.stack([start, start.roll(3, 0)])  # each goes to where another one was
    run = Trajectory(torch.tensor([1, 0]), places, places, places)
    scene = Scene(tuple(Panel("DDPM", "", run) for _ in range(panels)), torch.zeros(0, 2))
    assert len(set(scene.hue.tolist())) == len(look.hues)
    for frame, picture in enumerate(bench.pictures(scene, 0, 1, theme=theme)):
        for panel in range(panels):
            for i, hue in enumerate(scene.hue.tolist()):
                pixels = around(picture, places[frame, i].tolist(), scene, panel)
                assert same(pixels, look.hues[hue])[1, 1], (frame, panel, i)


@pytest.mark.parametrize("theme", THEMES)
def test_the_anatomy_of_a_step_is_the_model_s_arrow_then_the_noise_s(bench, theme):
    look = THEMES[theme]
    start, mean, end = torch.tensor([[[-1.5, -1.0]], [[0.5, -1.0]], [[0.5, 1.2]]]).unbind()
    run = Trajectory(torch.tensor([1, 0]), torch.stack([start, end]), torch.zeros(2, 1, 2), torch.stack([start, mean]))
    scene = Scene((Panel("DDPM", "", run),), torch.zeros(0, 2))
    picture = bench.picture(scene, 1, anatomy=True, theme=theme)
    for x in (-1.3, -0.5, 0.2):
        assert same(around(picture, (x, -1.0), scene), look.model).any(), x
    for y in (-0.8, 0.0, 0.6):
        assert same(around(picture, (0.5, y), scene), look.noise).any(), y


def test_what_is_written_stands_around_the_picture_and_no_word_of_the_stamp_is_lost(bench):
    scene = make(panels=2)
    long = STAMP + 10 * ", and on and on it goes"
    first, longer = bench.picture(replace(scene, stamp=""), 3), bench.picture(replace(scene, stamp=long), 3)
    assert longer.shape[0] > first.shape[0] + 5 * 1.25 * 9.5
    assert " ".join(bench.of("written", replace(scene, stamp=long))) == long
    unit = 1.25
    rows = {"title": (EDGE, EDGE + HEAD), "note": (EDGE + HEAD + SIDE, EDGE + HEAD + SIDE + 16)}
    columns = slice(int((EDGE + 4) * unit), int((EDGE + 100) * unit))
    for part, (top, bottom) in rows.items():
        changed = [replace(panel, title="PPP", notes=("Q",)) for panel in scene.panels]
        other = bench.picture(replace(scene, panels=tuple(changed), stamp=""), 3)
        place = slice(int(top * unit), int(bottom * unit)), columns
        assert np.any(first[place] != other[place]), part
    clocks = bench.pictures(scene, 3, 4, particles=False)
    right = slice(int((EDGE + SIDE - 20) * unit), int((EDGE + SIDE - 8) * unit))
    top = slice(int(EDGE * unit), int((EDGE + HEAD) * unit))
    assert np.any(clocks[0][top, right] != clocks[1][top, right])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_particles_that_diverged_are_left_out(bench, bad):
    scene = make(panels=1)
    scene.panels[0].trajectory.x[3:, ::2] = bad
    scene.panels[0].trajectory.x0[2:] = bad
    assert bench.gif(scene, trails=True, guess=True).n_frames == 8
    before, after = (
        sum(count(picture, hue) for hue in THEMES["light"].hues) for picture in bench.pictures(scene, 2, 7)
    )
    assert 0 < after < before
    assert bench.strip(scene).size


@pytest.mark.parametrize(
    "how",
    [
        {"particles": 0},
        {"frames": 1},
        {"title": 30 * "a long $\\frac title "},
        {"title": "W" * 200},
        {"title": ""},
        {"stamp": ""},
    ],
)
def test_odd_scenes_export(bench, how):
    scene = make(panels=2, **how)
    for shown in ({}, {"trails": True, "guess": True}, {"anatomy": True}):
        assert bench.gif(scene, **shown).n_frames == len(scene.ticks)
    assert bench.strip(scene).size


# ---------------------------------------------------------------- layers under the particles


def test_every_layer_is_drawn_in_its_panel(bench):
    scene = layered()
    bare = replace(scene, panels=tuple(replace(panel, arrows=None, heat=None) for panel in scene.panels))
    without, full = (bench.picture(it, 1) for it in (bare, scene))
    arrows, heat = difference(full, without, 2)
    assert arrows > 0.5 and heat > 2
    contours = difference(bench.picture(scene, 1, density=True), full, 2)
    assert min(contours) > 0.05
    for options in ({"kind": 1}, {"equal": True}):
        left, right = difference(bench.picture(scene, 1, **options), full, 2)
        assert left > 0.1 and right == 0  # the arrows, and nothing else
    first, second = bench.pictures(scene, 1, 2, particles=False)
    assert min(difference(first, second, 2)) > 0.05


def test_particles_can_be_left_out(bench):
    scene, hues = layered(), THEMES["light"].hues
    shown, left_out = (
        bench.picture(scene, 1, enlarged=0, particles=particles, guess=True, trails=True, followed=3)
        for particles in (True, False)
    )
    assert sum(count(shown, hue) for hue in hues) > 100
    assert sum(count(left_out, hue) for hue in hues) == 0


def test_heat_has_one_scale_for_all_frames_and_low_rows_are_low(bench):
    """Row 0 is the lowest y, column 0 the lowest x; more than the most, and what is no number, looks like the most."""
    scene = layered(stamp="")
    heat = torch.zeros(4, 8, 8)
    for frame, value in enumerate((1.0, 100.0, float("nan"))):
        heat[frame, :4, 4:] = value  # lower right
    heat[3, 4:, :4] = 0.5  # upper left, half as strong
    scene = replace(scene, panels=(replace(scene.panels[1], heat=heat, notes=()),), data=torch.zeros(0, 2))
    pictures = bench.pictures(scene, 0, 1, 2, 3, particles=False)
    middle, unit = 1.5 * np.array([EDGE + SIDE / 2, EDGE + HEAD + SIDE / 2]), 1.5 * SIDE / 6.6
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


def test_single_arrows_have_their_true_size_and_the_colour_of_the_model(bench):
    scene = replace(layered(spacing=None), places=torch.tensor([[0.0, 0.0]]), kinds=(), data=torch.zeros(0, 2))
    right = torch.tensor([2.0, 0.0]).expand(4, 1, 2)
    scene = replace(scene, panels=(replace(scene.panels[0], arrows=right),))
    left, last = boxes(bench.picture(scene, 0, particles=False), THEMES["light"].model)[2:]
    start, unit = 1.5 * (EDGE + SIDE / 2), 1.5 * SIDE / 6.6
    assert left == pytest.approx(start, abs=8)
    assert last == pytest.approx(start + 2 * unit, abs=6)


def test_a_gif_has_enough_colours_for_a_gradient(bench):
    scene = layered()
    frames = decoded(bench.gif(scene, enlarged=1, particles=False))
    wrong = np.abs(frames - bench.pictures(scene, *range(4), enlarged=1, particles=False))
    assert wrong.mean() < 1.5
    assert np.percentile(wrong, 99) < 8


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("spacing", [1.1, None])
def test_layers_of_a_network_that_exploded_export(bench, bad, spacing):
    scene = layered(spacing=spacing)
    scene.panels[0].arrows[2:] = bad
    scene.panels[1].heat[2:] = bad
    assert bench.gif(scene, density=True).n_frames == 4


def test_a_density_without_lines_exports(bench):
    flat = replace(layered(), density=Density(torch.tensor([0]), torch.zeros(1, 5, 5)))
    assert np.array_equal(bench.picture(flat, 1, density=True), bench.picture(flat, 1))


# ---------------------------------------------------------------- panels of images

LOOK = Images("test", torch.zeros(0), None, mean=0.5, scale=0.5).pixels  # -1 is black, 1 white
QUARTERS = torch.tensor([[[1.0, -1], [-1, 1]], [[-1.0, 1], [-1, 1]], [[-1.0, -1], [1, -1]]])  # (C, H, W)
PLACES = {(0, 0): "#ff0000", (0, 1): "#00ff00", (1, 0): "#0000ff", (1, 1): "#ffff00"}  # by row and column


def run_of(x: torch.Tensor, frames: int = 4) -> Trajectory:
    """A film in which all images are black, and in the last frame x; their x0 is x at all frames."""
    still = x.expand(frames, *x.shape)
    moving = torch.where((torch.arange(frames) < frames - 1)[:, None, None, None, None], -1.0, still)
    return Trajectory(torch.arange(frames).flip(0), moving, still, moving)


def of_images(*runs: Trajectory, stamp: str = STAMP) -> Scene:
    panels = tuple(Panel(f"run {i}", "x ← μ", run) for i, run in enumerate(runs))
    return Scene(panels, torch.zeros(0, 2), stamp, pixels=LOOK)


def noise(shape: tuple[int, int, int], frames: int = 4, images: int = 5) -> Trajectory:
    x = torch.randn(frames, images, *shape, generator=torch.Generator().manual_seed(0))
    return Trajectory(torch.arange(frames).flip(0), x, x / 2, x)


@pytest.mark.parametrize(("panels", "size"), [(1, 432), (2, 360), (3, 288)])
def test_an_image_is_shown_sharp_and_the_right_way_up(bench, panels, size):
    picture = bench.picture(of_images(*panels * [run_of(QUARTERS[None])]), 3)
    picture = picture[:, : round((EDGE + SIDE + SPACE / 2) * size / SIDE)]
    found = {place: boxes(picture, colour) for place, colour in PLACES.items()}
    top, _, left, _ = found[0, 0]
    for (row, column), (first, last, start, end) in found.items():
        side = last - first + 1
        assert count(picture, PLACES[row, column]) == side**2 == (end - start + 1) ** 2  # one square, without a blur
        assert (first, start) == (top + row * side, left + column * side)
    assert size > 2 * side > 0.9 * size


@pytest.mark.parametrize("number", [1, 5, 64])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 2), (3, 16, 16), (1, 3, 2)])
def test_every_image_has_its_place_and_none_lies_over_another(bench, shape, number):
    """Of images that are one level of gray each, every level is there, as large as the others, in reading order."""
    levels = 4 * np.arange(number)
    x = torch.tensor(levels / 127.5 - 1).float()[None, :, None, None, None].expand(1, number, *shape)
    picture = bench.picture(of_images(Trajectory(torch.zeros(1, dtype=torch.long), x, x, x), stamp=""), 0)
    panel = picture[int(1.5 * (EDGE + HEAD)) + 2 :][:430, 17:445]  # within the paper
    found = [boxes(panel, f"#{3 * f'{level:02x}'}") for level in levels]
    sizes = {(bottom - top + 1, right - left + 1) for top, bottom, left, right in found}
    assert len(sizes) == 1
    ((height, width),) = sizes
    for (top, bottom, left, right), level in zip(found, levels, strict=True):
        assert (panel[top : bottom + 1, left : right + 1] == level).all()  # nothing lies over it
    assert width * shape[1] == pytest.approx(height * shape[2], abs=max(shape))
    assert [place[::2] for place in found] == sorted(place[::2] for place in found)
    if shape[1] == shape[2]:
        assert sum(top == found[0][0] for top, *_ in found) == int(np.ceil(number**0.5))
    assert number * width * height > 0.3 * 432**2


def test_images_change_with_the_film_and_become_their_guess(bench):
    scene = of_images(run_of(QUARTERS[None]))
    first, last = bench.pictures(scene, 0, 3)
    guess = bench.picture(scene, 0, guess=True)
    assert count(first, "#ff0000") == 0
    assert count(guess, "#ff0000") == count(last, "#ff0000") > 1000
    plain, guessed = (bench.strip(scene, guess=asked) for asked in (False, True))
    assert has(guessed, "#ff0000") == 4 * has(plain, "#ff0000") > 1000  # a column for each of the four frames


def test_a_panel_that_stands_still_shows_the_same_at_all_frames_and_no_time(bench):
    run = run_of(-QUARTERS[None])
    scene = Scene((Panel("true mean", "", run, still=QUARTERS[None]),), torch.zeros(0, 2), pixels=LOOK)
    first, *others = bench.pictures(scene, 0, 1, 2, 3)
    assert count(first, "#ff0000") > 1000
    assert all(np.array_equal(first, other) for other in others)
    frames = decoded(bench.gif(scene))
    assert len(frames) == 4 and (frames == frames[0]).all()


def test_the_image_that_is_followed_has_a_ring_in_all_panels(bench):
    run = noise((3, 8, 8))
    scene = of_images(run, run, run)
    others = torch.zeros(2, 3, 8, 8)  # two images: not those of the particles
    scene = replace(scene, panels=(*scene.panels[:2], Panel("mean", "", run, still=others)))
    without, ring = (bench.picture(scene, 1, followed=i) for i in (None, 3))
    changed = (without != ring).any(-1)
    thirds = [part.sum() for part in np.array_split(changed, 3, axis=1)]
    assert thirds[0] == thirds[1] > 100 and thirds[2] == 0
    assert count(ring[changed], THEMES["light"].ink) > 100


def test_beside_its_particle_an_image_has_a_frame_of_the_same_colour(bench):
    start = torch.tensor([[1.0, 0.1], [-1, 0.1], [0.1, 1], [0.1, -1]])
    x = start.expand(4, 4, 2)
    points = Trajectory(torch.arange(4), x, x, x)
    images = noise((1, 8, 8), images=4)
    plane, grid = Panel("plane", "", points), Panel("image", "", images)
    both = Scene((plane, grid), torch.zeros(0, 2), pixels=LOOK)
    hues = [THEMES["light"].hues[h] for h in both.hue]
    framed = bench.picture(both, 0, enlarged=1)
    alone = bench.picture(replace(both, panels=(grid,)), 0)
    assert len(set(hues)) > 2
    middle = 1.5 * np.array([EDGE + HEAD + SIDE / 2, EDGE + SIDE / 2])
    for image, hue in enumerate(hues):
        assert count(framed, hue) > 100 and count(alone, hue) == 0
        top, bottom, left, right = boxes(framed, hue)
        if hues.count(hue) == 1:  # around the image in that place, two by two
            assert (top > middle[0]) == (image > 1) and (left > middle[1]) == (image % 2 == 1)
            inside = framed[top + 5 : bottom - 4, left + 5 : right - 4].reshape(-1, 3)
            assert set(inside[:, 0]) == set(LOOK(images.x[0, image]).ravel())


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("channels", "mean", "most"), [(1, 1.5, 5), (3, 8, 40)])
def test_a_gif_has_colours_for_images(bench, theme, channels, mean, most):
    """Gray is gray to the eye; of colours there are some 230, chosen for the film."""
    scene = of_images(noise((channels, 8, 8), images=16))
    wrong = np.abs(decoded(bench.gif(scene, theme=theme)) - bench.pictures(scene, *range(4), theme=theme))
    assert wrong.mean() < mean
    assert np.percentile(wrong, 99) < most


def test_colours_are_chosen_from_the_whole_film(bench):
    """Red at first, then green, then blue."""
    x = -torch.ones(3, 1, 3, 16, 16)
    for frame in range(3):
        x[frame, 0, frame] = torch.linspace(-1, 1, 256).reshape(16, 16)
    scene = of_images(Trajectory(torch.arange(3).flip(0), x, x, x))
    wrong = np.abs(decoded(bench.gif(scene)) - bench.pictures(scene, 0, 1, 2))
    assert wrong.mean(axis=(1, 2, 3)).max() < 2


def test_heat_and_images_share_the_colours_of_a_gif(bench):
    scene = layered()
    scene = replace(scene, panels=(*scene.panels, Panel("image", "", noise((1, 8, 8), images=20))), pixels=LOOK)
    wrong = np.abs(decoded(bench.gif(scene, particles=False)) - bench.pictures(scene, *range(4), particles=False))
    for part in np.array_split(wrong, 3, axis=2):
        assert part.mean() < 1.5
        assert np.percentile(part, 99) < 10


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 1, 2), (3, 64, 64), (1, 28, 28)])
@pytest.mark.parametrize("images", [0, 1, 12])
def test_images_of_any_size_and_number_export(bench, shape, images):
    run = noise(shape, frames=2, images=images)
    run.x[1] = float("nan")
    scene = of_images(run, run)
    assert bench.gif(scene, guess=True).n_frames == 2
    assert bench.strip(scene).size


# ---------------------------------------------------------------- strips


@pytest.mark.parametrize(("frames", "columns"), [(1, 1), (5, 5), (8, 6)])
@pytest.mark.parametrize("panels", [1, 3])
def test_a_strip_has_a_column_per_moment_and_a_row_per_panel(bench, frames, columns, panels):
    strip = bench.strip(make(frames=frames, panels=panels, stamp=""))
    assert (strip.format, strip.info.get("loop")) == ("PNG", None)
    assert strip.width == 220 + columns * (SIDE + SPACE) - SPACE + EDGE
    assert strip.height == 44 + panels * (SIDE + SPACE) - SPACE + EDGE


def test_a_strip_says_how_it_was_made_in_it_and_under_it(bench):
    signed, plain = (bench.strip(make(frames=2, stamp=stamp)) for stamp in (STAMP, ""))
    signed.load(), plain.load()
    assert signed.text["Description"] == STAMP
    assert plain.text["Description"] == ""
    assert signed.height > plain.height
    assert has(signed.crop((0, plain.height, *signed.size)), THEMES["light"].faint) > 50


@pytest.mark.parametrize("theme", THEMES)
def test_a_strip_shows_the_moments_of_the_film_in_order_and_without_trails(bench, theme):
    """A frame of a film of three panels is as large: what is in a cell is what is in the film."""
    scene = make(frames=8, panels=3)
    strip = np.asarray(bench.strip(scene, theme=theme, trails=True, followed=2, anatomy=True).convert("RGB"), float)
    films = bench.pictures(scene, 0, 1, 3, 4, 6, 7, theme=theme)
    for column, film in enumerate(films):
        for row in range(3):
            top, left = 44 + row * (SIDE + SPACE), 220 + column * (SIDE + SPACE)
            over, beside = EDGE + HEAD, EDGE + row * (SIDE + SPACE)
            inner = slice(10, SIDE - 10)
            cell = strip[top : top + SIDE, left : left + SIDE][inner, inner]
            wanted = film[over : over + SIDE, beside : beside + SIDE][inner, inner]
            assert np.array_equal(cell, wanted), (column, row)


def test_a_strip_shows_all_panels_and_their_layers(bench):
    scene = layered()
    strips = [np.asarray(bench.strip(scene, enlarged=0, **shown)) for shown in ({}, {"density": True}, {"equal": True})]
    assert strips[0].shape[0] > 2 * SIDE
    assert np.any(strips[0] != strips[1]) and np.any(strips[0] != strips[2])
