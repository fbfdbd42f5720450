"""Everything a person reads, from `lessons/<language>/`: prose in Markdown sections, short words in TOML."""

from __future__ import annotations

import os
import re
import tomllib
import unicodedata
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# The folder of app.py, pages/ and lessons/: in the repository beside the package, of an installed package inside it.
APP = PACKAGE / "app" if (PACKAGE / "app").is_dir() else PACKAGE.parent
LESSONS = APP / "lessons"
LANGUAGE = os.environ.get("TOYDIFF_LANGUAGE", "en")
# What would be markup somewhere, and what looks like it, is none, and is in the fonts of films.
ALIKE = str.maketrans(dict(zip("<>&`*[]$:|\\#~{}@\"'", [*"‹›+ˋ∗()¤∶¦∖♯∼()", "(at)", *"”’"], strict=True)))


@cache
def _words(language: str) -> dict[str, dict[str, str]]:
    return tomllib.loads((LESSONS / language / "words.toml").read_text(encoding="utf-8"))


@cache
def _sections(language: str, lesson: str) -> dict[str, str]:
    text = (LESSONS / language / f"{lesson}.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {name.strip(): body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def words(key: str, **values: object) -> str:
    """The short text `table.name` of `words.toml`, its {placeholders} filled in. KeyError if there is none."""
    table, name = key.split(".", 1)
    text = _words(LANGUAGE)[table][name]
    return text.format(**values) if values else text


def prose(lesson: str, section: str, **values: object) -> str:
    """The section `## section` of `<lesson>.md`, its {placeholders} filled in. KeyError if there is none."""
    text = _sections(LANGUAGE, lesson)[section]
    return text.format(**values) if values else text


def shown(name: str) -> str:
    """A file's name, safe to show: no markup, nothing that cannot be seen, only the end of it if it is long."""
    name = unicodedata.normalize("NFC", name)  # a Mac writes é as two characters
    name = "".join(c if c.isprintable() else "?" for c in name).translate(ALIKE)
    name = re.sub(r"(?i)\bwww\.", "www?", name)  # would become a link
    return name if len(name) <= 60 else f"…{name[-59:]}"
