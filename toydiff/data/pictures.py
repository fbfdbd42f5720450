"""A user's pictures, from a folder or a ZIP, as a data set. Nothing from outside is trusted: sizes are checked before
anything is read, and nothing is unpacked to disk, written or run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Generator, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from toydiff.data.images import Images
from toydiff.text import shown, words

MIN_PICTURE_SIDE, MAX_PICTURE_SIDE = 8, 64
MIN_PICTURES, MAX_PICTURES = 2, 5_000
MAX_FILES = 20_000  # pictures or not
MAX_PIXELS = 25_000_000  # pixels of one picture, before it is scaled
ALL_PIXELS = 1_000_000_000  # pixels of all pictures: a minute or two of work at the worst
MAX_ZIP_BYTES = 200_000_000  # bytes of a ZIP, and of all pictures unpacked

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")  # formats that Pillow may try
BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")  # first bytes of the first three formats
SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp"}  # no other is opened
JUNK = {".ds_store", "thumbs.db", "desktop.ini", "__macosx"}  # files that operating systems add

Source = str | Path | bytes | Mapping[str, bytes]  # path of a folder or ZIP; a ZIP; files by name, from a browser


class Skipped(NamedTuple):
    """A file that is left out, and why. The name is safe to show."""

    name: str
    reason: str


class Pictures(NamedTuple):
    images: Images
    skipped: list[Skipped]


class File(NamedTuple):
    name: str
    size: int  # in bytes, as the file claims
    open: Callable[[], IO[bytes]]


class Refused(Exception):  # noqa: N818
    """This file is left out; the message says why."""


def read(source: Source, side: int = 32, *, colour: bool = False) -> Generator[float, None, Pictures]:
    """The pictures of a folder or ZIP, in order of their names: the middle square of each, side x side, gray or RGB.
    Files that cannot be used are listed and left out. ValueError if too few are left, or nothing can be read at all.
    Yields the share that is done, because it may take a minute."""
    if not MIN_PICTURE_SIDE <= side <= MAX_PICTURE_SIDE:
        raise ValueError(words("pictures.side", low=MIN_PICTURE_SIDE, high=MAX_PICTURE_SIDE, side=side))
    squares: list[np.ndarray] = []
    skipped: list[Skipped] = []
    more_bytes, more_pixels = MAX_ZIP_BYTES, ALL_PIXELS
    files = sorted(_files(source), key=lambda file: file.name)
    for number, file in enumerate(files):
        yield number / len(files)
        try:
            if len(squares) == MAX_PICTURES:
                raise Refused(words("pictures.full", most=f"{MAX_PICTURES:,}"))
            content = _content(file, more_bytes)
            more_bytes -= len(content)
            picture = opened(content, more_pixels)
            more_pixels -= picture.width * picture.height
            squares.append(_square(picture, side, colour))
        except Refused as reason:
            skipped.append(Skipped(shown(file.name), str(reason)))
    if len(squares) < MIN_PICTURES:
        few = words("pictures.few", count=len(squares), files=len(files), least=MIN_PICTURES)
        raise ValueError(few + "".join(f" {words('pictures.first', **one._asdict())}" for one in skipped[:1]))
    pixels = torch.from_numpy(np.stack(squares)).reshape(len(squares), side, side, -1)
    return Pictures(Images.standardized("pictures", pixels.movedim(-1, 1) / 255), skipped)


def _files(source: Source) -> Iterator[File]:
    """Every file of the source. Folders in a file's name are never followed."""
    files: Iterator[File]
    if isinstance(source, Mapping):
        files = (File(name, len(content), partial(io.BytesIO, content)) for name, content in source.items())
    else:
        files = zipped(source) if isinstance(source, bytes) else _at(Path(source))
    for number, file in enumerate(files):
        if number == MAX_FILES:
            raise ValueError(words("pictures.many", most=f"{MAX_FILES:,}"))
        parts = file.name.lower().split("/")
        if not any(part in JUNK or part.startswith("._") for part in parts):
            yield file


def _at(path: Path) -> Iterator[File]:
    try:
        if path.is_dir():
            files = (entry for entry in path.rglob("*") if not entry.is_dir())
            yield from (File(f.relative_to(path).as_posix(), f.lstat().st_size, partial(_ordinary, f)) for f in files)
        elif not path.is_file():
            raise FileNotFoundError
        elif path.stat().st_size > MAX_ZIP_BYTES:
            raise ValueError(words("pictures.large", megabytes=MAX_ZIP_BYTES // 10**6))
        else:
            yield from zipped(path.read_bytes())
    except OSError as error:
        raise ValueError(words("pictures.no_source")) from error


def zipped(content: bytes) -> Iterator[File]:
    """Every file of a ZIP; none is unpacked yet. ValueError if the ZIP is too large, or no ZIP."""
    if len(content) > MAX_ZIP_BYTES:
        raise ValueError(words("pictures.large", megabytes=MAX_ZIP_BYTES // 10**6))
    if content.count(b"PK\1\2") > MAX_FILES:  # begins each entry of the table of contents, which is read whole
        raise ValueError(words("pictures.many", most=f"{MAX_FILES:,}"))
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # a damaged table of contents fails in many ways
        raise ValueError(words("pictures.not_a_zip")) from error
    for entry in archive.infolist():
        if not entry.filename.endswith("/"):  # is_dir() fails where a name is empty
            yield File(entry.filename, entry.file_size, partial(_unpacked, archive, entry))


def _ordinary(path: Path) -> IO[bytes]:
    if not path.is_file():  # a pipe would never end
        raise Refused(words("pictures.special"))
    return path.open("rb")


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    if entry.flag_bits & 1:
        raise Refused(words("pictures.password"))
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a limit
        raise Refused(words("pictures.method"))
    return archive.open(entry)


def _content(file: File, most: int) -> bytes:
    """The content of the file. Refused if its name or size is not allowed."""
    suffix = PurePosixPath(file.name.lower()).suffix
    if suffix not in SUFFIXES:
        raise Refused(words("pictures.archive" if suffix == ".zip" else "pictures.kind"))
    if file.size <= most:
        try:
            with file.open() as stream:
                content = stream.read(most + 1)  # the claimed size may be too small
        except Refused:
            raise
        except Exception as error:  # damaged ZIPs fail in many ways
            raise Refused(words("pictures.broken")) from error
        if len(content) <= most:
            return content
    raise Refused(words("pictures.bytes", megabytes=MAX_ZIP_BYTES // 10**6))


def begins_as_picture(content: bytes) -> bool:
    """Whether the first bytes are those of one of FORMATS."""
    bmp = content.startswith(b"BM") and content[6:10] == bytes(4)  # a table may begin with BM too
    return bmp or content.startswith(BEGINNINGS) or content[:4] + content[8:12] == b"RIFFWEBP"


def opened(content: bytes, most: int) -> Image.Image:
    """The picture. Only its header has been read."""
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        pixels = picture.width * picture.height
    except Image.DecompressionBombError:
        pixels = MAX_PIXELS + 1
    except UnidentifiedImageError as error:
        raise Refused(words("pictures.broken" if begins_as_picture(content) else "pictures.kind")) from error
    except Exception as error:  # damaged pictures fail in many ways
        raise Refused(words("pictures.broken")) from error
    if pixels > MAX_PIXELS:
        raise Refused(words("pictures.pixels", millions=MAX_PIXELS // 10**6))
    if pixels > most:
        raise Refused(words("pictures.all_pixels", millions=f"{ALL_PIXELS // 10**6:,}"))
    return picture


def upright(picture: Image.Image, side: int) -> Image.Image:
    """The picture the right way up, RGB or RGBA; if it is a JPEG, decoded only as finely as `side` pixels need."""
    picture.draft(None, (2 * side, 2 * side))
    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _square(picture: Image.Image, side: int, colour: bool) -> np.ndarray:
    """(side, side) or (side, side, 3) uint8: the middle of the picture, on white."""
    try:
        picture = ImageOps.fit(upright(picture, side), (side, side)).convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return np.asarray(Image.alpha_composite(white, picture).convert("RGB" if colour else "L"))
    except Exception as error:
        raise Refused(words("pictures.broken")) from error
