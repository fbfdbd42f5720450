"""Imports go one way, down the list of rooms. And the few rules of form that keep the code easy to find."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The rooms of toydiff/, from the top down: each may import those that stand below it.
ROOMS = ["ui", "cli", "server", "components", "draw", "experiments", "measures", "data", "networks", "diffusion"]
WITHOUT_PROSE = ["networks", "diffusion"]  # they need no lessons/: they can be handed to a student as they are
SCREEN = ["streamlit"]
PICTURES = ["plotly", "matplotlib"]
TRAINING = ["toydiff.diffusion.training", "toydiff.diffusion.trainer", "torch.optim"]  # only toydiff/server trains
ABOVE = ["pages", "app", "tests", "benchmarks", "toydiff.__main__"]


def banned_in(room: str) -> list[str]:
    """What the files of a room may not import."""
    place = ROOMS.index(room)
    return [
        *ABOVE,
        *(f"toydiff.{other}" for other in ROOMS[:place]),
        *(SCREEN if room != "ui" else []),
        *(PICTURES if room != "draw" else []),
        *(["toydiff.text"] if room in WITHOUT_PROSE else []),
    ]


FORBIDDEN = {f"toydiff/{room}/**/*.py": banned_in(room) for room in ROOMS} | {
    "toydiff/text.py": [*SCREEN, *PICTURES, *(f"toydiff.{room}" for room in ROOMS), *ABOVE],
    "pages/*.py": [
        "toydiff.diffusion.training",
        "toydiff.diffusion.trainer",
        "torch.optim",
        *PICTURES,
        *ABOVE,
    ],  # one seam, in toydiff/server
    "app.py": ["torch", *PICTURES, *ABOVE],
}
FILES = [
    (path.relative_to(ROOT).as_posix(), banned)
    for pattern, banned in FORBIDDEN.items()
    for path in sorted(ROOT.glob(pattern))
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


def test_every_file_is_in_a_room():
    looked_at = {path for path, _ in FILES} | {"toydiff/__init__.py", "toydiff/__main__.py"}
    assert {path.relative_to(ROOT).as_posix() for path in ROOT.glob("toydiff/**/*.py")} <= looked_at


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_lives_there_and_what_may_not(room):
    said = ast.get_docstring(ast.parse((ROOT / f"toydiff/{room}/__init__.py").read_text("utf-8")))
    assert said and len(said.splitlines()) <= 4


def test_what_is_below_draw_loads_no_screen_and_no_pictures():
    rooms = ROOMS[ROOMS.index("draw") + 1 :]
    files = [path.relative_to(ROOT).with_suffix("") for room in rooms for path in ROOT.glob(f"toydiff/{room}/[!_]*.py")]
    names = ", ".join(".".join(file.parts) for file in files)
    code = f"import sys, toydiff.text, {names}; print([m for m in {SCREEN + PICTURES} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(ROOT.glob("pages/*.py")), ids=lambda path: path.stem)
def test_a_page_is_a_script(path):
    source = path.read_text("utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert "def main" not in source


REGISTRIES = {
    "data/points": "DATASETS",
    "diffusion/schedules": "SCHEDULES",
    "diffusion/samplers": "SAMPLERS",
    "networks/registry": "IMAGE_MODELS",
}


@pytest.mark.parametrize(("module", "name"), REGISTRIES.items())
def test_a_registry_is_a_dict_literal_below_what_it_lists(module, name):
    tree = ast.parse((ROOT / f"toydiff/{module}.py").read_text("utf-8"))
    (registry,) = [node for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == name]
    assert isinstance(registry.value, ast.Dict)
    assert all(isinstance(key, ast.Constant) for key in registry.value.keys)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if module == "networks/registry":  # one network a file
        networks = (node for node in tree.body if isinstance(node, ast.ImportFrom) and "networks" in node.module)
        defined = {alias.name for node in networks for alias in node.names}
    listed = {node.id for value in registry.value.values for node in ast.walk(value) if isinstance(node, ast.Name)}
    assert listed & defined
    assert listed <= defined | {"partial"}
    assert all(node.lineno < registry.lineno for node in tree.body if getattr(node, "name", None) in listed)


def test_each_constant_has_a_name_of_its_own():
    places: dict[str, list[str]] = {}
    for path in [*ROOT.glob("toydiff/**/*.py"), *ROOT.glob("pages/*.py"), *ROOT.glob("benchmarks/*.py")]:
        for node in ast.parse(path.read_text("utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                for name in target.elts if isinstance(target, ast.Tuple) else [target]:
                    if isinstance(name, ast.Name) and name.id.isupper():
                        places.setdefault(name.id, []).append(path.relative_to(ROOT).as_posix())
    assert len(places) > 300
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
