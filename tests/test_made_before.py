"""What people kept from earlier versions still works: files of lessons and trainings, links, addresses, settings of a
server. The files in made_before/ were written by such a version and are never made anew."""

import gzip
from dataclasses import asdict
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import torch

from toydiff.experiments import checkpoint
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.limits import Limits
from toydiff.text import words

HERE = Path(__file__).parent
FILES = sorted(path.name.partition(".")[0] for path in (HERE / "made_before").iterdir())


def opened(name):
    content = gzip.decompress((HERE / f"made_before/{name}.safetensors.gz").read_bytes())
    return checkpoint.unpack(content, name)


def test_a_training_on_points_says_what_it_said_and_goes_on():
    found = opened("points")
    assert found.experiment == Experiment(
        dataset="moons",
        schedule="sigmoid",
        T=50,
        width=8,
        depth=2,
        batch=32,
        seed=3,
        points=300,
        particles=64,
        predictor="network",
        trained=20,
        target="total",
        features=32,
    )
    x, t = torch.tensor([[-1.0, 0], [0, 1.5], [1, -1.5], [0.2, 0.1]]), torch.tensor([1, 10, 30, 50])
    said = torch.tensor([[-0.0322, -0.3660], [0.0864, 0.0227], [1.0009, -1.5303], [0.2002, 0.0992]])
    assert torch.allclose(found.predictor()(x, t), said, atol=1e-3)
    trainer = found.trainer()
    assert trainer.step == 20
    trainer.advance(5)
    assert trainer.step == 25 and trainer.losses.isfinite().all()


def test_a_lesson_on_somebodys_own_points_brings_them_along():
    found = opened("own-points")
    assert found.data is not None and found.data.name == "a drawing"
    assert found.experiment.dataset == found.data.key == "own-8de06c7b8ea0a0c2"
    assert found.experiment.data().shape == (120, 2)
    assert found.trainer().step == 5


def test_a_lesson_in_which_nothing_was_trained():
    found = opened("lesson")
    assert found.experiment == Experiment(dataset="circles", T=10, schedule="cosine", target="total", features=32)
    assert found.state is None


def test_a_lesson_on_somebodys_own_pictures_brings_them_along():
    found = opened("own-images")
    assert found.experiment.data == found.data.key == "own-1fbe3bfaa215f4da"
    assert found.experiment.images().x.shape == (30, 1, 8, 8)


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_a_training_on_images_has_all_the_weights_that_the_network_wants(network):
    """Those of this file were put to 0, so that it is small: then the network says what it begins with, the best guess
    for data that is a Gaussian."""
    found = opened(network)
    assert found.experiment == ImageExperiment(network=network, T=20, batch=8, n=60)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([1, 20])
    _, noise = found.experiment.noise_schedule().rates(t, x)
    assert torch.allclose(found.predictor()(x, t), noise * x, atol=1e-5)
    trainer = found.trainer()
    trainer.advance(1)
    assert trainer.step == 2


def test_no_file_is_forgotten():
    assert set(FILES) == {"points", "own-points", "lesson", "own-images", "unet", "dit"}


LINKS = {
    "dataset=circles&points=500&schedule=linear&T=250&strength=0.5&network=mlp&target=last-step&width=64&depth=3&batch=128"
    "&lr=0.001&seed=7&predictor=network&sampler=ddim&eta=0.5&steps=20&particles=100&x=0.1&y=-0.2&t=40&trained=3000": {
        "dataset": "circles",
        "points": 500,
        "schedule": "linear",
        "T": 250,
        "strength": 0.5,
        "target": "last-step",
        "width": 64,
        "depth": 3,
        "batch": 128,
        "lr": 0.001,
        "seed": 7,
        "predictor": "network",
        "sampler": "ddim",
        "eta": 0.5,
        "steps": 20,
        "particles": 100,
        "x": 0.1,
        "y": -0.2,
        "t": 40,
        "trained": 3000,
    },
    "sampler=mean-only": {"sampler": "mean-only"},
    "dataset=checkerboard&sampler=dpm-solver%2B%2B&steps=10": {
        "dataset": "checkerboard",
        "sampler": "dpm-solver++",
        "steps": 10,
    },
    "": {},
}


@pytest.mark.parametrize("link", LINKS)
def test_a_link(link):
    found, problems = Experiment.from_params(dict(parse_qsl(link)))
    assert problems == []
    before = {"schedule": "cosine", "target": "total", "features": 32} if link else {}  # the defaults of their time
    assert asdict(found) == asdict(Experiment()) | before | LINKS[link]


def test_a_link_to_the_page_of_images():
    found, problems = ImageExperiment.from_params(
        dict(
            parse_qsl(
                "data=moon-phases-16-gap&network=dit&size=small&schedule=linear&T=50&batch=16&lr=0.01&seed=2&n=90"
            )
        )
    )
    assert problems == []
    assert found == ImageExperiment("moon-phases-16-gap", "dit", "small", "linear", 50, 16, 0.01, 2, 90)


def test_the_address_of_each_page():
    there = {path.stem for path in (HERE.parent / "pages").glob("*.py")}
    lessons = ["forward", "train", "reverse", "field", "target", "cost", "images", "between"]
    assert there >= {"home", *lessons, "own", "teacher"}
    assert all(words(f"titles.{name}") for name in there)


def test_the_settings_of_a_server():
    told = {"trainees": 5, "visitors": 9, "workers": 2, "painters": 3, "threads": 1, "seconds": 4}
    environment = {f"TOYDIFF_{name.upper()}": str(value) for name, value in told.items()}
    found = Limits.from_environment(environment | {"TOYDIFF_TEACHER": "open-sesame"})
    assert asdict(found) == told | {"teacher": "open-sesame"}
