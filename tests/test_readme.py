"""The README is right: its program runs, its tree is this tree."""

import contextlib
import io
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def test_ten_line_program():
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program.replace("3000", "400"), {})
    spread = float(re.search(r"spread ([\d.]+)", out.getvalue()).group(1))
    assert 0.8 < spread < 1.2


def test_tree_names_every_file():
    tree = README.split("## The tree")[1]
    for file in [*ROOT.glob("pages/*.py"), *ROOT.glob("toydiff/**/*.py")]:
        if file.name != "__init__.py" and file.parent.name != "player":
            assert re.search(rf"^ *{re.escape(file.name)} ", tree, re.MULTILINE), f"{file.name} is not in the tree"


def test_pictures_exist():
    for path in re.findall(r"\]\((docs/[^)]+)\)", README.replace("\n", " ")):
        assert (ROOT / path).is_file()
