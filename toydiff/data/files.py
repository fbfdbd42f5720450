"""A user's file becomes a table or a silhouette, and both become points. Its content decides which; its name is used
only if the content does not tell."""

from __future__ import annotations

from pathlib import PurePosixPath

from toydiff.data.pictures import MAX_PIXELS, SUFFIXES, begins_as_picture, zipped
from toydiff.data.points import MAX_POINTS
from toydiff.data.silhouettes import Silhouette, from_picture
from toydiff.data.tables import MAX_CELLS, MAX_COLUMNS, MAX_FILE_BYTES, MAX_ROWS, Table, from_npy, from_npz, from_text
from toydiff.text import shown, words

REFUSED = {  # how each kind of file begins
    b"%PDF": "document",
    b"\xd0\xcf\x11\xe0": "spreadsheet",
    b"\x1f\x8b": "archive",
    b"BZh": "archive",
    b"\xfd7zXZ": "archive",
    b"7z\xbc\xaf": "archive",
    b"Rar!": "archive",
    **{b"\x80" + bytes([protocol]): "pickle" for protocol in range(2, 6)},
}
PICKLES = {".pkl", ".pickle", ".joblib", ".pt", ".pth"}


def open_file(name: str, content: bytes) -> Table | Silhouette:
    """The table or silhouette in a file. ValueError, with one sentence, if no points can be made of it."""
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(words("bring.large", megabytes=MAX_FILE_BYTES // 10**6))
    for beginning, problem in REFUSED.items():
        if content.startswith(beginning):
            raise ValueError(words(f"bring.{problem}"))
    if begins_as_picture(content):
        return from_picture(title(name), content)
    if content.startswith(b"\x93NUMPY"):
        return from_npy(title(name), content)
    if content.startswith(b"PK"):
        return _archive(name, content)
    return _text(name, content)


def title(name: str) -> str:
    """A name for what a file holds: the file's own without folders and suffix, safe to show."""
    return shown(PurePosixPath(name.replace("\\", "/")).stem) or words("bring.nameless")


def limits() -> dict[str, str]:
    """The numbers in the text `bring.limits`."""
    numbers = {"megabytes": MAX_FILE_BYTES // 10**6, "millions": MAX_PIXELS // 10**6, "points": MAX_POINTS}
    numbers |= {"rows": MAX_ROWS, "columns": MAX_COLUMNS, "cells": MAX_CELLS}
    return {name: f"{number:,}" for name, number in numbers.items()}


def _archive(name: str, content: bytes) -> Table:
    """The arrays of an NPZ file, which is a ZIP as many others are."""
    names = {file.name for file in zipped(content)}
    if any(name.endswith(".npy") for name in names):
        return from_npz(title(name), content)
    if names & {"xl/workbook.xml", "content.xml"}:  # Excel, LibreOffice
        raise ValueError(words("bring.spreadsheet"))
    raise ValueError(words("bring.pickle" if any(name.endswith(".pkl") for name in names) else "bring.archive"))


def _text(name: str, content: bytes) -> Table:
    """A table, unless the content or the name show that the file is of another kind."""
    suffix = PurePosixPath(name.lower()).suffix
    start = content[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        raise ValueError(words("bring.svg" if b"<svg" in start else "bring.markup"))
    if suffix in PICKLES:
        raise ValueError(words("bring.pickle"))
    if content and suffix in SUFFIXES | {".npy", ".npz"}:
        raise ValueError(words("bring.misnamed", kind=suffix.removeprefix(".").upper()))
    return from_text(title(name), content)
