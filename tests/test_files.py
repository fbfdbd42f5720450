"""The numbers of a scene, to take home."""

import io
from dataclasses import replace

import numpy as np
import torch

from tests.test_film import STAMP, make
from tests.test_player import LOOK, pictures
from toydiff.draw.files import numbers
from toydiff.draw.scene import Density, Panel, Scene


def opened(scene: Scene) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(numbers(scene)), allow_pickle=False) as file:
        return dict(file)


def test_an_npz_is_the_trajectory_and_says_how_it_was_made():
    scene = make()
    file = opened(scene)
    assert str(file["stamp"]) == STAMP
    assert file["t"].tolist() == scene.ticks
    assert file["titles"].tolist() == ["DDPM"] * 3
    assert np.array_equal(file["data"], scene.data)
    for i, panel in enumerate(scene.panels):
        for name in ("x", "x0", "mean"):
            assert file[f"{i}.{name}"].dtype == np.float32
            assert np.array_equal(file[f"{i}.{name}"], getattr(panel.trajectory, name))
    assert {"places", "0.arrows", "0.heat", "0.still", "density.t"}.isdisjoint(file)


def test_it_holds_the_layers():
    generator = torch.Generator().manual_seed(0)
    scene = make(frames=4, panels=2)
    first, second = scene.panels
    scene = replace(
        scene,
        places=torch.randn(6, 2, generator=generator),
        panels=(
            replace(first, arrows=torch.randn(4, 6, 2, generator=generator)),
            replace(second, heat=torch.rand(4, 8, 8, generator=generator)),
        ),
        density=Density(torch.tensor([0, 3]), torch.rand(2, 5, 5, generator=generator).half()),
    )
    file = opened(scene)
    assert np.array_equal(file["places"], scene.places)
    assert np.array_equal(file["0.arrows"], scene.panels[0].arrows)
    assert np.array_equal(file["1.heat"], scene.panels[1].heat)
    assert np.array_equal(file["density.t"], scene.density.t)
    assert np.array_equal(file["density.inside"], scene.density.inside.float())
    assert {"1.arrows", "0.heat"}.isdisjoint(file)


def test_it_holds_images_as_the_network_sees_them():
    run, still = pictures((3, 5, 3)), torch.randn(2, 3, 5, 3, generator=torch.Generator().manual_seed(1))
    panels = Panel("run", "", run), Panel("mean", "", run, still=still)
    file = opened(Scene(panels, torch.zeros(7, 3, 5, 3), pixels=LOOK))
    assert file["data"].shape == (7, 3, 5, 3)
    assert np.array_equal(file["0.x"], run.x) and np.array_equal(file["0.x0"], run.x0)
    assert np.array_equal(file["1.still"], still)
    assert {"0.still", "1.x", "1.x0", "1.mean"}.isdisjoint(file)


def test_odd_scenes_have_their_numbers():
    assert opened(make(particles=0))["0.x"].shape == (8, 0, 2)
    assert opened(make(frames=1))["t"].tolist() == [0]
    broken = make()
    broken.panels[1].trajectory.x[3:] = float("nan")
    assert np.isnan(opened(broken)["1.x"][3:]).all()
