"""Pictures of one's own: good ones arrive as they are, bad ones are named and left out, nothing else happens."""

import io
import os
import random
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from toydiff.data import pictures
from toydiff.data.pictures import File, Pictures, Refused, shown
from toydiff.server.render_worker import finished
from toydiff.text import words

SOURCES = ("folder", "zip", "zip file", "mapping")


def read(source, side=32, *, colour=False) -> Pictures:
    return finished(pictures.read(source, side, colour=colour), lambda share: None)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo(width=40, height=40, seed=0):
    """A smooth picture in colour, not the same in any two corners."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)


def zipped(files, **options):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **{"compression": zipfile.ZIP_DEFLATED, **options}) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def given(kind, files, folder):
    """The files, as each kind of source has them."""
    if kind == "mapping":
        return files
    if kind == "zip":
        return zipped(files)
    if kind == "zip file":
        (folder / "mine.zip").write_bytes(zipped(files))
        return str(folder / "mine.zip")
    for name, content in files.items():
        path = folder / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / "mine"


def sizes(width, height):
    """A PNG of which there is only the header, and that says it is so large."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


GOOD = {"a.png": encoded(photo(seed=1)), "z/b.JPG": encoded(photo(60, 40, seed=2), "JPEG")}

# name, content, why it is left out
BAD = {
    "text": ("notes.txt", b"hello", "kind"),
    "no suffix": ("README", b"hello", "kind"),
    "svg": ("logo.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "kind"),
    "svg by another name": ("logo.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "kind"),
    "tiff by another name": ("scan.png", encoded(photo(), "TIFF"), "kind"),
    "ppm by another name": ("raw.bmp", encoded(photo(), "PPM"), "kind"),
    "picture with another suffix": ("photo.tif", GOOD["a.png"], "kind"),
    "iPhone": ("IMG_1.HEIC", b"\0\0\0\x18ftypheic", "kind"),
    "web page": ("page.html", b"<script>alert(1)</script>", "kind"),
    "pickle": ("model.pkl", b"\x80\x04N.", "kind"),
    "text by another name": ("photo.jpg", b"hello", "kind"),
    "empty": ("empty.png", b"", "kind"),
    "zip": ("more.zip", zipped(GOOD), "archive"),
    "zip by another name": ("more.png", zipped(GOOD), "kind"),
    "half a PNG": ("half.png", GOOD["a.png"][: len(GOOD["a.png"]) // 2], "broken"),
    "half a JPEG": ("half.jpg", GOOD["z/b.JPG"][: len(GOOD["z/b.JPG"]) // 2], "broken"),
    "half a GIF": ("half.gif", encoded(photo(), "GIF")[:900], "broken"),
    "half a BMP": ("half.bmp", encoded(photo(), "BMP")[:900], "broken"),
    "half a WEBP": ("half.webp", encoded(photo(seed=3), "WEBP", lossless=True)[:100], "broken"),
    "large header": ("large.png", sizes(5001, 5000), "pixels"),
    "larger than Pillow warns of": ("larger.png", sizes(11_000, 10_000), "pixels"),
    "larger than Pillow opens": ("largest.png", sizes(60_000, 60_000), "pixels"),
    "really large": ("white.png", encoded(Image.new("1", (5001, 5000))), "pixels"),
    "the beginning of a PNG": ("start.png", GOOD["a.png"][:12], "broken"),
    "the beginning of a JPEG": ("start.jpg", GOOD["z/b.JPG"][:8], "broken"),
    "no data": ("nothing.png", sizes(10, 10), "broken"),
}
REASONS = {
    "kind": "not a PNG, JPEG, GIF, BMP or WEBP picture",
    "archive": "an archive inside the archive is not opened",
    "broken": "damaged, or it cannot be read",
    "pixels": "more than 25 million pixels",
}


# good pictures


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("kind", SOURCES)
def test_good_pictures(kind, colour, tmp_path):
    images, skipped = read(given(kind, GOOD, tmp_path), 24, colour=colour)
    assert skipped == []
    assert images.name == "pictures"
    assert images.labels is None
    assert images.x.shape == (2, 3 if colour else 1, 24, 24)
    assert images.x.dtype == torch.float32
    assert images.x.double().mean().abs() < 1e-5
    assert images.x.double().var(correction=0).item() == pytest.approx(1, abs=1e-4)
    first = ImageOps.fit(photo(seed=1), (24, 24)).convert("RGB" if colour else "L")
    assert np.abs(images.pixels(images.x)[0] - np.asarray(first, int)).max() <= 1


@pytest.mark.parametrize("kind", SOURCES)
def test_they_come_in_order_of_their_names(kind, tmp_path):
    gray = {"c.png": 200, "sub/a.png": 250, "a.png": 0, "b.png": 100}
    files = {name: encoded(Image.new("L", (9, 9), value)) for name, value in gray.items()}
    images, _ = read(given(kind, files, tmp_path), 8)
    assert images.pixels(images.x)[:, 0, 0].tolist() == [0, 100, 200, 250]


@pytest.mark.parametrize("side", [8, 13, 64])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (300, 7), (64, 64), (1000, 900)])
def test_any_size_to_any_side(size, side):
    files = {"a.png": encoded(photo(*size)), "b.jpg": encoded(photo(*size, seed=1), "JPEG")}
    assert read(files, side, colour=True).images.shape == (3, side, side)


@pytest.mark.parametrize("size", [(90, 30), (30, 90)])
def test_the_middle_is_cut_out(size):
    flag = Image.new("RGB", size, "red")
    flag.paste("blue", (0, 0, 30, 30))
    flag.paste("lime", tuple(s // 2 + d for d in (-15, 15) for s in size))
    images, _ = read({"a.png": encoded(flag), "b.png": encoded(photo())}, 10, colour=True)
    assert (images.pixels(images.x)[0, 1:-1, 1:-1] == (0, 255, 0)).all()


def only(content, colour=True, side=8):
    """A picture as it arrives, beside another."""
    images, skipped = read({"a": content, "a.png": content, "b.png": GOOD["a.png"]}, side, colour=colour)
    assert [name for name, _ in skipped] == ["a"]
    return images.pixels(images.x)[0]


def test_a_large_jpeg_is_decoded_small_and_looks_the_same():
    large = photo(1200, 800)
    seen = only(encoded(large, "JPEG", quality=95), side=32)
    assert np.abs(seen - np.asarray(ImageOps.fit(large, (32, 32)), int)).mean() < 2


STORED = {  # how a picture is stored whose EXIF says so, if it is to be seen upright
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_turned_the_right_way_up(orientation, kind):
    upright = np.asarray(photo(64, 48))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options = {"PNG": {}, "JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}[kind]
    seen = only(encoded(stored, kind, exif=exif, **options), side=16)
    assert np.abs(seen - np.asarray(ImageOps.fit(photo(64, 48), (16, 16)), int)).max() <= (8 if kind == "JPEG" else 1)


def animated(kind):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)


def palette(transparency=None):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    return encoded(image, **({} if transparency is None else {"transparency": transparency}))


RED, WHITE, GRAY = [255, 0, 0], [255, 255, 255], [128, 128, 128]
KINDS = {
    "RGB": (encoded(Image.new("RGB", (20, 20), "red")), RED),
    "gray": (encoded(Image.new("L", (20, 20), 128)), GRAY),
    "16 bit gray": (encoded(Image.fromarray(np.full((20, 20), 128 * 256 + 77, np.uint16))), GRAY),
    "1 bit": (encoded(Image.new("1", (20, 20), 1)), WHITE),
    "palette": (palette(), RED),
    "transparent palette": (palette(transparency=1), WHITE),
    "transparent": (encoded(Image.new("RGBA", (20, 20), (255, 0, 0, 0))), WHITE),
    "transparent gray": (encoded(Image.new("LA", (20, 20), (0, 0))), WHITE),
    "half transparent": (encoded(Image.new("RGBA", (20, 20), (0, 0, 0, 127))), GRAY),
    "CMYK": (encoded(Image.new("CMYK", (20, 20), (0, 255, 255, 0)), "JPEG", quality=98), RED),
    "gray JPEG": (encoded(Image.new("L", (20, 20), 128), "JPEG"), GRAY),
    "BMP": (encoded(Image.new("RGB", (20, 20), "red"), "BMP"), RED),
    "first of a GIF": (animated("GIF"), RED),
    "first of a WEBP": (animated("WEBP"), RED),
    "first of a PNG": (animated("PNG"), RED),
}


@pytest.mark.parametrize(("content", "colour"), KINDS.values(), ids=KINDS)
def test_every_kind_of_picture(content, colour):
    assert np.abs(only(content) - np.array(colour)).max() <= 2
    gray = only(content, colour=False)
    assert gray.shape == (8, 8)
    assert np.abs(gray - np.dot(colour, [0.299, 0.587, 0.114])).max() <= 2


def test_transparent_pixels_lend_their_neighbours_no_colour():
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))  # red, but nobody sees it
    image.paste((255, 255, 255, 255), (0, 0, 20, 40))
    assert (only(encoded(image)) >= 254).all()


# bad files


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize(("name", "content", "why"), BAD.values(), ids=BAD)
def test_a_bad_file_is_named_and_left_out(name, content, why, kind, tmp_path):
    source = given(kind, GOOD | {f"m/{name}": content}, tmp_path)
    images, skipped = read(source, 16)
    assert skipped == [(f"m/{name}", REASONS[why])]
    assert torch.equal(images.x, read(GOOD, 16).images.x)  # the others are as they were


def test_what_is_too_large_is_not_decoded(monkeypatch):
    decoded = []
    monkeypatch.setattr(pictures, "_square", lambda picture, *_: decoded.append(picture.size) or np.eye(16))
    read(GOOD | {"white.png": BAD["really large"][1]}, 16)
    assert decoded == [(40, 40), (60, 40)]


def entries(content):
    """Where the entry of each file begins in the table of contents of a ZIP."""
    return [i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"]


def test_a_file_with_a_password():
    content = bytearray(zipped(GOOD | {"m.png": GOOD["a.png"]}))
    content[entries(content)[-1] + 8] |= 1
    assert read(bytes(content), 16).skipped == [("m.png", "locked with a password")]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_without_limit_is_not_unpacked(method):
    stream = io.BytesIO(zipped(GOOD))
    with zipfile.ZipFile(stream, "a", method) as archive:
        archive.writestr("m.png", bytes(10_000))
    ((name, reason),) = read(stream.getvalue(), 16).skipped
    assert name == "m.png"
    assert reason.startswith("packed in a way that is not read")


def test_a_file_that_does_not_unpack():
    content = bytearray(zipped({"m.png": GOOD["a.png"]} | GOOD))
    content[60:90] = bytes(30)
    assert read(bytes(content), 16).skipped == [("m.png", REASONS["broken"])]


def test_a_file_without_a_name():
    content = zipped(GOOD | {"m.png": GOOD["a.png"]}).replace(b"m.png", b"\0.png")  # a name ends where there is a 0
    assert read(content, 16).skipped == [("", REASONS["kind"])]


def test_a_zip_bomb_is_not_opened(monkeypatch):
    bomb = zipped(GOOD | {"m.png": bytes(2_000_000)})
    assert len(bomb) < 30_000
    opened, real = [], zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args: opened.append(args[1].filename) or real(*args))
    monkeypatch.setattr(pictures, "MAX_ZIP_BYTES", 1_999_999)
    assert read(bomb, 16).skipped == [("m.png", words("pictures.bytes", megabytes=1))]
    assert opened == ["a.png", "z/b.JPG"]


def test_a_zip_bomb_that_says_it_is_small():
    content = bytearray(zipped(GOOD | {"m.png": bytes(5_000_000)}))
    content[entries(content)[-1] + 24 : entries(content)[-1] + 28] = struct.pack("<I", 100)
    assert read(bytes(content), 16).skipped == [("m.png", REASONS["broken"])]


def test_it_says_how_much_is_done():
    shares = []
    finished(pictures.read({f"{name}.png": GOOD["a.png"] for name in "abcd"}, 8), shares.append)
    assert shares == [0, 0.25, 0.5, 0.75]


def test_no_more_is_read_than_is_allowed():
    class Endless(io.RawIOBase):
        given = 0

        def read(self, n=-1):
            assert n > 0, "all of it"
            self.given += n
            return bytes(n)

    stream = Endless()
    with pytest.raises(Refused, match="more than"):
        pictures._content(File("liar.png", 10, lambda: stream), 1000)
    assert stream.given <= 1001


def test_all_pictures_together_have_a_limit(monkeypatch):
    files = {f"{i}.bmp": encoded(photo(20, 20, seed=i), "BMP") for i in range(5)}
    size = len(files["0.bmp"])
    monkeypatch.setattr(pictures, "MAX_ZIP_BYTES", 3 * size + 10)
    skipped = read(files | {"9.png": encoded(Image.new("1", (2, 2)))[:10]}, 16).skipped
    assert [name for name, _ in skipped] == ["3.bmp", "4.bmp", "9.png"]
    assert [reason for _, reason in skipped] == [words("pictures.bytes", megabytes=0)] * 2 + [REASONS["broken"]]


def test_all_pixels_together_have_a_limit(monkeypatch):
    files = {f"{i}.png": encoded(photo(20, 20, seed=i)) for i in range(5)}
    monkeypatch.setattr(pictures, "ALL_PIXELS", 3 * 400 + 10)
    assert [name for name, _ in read(files | {"9.png": encoded(photo(2, 3))}, 16).skipped] == ["3.png", "4.png"]


@pytest.mark.parametrize("kind", SOURCES)
def test_the_number_of_pictures_has_a_limit(kind, monkeypatch, tmp_path):
    files = {f"{i}.png": encoded(photo(seed=i)) for i in range(5)} | {"0.txt": b"not one of them"}
    monkeypatch.setattr(pictures, "MAX_PICTURES", 3)
    images, skipped = read(given(kind, files, tmp_path), 16)
    assert len(images.x) == 3
    full = "there are 3 pictures already"
    assert skipped == [("0.txt", REASONS["kind"]), ("3.png", full), ("4.png", full)]


@pytest.mark.parametrize("kind", SOURCES)
def test_the_number_of_files_has_a_limit(kind, monkeypatch, tmp_path):
    source = given(kind, GOOD | {f"{i}.txt": b"" for i in range(4)}, tmp_path)
    monkeypatch.setattr(pictures, "MAX_FILES", 6)
    assert len(read(source, 16).images.x) == 2
    monkeypatch.setattr(pictures, "MAX_FILES", 5)
    monkeypatch.setattr(zipfile, "ZipFile", None)  # the table of contents is not even read
    with pytest.raises(ValueError, match="These are more than 5 files"):
        read(source, 16)


def test_the_limits_that_are_stated():
    assert (pictures.MIN_PICTURE_SIDE, pictures.MAX_PICTURE_SIDE) == (8, 64)
    assert (pictures.MIN_PICTURES, pictures.MAX_PICTURES) == (2, 5_000)
    assert (pictures.MAX_PIXELS, pictures.MAX_ZIP_BYTES) == (25_000_000, 200_000_000)


# names


@pytest.mark.parametrize("name", ["../../up.png", "/etc/root.png", "C:\\system.png", "..\\up.png", "a/../../up.png"])
def test_no_name_is_used_as_a_path(name, tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    before = sorted(tmp_path.rglob("*"))
    images, skipped = read(zipped(GOOD | {name: encoded(photo(seed=7))}), 16)
    assert len(images.x) == 3
    assert skipped == []
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("kind", SOURCES)
def test_what_systems_add_is_left_out_without_a_word(kind, tmp_path):
    junk = ("__MACOSX/._a.png", "__MACOSX/x/y.png", ".DS_Store", "z/._b.jpg", "z/Thumbs.db", "desktop.ini")
    images, skipped = read(given(kind, GOOD | dict.fromkeys(junk, b"\0\5\x16\7"), tmp_path), 16)
    assert len(images.x) == 2
    assert skipped == []


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert('x')</script>.png",
        "[click](javascript:alert(1)).png",
        "`code` **bold** $x$ :red[no] #1 ~~y~~ \\ | &lt; {z}.png",
        "\x1b[31mred\x07\r\n\tb\0.png",
        "\u202egnp.exe",
        "see www.example.org or ask me@example.org.png",
        "a\ud800b",
        "x" * 1000,
    ],
)
def test_names_are_safe_to_show(name):
    safe = shown(name)
    assert 0 < len(safe) <= 60
    assert safe.isprintable()
    assert not set(safe) & set("<>&`*[]$:|\\#~{}@\"'")
    assert "www." not in safe
    assert shown(safe) == safe
    assert safe[-4:] == shown(name[-4:])


@pytest.mark.parametrize("name", ["IMG_0001.jpg", "été/Bild 1 – Köln (2).png", "../x.png", "写真.png"])
def test_ordinary_names_stay(name):
    assert shown(name) == name


def test_a_name_from_a_mac():
    assert shown("e\u0301te\u0301.png") == "été.png"


def test_a_skipped_name_is_shown_safely():
    ((name, _),) = read(zipped(GOOD | {"<img src=x onerror=alert(1)>.svg": b""}), 16).skipped
    assert name == "‹img src=x onerror=alert(1)›.svg"


# sources that cannot be used at all


@pytest.mark.parametrize("side", [-1, 0, 7, 65, 10_000])
def test_a_wrong_side(side):
    with pytest.raises(ValueError, match=f"between 8 and 64 pixels, not {side}"):
        read(GOOD, side)


@pytest.mark.parametrize("kind", SOURCES)
def test_too_few_pictures(kind, tmp_path):
    files = {"a.png": GOOD["a.png"], "b<i>.svg": b"<svg/>", "c.txt": b""}
    with pytest.raises(ValueError, match="can be used: 1 of 3 files") as caught:
        read(given(kind, files, tmp_path), 16)
    assert str(caught.value).endswith(f"The first problem: b‹i›.svg ({REASONS['kind']}).")


@pytest.mark.parametrize("files", [{}, {".DS_Store": b""}])
def test_no_pictures(files):
    for source in (files, zipped(files)):
        with pytest.raises(ValueError, match=r"can be used: 0 of 0 files\. At least 2 are needed"):
            read(source, 16)


def test_an_empty_folder(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ValueError, match="0 of 0 files"):
        read(tmp_path, 16)


def test_pictures_of_one_flat_gray():
    with pytest.raises(ValueError, match="the same brightness"):
        read({f"{i}.png": encoded(Image.new("RGB", (9, 9), "teal")) for i in range(3)}, 8)


NO_ZIPS = {
    "empty": b"",
    "text": b"hello",
    "its first bytes": b"PK\3\4",
    "a picture": GOOD["a.png"],
    "its beginning": zipped(GOOD)[:-30],
    "its end": zipped(GOOD)[-100:],
}


@pytest.mark.parametrize("content", NO_ZIPS.values(), ids=NO_ZIPS)
def test_what_is_not_a_zip(content, tmp_path):
    (tmp_path / "x.zip").write_bytes(content)
    for source in (content, tmp_path / "x.zip"):
        with pytest.raises(ValueError, match="not a ZIP file"):
            read(source, 16)


def test_a_zip_that_is_too_large(tmp_path, monkeypatch):
    content = zipped(GOOD)
    monkeypatch.setattr(pictures, "MAX_ZIP_BYTES", len(content) - 1)
    (tmp_path / "x.zip").write_bytes(content)
    monkeypatch.setattr(Path, "read_bytes", None)  # and is not read
    for source in (content, tmp_path / "x.zip"):
        with pytest.raises(ValueError, match="larger than"):
            read(source, 16)


@pytest.mark.parametrize("path", ["no/such/folder", "x" * 5000, os.devnull, "/dev/zero"])
def test_no_such_source(path):
    with pytest.raises(ValueError, match="no folder or ZIP file"):
        read(path, 16)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
    folder = given("folder", GOOD, tmp_path)
    os.mkfifo(folder / "pipe.png")
    (folder / "nowhere.png").symlink_to(tmp_path / "nothing")
    assert read(folder, 16).skipped == [(name, "not an ordinary file") for name in ("nowhere.png", "pipe.png")]


@pytest.mark.filterwarnings("ignore")
def test_damage_of_any_kind_is_never_more_than_a_sentence(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100_000)
    rng = random.Random(0)
    kinds = {kind: encoded(photo(), kind) for kind in pictures.FORMATS}
    whole = [zipped({f"{kind}.{kind}": content for kind, content in kinds.items()}, compression=zipfile.ZIP_STORED)]
    whole += kinds.values()
    refused = 0
    for _ in range(600):
        content = bytearray(rng.choice(whole))
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(len(content))] = rng.choice([0, 1, 0x7F, 0xFF, rng.randrange(256)])
        content = bytes(content[: rng.choice([len(content), rng.randrange(len(content))])])
        is_zip = content[:2] == b"PK"
        try:
            read(content if is_zip else GOOD | {"m.png": content}, 8, colour=True)
        except ValueError:
            assert is_zip  # there were two good ones otherwise
            refused += 1
    assert refused > 20
