"""Imports go one way: pages -> ui -> draw -> core. And the few rules of form that keep the code easy to find."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCREEN = ["streamlit"]
PICTURES = ["plotly", "matplotlib"]
ABOVE = ["pages", "app", "tests", "benchmarks"]

FORBIDDEN = {
    "toydiff/*.py": [*SCREEN, *PICTURES, "toydiff.draw", "toydiff.ui", *ABOVE],
    "toydiff/draw/**/*.py": [*SCREEN, "toydiff.ui", *ABOVE],
    "toydiff/ui/**/*.py": [*ABOVE],
    "pages/*.py": ["toydiff.diffusion.training", "torch.optim", *ABOVE],  # training has one seam, in toydiff/ui
    "app.py": ["torch", *PICTURES, *ABOVE],
}
FILES = [
    (path.relative_to(ROOT).as_posix(), banned)
    for pattern, banned in FORBIDDEN.items()
    for path in sorted(ROOT.glob(pattern))
    if path.name != "__main__.py"  # `python -m toydiff` is a way in from outside, above all layers
]


def imports(path):
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it goes"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("path", "banned"), FILES, ids=[path for path, _ in FILES])
def test_imports_go_one_way(path, banned):
    wrong = [name for name in imports(path) if any(f"{name}.".startswith(f"{other}.") for other in banned)]
    assert not wrong


def test_every_layer_is_looked_at():
    for part in ("toydiff/diffusion/samplers.py", "toydiff/draw/film.py", "toydiff/ui/", "pages/", "app.py"):
        assert any(path.startswith(part) for path, _ in FILES)


def test_the_core_loads_no_screen_and_no_pictures():
    core = [f"toydiff.{path.stem}" for path in ROOT.glob("toydiff/[!_]*.py")]
    code = f"import sys, {', '.join(core)}; print([m for m in {SCREEN + PICTURES} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(ROOT.glob("pages/*.py")), ids=lambda path: path.stem)
def test_a_page_is_a_short_script(path):
    source = path.read_text("utf-8")
    assert 30 <= len(source.splitlines()) <= 100
    assert ast.get_docstring(ast.parse(source))
    assert "def main" not in source


REGISTRIES = {"data": "DATASETS", "schedules": "SCHEDULES", "samplers": "SAMPLERS", "models": "MODELS"}


@pytest.mark.parametrize(("module", "name"), REGISTRIES.items())
def test_a_registry_is_a_dict_literal_below_what_it_lists(module, name):
    tree = ast.parse((ROOT / f"toydiff/{module}.py").read_text("utf-8"))
    (registry,) = [node for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == name]
    assert isinstance(registry.value, ast.Dict)
    assert all(isinstance(key, ast.Constant) for key in registry.value.keys)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    listed = {node.id for value in registry.value.values for node in ast.walk(value) if isinstance(node, ast.Name)}
    assert listed & defined
    assert listed <= defined | {"partial"}
    assert all(node.lineno < registry.lineno for node in tree.body if getattr(node, "name", None) in listed)
