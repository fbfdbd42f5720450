"""Checkpoints: a training goes on bit for bit, and what is not one is refused with a sentence."""

import gc
import io
import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors import torch as safetensors

from toydiff.data import user_data
from toydiff.data.images import Images
from toydiff.data.points import standardized
from toydiff.experiments import checkpoint, image_experiment
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment

tiny = ImageExperiment(network="dit", batch=4, n=20)


def trained(steps=3, experiment=tiny):
    it = experiment.trainer()
    it.advance(steps)
    return it


@pytest.fixture(scope="module")
def content():
    return checkpoint.pack(trained(), tiny)


def flat(value, name=""):
    """{name: tensor or number} of nested dicts and lists."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, part in items for k, v in flat(part, f"{name}.{key}").items()}
    return {name: value}


def alike(a, b):
    """Whether everything that two trainers go on from is the same, bit for bit."""
    a, b = (flat(it.state_dict()) for it in (a, b))
    for each in (a, b):
        del each[".optimizer.param_groups.0.lr"]  # follows from the step; set before each
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) if isinstance(a[name], torch.Tensor) else a[name] == b[name] for name in a
    )


@pytest.mark.parametrize(("network", "steps"), [("dit", 0), ("dit", 1), ("dit", 60), ("unet", 20)])
def test_a_training_goes_on_bit_for_bit(tmp_path, network, steps):
    experiment = replace(tiny, network=network, seed=5)
    it = trained(steps, experiment)
    checkpoint.save(tmp_path / "it", it, experiment)
    found = checkpoint.load(tmp_path / "it")
    again = found.trainer()
    assert found.experiment == experiment
    assert found.shape == (1, 8, 8)
    assert alike(it, again)
    it.advance(4)
    again.advance(4)
    assert again.step == steps + 4
    assert alike(it, again)
    assert os.listdir(tmp_path) == ["it"]


def test_a_training_that_exploded_stays_so():
    it = trained()
    it.diverged_at = 2
    assert checkpoint.unpack(checkpoint.pack(it, tiny), "it").trainer().diverged_at == 2


def test_the_predictor_needs_no_data(content, monkeypatch):
    monkeypatch.setitem(image_experiment.IMAGES, "digits", None)
    predictor = checkpoint.unpack(content, "it").predictor()
    monkeypatch.undo()
    x, t = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(1, 6)
    assert torch.equal(predictor(x, t), trained().predictor(x, t))
    assert not any(p.requires_grad for p in predictor.parameters())


def test_anybody_can_read_it(tmp_path):
    it = trained()
    checkpoint.save(tmp_path / "it", it, tiny)
    with safe_open(tmp_path / "it", "pt") as file:
        header = json.loads(file.metadata()["toydiff"])
        assert header["step"] == 3
        assert header["shape"] == [1, 8, 8]
        assert header["experiment"] == tiny.to_params()
        for (name, p), average in zip(it.model.named_parameters(), it.predictor.parameters(), strict=True):
            assert torch.equal(file.get_tensor(f"model.{name}"), p)
            assert torch.equal(file.get_tensor(f"average.{name}"), average)


@pytest.mark.parametrize("what", ["fsync", "replace"])
def test_a_file_that_cannot_be_finished_spares_the_old_one(tmp_path, monkeypatch, content, what):
    path = tmp_path / "it"
    path.write_bytes(content)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, what, full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, trained(5), tiny)
    assert path.read_bytes() == content
    monkeypatch.undo()
    checkpoint.save(path, trained(5), tiny)
    assert checkpoint.load(path).state["step"] == 5
    assert os.listdir(tmp_path) == ["it"]


def foreign():
    file = io.BytesIO()
    torch.save({"toydiff": 1}, file)
    yield from (b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(100), file.getvalue(), bytes(8), b"\xff" * 100)
    yield (2).to_bytes(8, "little") + b"{}"
    yield safetensors.save({"a": torch.zeros(2)})
    yield safetensors.save({"a": torch.zeros(2)}, {"format": "pt"})


@pytest.mark.parametrize("other", list(foreign()))
def test_what_is_no_checkpoint_is_refused(tmp_path, other):
    (tmp_path / "other").write_bytes(other)
    with pytest.raises(ValueError, match="other was not made by this app, or a part of it is missing"):
        checkpoint.load(tmp_path / "other")


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.999, 0.999999])
def test_a_part_is_refused(content, share):
    with pytest.raises(ValueError, match="it was not made by this app, or a part of it is missing"):
        checkpoint.unpack(content[: int(share * len(content))], "it")


def test_any_flipped_bit_is_found(content):
    header = 8 + int.from_bytes(content[:8], "little")
    draw = torch.Generator().manual_seed(0)
    places = [*range(8), *torch.randint(8, header, (60,), generator=draw).tolist()]
    places += [header, len(content) - 1, *torch.randint(header, len(content), (20,), generator=draw).tolist()]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        with pytest.raises(ValueError, match=r"it (was not made by this app|is damaged)"):
            checkpoint.unpack(bytes(damaged), "it")


def test_weights_of_another_network_are_refused():
    for other in ({"network": "unet"}, {"size": "medium"}):
        with pytest.raises(ValueError, match="it is a checkpoint, but of another version of this app or of another"):
            checkpoint.unpack(checkpoint.pack(trained(), replace(tiny, **other)), "it")


def test_data_of_another_shape_is_refused(content):
    moons = replace(tiny, data="moon-phases-16").images()
    with pytest.raises(ValueError, match=r"images 1 × 8 × 8 .*, the data has 1 × 16 × 16"):
        checkpoint.unpack(content, "it").trainer(moons)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


NO_STEPS = (-1, 2, 4, 3.0, True, None, "3", 10**18)
NO_SHAPES = ([10**9, 8, 8], [1, 8], [], [1, 20, 20], [2, 8, 8], "188", 8, [1, 8, 8.0], [[]], [0, 8, 8])
NO_EXPERIMENTS = ({"data": "nonsense"}, {"n": 3}, {"data": None}, None, nested(50))


@pytest.mark.parametrize(
    "change",
    [
        *({"step": step} for step in NO_STEPS),
        *({"shape": shape} for shape in NO_SHAPES),
        *({"experiment": experiment} for experiment in NO_EXPERIMENTS),
        {"version": 3},
        {"kind": "points"},
        {"kind": "nonsense"},
        {"diverged_at": "x"},
        {"diverged_at": 1.5},
    ],
    ids=str,
)
def test_a_forged_header_is_refused(content, change):
    """With the right sum over it: made by somebody, not by chance."""
    tensors = safetensors.load(content)
    header = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["toydiff"])
    text = json.dumps(header | change)
    forged = safetensors.save(tensors, {"toydiff": text, "sum": checkpoint._sum(text, tensors)})
    with pytest.raises(ValueError, match="another version of this app or of another network"):
        checkpoint.unpack(forged, "it")


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{}", "[" * 100_000])
def test_a_header_that_is_none_is_refused(content, text):
    tensors = safetensors.load(content)
    forged = safetensors.save(tensors, {"toydiff": text, "sum": checkpoint._sum(text, tensors)})
    with pytest.raises(ValueError, match="another version of this app or of another network"):
        checkpoint.unpack(forged, "it")


def of_their_own(kind, seed=0):
    """Somebody's own data, and small settings for it."""
    draw = torch.Generator().manual_seed(seed)
    if kind == "points":
        data = user_data.keep("mine", standardized(torch.randn(50, 2, generator=draw)))
        return data, Experiment(dataset=data.key, points=50, width=8, depth=1, batch=16)
    data = user_data.keep("mine", Images.standardized("pictures", torch.rand(20, 3, 8, 8, generator=draw)))
    return data, replace(tiny, data=data.key)


@pytest.mark.parametrize("kind", ["points", "images"])
@pytest.mark.parametrize("steps", [None, 3])
def test_a_lesson_brings_its_own_data(kind, steps):
    data, experiment = of_their_own(kind)
    content = checkpoint.pack(None if steps is None else trained(steps, experiment), experiment)
    before = trained(3, experiment)
    del data
    gc.collect()
    with pytest.raises(user_data.DatasetNotFound):
        user_data.find(getattr(experiment, experiment.user_field))
    found = checkpoint.unpack(content, "it")
    assert found.experiment == experiment
    assert user_data.find(getattr(experiment, experiment.user_field)) is found.data
    again = found.trainer()
    again.advance(3 if steps is None else 0)
    assert alike(before, again)


def test_a_training_of_points_goes_on_bit_for_bit():
    experiment = Experiment(width=8, depth=1, batch=16, predictor="network", t=7, seed=3)
    it = trained(5, experiment)
    found = checkpoint.unpack(checkpoint.pack(it, experiment), "it")
    assert (found.experiment, found.shape) == (experiment, (2,))
    x, t = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), torch.arange(1, 6)
    assert torch.equal(found.predictor()(x, t), it.predictor(x, t))
    again = found.trainer()
    again.advance(4)
    it.advance(4)
    assert alike(it, again)


def test_a_file_without_data_of_its_own_needs_it_here():
    data, experiment = of_their_own("images")
    content = checkpoint.pack(trained(1, experiment), experiment)
    tensors = safetensors.load(content)
    header = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["toydiff"])
    del tensors["data"], header["data"]
    text = json.dumps(header)
    bare = safetensors.save(tensors, {"toydiff": text, "sum": checkpoint._sum(text, tensors)})
    assert checkpoint.unpack(bare, "it").data is data
    del data
    gc.collect()
    with pytest.raises(user_data.DatasetNotFound, match="lesson file"):
        checkpoint.unpack(bare, "it")


POISONED = {
    "not a number": lambda x: x.fill_(torch.nan),
    "far out": lambda x: x.mul_(1e30),
    "other points": lambda x: x.add_(1),
}


@pytest.mark.parametrize("kind", ["points", "images"])
@pytest.mark.parametrize("poison", POISONED)
def test_poisoned_data_is_refused(kind, poison):
    held, experiment = of_their_own(kind)
    content = checkpoint.pack(None, experiment)
    assert held
    tensors = {name: value.clone() for name, value in safetensors.load(content).items()}
    POISONED[poison](tensors["data"])
    text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["toydiff"]
    forged = safetensors.save(tensors, {"toydiff": text, "sum": checkpoint._sum(text, tensors)})
    with pytest.raises(ValueError, match="another version of this app or of another network"):
        checkpoint.unpack(forged, "it")


FORGERIES = {
    "not a number": lambda tensors: tensors["average.first.bias"].fill_(torch.nan),
    "left out": lambda tensors: tensors.pop("losses"),
    "one too many": lambda tensors: tensors.update(more=torch.zeros(1)),
    "another type": lambda tensors: tensors.update(losses=tensors["losses"].double()),
    "another shape": lambda tensors: tensors.update({"model.first.bias": torch.zeros(3)}),
    "no memory": lambda tensors: tensors.pop("optimizer.exp_avg.first.bias"),
    "no generator": lambda tensors: tensors.update(generator=torch.zeros_like(tensors["generator"])),
}


@pytest.mark.parametrize("forge", FORGERIES)
def test_forged_tensors_are_refused(content, forge):
    tensors = {name: value.clone() for name, value in safetensors.load(content).items()}
    FORGERIES[forge](tensors)
    text = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["toydiff"]
    forged = safetensors.save(tensors, {"toydiff": text, "sum": checkpoint._sum(text, tensors)})
    with pytest.raises(ValueError, match="another version of this app or of another network"):
        checkpoint.unpack(forged, "it")
