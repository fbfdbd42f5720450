"""Data that somebody brought along: found by its content, for as long as somebody holds it."""

import gc

import pytest
import torch

from toydiff.data import user_data
from toydiff.data.images import Images
from toydiff.data.points import standardized
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.text import words


def cloud(seed=0, n=40):
    return standardized(torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)))


def pictures(n=12):
    return Images.standardized("mine", torch.rand(n, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_equal_data_has_one_key_and_other_data_another():
    one = user_data.keep("mine", cloud())
    assert user_data.is_key(one.key)
    assert user_data.keep("mine", cloud()) is one
    keys = {
        one.key,
        user_data.keep("yours", cloud()).key,
        user_data.keep("mine", cloud(1)).key,
        user_data.keep("mine", pictures()).key,
    }
    assert len(keys) == 4


def test_who_lets_go_of_it_lets_it_go():
    key = user_data.keep("mine", cloud(2)).key
    gc.collect()
    with pytest.raises(user_data.DatasetNotFound, match="lesson file"):
        user_data.find(key)


def test_an_experiment_on_it():
    one = user_data.keep("mine", cloud())
    experiment = Experiment(dataset=one.key, points=20)
    assert experiment.usual_size == 40
    assert experiment.data().shape == (20, 2)
    rows = {tuple(row) for row in one.data.tolist()}
    assert {tuple(row) for row in experiment.data().tolist()} < rows
    assert not torch.equal(experiment.data(), Experiment(dataset=one.key, points=20, seed=1).data())
    assert {tuple(row) for row in Experiment(dataset=one.key).data().tolist()} == rows  # 2,000 asked for, 40 there
    assert Experiment.from_params(experiment.to_params()) == (experiment, [])


def test_an_experiment_on_pictures():
    one = user_data.keep("mine", pictures())
    experiment = ImageExperiment(data=one.key)
    images = experiment.images()
    assert (experiment.usual_size, images.shape, len(images.x)) == (12, (3, 8, 8), 12)
    assert (images.mean, images.scale) == (one.data.mean, one.data.scale)
    assert ImageExperiment.from_params(experiment.to_params()) == (experiment, [])


@pytest.mark.parametrize("name", ["own-", "own-xyz", "own-" + "0" * 17, "OWN-" + "0" * 16, "own", " own-" + "0" * 16])
def test_what_only_looks_like_a_key_is_refused(name):
    with pytest.raises(ValueError, match="dataset"):
        Experiment(dataset=name)


def test_the_title_is_safe_to_show():
    one = user_data.keep("<b>**mine**</b>", cloud())
    assert not set(user_data.title(one.key)) & set("<>*")
    assert user_data.title("moons") == words("names.moons")
