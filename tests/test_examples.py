"""The script that is a whole DDPM: short, and right where it can be compared with the exact predictor."""

import ast
import base64
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from toydiff.diffusion import exact
from toydiff.diffusion.schedules import SCHEDULES, Schedule
from toydiff.measures.clouds import Ruler, spread

SCRIPT = Path(__file__).parents[1] / "examples" / "ddpm_spiral.py"


@pytest.fixture(scope="module")
def ddpm() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)))


@pytest.fixture
def data(ddpm) -> torch.Tensor:
    torch.manual_seed(0)
    return ddpm.spiral()


def test_it_is_short():
    assert len(SCRIPT.read_text("utf-8").splitlines()) <= 80


def test_its_schedule_is_that_of_the_paper(ddpm):
    assert torch.allclose(ddpm.beta.double(), SCHEDULES["linear"](ddpm.T).beta)


def test_its_data_has_mean_0_and_variance_1(data):
    assert data.shape == (2000, 2)
    assert torch.allclose(data.mean(0), torch.zeros(2), atol=1e-5)
    assert data.std() == pytest.approx(1, abs=1e-5)


def test_algorithm_2_with_the_exact_predictor_gives_the_data_and_without_noise_a_point(ddpm, data):
    best = exact.cloud(data, Schedule(ddpm.beta))
    assert Ruler(data, 2000).ratio(ddpm.sample(best, 2000)) < 2
    assert spread(ddpm.sample(best, 2000, noise=0.0), data) < 0.05


def test_algorithm_1_comes_near_to_the_exact_predictor(ddpm, data):
    model, schedule = ddpm.Network(), Schedule(ddpm.beta)
    ddpm.train(model, data, 400)
    t = torch.randint(1, ddpm.T + 1, (2000,))
    x = schedule.noised(data, torch.randn(2000, 2), t)
    best = exact.cloud(data, schedule)(x, t)
    with torch.no_grad():
        error = (model(x, t) - best).square().mean()
    assert error < 0.1 * best.square().mean()


# The notebook: the same with words between.


def cells() -> list[str]:
    notebook = json.loads(SCRIPT.with_suffix(".ipynb").read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def definitions(code: str) -> dict[str, str]:
    """Functions, classes and numbers of a text of code, by name, without comments."""
    found = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = ast.unparse(node)
        elif isinstance(node, ast.Assign):
            found[ast.unparse(node.targets[0])] = ast.unparse(node.value)
    return found


def test_the_notebook_has_the_code_of_the_script():
    theirs = definitions("\n".join(cells()))
    assert definitions(SCRIPT.read_text("utf-8")).items() <= theirs.items()


def test_the_notebook_runs(monkeypatch):
    """From its first cell to its last, with a short training."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict[str, object] = {}
    for code in cells():
        exec(compile(code, "notebook", "exec"), names)
        names["STEPS"] = 20
    clouds = names["clouds"]
    assert [x.shape for x in clouds.values()] == 3 * [(2000, 2)]
    assert spread(clouds["without the noise"], clouds["data"]) < spread(clouds["DDPM"], clouds["data"])
    names["plt"].close("all")


def test_the_notebook_shows_what_came_out():
    notebook = json.loads(SCRIPT.with_suffix(".ipynb").read_text("utf-8"))
    pictures = [out["data"]["image/png"] for cell in notebook["cells"] for out in cell.get("outputs", ())]
    assert len(pictures) == 2
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in pictures)
