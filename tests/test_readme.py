"""The README is right: its program runs, its tree is this tree."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from tests.test_layers import ROOMS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_ten_line_program():
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program.replace("3000", "400"), {})
    spread = float(re.search(r"spread ([\d.]+)", out.getvalue()).group(1))
    assert 0.8 < spread < 1.2


def test_the_tree_names_every_folder_and_nothing_else():
    lines = re.search(r"## The tree.*?```\n(.*?)```", README, re.DOTALL).group(1).splitlines()
    names = [line.split()[0].rstrip("/") for line in lines]
    rooms = [path.name for path in (ROOT / "toydiff").iterdir() if (path / "__init__.py").exists()]
    assert len(names) == len(set(names)) <= 20
    others = "app.py", "pages", "lessons/en", "examples", "toydiff", "docs", "deploy", "benchmarks", "tests"
    assert set(names) >= {*others, *rooms}
    for line, name in zip(lines, names, strict=True):
        assert ((ROOT / "toydiff" if line.startswith(" ") else ROOT) / name).exists()
    assert [name for name in names if name in ROOMS] == ROOMS  # in the order in which they may import each other


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "docs/how-it-runs.md"])
def test_what_a_text_names_is_there(file):
    named = re.findall(
        r"`((?:toydiff|pages|tests|lessons|examples|benchmarks|docs)/[\w./-]*)`", (ROOT / file).read_text("utf-8")
    )
    assert named
    for path in named:
        assert (ROOT / path).exists(), path


def test_pictures_exist():
    for path in re.findall(r"\]\((docs/[^)]+)\)", README.replace("\n", " ")):
        assert (ROOT / path).is_file()
