"""Points from a user's table: text (CSV, TSV and the like) or NumPy's NPY and NPZ. The size of a table is checked
before it is read, and nothing is unpickled, written or run."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from toydiff.data.pictures import zipped
from toydiff.data.points import MAX_POINTS, MIN_POINTS, standardized
from toydiff.text import shown, words

MAX_FILE_BYTES = 50_000_000  # bytes of a file, and of all unpacked content
MAX_ROWS, MAX_COLUMNS = 1_000_000, 100
MAX_CELLS = 3_000_000  # a second or two of work at the worst

PEEK = 1 << 16  # bytes: enough to see how a text is laid out
PART = 200_000  # cells that are read in one go
FLAT = 20  # a cloud this many times as wide as high, or more, looks like a line
NUMBER = re.compile(r"(?i)[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf(?:inity)?|nan|n/?a|null")
DECIMAL_COMMA, DECIMAL_POINT = re.compile(r"[-+]?\d*,\d+"), re.compile(r"[-+]?\d*\.\d+")


class Points(NamedTuple):
    x: Tensor  # (N, 2) float32, mean 0 and variance 1
    notes: tuple[str, ...]  # sentences about rows that were left out, or about axes of very different scales


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of numbers, two or more. Two of them will be x and y."""

    name: str  # safe to show, as the names of the columns are
    columns: tuple[str, ...]
    values: np.ndarray  # (rows, columns) float64; NaN where there was no number

    def cloud(self, x: int = 0, y: int = 1, seed: int = 0, *, own_scales: bool = False) -> Points:
        """The points of columns number x and y, at most MAX_POINTS of them, drawn by the seed. Both axes have one
        scale, or each its own. ValueError if fewer than MIN_POINTS can be told apart."""
        every = self.values[:, [x, y]]
        points = every[np.isfinite(every).all(1)]
        notes = []
        if len(points) < len(every):
            notes.append(words("bring.left_out", count=f"{len(every) - len(points):,}", rows=f"{len(every):,}"))
        if len(points) > MAX_POINTS:
            notes.append(words("bring.drawn", rows=f"{len(points):,}", most=f"{MAX_POINTS:,}"))
            points = points[np.random.default_rng(seed).choice(len(points), MAX_POINTS, replace=False)]
        largest = np.abs(points).max(0 if own_scales else None, initial=0)
        points = points / np.where(largest > 0, largest, 1)  # the square of 1e308 would be infinite
        spread = np.where(np.ptp(points, 0) > 0, points.std(0), 0) if len(points) else np.zeros(2)
        if own_scales:
            points = (points - points.mean(0)) / np.where(spread > 0, spread, 1)
        elif spread.max() > FLAT * spread.min() > 0:
            wide, narrow = (self.columns[(x, y)[i]] for i in (spread.argmax(), spread.argmin()))
            times, toggle = f"{spread.max() / spread.min():,.0f}", words("own.scales")
            notes.append(words("bring.flat", wide=wide, narrow=narrow, times=times, toggle=toggle))
        cloud = standardized(torch.from_numpy(points)) if len(points) else torch.empty(0, 2)
        apart = len(cloud.nan_to_num().unique(dim=0))
        if apart < MIN_POINTS:
            raise ValueError(words("bring.few", least=MIN_POINTS, count=apart))
        return Points(cloud, tuple(notes))


def from_text(name: str, content: bytes) -> Table:
    """The columns of a text in which at least half of the cells hold numbers. The layout, and the columns that may hold
    numbers, are guessed from its beginning."""
    import pandas as pd  # type: ignore[import-untyped]  # half a second of start-up that only texts need

    def numbers(column: pd.Series) -> np.ndarray:
        if column.dtype.kind not in "iuf":  # a single word makes pandas read the whole column as text
            cells = column.astype("str").str.strip().str.replace(layout.decimal, ".", regex=False)
            column = cells.where(cells.str.fullmatch(NUMBER.pattern))
        return pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)

    layout = _layout(content)
    width = len(layout.labels)
    lines = max(_count(content, "\n"), _count(content, "\r"))
    _limit(lines - layout.header, width, lines + _count(content, layout.separator))
    _enough(len(layout.numeric))
    cells = np.zeros(len(layout.numeric), int)
    parts: list[np.ndarray] = []
    try:
        with pd.read_csv(
            io.BytesIO(content),
            engine="c",
            sep=layout.separator,
            decimal=layout.decimal,
            header=0 if layout.header else None,
            names=list(range(width)),
            usecols=layout.numeric,
            index_col=False,
            skipinitialspace=True,
            encoding=layout.encoding,
            encoding_errors="replace",
            chunksize=1 + PART // width,  # in parts, so that other threads get their turn
        ) as chunks:
            for chunk in chunks:
                cells += chunk.notna().sum().to_numpy()
                parts.append(np.stack([numbers(chunk[i]) for i in layout.numeric], 1))
    except Exception as error:  # a damaged text fails in many ways
        raise ValueError(words("bring.damaged")) from error
    values = np.concatenate(parts)
    chosen = np.flatnonzero(2 * np.isfinite(values).sum(0) >= np.maximum(cells, 1))
    return _table(name, [layout.labels[layout.numeric[i]] for i in chosen], values[:, chosen])


def from_npy(name: str, content: bytes) -> Table:
    """The columns of an array (rows, columns), or of one with two long rows."""
    array = _array(content)
    return _table(name, [words("bring.column", number=i + 1) for i in range(array.shape[1])], array)


def from_npz(name: str, content: bytes) -> Table:
    """The columns of all arrays with one number of rows: the largest one that gives two columns or more."""
    arrays: list[tuple[str, np.ndarray]] = []
    problem = None
    for label, packed in _unpacked(content):
        try:
            arrays.append((label, _array(packed)))
        except ValueError as error:
            problem = problem or error
    widths: Counter[int] = Counter()
    for _, array in arrays:
        widths[len(array)] += array.shape[1]
    rows = max((rows for rows, width in widths.items() if width > 1), default=0)
    if problem and not rows:
        raise problem
    _limit(rows, widths[rows], rows * widths[rows])
    labels, columns = [], [np.empty((rows, 0))]
    for label, array in sorted(arrays, key=lambda pair: pair[1].shape[1] == 1):  # arrays with several columns first
        if len(array) == rows:
            labels += [label] if array.shape[1] == 1 else [f"{label} {i + 1}" for i in range(array.shape[1])]
            columns.append(array)
    return _table(name, labels, np.concatenate(columns, 1))


class _Layout(NamedTuple):
    encoding: str
    separator: str  # one character, or the pattern for any white space
    decimal: str
    header: bool
    labels: list[str]  # one for each column
    numeric: list[int]  # the columns that seem to hold numbers


def _layout(content: bytes) -> _Layout:
    """How a text is laid out, as far as its beginning tells."""
    encoding = _encoding(content)
    start = content[:PEEK].decode(encoding, errors="ignore").lstrip("# ")  # NumPy writes a header as a comment
    if "\0" in start:
        raise ValueError(words("bring.kind"))
    bare = [re.sub(r'"[^"]*"', "", line) for line in start.splitlines()[:20] if line.strip()]
    separator = next((s for s in "\t;," if 2 * sum(s in line for line in bare) > len(bare)), "")
    if not separator:
        separator = r"\s+" if any(len(line.split()) > 1 for line in bare) else ","
    if separator == r"\s+":
        rows = [line.split() for line in start.splitlines()]
    else:
        rows = list(csv.reader(io.StringIO(start, newline=""), delimiter=separator, skipinitialspace=True))
    rows = [[cell.strip() for cell in row] for row in rows if row][:100]
    if not any(map(any, rows)):
        raise ValueError(words("bring.empty"))
    cells = [cell for row in rows for cell in row]
    comma, point = (sum(map(bool, map(form.fullmatch, cells))) for form in (DECIMAL_COMMA, DECIMAL_POINT))
    decimal = "," if comma > point else "."
    width, filled = max(map(len, rows)), [sum(map(bool, row)) for row in rows]
    rows = [row + [""] * (width - len(row)) for row in rows]
    numbers = np.array([[bool(NUMBER.fullmatch(cell.replace(decimal, "."))) for cell in row] for row in rows])
    header = bool((numbers[1:2] & ~numbers[:1]).any())
    if header and separator == "," and filled[1:] and min(filled[1:]) == 2 * filled[0]:  # 1,5,2,5 below x,y
        raise ValueError(words("bring.decimal_commas"))
    below = [sum(bool(row[i]) for row in rows[header:]) for i in range(width)]
    numeric = [i for i in range(width) if 2 * numbers[header:, i].sum() >= below[i]]
    labels = [(rows[0][i] if header else "") or words("bring.column", number=i + 1) for i in range(width)]
    return _Layout(encoding, separator, decimal, header, labels, numeric)


def _encoding(content: bytes) -> str:
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content[:PEEK])
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _array(content: bytes) -> np.ndarray:
    """(rows, columns): the array of an NPY file, read in place. So no memory is taken that the header only claims to
    need, and no object is unpickled."""
    stream = io.BytesIO(content)
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
        shape, by_columns, dtype = read(stream)
    except Exception as error:  # a damaged header fails in many ways
        raise ValueError(words("bring.damaged")) from error
    if dtype.hasobject:
        raise ValueError(words("bring.pickle"))
    if dtype.kind not in "fiu" or len(shape) not in (1, 2):
        raise ValueError(words("bring.array"))
    count = math.prod(shape)
    if min(shape) < 0 or bool in map(type, shape) or count * dtype.itemsize > len(content) - stream.tell():
        raise ValueError(words("bring.damaged"))
    if count == 0:
        raise ValueError(words("bring.empty"))
    array = np.frombuffer(content, dtype, count, stream.tell()).reshape(shape, order="F" if by_columns else "C")
    array = array.reshape(len(array), -1)
    return array.T if len(array) == 2 < array.shape[1] else array


def _unpacked(content: bytes) -> Iterator[tuple[str, bytes]]:
    """(name, content) of each array in an NPZ file, which is a ZIP. No more than MAX_FILE_BYTES in all is unpacked."""
    more = MAX_FILE_BYTES
    for file in zipped(content):
        if not file.name.endswith(".npy"):
            continue
        try:
            with file.open() as stream:
                packed = stream.read(more + 1) if file.size <= more else b""
        except Exception as error:
            raise ValueError(words("bring.damaged")) from error
        if max(file.size, len(packed)) > more:  # the size that the ZIP states may be too small
            raise ValueError(words("bring.unpacked", megabytes=MAX_FILE_BYTES // 10**6))
        more -= len(packed)
        yield file.name.removesuffix(".npy") or words("bring.nameless"), packed


def _enough(columns: int) -> None:
    if columns < 2:
        raise ValueError(words("bring.columns", count=columns))


def _limit(rows: int, columns: int, cells: int) -> None:
    if columns > MAX_COLUMNS:
        raise ValueError(words("bring.wide", most=MAX_COLUMNS))
    if rows > MAX_ROWS or cells > MAX_CELLS:
        raise ValueError(words("bring.long", rows=f"{MAX_ROWS:,}", cells=f"{MAX_CELLS:,}"))


def _count(content: bytes, character: str) -> int:
    """How often a character is in a text; a pattern counts as a space. bytes.count would block all other threads."""
    code = ord(character) if len(character) == 1 else ord(" ")
    return int(np.count_nonzero(np.frombuffer(content, np.uint8) == code))


def _table(name: str, labels: Sequence[str], values: np.ndarray) -> Table:
    """A table of the columns; equal names are made different."""
    rows, columns = values.shape
    _enough(columns)
    _limit(rows, columns, values.size)
    unique: list[str] = []
    for number, label in enumerate(map(shown, labels), 1):
        unique.append(f"{label} ({number})" if label in unique else label)
    with np.errstate(over="ignore"):  # a longdouble may be too large for float64
        return Table(name, tuple(unique), values.astype(float, copy=False))
