"""What `pip install .` installs: all that the app and its command need, from any folder."""

import os
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from toydiff.cli.main import main
from toydiff.text import APP

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def pins(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text("utf-8").splitlines() if line and not line.startswith("#")]


def test_the_package_wants_what_requirements_txt_wants():
    assert sorted(PROJECT["project"]["dependencies"]) == sorted(pins("requirements.txt"))


def test_the_tests_have_the_build_system():
    assert set(PROJECT["build-system"]["requires"]) <= set(pins("requirements-dev.txt"))


def test_app_runs_streamlit_on_the_app_with_the_options_given(monkeypatch):
    called = []
    monkeypatch.setattr(runpy, "run_module", lambda *args, **options: called.append((args, options, sys.argv)))
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert main(["app", "--server.port", "8600"]) == 0
    ((args, options, argv),) = called
    assert args == ("streamlit",) and options == {"run_name": "__main__", "alter_sys": True}
    assert argv == ["streamlit", "run", str(ROOT / "app.py"), "--server.port", "8600"]
    assert APP == ROOT


def test_only_the_app_hands_options_on(capsys):
    with pytest.raises(SystemExit):
        main(["gif", "--speed", "9"])
    assert "there is no option --speed 9" in capsys.readouterr().err


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder in which an installed package lies."""
    made, there = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site-packages")
    build = ("pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--quiet", "-w", str(made))
    subprocess.run([sys.executable, "-m", *build], check=True, capture_output=True, text=True)
    (wheel,) = made.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(there)
    return there


def tracked(*folders: str) -> set[str]:
    """Files of the repository under these folders, without what Python leaves."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.slow
def test_everything_is_in_it_and_nothing_else(installed):
    beside = {f"toydiff/app/{name}" for name in tracked("pages", "lessons", ".streamlit") | {"app.py"}}
    found = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert {name for name in found if ".dist-info/" not in name} == tracked("toydiff") | beside


def run_there(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the installed package, from another folder."""
    variables = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_film_from_another_folder(installed, tmp_path):
    small = ("--T", "10", "--particles", "3", "--points", "20", "--out", "it.gif")
    run = run_there(installed, tmp_path, "-m", "toydiff", "gif", *small)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "it.gif").read_bytes().startswith(b"GIF")


@pytest.mark.slow
def test_the_pages_from_another_folder(installed, tmp_path):
    code = """
import toydiff.text
from streamlit.testing.v1 import AppTest
at = AppTest.from_file(str(toydiff.text.APP / "app.py"), default_timeout=120)
at.query_params.update({"v": "2", "points": "50", "particles": "8", "T": "10"})
for page in "home", "forward", "train":
    at.switch_page(f"pages/{page}.py").run()
    assert not at.exception, at.exception
    print(toydiff.text.APP, len(at.main))
"""
    run = run_there(installed, tmp_path, "-c", code)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(str(installed / "toydiff" / "app")) == 3
