"""Data that somebody brings: what is good becomes the right points, what is bad is refused with the right sentence."""

import io
import json
import pickle
import random
import re
import struct
import tomllib
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from toydiff.data import files, silhouettes, tables
from toydiff.data.files import limits, open_file, title
from toydiff.data.points import MAX_POINTS, standardized
from toydiff.data.silhouettes import MAX_LETTERS, Silhouette, filled, text, tidy
from toydiff.data.tables import MAX_CELLS, MAX_COLUMNS, MAX_ROWS, Table
from toydiff.text import LESSONS, words

CSV = b"x,y\n1,2\n3,4\n5,7\n"
CLOUD = np.array([[1, 2], [3, 4], [5, 7]])


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def zipped(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def header(description):
    """An NPY file of which there is only the header."""
    described = description.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(described)) + described


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def drawing(paper=255, ink=0, mode="L"):
    """80 x 40: an upright bar on the left, which reaches to the top, but not to the bottom."""
    image = Image.new(mode, (80, 40), paper)
    ImageDraw.Draw(image).rectangle((10, 2, 19, 25), fill=ink)
    return image


def large_png(width, height):
    """A PNG of which there is only the header, and that says it is so large."""
    parts = (
        b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(9)),
        b"IEND",
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts
    )


def refused(key, call, *args, **values):
    """The call says exactly the sentence of this key."""
    with pytest.raises(ValueError, match=f"^{re.escape(words(f'bring.{key}', **values))}$"):
        call(*args)


def same(points, expected):
    assert torch.allclose(points, standardized(torch.from_numpy(np.asarray(expected))), atol=1e-5)


# tables: what is read


@pytest.mark.parametrize(
    "content",
    [
        CSV,
        b"1,2\n3,4\n5,7",
        b"x;y\n1;2\n3;4\n5;7\n",
        b"x\ty\n1\t2\n3\t4\n5\t7\n",
        b"# x y\n1.0e+00 2.0e+00\n3.0e+00 4.0e+00\n5.0e+00 7.0e+00\n",
        b"  1  2\n  3  4\n  5  7\n",
        b'"x","y"\n"1","2"\n"3","4"\n"5","7"\n',
        b'"a, b",y\n1,2\n3,4\n5,7\n',
        b" x , y \n 1 , 2 \n 3 , 4 \n 5 , 7 \n",
        b"x,y\r\n1,2\r\n3,4\r\n5,7\r\n",
        b"x,y\r1,2\r3,4\r5,7\r",
        b"\n\nx,y\n\n1,2\n3,4\n\n5,7\n\n",
        b"x;y\n1,0;2,0\n3,0;4,0\n5,0;7\n",
        b"x\ty\n1,0\t2,0\n3,0\t4,0\n5,0\t7,0\n",
        b"x,y,,\n1,2,,\n3,4,,\n5,7,,\n",
        "\ufeffx,y\n1,2\n3,4\n5,7\n".encode(),
        "x\ty\n1\t2\n3\t4\n5\t7\n".encode("utf-16"),
        "Länge,Höhe\n1,2\n3,4\n5,7\n".encode("latin-1"),
        "Länge,Höhe\n1,2\n3,4\n5,7\n".encode(),
        b"1,2,setosa\n3,4,setosa\n5,7,virginica\n",
        b"1,2\n+3.,4e0\n5.0E+0,.7e1\n",
        b"BMI,height\n1,2\n3,4\n5,7\n",
        npy(CLOUD),
        npy(CLOUD.astype(">f4")),
        npy(CLOUD.astype(np.uint8)),
        npy(CLOUD.astype(np.longdouble)),
        npy(np.asfortranarray(CLOUD)),
        npy(np.tile(CLOUD.T, 3)),
        npz(data=CLOUD),
        npz(x=CLOUD[:, 0], y=CLOUD[:, 1]),
        npz(centres=np.eye(2), labels=np.arange(3), points=CLOUD, images=np.zeros((9, 8, 8)), names=np.array(["a"])),
    ],
    ids=range(31),
)
def test_every_form_of_a_table(content):
    table = open_file("a/b/my data.csv", content)
    assert isinstance(table, Table)
    assert table.name == "my data"
    points, notes = table.cloud()
    same(points, np.tile(CLOUD, (3, 1)) if len(points) == 9 else CLOUD)
    assert points.dtype == torch.float32
    assert notes == ()


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (CSV, ("x", "y")),
        (b"1,2\n3,4\n5,7", ("column 1", "column 2")),
        (b"1,a,2\n3,b,4\n5,c,7", ("column 1", "column 3")),
        (b",0,1\n0,.5,.3\n1,.4,.1\n2,.3,.7\n", ("column 1", "0", "1")),
        (b"when,x,flag,y\nMay 3,1,True,4\nMay 4,2,False,6\n", ("x", "y")),
        (b'x,y\n"0,5","1,5"\n"2,5","3,5"\n"4,5","6,5"\n', ("x", "y")),
        (b"x,x,y,\n1,2,3,4\n1,2,3,5\n", ("x", "x (2)", "y", "column 4")),
        ("Länge;Höhe\n1;2\n".encode("latin-1"), ("Länge", "Höhe")),
        ("长;高\n1;2\n".encode("utf-16"), ("长", "高")),
        (b'"<script>alert(1)</script>",[y](http://z)\n1,2\n', ("‹script›alert(1)‹/script›", "(y)(http∶//z)")),
        (npz(**{"<b>": CLOUD, "z": np.arange(3)}), ("‹b› 1", "‹b› 2", "z")),
    ],
)
def test_names_of_columns(content, columns):
    assert open_file("a", content).columns == columns


def test_any_two_columns():
    table = open_file("a.csv", b"a,b,c\n1,2,3\n4,6,5\n7,8,-9\n")
    same(table.cloud(2, 0)[0], [[3, 1], [5, 4], [-9, 7]])
    same(table.cloud(1, 2)[0], [[2, 3], [6, 5], [8, -9]])


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "1e400", "", "oops", "1.2.3", "NA", "1_0", "0x1"])
def test_rows_without_a_number_are_left_out_and_counted(bad):
    table = open_file("a.csv", f"x,y,z\n1,2,0\n3,4,{bad}\n{bad},9,0\n5,7,0\n9,{bad},0\n".encode())
    points, notes = table.cloud()
    same(points, CLOUD)
    assert notes == (words("bring.left_out", count="2", rows="5"),)
    same(table.cloud(1, 2)[0], [[2, 0], [9, 0], [7, 0]])


def test_text_in_a_table_with_decimal_commas():
    points, notes = open_file("a.csv", b"x;y\n1,0;2,0\n3,0;4,0\nnone here;1\n5,0;7,0\n").cloud()
    same(points, CLOUD)
    assert notes == (words("bring.left_out", count="1", rows="4"),)


def test_rows_that_are_longer_or_shorter_than_the_others():
    rows = "1,2\n3,4\n5,7\n" * 100
    points, notes = open_file("a.csv", f"x,y\n{rows}9\n3,4,5,6,7\n".encode()).cloud()
    same(points, [*np.tile(CLOUD, (100, 1)), [3, 4]])
    assert notes == (words("bring.left_out", count="1", rows="302"),)


def test_a_long_table_is_read_in_parts_and_a_word_in_it_spoils_no_part(monkeypatch):
    monkeypatch.setattr(tables, "PART", 20)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2))
    lines = [f"{x!r};{y!r}".replace(".", ",") for x, y in rows.tolist()]
    lines[300] = "word;1"
    points, _ = open_file("a.csv", "\n".join(lines).encode()).cloud()
    same(points, np.delete(rows, 300, 0))


def test_of_many_points_a_random_part_is_used():
    rows = np.stack([np.arange(3 * MAX_POINTS), np.zeros(3 * MAX_POINTS)], 1)
    table = open_file("a.npy", npy(rows))
    points, notes = table.cloud(seed=1)
    assert notes == (words("bring.drawn", rows="30,000", most="10,000"),)
    assert points.shape == (MAX_POINTS, 2)
    assert len(points.unique(dim=0)) == MAX_POINTS
    assert torch.equal(points, table.cloud(seed=1)[0])
    assert not torch.equal(points, table.cloud(seed=2)[0])
    even = points[:, 0].sort().values
    assert (even - torch.linspace(even[0], even[-1], MAX_POINTS)).abs().max() < 0.05  # from the whole of it


@pytest.mark.parametrize("size", [1e308, 1e-308, 1, 1e200])
@pytest.mark.parametrize("own_scales", [False, True])
def test_numbers_of_any_size(size, own_scales):
    rng = np.random.default_rng(0)
    shape = rng.uniform(-1.7, 1.7, (50, 2))
    points, notes = open_file("a.npy", npy(shape * size)).cloud(own_scales=own_scales)
    same(points, shape / shape.std(0) if own_scales else shape)
    assert notes == ()


@pytest.mark.parametrize("own_scales", [False, True])
def test_points_on_a_line_are_fine(own_scales):
    for rows in ([[i, 7] for i in range(9)], [[0.1, i] for i in range(9)], [[i, i] for i in range(9)]):
        points, notes = open_file("a.npy", npy(np.array(rows, float))).cloud(own_scales=own_scales)
        same(points, np.array(rows, float))
        assert notes == ()


def test_very_different_scales_are_said_and_can_be_made_equal():
    rng = np.random.default_rng(0)
    shape = standardized(torch.from_numpy(rng.normal(size=(50, 2)))).double().numpy()
    shape /= shape.std(0)
    table = open_file("a.csv", ("year,cm\n" + "".join(f"{x * 1000 + 1e6},{y}\n" for x, y in shape)).encode())
    points, notes = table.cloud()
    assert notes == (words("bring.flat", wide="year", narrow="cm", times="1,000", toggle=words("own.scales")),)
    same(points, shape * [1000, 1])
    points, notes = table.cloud(own_scales=True)
    assert notes == ()
    same(points, shape)


# tables: what is refused


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        ([], 0),
        ([[1, 2]], 1),
        ([[1, 2], [3, 4]], 2),
        ([[1, 2], [3, 4]] * 50, 2),
        ([[0.1, 0.2]] * 100, 1),
        ([[1e308, 1e308]] * 100, 1),
        ([[0, 0]] * 100, 1),
        ([[1e308, 1], [1, 2], [2, 1], [3, 3]], 2),
        ([[1, np.nan], [np.inf, 1], [2, 2]], 1),
    ],
)
def test_too_few_different_points(rows, count):
    table = Table("a", ("x", "y"), np.array(rows, float).reshape(-1, 2))
    refused("few", table.cloud, least=3, count=count)


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 2), }"
REFUSED = {
    "empty": ("a.csv", b"", "empty", {}),
    "white space": ("a.csv", b" \n\n \n", "empty", {}),
    "only separators": ("a.csv", b",,\n,,\n", "empty", {}),
    "only a header": ("a.csv", b"x,y\n", "columns", {"count": 0}),
    "one column": ("a.csv", b"x\n1\n2\n3\n", "columns", {"count": 1}),
    "one column of numbers": ("a.csv", b"x,name\n1,a\n2,b\n3,c\n", "columns", {"count": 1}),
    "mostly text": ("a.csv", b"x,y\n1,2\na,3\nb,4\nc,5\n", "columns", {"count": 1}),
    "text further down": ("a.csv", b"1,2\n" * 100 + b"a,b\n" * 101, "columns", {"count": 0}),
    "NaN only": ("a.csv", b"x,y\n1,nan\n2,nan\n", "columns", {"count": 1}),
    "inf only": ("a.csv", b"x,y\n1,inf\n2,-inf\n", "columns", {"count": 1}),
    "prose": ("a.txt", b"It was a dark night.\nThe end.\n", "columns", {"count": 0}),
    "JSON": ("a.json", json.dumps({"x": [1, 2, 3]}).encode(), "columns", {"count": 1}),
    "decimal commas between commas": ("a.csv", b"x,y\n0,5,1,5\n2,5,3,5\n", "decimal_commas", {}),
    "many columns": ("a.csv", b"1," * MAX_COLUMNS + b"1\n", "wide", {"most": MAX_COLUMNS}),
    "one long line": ("a.csv", b"1," * 1_000_000, "wide", {"most": MAX_COLUMNS}),
    "bytes": ("a.csv", b"1,2\n3,4\n" + bytes([0, 1, 2]), "kind", {}),
    "no table": ("a.bin", bytes(range(256)), "kind", {}),
    "many columns NPY": ("a.npy", npy(np.zeros((3, 101))), "wide", {"most": MAX_COLUMNS}),
    "many rows NPY": ("a.npy", npy(np.zeros((MAX_ROWS + 1, 2), np.int8)), "long", {}),
    "10 million rows NPY": ("a.npy", npy(np.zeros((10_000_000, 2), np.int8)), "long", {}),
    "many cells NPY": ("a.npy", npy(np.zeros((MAX_CELLS // 10 + 1, 10), np.int8)), "long", {}),
    "one column NPY": ("a.npy", npy(np.arange(9)), "columns", {"count": 1}),
    "no dimension NPY": ("a.npy", npy(np.array(3.0)), "array", {}),
    "three dimensions NPY": ("a.npy", npy(np.zeros((3, 4, 5))), "array", {}),
    "complex NPY": ("a.npy", npy(np.zeros((3, 2), complex)), "array", {}),
    "words NPY": ("a.npy", npy(np.array([["a", "b"]])), "array", {}),
    "fields NPY": ("a.npy", npy(np.zeros(3, "f8,f8")), "array", {}),
    "dates NPY": ("a.npy", npy(np.zeros((3, 2), "M8[s]")), "array", {}),
    "nothing NPY": ("a.npy", npy(np.zeros((0, 2))), "empty", {}),
    "nothing very long NPY": ("a.npy", header(HUGE.replace("2)", "0)")), "empty", {}),
    "pickled NPY": ("a.npy", npy(np.array([{}, 1], object), allow_pickle=True), "pickle", {}),
    "header that says 16 TB": ("a.npy", header(HUGE), "damaged", {}),
    "header with a negative shape": ("a.npy", header(HUGE.replace("(1", "(-1")), "damaged", {}),
    "header that is code": ("a.npy", header("__import__('os').abort()"), "damaged", {}),
    "long header": ("a.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"(" * 90_000, "damaged", {}),
    "NPY of the future": ("a.npy", b"\x93NUMPY\x09\x00" + npy(CLOUD)[8:], "damaged", {}),
    "half an NPY": ("a.npy", npy(np.zeros((99, 2)))[:500], "damaged", {}),
    "half a header": ("a.npy", npy(np.zeros((99, 2)))[:40], "damaged", {}),
    "text named NPY": ("a.npy", CSV, "misnamed", {"kind": "NPY"}),
    "text named PNG": ("a.PNG", CSV, "misnamed", {"kind": "PNG"}),
    "pickles in an NPZ": ("a.npz", npz(a=np.array([{}, 1], object)), "pickle", {}),
    "one column NPZ": ("a.npz", npz(a=np.arange(9), b=np.arange(8)), "columns", {"count": 0}),
    "long NPZ": ("a.npz", npz(a=np.zeros((MAX_ROWS + 1, 3), np.int8)), "long", {}),
    "many arrays NPZ": ("a.npz", npz(**{f"a{i}": np.zeros((MAX_ROWS, 2), np.int8) for i in range(2)}), "long", {}),
    "many columns NPZ": ("a.npz", npz(**{f"a{i}": np.zeros(9) for i in range(101)}), "wide", {"most": MAX_COLUMNS}),
    "images NPZ": ("a.npz", npz(a=np.zeros((9, 8, 8))), "array", {}),
    "NPZ bomb": ("a.npz", npz(a=np.zeros((4_000_000, 2))), "unpacked", {"megabytes": 50}),
    "NPZ bomb of several": (
        "a.npz",
        npz(**{f"a{i}": np.zeros((900_000, 2)) for i in range(4)}),
        "unpacked",
        {"megabytes": 50},
    ),
    "PDF": ("a.csv", b"%PDF-1.7\n", "document", {}),
    "XLSX": ("a.csv", zipped({"[Content_Types].xml": "", "xl/workbook.xml": ""}), "spreadsheet", {}),
    "ODS": ("a.ods", zipped({"mimetype": "", "content.xml": ""}), "spreadsheet", {}),
    "XLS": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "spreadsheet", {}),
    "ZIP of pictures": ("a.zip", zipped({"a.png": encoded(drawing())}), "archive", {}),
    "empty ZIP": ("a.npz", zipped({}), "archive", {}),
    "gzip": ("a.csv.gz", b"\x1f\x8b\x08\x00", "archive", {}),
    "torch": ("a.pt", zipped({"archive/data.pkl": pickle.dumps(1)}), "pickle", {}),
    "pickle": ("a.csv", pickle.dumps([1, 2]), "pickle", {}),
    "old pickle": ("a.pkl", pickle.dumps([1, 2], 0), "pickle", {}),
    "SVG": ("a.png", b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "svg", {}),
    "HTML": ("a.csv", b"\n<!DOCTYPE html><script>alert(1)</script>", "markup", {}),
    "HEIC": ("a.heic", b"\0\0\0\x18ftypheic", "kind", {}),
}


@pytest.mark.parametrize(("name", "content", "key", "values"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(name, content, key, values):
    if key == "long":
        values = {"rows": "1,000,000", "cells": "3,000,000"}
    refused(key, open_file, name, content, **values)


def test_a_zip_that_is_damaged():
    content = npz(a=np.random.default_rng(0).normal(size=(500, 2)))
    with pytest.raises(ValueError, match=words("pictures.not_a_zip")):
        open_file("a.npz", content[:3000])


def test_a_large_file_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", len(CSV) - 1)
    refused("large", open_file, "a.csv", CSV, megabytes=0)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", len(CSV))
    assert open_file("a.csv", CSV).columns == ("x", "y")


@pytest.mark.parametrize("content", [b"1,2\n" * 10_000_000, b"1,2\r" * 1_000_002, (b"1," * 99 + b"1\n") * 30_001])
def test_long_texts_are_counted_and_not_read(content, monkeypatch):
    import pandas as pd

    monkeypatch.setattr(pd, "read_csv", None)
    refused("long", open_file, "a.csv", content, rows="1,000,000", cells="3,000,000")


def test_as_many_rows_as_allowed(monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 3)
    for content in (CSV, CSV[:-1], CSV[4:], CSV[4:-1]):
        assert len(open_file("a.csv", content).values) == 3
    with pytest.raises(ValueError, match="more than 3 rows"):
        open_file("a.csv", CSV + b"1,1\n")


def entries(content):
    return [i for i in range(len(content)) if content[i : i + 4] == b"PK\1\2"]


def test_an_npz_bomb_that_says_it_is_small():
    content = bytearray(npz(a=np.zeros((4_000_000, 2))))
    content[entries(content)[0] + 24 : entries(content)[0] + 28] = struct.pack("<I", 100)
    refused("damaged", open_file, "a.npz", bytes(content))


def test_no_more_of_an_npz_is_unpacked_than_is_allowed(monkeypatch):
    class Liar:
        name, size, most = "a.npy", 10, 0

        def open(self):
            return self

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, n):
            self.most = n
            return bytes(n)

    liar = Liar()
    monkeypatch.setattr(tables, "zipped", lambda _: [liar])
    monkeypatch.setattr(tables, "MAX_FILE_BYTES", 2_000_000)
    refused("unpacked", tables.from_npz, "a", b"", megabytes=2)
    assert liar.most == 2_000_001
    liar.size, liar.most = 2_000_001, 0
    refused("unpacked", tables.from_npz, "a", b"", megabytes=2)
    assert liar.most == 0  # what says that it is too large is not read at all


def test_a_locked_npz():
    content = bytearray(npz(a=CLOUD))
    content[entries(content)[0] + 8] |= 1
    refused("damaged", open_file, "a.npz", bytes(content))


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def test_nothing_is_unpickled():
    array = np.array([Bomb(), 1], object)
    refused("pickle", open_file, "a.npy", npy(array, allow_pickle=True))
    refused("pickle", open_file, "a.npz", npz(a=array))
    assert open_file("a.npz", npz(a=array, b=CLOUD)).columns == ("b 1", "b 2")


# silhouettes


KINDS = {
    "PNG": encoded(drawing()),
    "1 bit": encoded(drawing().convert("1")),
    "16 bit": encoded(Image.fromarray(np.asarray(drawing()).astype(np.uint16) * 257)),
    "palette": encoded(drawing().convert("P")),
    "colour": encoded(drawing("white", "darkblue", "RGB")),
    "transparent": encoded(drawing((0, 0, 0, 0), (0, 0, 0, 255), "RGBA")),
    "white on transparent": encoded(drawing((255, 255, 255, 0), (255, 255, 255, 255), "RGBA")),
    "light on dark": encoded(drawing(20, 230)),
    "gray paper": encoded(drawing(170, 20)),
    "JPEG": encoded(drawing(), "JPEG", quality=90),
    "noisy JPEG": encoded(
        Image.fromarray(
            np.clip(np.asarray(drawing(225, 10)) + np.random.default_rng(0).normal(0, 4, (40, 80)), 0, 255).astype(
                np.uint8
            )
        ),
        "JPEG",
        quality=90,
    ),
    "GIF": encoded(drawing(), "GIF"),
    "animated GIF": encoded(drawing(), "GIF", save_all=True, append_images=[Image.new("L", (80, 40))]),
    "BMP": encoded(drawing(), "BMP"),
    "WEBP": encoded(drawing().convert("RGB"), "WEBP", lossless=True),
}


def bar(points):
    """Whether points are the bar of the drawing: 10 wide, 24 high, evenly filled."""
    points = points.double()
    low, high = points.quantile(0.01, 0), points.quantile(0.99, 0)
    width, height = (high - low).tolist()
    assert 0.36 < width / height < 0.48
    even = (points - low) / (high - low)
    assert (even.mean(0) - 0.5).abs().max() < 0.04
    return (even.std(0) - 12**-0.5).abs().max() < 0.02


@pytest.mark.parametrize("content", KINDS.values(), ids=KINDS)
def test_every_kind_of_picture(content):
    silhouette = open_file("me.png", content)
    assert isinstance(silhouette, Silhouette)
    assert silhouette.name == "me"
    assert silhouette.light.shape == (40, 80)
    points = silhouette.cloud(2000, seed=1)
    assert points.shape == (2000, 2)
    assert points.dtype == torch.float32
    assert points.double().mean(0).abs().max() < 1e-5
    assert points.double().var(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(points, silhouette.cloud(2000, seed=1))
    assert not torch.equal(points, silhouette.cloud(2000, seed=2))
    assert bar(points)


def test_16_bits_are_scaled_to_8():
    deep = np.array([[0, 1000, 32_768, 65_535]], np.uint16)
    assert open_file("a.png", encoded(Image.fromarray(deep))).light.tolist() == [[0, 3, 128, 255]]


def test_a_picture_is_turned_the_right_way_up():
    exif = Image.Exif()
    exif[0x0112] = 6  # what is stored has to be turned by a quarter
    turned = drawing().transpose(Image.Transpose.ROTATE_90)
    assert np.array_equal(open_file("a.png", encoded(turned, exif=exif)).light, np.asarray(drawing()))


def test_y_is_up_and_the_shape_is_kept():
    image = Image.new("L", (60, 90), 255)
    ImageDraw.Draw(image).rectangle((0, 80, 59, 89), fill=0)  # a floor
    ImageDraw.Draw(image).rectangle((0, 0, 4, 89), fill=0)  # with a wall on its left
    points = open_file("a.png", encoded(image)).cloud(5000, invert=False)
    low, high = points.min(0).values, points.max(0).values
    width, height = (high - low).tolist()
    assert width / height == pytest.approx(60 / 90, rel=0.02)
    floor = points[:, 1] < low[1] + height * 0.12
    assert floor.float().mean().item() == pytest.approx(600 / (600 + 5 * 80), abs=0.03)
    assert (points[~floor, 0] < low[0] + width / 10).all()


def test_as_many_points_as_it_is_dark():
    light = np.pad(np.array([[0, 127, 204]], np.uint8).repeat(50, 0).repeat(50, 1), 30, constant_values=255)
    points = Silhouette("a", light).cloud(10_000, invert=False)
    share = (
        torch.histc((points[:, 0] - points[:, 0].min()) / (points[:, 0].max() - points[:, 0].min()), 3, 0, 1) / 10_000
    )
    dark = np.array([255, 128, 51]) / (255 + 128 + 51)
    assert np.abs(share.numpy() - dark).max() < 0.02


def test_points_lie_anywhere_within_their_pixel():
    ink = np.zeros((3, 4))
    ink[2, 3] = 0.3
    points = filled(ink, 5000, 0)
    low, high = points.min(0).values, points.max(0).values
    assert len(points.unique(dim=0)) > 4900
    assert ((points - low) / (high - low)).std(0).numpy() == pytest.approx(12**-0.5, abs=0.01)


def test_inverted_or_not():
    content = encoded(drawing(20, 230))
    silhouette = open_file("a.png", content)
    assert torch.equal(silhouette.cloud(500), silhouette.cloud(500, invert=True))
    rest = silhouette.cloud(5000, invert=False)
    low, high = rest.min(0).values, rest.max(0).values
    assert ((high - low)[0] / (high - low)[1]).item() == pytest.approx(2, abs=0.02)
    other = open_file("a.png", encoded(drawing(235, 25)))
    assert torch.equal(other.cloud(500), silhouette.cloud(500))
    assert torch.equal(other.cloud(500, invert=False), silhouette.cloud(500, invert=True))


@pytest.mark.parametrize("paper", [0, 60, 128, 200, 255])
def test_a_picture_with_nothing_on_it(paper):
    for content in (
        encoded(Image.new("L", (30, 20), paper)),
        encoded(drawing(paper, paper + 9 if paper < 200 else paper - 9)),
    ):
        refused("no_ink", open_file("a.png", content).cloud, 100)


def test_a_transparent_picture_with_nothing_on_it():
    refused("no_ink", open_file("a.png", encoded(Image.new("RGBA", (9, 9), (9, 9, 9, 0)))).cloud, 100)


def test_large_pictures_are_made_small():
    assert open_file("a.png", encoded(drawing().resize((2000, 1000)))).light.shape == (200, 400)
    assert open_file("a.jpg", encoded(drawing().resize((2000, 1000)), "JPEG")).light.shape == (200, 400)
    assert open_file("a.png", encoded(drawing().resize((3000, 1)))).light.shape == (1, 400)


BAD_PICTURES = {
    "a bomb": (large_png(60_000, 60_000), "pixels"),
    "a bomb that Pillow only warns of": (large_png(11_000, 10_000), "pixels"),
    "just too large": (large_png(5001, 5000), "pixels"),
    "no data": (large_png(10, 10), "broken"),
    "half a PNG": (KINDS["colour"][:90], "broken"),
    "half a JPEG": (KINDS["JPEG"][: len(KINDS["JPEG"]) // 2], "broken"),
    "half a GIF": (KINDS["GIF"][:60], "broken"),
    "half a BMP": (KINDS["BMP"][:500], "broken"),
    "half a WEBP": (KINDS["WEBP"][:40], "broken"),
    "a header": (b"\x89PNG\r\n\x1a\n", "broken"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("content", "reason"), BAD_PICTURES.values(), ids=BAD_PICTURES)
def test_bad_pictures(content, reason):
    reasons = {"pixels": words("pictures.pixels", millions=25), "broken": words("pictures.broken")}
    refused("picture", open_file, "a.png", content, reason=reasons.get(reason, words("pictures.kind")))


# words


@pytest.mark.parametrize(
    "string", ["R", "DDPM", "é", "Ωмега", "★", "☺", "♥", "\u2764\ufe0f", "a b", "e\u0301", "MMMMMMMMMMMM"]
)
def test_words_become_points(string):
    points = text(string, 500, seed=3)
    assert points.shape == (500, 2)
    assert points.double().mean(0).abs().max() < 1e-5
    assert points.double().var(correction=0).item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(points, text(string, 500, seed=3))
    assert not torch.equal(points, text(string, 500, seed=4))


def size(points):
    return (points.max(0).values - points.min(0).values).tolist()


def test_words_look_as_they_are_written():
    width, height = size(text("l", 5000))
    assert height > 2.5 * width
    width, height = size(text("MMMMMM", 5000))
    assert width > 5 * height
    points = text("L.", 10_000)  # heavy below, and the stem on the left
    assert points[points[:, 1] > points[:, 1].max() / 2, 0].max() < 0
    t = text("T", 10_000)
    assert (t[:, 1] > (t[:, 1].max() + t[:, 1].min()) / 2).float().mean() > 0.55


def test_what_cannot_be_seen_is_left_out():
    assert tidy("  a \n\t b  ") == "a b"
    assert tidy("\u202ea\u200f\x00b\ufeff\ud800") == "ab"
    assert tidy("e\u0301") == "é"
    assert tidy("\u2764\ufe0f") == "\u2764"
    assert tidy("A" * MAX_LETTERS) == "A" * MAX_LETTERS
    assert len(tidy("x\u0323\u0308" * MAX_LETTERS)) >= 2 * MAX_LETTERS  # marks are no letters
    assert tidy("\U0001f468\u200d\U0001f469") == "\U0001f468\u200d\U0001f469"
    assert torch.equal(text(" a\u200fb\n", 100), text("ab", 100))


@pytest.mark.parametrize("string", ["", "   ", "\n\t", "\u200f\u202e", "\x00", "\u200d", "\u0301", "\u2800"])
def test_words_with_nothing_to_see(string):
    refused("no_text", text, string, 100)


@pytest.mark.parametrize("string", ["A" * (MAX_LETTERS + 1), "A" * 1_000_000, "a" + "\u0323" * 1000])
def test_words_that_are_too_long(string):
    refused("long_text", text, string, 100, most=MAX_LETTERS)


@pytest.mark.parametrize("character", ["\ue123", "\U000f1234"])
def test_a_character_that_no_font_has(character):
    refused("no_font", text, f"a{character}b", 100, character="?", code=f"U+{ord(character):04X}")


@pytest.fixture
def fonts(monkeypatch):
    """Only the fonts that come with matplotlib, as on a bare machine."""
    silhouettes._fonts.cache_clear()
    silhouettes._font.cache_clear()
    monkeypatch.setattr(silhouettes, "FOLDERS", ())
    yield
    silhouettes._fonts.cache_clear()
    silhouettes._font.cache_clear()


@pytest.mark.usefixtures("fonts")
def test_without_any_font_of_the_system():
    assert len(silhouettes._fonts()) == 2
    assert text("Ωж★", 100).shape == (100, 2)
    refused("no_font", text, "漢", 100, character="漢", code="U+6F22")


@pytest.mark.usefixtures("fonts")
def test_a_font_of_the_system_helps_out(monkeypatch, tmp_path):
    bold, regular = silhouettes._fonts()
    silhouettes._fonts.cache_clear()
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "some.ttf").write_bytes(Path(regular).read_bytes())
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    (tmp_path / "LastResort.otf").write_bytes(Path(regular).read_bytes())
    monkeypatch.setattr(silhouettes, "OUTLINES", ())
    monkeypatch.setattr(silhouettes, "FOLDERS", (str(tmp_path), str(tmp_path / "missing")))
    assert text("ab", 100).shape == (100, 2)
    assert silhouettes._font("a") == str(tmp_path / "deep" / "some.ttf")
    assert bold != regular


# names and limits


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("points.csv", "points"),
        ("/etc/passwd", "passwd"),
        ("../../up.tar.csv", "up.tar"),
        ("C:\\data\\mine.npy", "mine"),
        ("<img src=x onerror=alert(1)>.png", "‹img src=x onerror=alert(1)›"),
        ("**bold** `x` [a](b).csv", "∗∗bold∗∗ ˋxˋ (a)(b)"),
        ("a\u202eb\n.csv", "a?b?"),
        ("Anna's R&D #1 [m].csv", "Anna’s R+D ♯1 (m)"),
        ("", "no name"),
        ("..", ".."),
        ("/", "no name"),
        ("x" * 300 + ".csv", "…" + "x" * 59),
    ],
)
def test_names_are_safe_to_show(name, shown):
    assert title(name) == shown
    assert open_file(name, npy(CLOUD)).name == shown


def test_the_limits_that_are_stated():
    assert words("bring.limits", **limits()) == (
        "Tables: CSV, TSV, NPY or NPZ, up to 50 MB, 1,000,000 rows and 100 columns (3,000,000 cells in all). "
        "Silhouettes: PNG, JPEG, GIF, BMP or WEBP, up to 50 MB and 25 million pixels. Up to 10,000 points are used."
    )


# anything at all


ROWS = np.random.default_rng(0).normal(size=(40, 2)).round(3)
WHOLE = {
    "CSV": ("a.csv", ("x,y\n" + "".join(f"{x},{y}\n" for x, y in ROWS)).encode()),
    "quoted": ("a.csv", ('"x";"y"\n' + "".join(f'"{x}";"{y}"\n' for x, y in ROWS)).replace(".", ",").encode()),
    "UTF-16": ("a.tsv", ("x\ty\n" + "".join(f"{x}\t{y}\n" for x, y in ROWS)).encode("utf-16")),
    "NPY": ("a.npy", npy(ROWS)),
    "NPZ": ("a.npz", npz(a=ROWS, b=np.arange(40))),
    **{kind: ("a.png", content) for kind, content in KINDS.items()},
}
TABLES = ("bring", "pictures")
SENTENCES = [
    re.compile(re.sub(r"\\\{\w+\\\}", ".*", re.escape(sentence)), re.DOTALL)
    for table in TABLES
    for sentence in tomllib.loads((LESSONS / "en" / "words.toml").read_text("utf-8"))[table].values()
]


def anything(name, content):
    """It becomes points, or one of our sentences is said. Nothing else happens."""
    try:
        brought = open_file(name, content)
        points = brought.cloud().x if isinstance(brought, Table) else brought.cloud(100)
    except ValueError as error:
        said = str(error)
        assert any(sentence.fullmatch(said) for sentence in SENTENCES), said
    else:
        assert points.isfinite().all()
        assert points.double().var(correction=0).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("name", "content"), WHOLE.values(), ids=WHOLE)
def test_whatever_is_missing(name, content):
    for end in random.Random(0).sample(range(len(content)), min(25, len(content))):
        anything(name, content[:end])
        anything(name, content[end:])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("name", "content"), WHOLE.values(), ids=WHOLE)
def test_whatever_is_changed(name, content):
    rng = random.Random(1)
    for _ in range(40):
        changed = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 10))):
            changed[rng.randrange(min(len(changed), rng.choice((150, len(changed)))))] = rng.randrange(256)
        anything(name, bytes(changed))


def test_whatever_it_is():
    rng = random.Random(2)
    for length in range(60):
        anything("a", rng.randbytes(length))
        anything("a", bytes(rng.choice(b'0123456789.,;\t\n\r" -e') for _ in range(length)))
