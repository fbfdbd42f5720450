"""The settings of a training on images: refused when wrong, the same after a trip through text."""

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from toydiff.data.images import IMAGES
from toydiff.experiments.image_experiment import CLIP, ImageExperiment, usual_device

wrong = [(name, "nonsense") for name in ImageExperiment.choices()]
for name, ends in ImageExperiment.ranges().items():
    kind = type(getattr(ImageExperiment, name))
    wrong += [(name, kind(ends[0]) - 1), (name, kind(ends[1]) + 1), (name, float("nan")), (name, "1"), (name, True)]


def test_every_field_has_its_limits():
    assert {*ImageExperiment.choices(), *ImageExperiment.ranges()} == set(asdict(ImageExperiment()))


@pytest.mark.parametrize(("name", "value"), [*wrong, ("batch", 8.0)])
def test_a_wrong_value_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be {ImageExperiment.allowed(name)[:5]}"):
        replace(ImageExperiment(), **{name: value})


def test_there_and_back_as_text():
    one = ImageExperiment("moon-phases-16", "dit", "medium", "linear", 50, 64, 1.5e-3, 7, 300)
    assert ImageExperiment.from_params(one.to_params()) == (one, [])
    assert all(isinstance(value, str) for value in one.to_params().values())
    assert hash(one) != hash(ImageExperiment())


bad_text = [(name, "nonsense") for name in asdict(ImageExperiment())]
bad_text += [
    (name, text) for name in ImageExperiment.ranges() for text in ("-1", "nan", "1e999", "9" * 5000, "", "1 000")
]
bad_text += [("batch", "8.0"), ("T", "True")]


@pytest.mark.parametrize(("name", "text"), bad_text)
def test_wrong_text_falls_back_and_is_listed(name, text):
    other = "seed" if name != "seed" else "T"
    experiment, problems = ImageExperiment.from_params({name: text, other: "17", "more": "?"})
    assert [problem.name for problem in problems] == [name]
    assert getattr(experiment, name) == getattr(ImageExperiment, name) == problems[0].used
    assert getattr(experiment, other) == 17


@pytest.mark.parametrize("network", ImageExperiment.choices()["network"])
def test_it_trains(network):
    experiment = ImageExperiment(network=network, batch=16, n=50, seed=3)
    images = experiment.images()
    a, b = experiment.trainer(), experiment.trainer(images, bf16=experiment.bf16_helps("cpu"))
    assert a.data.shape == (50, 1, 8, 8)
    assert a.schedule.T == 100
    for it in (a, b):
        it.advance(5)
    assert torch.equal(a.losses, b.losses)
    assert a.losses[-1] < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(IMAGES.keys() - {"mnist", "fashion-mnist"}))
def test_as_many_images_as_the_set_usually_has(name):
    assert ImageExperiment(name).usual_size == len(IMAGES[name]().x)


def test_bf16_is_for_cpus_that_multiply_it_and_for_the_unet(monkeypatch):
    for able in ({"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_bf16": False}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert ImageExperiment(network="unet").bf16_helps("cpu") == any(able.values())
        assert not ImageExperiment(network="dit").bf16_helps("cpu")
        assert not ImageExperiment().bf16_helps("mps")


def test_the_best_device_there_is(monkeypatch):
    for cuda, mps, best in ((True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert usual_device().type == best


def test_gradients_are_clipped(monkeypatch):
    asked = []
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda _, most: asked.append(most))
    ImageExperiment(batch=4, n=10).trainer().advance(2)
    assert asked == [CLIP, CLIP]


@pytest.mark.parametrize("network", ImageExperiment.choices()["network"])
def test_work_grows_with_the_batch_the_size_and_the_image(network):
    usual = ImageExperiment(network=network)
    shape = (1, 8, 8)
    assert replace(usual, batch=256).work(shape) == 2 * usual.work(shape)
    sizes = [replace(usual, size=size).work(shape) for size in ("small", "medium", "large")]
    assert sizes[0] < sizes[1] < sizes[2]
    assert usual.work((1, 16, 16)) > 2 * usual.work(shape)


@pytest.mark.parametrize("network", ImageExperiment.choices()["network"])
@pytest.mark.parametrize("size", ["small", "medium"])
def test_work_is_what_torch_counts(network, size):
    experiment, shape = ImageExperiment(network=network, size=size, batch=2), (1, 16, 16)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        experiment.model(shape)(torch.zeros(2, *shape), torch.ones(2, dtype=torch.long))
    assert 2 * experiment.work(shape) == pytest.approx(counter.get_total_flops(), rel=0.15)  # and attention


def test_a_run_down_frame_by_frame_is_the_collected_one():
    experiment = ImageExperiment(T=10)
    x = experiment.start(3, (1, 8, 8))
    model = experiment.model((1, 8, 8)).eval()
    *_, last = experiment.frames(model, "ddpm", x)
    assert last.x.equal(experiment.reverse(model, "ddpm", x).end)
    assert last.t == 0
