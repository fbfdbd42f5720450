"""What one takes home of a page: with one click the browser makes a file and keeps it."""

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.browser.view import FAST, IMAGES, View, Visitors
from tests.test_film import has
from toydiff.draw.style import THEMES
from toydiff.text import words

if TYPE_CHECKING:
    from playwright.sync_api import Download

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EDGE, SPACE, HEAD, SIDE = 10, 8, 42, 288  # of sheet.js


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def frames(movie: Image.Image) -> np.ndarray:
    """(K, H, W, 3): each is what is seen when the film is there."""
    found = []
    for k in range(movie.n_frames):
        movie.seek(k)
        found.append(np.asarray(movie.convert("RGB"), float))
    return np.array(found)


def stopped(view: View, frame: int, player: int = 0) -> np.ndarray:
    """(H, W, 3): the picture that a player shows when it stands at a frame."""
    shown = view.page.locator(".player").nth(player)
    shown.locator(".slider").fill(str(frame))
    view.until(lambda: shown.get_attribute("data-frame") == str(frame), "the frame")
    view.drawn(3)
    content = shown.locator("canvas:visible").first.evaluate(
        """async (canvas) => {
            const blob = await new Promise((done) => canvas.toBlob(done));
            return [...new Uint8Array(await blob.arrayBuffer())];
        }"""
    )
    return np.asarray(opened(bytes(content)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), float)


def panel(picture: np.ndarray, panels: int, which: int = 0) -> np.ndarray:
    """One panel of a picture of a film, as large as `stopped` has it."""
    unit = {1: 1.5, 2: 1.25, 3: 1}[panels]
    left, top = ((EDGE + which * (SIDE + SPACE)) * unit, (EDGE + HEAD) * unit)
    cut = Image.fromarray(picture.astype(np.uint8)).crop((left, top, left + SIDE * unit, top + SIDE * unit))
    return np.asarray(cut.resize((SIDE, SIDE), Image.Resampling.BOX), float)


def said(view: View, player: int = 0) -> str:
    return view.page.locator(".player").nth(player).locator(".said").inner_text()


def toggle(view: View, name: str, *, sent: bool = False) -> None:
    """Press a button. What it shows may have to be sent when it is pressed for the first time."""
    before = view.player("hash")
    view.page.locator(f".player [data-toggle={name}]").first.click()
    if sent:
        view.until(lambda: view.player("hash") != before, "a film with more in it")


def delays(movie: Image.Image) -> list[int]:
    """For how many milliseconds each picture is shown."""
    found = []
    for k in range(movie.n_frames):
        movie.seek(k)
        found.append(movie.info["duration"])
    return found


def stamp(view: View) -> str:
    return view.page.get_by_test_id("stCaptionContainer").first.inner_text()


def closest(pictures: list[np.ndarray], shown: np.ndarray) -> int:
    """Which of them is most like what is shown, and by far."""
    away = [np.abs(picture - shown)[8:-8, 8:-8].mean() for picture in pictures]  # without the border of the paper
    first, second = np.sort(away)[:2]
    assert first < 0.8 * second, away
    return int(np.argmin(away))


@pytest.fixture(scope="module")
def three(context, server) -> Iterator[View]:
    """A page with three panels of points. Tests leave it as it was."""
    visit = Visitors(context, server)
    yield visit("reverse", FAST | {"T": 12, "dataset": "moons", "schedule": "cosine", "seed": 3})
    visit.leave()


@pytest.fixture(scope="module")
def pictures(context, server) -> Iterator[View]:
    """A page with several players, all of images."""
    visit = Visitors(context, server)
    yield visit("images", IMAGES)
    visit.leave()


# ---------------------------------------------------------------- films of points


def test_a_gif_of_points(three):
    content = three.take_home("gif")
    movie = opened(content)
    assert (movie.format, movie.n_frames, movie.width, movie.info["loop"]) == ("GIF", 13, 900, 0)
    assert delays(movie) == [400] * 12 + [1400]
    three.until(lambda: said(three), "a word about it")
    assert said(three) == words("player.saved", file="toydiff-moons.gif", size=f"{len(content) / 1e6:.3g}")

    comment = movie.info["comment"].decode()
    for part in (words("names.moons"), words("names.cosine"), "T = 12", words("page.exact"), "seed 3"):
        assert part in comment
    assert comment == stamp(three)

    film = frames(movie)
    assert all(np.any(one != other) for one, other in pairwise(film))
    in_its_colours(film, "light")
    assert closest([panel(picture, 3) for picture in film], stopped(three, 7)) == 7
    three.healthy()


def in_its_colours(film: np.ndarray, theme: str) -> None:
    look = THEMES[theme]
    for picture in (film[0], film[len(film) // 2], film[-1]):
        colours = Image.fromarray(picture.astype(np.uint8))
        assert has(colours, look.paper) > 50_000 and has(colours, look.ghost) > 50
        assert has(colours, look.page) > 2000 and sum(has(colours, hue) for hue in look.hues) > 50


def test_a_gif_in_the_dark(three):
    three.page.emulate_media(color_scheme="dark")
    three.until(lambda: three.player("theme") == "dark", "the dark theme")
    film = frames(opened(three.take_home("gif")))
    three.page.emulate_media(color_scheme="light")
    three.until(lambda: three.player("theme") == "light", "the light theme")
    in_its_colours(film, "dark")
    assert film.mean() < 60
    three.healthy()


def test_a_gif_shows_what_is_shown(three):
    usual = frames(opened(three.take_home("gif")))[12]
    for name in ("trails", "guess", "anatomy"):
        toggle(three, name, sent=name != "trails")
        other = frames(opened(three.take_home("gif")))[12]
        assert np.abs(other - usual).mean() > 0.1, name
        toggle(three, name)

    toggle(three, "trails")  # lines are as wide in a small picture as in a large one
    three.page.locator(".player .resize").nth(2).click()
    three.until(lambda: three.page.locator(".player canvas:visible").count() == 1, "one panel")
    alone = frames(opened(three.take_home("gif")))
    assert alone.shape[2] == 462
    assert closest([panel(picture, 1) for picture in alone], stopped(three, 5)) == 5
    three.page.keyboard.press("Escape")
    three.until(lambda: three.page.locator(".player canvas:visible").count() == 3, "all panels")
    toggle(three, "trails")
    assert np.array_equal(frames(opened(three.take_home("gif")))[12], usual)
    three.healthy()


def test_a_gif_is_as_large_on_a_telephone(three):
    usual = three.take_home("gif")
    three.page.set_viewport_size({"width": 390, "height": 844})
    three.until(lambda: three.page.locator(".player canvas").first.bounding_box()["width"] < 190, "small pictures")
    three.drawn()
    assert three.take_home("gif") == usual
    assert opened(three.take_home("strip")).width > 6 * SIDE
    three.page.set_viewport_size({"width": 1280, "height": 720})
    three.healthy()


def test_a_strip_has_a_row_per_panel_and_a_column_per_moment(three):
    content = three.take_home("strip")
    strip = opened(content)
    strip.load()
    assert strip.format == "PNG"
    assert strip.width == 220 + 6 * (SIDE + SPACE) - SPACE + EDGE
    assert 44 + 3 * (SIDE + SPACE) < strip.height < 44 + 3 * (SIDE + SPACE) + 100
    assert strip.text["Description"] == stamp(three)
    three.until(lambda: said(three).startswith("toydiff-moons.png"), "a word about it")
    assert said(three) == words("player.saved", file="toydiff-moons.png", size=f"{len(content) / 1e6:.3g}")

    toggle(three, "trails")
    shown, pixels = stopped(three, 5), np.asarray(strip.convert("RGB"), float)
    toggle(three, "trails")
    lefts = [220 + column * (SIDE + SPACE) for column in range(6)]  # frames 0, 2, 5, 7, 10 and 12
    assert closest([pixels[44 : 44 + SIDE, left : left + SIDE] for left in lefts], shown) == 2

    three.page.locator(".player .resize").nth(1).click()
    assert opened(three.take_home("strip")).size == strip.size  # of all panels, whichever is enlarged
    three.page.locator(".player .resize").nth(1).click()
    three.healthy()


def test_a_browser_without_room_says_so_and_goes_on(three):
    three.page.evaluate(
        """() => {
            window.real = HTMLCanvasElement.prototype.toBlob;
            HTMLCanvasElement.prototype.toBlob = (done) => done(null);
        }"""
    )
    strip = three.page.locator(".player [data-export=strip]").first
    strip.click()
    three.until(lambda: said(three) == words("player.unsaved"), "a sentence")
    assert strip.get_attribute("aria-busy") is None
    assert opened(three.take_home("gif")).n_frames == 13
    three.page.evaluate("() => { HTMLCanvasElement.prototype.toBlob = window.real }")
    assert opened(three.take_home("strip")).format == "PNG"
    three.until(lambda: said(three).startswith("toydiff-moons.png"), "a word about it")
    three.healthy()


# ---------------------------------------------------------------- layers, images


def test_a_gif_of_arrows_and_heat(visit):
    view = visit("field", FAST | {"T": 10})
    toggle(view, "particles")
    toggle(view, "density", sent=True)
    film = frames(opened(view.take_home("gif")))
    panels = view.page.locator(".player").first.locator("canvas").count()
    assert (len(film), film.shape[2]) == (11, {2: 755, 3: 900}[panels])
    for frame in (2, 5):
        assert closest([panel(picture, panels) for picture in film], stopped(view, frame)) == frame
    view.healthy()


def test_a_gif_and_a_strip_of_images(pictures):
    lasts = [int(slider.get_attribute("max")) for slider in pictures.page.locator(".player .slider").all()]
    which = next(i for i, last in enumerate(lasts) if last > 1)  # not that of a training which has not begun
    last, player = lasts[which], pictures.page.locator(".player").nth(which)
    panels = player.locator("canvas").count()
    film = frames(opened(pictures.take_home("gif", which)))
    assert len(film) == last + 1
    strip = opened(pictures.take_home("strip", which))
    for frame in (last // 2, last):
        shown, shots = stopped(pictures, frame, which), [panel(picture, panels) for picture in film]
        assert np.median(np.abs(shots[frame] - shown)[8:-8, 8:-8]) <= 4  # levels of gray
        assert closest(shots, shown) == frame
    cell = np.asarray(strip.convert("RGB"), float)[44 : 44 + SIDE, -EDGE - SIDE : -EDGE]
    assert np.median(np.abs(cell - shown)) <= 1
    pictures.healthy()


# ---------------------------------------------------------------- at any moment


def test_a_player_that_just_came_into_sight_makes_its_files(pictures):
    """At the very moment at which one sees it: the browser has not drawn it yet."""
    players = pictures.page.locator(".player:not(.still)")
    pictures.page.locator(".player").first.scroll_into_view_if_needed()
    assert players.count() > 1
    with pictures.page.expect_download() as waiting:
        players.last.evaluate(
            """(player) => {
                player.scrollIntoView();
                player.querySelector("[data-export=gif]").click();
            }"""
        )
    assert opened(Path(waiting.value.path()).read_bytes()).n_frames > 1
    pictures.healthy()


# Between two pictures of a GIF the player lets everything else that waits happen. Here that lasts until `window.go_on`
# is called: `window.held` says that somebody waits. The last picture is never reached before.
HELD = """() => {
    const Real = window.MessageChannel;
    let released;
    const go = new Promise((done) => (released = done));
    window.go_on = () => released();
    window.held = 0;
    window.MessageChannel = class extends Real {
        constructor() {
            super();
            const send = this.port2.postMessage.bind(this.port2);
            this.port2.postMessage = (message) => {
                window.held += 1;
                if (window.held < 10) send(message);
                else go.then(() => send(message));
            };
        }
    };
}"""


def test_the_film_plays_on_while_its_file_is_made_and_another_page_does_not_end_it(visit):
    view = visit("reverse", FAST | {"T": 60, "particles": 300}, motion=True)
    view.until(lambda: view.playing and view.frame > 0, "a film that plays")
    files: list[Download] = []
    view.page.on("download", lambda file: files.append(file))
    gif, seen = view.page.locator(".player [data-export=gif]").first, set()
    view.page.evaluate(HELD)
    gif.click()
    view.until(lambda: view.page.evaluate("window.held") == 10, "the tenth picture")
    while len(seen) < 4:
        view.until(lambda: view.frame not in seen, "a film that plays on")
        seen.add(view.frame)
    assert gif.get_attribute("aria-busy")
    assert 0 < float(gif.evaluate("(button) => button.style.getPropertyValue('--share')")) < 1
    view.go("forward")
    assert not files  # it is held
    view.page.evaluate("window.go_on()")
    view.until(lambda: files, "the film")
    assert opened(Path(files[0].path()).read_bytes()).n_frames == 61
    assert said(view) == ""  # that is another player
    view.drawn()
    assert len(files) == 1
    view.healthy()
