"""ES modules joined into the one script that a component, a worker or a file gets.

Streamlit takes a component's JavaScript as one inline module, which cannot import. So a module and all that it imports
are put into one scope, each after those that it needs. Names are not changed: they have to be unique among them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

COMPONENTS = Path(__file__).parent
IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]*)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) (\w+))", re.MULTILINE)
DECLARED = re.compile(r"^(?:export )?(?:async )?(?:function\*?|class|const|let) (?:(\w+)|\[([^\]]*)\])", re.MULTILINE)


def bundled(entry: Path) -> str:
    """The script of a module: its own text, and before it that of every module that it imports.

    ValueError for an import in another form than `import { a, b } from "./file.js";`, for a name that its module does
    not export, and for a name that two modules declare.
    """
    script: list[str] = []
    _add(entry.resolve(), script, {}, {})
    *before, last = script
    return "\n".join([*(EXPORT.sub("", text) for text in before), last])


class Component(NamedTuple):
    """The texts of a component, as Streamlit takes them."""

    js: str
    html: str | None
    css: str | None


def component(name: str) -> Component:
    """The component in the folder of that name: its script, and the HTML and CSS if it has any."""
    html, css = (COMPONENTS / name / f"{name}.{kind}" for kind in ("html", "css"))
    texts = (file.read_text("utf-8") if file.exists() else None for file in (html, css))
    return Component(bundled(COMPONENTS / name / f"{name}.js"), *texts)


def _add(path: Path, script: list[str], exported: dict[Path, list[str]], declared: dict[str, Path]) -> None:
    """Add a module to the script after those that it imports. In a cycle, the module that was begun first is last.

    exported: the exported names of each module that is added or begun. declared: the module that declares each name.
    """
    source = path.read_text("utf-8")
    exported[path] = EXPORT.findall(source)
    for match in DECLARED.finditer(source):
        for name in re.findall(r"\w+", match[1] or match[2]):
            if declared.setdefault(name, path) != path:
                raise ValueError(f"{path.name} and {declared[name].name} both declare {name}")
    for match in IMPORT.finditer(source):
        other = (path.parent / match[2]).resolve()
        if other not in exported:
            _add(other, script, exported, declared)
        for name in re.findall(r"\w+", match[1]):
            if name not in exported[other]:
                raise ValueError(f"{path.name} imports {name}, which {other.name} does not export")
    text = IMPORT.sub("", source)
    if re.search(r"^\s*(?:import\b|export (?:\{|\*))", text, re.MULTILINE):
        raise ValueError(f'{path.name} has an import that is not of the form import {{ a, b }} from "./file.js";')
    script.append(text)
