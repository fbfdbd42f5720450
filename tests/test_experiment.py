"""Experiments: whatever a link says, there is an experiment; and one experiment gives one picture."""

import random
from dataclasses import asdict, fields, replace

import pytest
import torch

from toydiff.data.points import DATASETS
from toydiff.diffusion.samplers import WAYS
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.experiments.experiment import Experiment, PointTraining
from toydiff.experiments.image_experiment import ImageExperiment

DEFAULT = asdict(Experiment())
each_field = pytest.mark.parametrize("name", DEFAULT)


def anything(seed):
    """A random experiment, its numbers from the whole range or from one end of it."""
    rng = random.Random(seed)

    def value(name):
        if name in Experiment.choices():
            return rng.choice(Experiment.choices()[name])
        low, high = Experiment.ranges()[name]
        if isinstance(DEFAULT[name], float):
            mixed = low * (high / low) ** rng.random() if low > 0 else 0.0
            return rng.choice([low, high, rng.uniform(low, high), mixed])
        return rng.choice([low, high, rng.randint(low, high)])

    chosen = {name: value(name) for name in DEFAULT}
    return Experiment(**chosen | {name: min(chosen[name], chosen["T"]) for name in Experiment.limited()})


def test_every_field_has_choices_or_a_range_and_a_default_in_it():
    assert {*Experiment.choices()} | {*Experiment.ranges()} == {f.name for f in fields(Experiment)}
    assert not {*Experiment.choices()} & {*Experiment.ranges()}
    assert Experiment.choices()["dataset"] == tuple(DATASETS)
    assert Experiment.choices()["schedule"] == tuple(SCHEDULES)


@pytest.mark.parametrize("seed", range(100))
def test_to_a_link_and_back(seed):
    experiment = anything(seed)
    params = experiment.to_params()
    assert all(isinstance(text, str) for text in params.values())
    assert Experiment.from_params(params) == (experiment, [])
    some = dict(random.Random(seed).sample(sorted(params.items()), 5))
    if some.keys() & set(Experiment.limited()):  # what they may be depends on T
        some["T"] = params["T"]
    back, problems = Experiment.from_params(some | {"v": params["v"]})
    assert not problems
    assert back.to_params() == DEFAULT_PARAMS | some


DEFAULT_PARAMS = Experiment().to_params()

GARBAGE = ["", " ", "nan", "inf", "-inf", "-9", "1e99", "9" * 400, "None", "spiral;drop", "<b>x</b>", "ε", "\0", "[1]"]


@each_field
@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_falls_back_to_the_default_and_is_listed(name, text):
    others = Experiment(dataset="moons", T=50, seed=3)
    experiment, problems = Experiment.from_params(others.to_params() | {name: text})
    assert experiment == replace(others, **{name: DEFAULT[name]})
    (problem,) = problems
    assert problem.name == name
    assert problem.used == DEFAULT[name]
    assert problem.allowed == Experiment.allowed(name)
    assert problem.value == text[:40]


def test_all_garbage_at_once_and_unknown_names():
    params = dict.fromkeys(DEFAULT, "?") | {"v": "2", "utm_source": "mail", "__class__": "x"}
    experiment, problems = Experiment.from_params(params)
    assert experiment == Experiment()
    assert [p.name for p in problems] == list(DEFAULT)
    assert Experiment.from_params({}) == (Experiment(), [])


OLD_DEFAULTS = {
    "schedule": "cosine",
    "target": "total",
    "features": "32",
}  # of links that name no version, or the first


@pytest.mark.parametrize("old", [{}, {"v": "1"}])
@pytest.mark.parametrize("params", [{"dataset": "moons"}, {"T": "50", "seed": "3"}, {"target": "last-step"}])
def test_an_old_link_keeps_the_old_defaults(old, params):
    experiment, problems = Experiment.from_params(params | old)
    assert problems == []
    assert experiment.to_params() == DEFAULT_PARAMS | OLD_DEFAULTS | params
    new, _ = Experiment.from_params(params | {"v": "2"})
    assert new.to_params() == DEFAULT_PARAMS | params


def test_an_old_link_falls_back_to_the_old_defaults():
    experiment, problems = Experiment.from_params({"schedule": "steep"})
    assert experiment.schedule == "cosine"
    assert [(p.name, p.used) for p in problems] == [("schedule", "cosine")]


@pytest.mark.parametrize("version", ["3", "0", "-1", "", "2.0", "two", "9" * 50])
def test_a_link_of_an_unknown_version_says_so_and_has_the_defaults_of_today(version):
    experiment, problems = Experiment.from_params({"dataset": "moons", "v": version})
    assert experiment == Experiment(dataset="moons")
    assert [(p.name, p.value, p.allowed, p.used) for p in problems] == [("v", version[:40], "1 … 2", 2)]


def test_a_link_without_settings_has_the_defaults_of_today():
    assert Experiment.from_params({"v": "1", "lang": "en"}) == (Experiment(), [])


def test_what_a_short_link_leaves_out():
    assert Experiment().changed_params() == {}
    assert Experiment(dataset="moons", T=50).changed_params() == {"v": "2", "dataset": "moons", "T": "50"}
    assert Experiment.from_params(Experiment(T=50).changed_params()) == (Experiment(T=50), [])
    assert ImageExperiment(T=50).changed_params() == {"v": "1", "T": "50"}


@pytest.mark.parametrize("name", ["points", "T", "seed", "steps", "particles"])
def test_a_broken_number_is_not_a_whole_one(name):
    assert [p.name for p in Experiment.from_params({name: "20.5"})[1]] == [name]


@pytest.mark.parametrize("name", Experiment.ranges())
def test_ends_of_a_range_are_in_and_what_is_beyond_is_refused(name):
    low, high = Experiment.ranges()[name]
    kind = type(DEFAULT[name])
    for end in (low, high):
        assert getattr(Experiment(**{"T": 1000, name: kind(end)}), name) == end
    for beyond in (low - 1, high + 1, float("nan"), float("inf"), "5", None):
        with pytest.raises(ValueError, match=name) as refused:
            Experiment(**{name: beyond})
        assert Experiment.allowed(name) in str(refused.value)


def test_ranges_in_words():
    assert Experiment.allowed("T") == "10 … 1,000"
    assert Experiment.allowed("seed") == "0 … 2,147,483,647"
    assert Experiment.allowed("lr") == "0.000001 … 1,000"
    assert Experiment.allowed("predictor") == "exact, network"


@pytest.mark.parametrize("name", Experiment.choices())
def test_an_unknown_name_is_refused(name):
    for wrong in ("", "Spiral", None, 3):
        with pytest.raises(ValueError, match=name) as refused:
            Experiment(**{name: wrong})
        assert all(choice in str(refused.value) for choice in Experiment.choices()[name])


def test_equal_experiments_are_one_key():
    a, b = Experiment(T=50), Experiment(T=50)
    assert a == b and len({a, b}) == 1
    assert len({anything(seed) for seed in range(30)}) == 30
    with pytest.raises(AttributeError):
        a.T = 10


def test_training_drops_what_training_does_not_depend_on():
    experiment = replace(anything(1), T=50, steps=0, t=0)
    same = replace(experiment, predictor="network", steps=7, particles=9, trained=11, eta=0.3, x=1.0, y=-2.0, t=5)
    assert experiment.training == same.training == same.training.training
    assert experiment.training.looked_at(predictor="network").training == experiment.training
    for name in asdict(PointTraining()):
        assert getattr(experiment.training, name) == getattr(experiment, name)
        other = replace(experiment, **{name: next(v for v in values(name) if v != getattr(experiment, name))})
        assert other.training != experiment.training


def values(name):
    return Experiment.choices().get(name) or Experiment.ranges()[name]


SMALL = Experiment(points=50, T=20, width=8, depth=1, particles=30)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_an_experiment_gives_one_picture(way, dataset):
    torch.manual_seed(1)
    a, b = (replace(SMALL, dataset=dataset) for _ in range(2))
    first = a.reverse(a.exact(), way)
    torch.manual_seed(2)
    second = b.reverse(b.exact(), way)
    assert first.x.shape == (21, 30, 2)
    assert first.x.isfinite().all()
    for one, other in zip(vars(first).values(), vars(second).values(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.end, replace(a, seed=1).reverse(a.exact(), way).end)


def test_all_ways_start_from_one_x_T_and_share_their_z():
    exact = SMALL.exact()
    runs = {way: SMALL.reverse(exact, way) for way in WAYS}
    assert all(torch.equal(run.x[0], SMALL.start()) for run in runs.values())
    # the first step of the two variances: same mean, same z, another std
    kick = {way: runs[way].x[1] - runs[way].mean[1] for way in ("ddpm", "ddpm-beta")}
    ratio = kick["ddpm-beta"] / kick["ddpm"]
    assert torch.allclose(ratio, ratio.mean().expand_as(ratio), rtol=1e-2)


def test_a_shared_training_is_the_same_bit_for_bit():
    losses = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        trainer = replace(SMALL, batch=16).trainer()
        trainer.advance(10)
        losses.append(trainer.losses)
    assert torch.equal(*losses)


def test_the_parts_are_what_the_fields_say():
    experiment = Experiment(dataset="moons", points=77, schedule="linear", T=40, strength=0.5, particles=9, steps=5)
    assert torch.equal(experiment.data(), DATASETS["moons"](77, 0))
    assert torch.allclose(experiment.noise_schedule().beta, SCHEDULES["linear"](40).beta / 2)
    assert experiment.start().shape == (9, 2)
    assert experiment.start(4).shape == (4, 2)
    assert experiment.reverse(experiment.exact(), "ddim").t.tolist() == [40, 32, 24, 16, 8, 0]
    assert len(experiment.reverse(experiment.exact(), "ddim", torch.zeros(3, 2)).end) == 3
    all_of_them = replace(experiment, steps=0)
    assert all_of_them.reverse(experiment.exact(), "ddim").t.tolist() == list(range(40, -1, -1))


@pytest.mark.parametrize("seed", range(12))
def test_anything_that_is_allowed_runs(seed):
    T = 10 + 30 * (seed % 4)
    experiment = replace(
        anything(seed), points=30, particles=20, width=8, batch=8, T=T, t=T // 3, steps=(0, 7, T)[seed % 3]
    )
    trainer = experiment.trainer()
    trainer.advance(2)
    for model in (experiment.exact(), trainer.predictor):
        for way in WAYS:
            assert experiment.reverse(model, way).x.shape[1:] == (20, 2)


@pytest.mark.parametrize("name", Experiment.limited())
def test_steps_beyond_T_fall_back_and_are_listed(name):
    experiment, problems = Experiment.from_params({"T": "50", name: "80"})
    assert (experiment.T, getattr(experiment, name)) == (50, 0)
    assert [(p.name, p.value, p.allowed) for p in problems] == [(name, "80", "0 … 50")]
    with pytest.raises(ValueError, match="at most T = 50"):
        Experiment(**{"T": 50, name: 80})


@pytest.mark.parametrize("fields", [{"T": 10.5}, {"seed": True}, {"points": 100.0}])
def test_whole_numbers_are_whole(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        Experiment(**fields)
