"""What people read: every text that the code asks for is there, and can be filled in."""

import ast
import re
import tomllib
from itertools import chain
from pathlib import Path
from string import Formatter

import pytest

from toydiff import text
from toydiff.diffusion.samplers import WAYS
from toydiff.experiments.experiment import Experiment
from toydiff.text import prose, words

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = sorted(folder for folder in (ROOT / "lessons").iterdir() if folder.is_dir())
SOURCES = sorted(
    chain([ROOT / "app.py"], (ROOT / "pages").glob("*.py"), (ROOT / "toydiff").glob("**/*.py")),
    key=str,
)
TREES = {path.relative_to(ROOT): ast.parse(path.read_text("utf-8")) for path in SOURCES if path.exists()}

# A name in braces, unless TeX put the braces there, as in \hat{x} and x_{t}.
PLACEHOLDER = re.compile(r"(?<![\\\w^{}])\{([a-z_]\w*)[^{}\s]*\}")


def sections(folder):
    """{(lesson, section): text}, and no section twice."""
    found = {}
    for path in folder.glob("*.md"):
        parts = re.split(r"^## (.+)$", path.read_text("utf-8"), flags=re.MULTILINE)
        assert not parts[0].strip(), f"{path}: text before the first section is never shown"
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            assert (path.stem, name.strip()) not in found, f"{path}: ## {name} twice"
            found[path.stem, name.strip()] = body.strip()
    return found


def short(folder):
    """{"table.name": text}."""
    tables = tomllib.loads((folder / "words.toml").read_text("utf-8"))
    return {f"{table}.{name}": body for table, names in tables.items() for name, body in names.items()}


def calls():
    """(where, names of the literal text, keywords or None if they are not known) of every call for a text."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                size = {"words": 1, "prose": 2, "say": 2}.get(name)
                if size is None or len(node.args) < size:
                    continue
                keywords = {k.arg for k in node.keywords}
                if path.parts[0] == "pages" or name != "say":
                    for literal in alternatives(node.args[:size]):
                        yield f"{path}:{node.lineno}", literal, None if None in keywords else keywords


def alternatives(args):
    """The strings that the arguments can be, where they are written out: "a" if x else "b" is two."""
    options = [[arg.body, arg.orelse] if isinstance(arg, ast.IfExp) else [arg] for arg in args]
    if all(isinstance(node, ast.Constant) for node in chain(*options)):
        if len(args) == 1:
            return [(node.value,) for node in options[0]]
        return [(a.value, b.value) for a in options[0] for b in options[1]]
    return []


CALLS = list(calls())


def names_in(body):
    """The placeholders of a text that is filled in. ValueError if it cannot be."""
    return {name for _, name, _, _ in Formatter().parse(body) if name is not None}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_language_says_everything(folder):
    english = ROOT / "lessons" / "en"
    for read in (sections, short):
        ours, theirs = read(folder), read(english)
        assert ours.keys() == theirs.keys()
        assert all(isinstance(body, str) and body.strip() for body in ours.values())
        for key, body in ours.items():
            assert {*PLACEHOLDER.findall(body)} == {*PLACEHOLDER.findall(theirs[key])}, key


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_text_that_the_code_asks_for_is_there_and_can_be_filled_in(folder):
    table = {(key,): body for key, body in short(folder).items()} | sections(folder)
    assert len(CALLS) > 20
    for where, literal, keywords in CALLS:
        assert literal in table, f"{where}: no text {literal}"
        body = table[literal]
        if keywords is None:  # **values: known only when it runs
            assert all(name.isidentifier() for name in names_in(body)), f"{where}: {body}"
        elif keywords:
            assert names_in(body) <= keywords, f"{where}: {body}"
            assert body.format(**dict.fromkeys(keywords, 1))
        else:
            assert not PLACEHOLDER.findall(body), f"{where}: shown unfilled: {body}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_section_is_shown_somewhere(folder):
    strings = {
        node.value
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert {section for _, section in sections(folder)} <= strings


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_field_and_every_choice_has_a_name(folder):
    table = short(folder)
    for name in Experiment().to_params():
        assert f"fields.{name}" in table
    for name in chain(WAYS, *Experiment.choices().values()):
        assert f"names.{name}" in table


@pytest.fixture
def two_texts(tmp_path, monkeypatch):
    folder = tmp_path / "xx"
    folder.mkdir()
    (folder / "words.toml").write_text('[a]\nplain = "{not} filled"\nfilled = "{n} of {{3}}"\n', "utf-8")
    (folder / "story.md").write_text("## one\nᾱ is $\\bar{x}$.\n\n### small\n## two\n\nβ = {beta}\n", "utf-8")
    monkeypatch.setattr(text, "LESSONS", tmp_path)
    monkeypatch.setattr(text, "LANGUAGE", "xx")


@pytest.mark.usefixtures("two_texts")
def test_reading():
    assert words("a.plain") == "{not} filled"
    assert words("a.filled", n=2) == "2 of {3}"
    assert prose("story", "one") == "ᾱ is $\\bar{x}$.\n\n### small"
    assert prose("story", "two", beta=0.5) == "β = 0.5"
    for missing in (lambda: words("a.none"), lambda: words("b.plain"), lambda: prose("story", "three")):
        with pytest.raises(KeyError):
            missing()
