"""Networks for images: what both must do, then the U-Net's own."""

import pytest
import torch
from sklearn.datasets import load_digits

from toydiff.data.points import standardized
from toydiff.diffusion.samplers import reverse
from toydiff.diffusion.schedules import SCHEDULES
from toydiff.diffusion.trainer import Trainer
from toydiff.diffusion.training import draw_examples
from toydiff.networks.registry import IMAGE_MODELS
from toydiff.networks.unet import WIDTHS, Attention, UNet

everyone = pytest.mark.parametrize("name", IMAGE_MODELS)
schedule = SCHEDULES["cosine"](50)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outspoken(name, shape=(1, 8, 8), schedule=schedule, **settings):
    """A network whose layers have something to say: what starts at 0 is drawn too."""
    model = IMAGE_MODELS[name](schedule, shape=shape, **settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            if not p.any():
                p.normal_(0, 0.1, generator=generator)
    return model


def v(model, x, t, schedule=schedule):
    """What the layers answer: eps = noise * x + signal * v solved for v."""
    signal, noise = schedule.rates(t, x)
    return (model(x, t) - noise * x) / signal


@everyone
@pytest.mark.parametrize("size", WIDTHS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 16, 16), (1, 28, 28), (3, 32, 32), (1, 9, 13), (1, 1, 2)])
def test_answers_have_the_shape_of_the_question(name, size, shape):
    model = outspoken(name, shape, size=size)
    for batch in (1, 3):
        answer = model(numbers(batch, *shape), torch.arange(1, batch + 1))
        assert answer.shape == (batch, *shape) and answer.isfinite().all()


@everyone
def test_as_large_as_it_says(name):
    count = [sum(p.numel() for p in IMAGE_MODELS[name](schedule, size=size).parameters()) for size in WIDTHS]
    for n, millions in zip(count, (0.3, 1.3, 5), strict=True):
        assert n == pytest.approx(1e6 * millions, rel=0.3)


@everyone
def test_a_seed_gives_one_network_and_leaves_the_global_seed_alone(name):
    state = torch.get_rng_state()
    first, second, other = (IMAGE_MODELS[name](schedule, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    x, t = numbers(3, 1, 8, 8), torch.tensor([1, 20, 50])
    assert torch.equal(first(x, t), second(x, t))
    for (key, a), b, c in zip(
        first.state_dict().items(), *(m.state_dict().values() for m in (second, other)), strict=True
    ):
        assert torch.equal(a, b), key
        assert c.isfinite().all() and c.abs().max() <= 1, key
        alike = "norm" in key or not a.any() or key.startswith("last.0")
        assert torch.equal(a, c) == alike, key


@everyone
def test_at_first_the_layers_have_nothing_to_say(name):
    model = IMAGE_MODELS[name](schedule)
    x, t = numbers(50, 1, 8, 8), torch.arange(1, 51)
    assert torch.equal(model(x, t), schedule.rates(t, x)[1] * x)


@everyone
def test_every_parameter_learns(name):
    model = IMAGE_MODELS[name](schedule)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, t = numbers(16, 1, 8, 8), torch.arange(1, 17)
    # the last layer begins at 0, so what is before it learns from the second step on; in the DiT the blocks from the
    # third on, for their shares begin at 0 as well
    for _ in range(3 if name == "dit" else 2):
        optimizer.zero_grad()
        (model(x, t) - numbers(16, 1, 8, 8, seed=1)).square().mean().backward()
        optimizer.step()
    still = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not still


@everyone
def test_it_knows_t(name):
    """Not only by the mix around the layers."""
    answers = v(outspoken(name), numbers(1, 1, 8, 8).expand(4, -1, -1, -1), torch.tensor([1, 10, 25, 50]))
    for i in range(3):
        assert (answers[i] - answers[i + 1]).abs().max() > 1e-3


@everyone
def test_time_is_the_signal_to_noise_ratio(name):
    """One network for every schedule: the same weights, the same ratio at another t, the same answer."""
    other = SCHEDULES["cosine"](100)
    first, second = outspoken(name), IMAGE_MODELS[name](other)
    second.load_state_dict(first.state_dict())
    x, t = numbers(5, 1, 8, 8), torch.tensor([5, 10, 20, 30, 40])
    assert torch.allclose(schedule.alpha_bar[t], other.alpha_bar[2 * t])
    assert torch.allclose(first(x, t), second(x, 2 * t), atol=1e-5)


@everyone
def test_rows_do_not_see_each_other(name):
    model = outspoken(name)
    x, t = numbers(50, 1, 8, 8), torch.arange(1, 51)
    together = model(x, t)
    for i in (0, 25, 49):
        assert torch.allclose(model(x[i : i + 1], t[i : i + 1])[0], together[i], atol=1e-5)
        changed = x.clone()
        changed[i] += 1
        differs = (model(changed, t) - together).abs().flatten(1).amax(1) > 1e-5
        assert differs.nonzero().tolist() == [[i]]


@everyone
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_every_pixel_sees_every_pixel(name, shape):
    """The corners too, and whatever the channel."""
    model = outspoken(name, shape)
    x = numbers(1, *shape).requires_grad_()
    v(model, x, torch.tensor([25]))[0, 0, 0, 0].backward()
    assert (x.grad != 0).all()


@everyone
def test_eval_is_train(name):
    model = outspoken(name)
    x, t = numbers(4, 1, 8, 8), torch.arange(1, 5)
    assert torch.equal(model.train()(x, t), model.eval()(x, t))


@everyone
def test_layout_and_precision_change_only_the_last_digits(name):
    model = outspoken(name, (3, 16, 16))
    x, t = numbers(4, 3, 16, 16), torch.tensor([1, 10, 25, 50])
    answer = model(x, t)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(x, t)
    assert rough.dtype == torch.float32  # the mix is exact: near t = T an error of x0 is not multiplied
    assert torch.allclose(rough, answer, atol=0.2)
    model.to(memory_format=torch.channels_last)
    assert torch.allclose(model(x.contiguous(memory_format=torch.channels_last), t), answer, atol=1e-4)


@everyone
def test_all_of_it_follows_to_another_device(name):
    """On "meta" there are only shapes, but a tensor left behind on the CPU is an error there as on a graphics card."""
    model = outspoken(name).to("meta")
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"meta"}
    answer = model(torch.empty(2, 1, 8, 8, device="meta"), torch.zeros(2, dtype=torch.long, device="meta"))
    assert answer.device.type == "meta" and answer.shape == (2, 1, 8, 8)


@everyone
def test_what_is_saved_is_what_is_loaded(name, tmp_path):
    model, other = outspoken(name, seed=1), IMAGE_MODELS[name](schedule, seed=2)
    torch.save(model.state_dict(), tmp_path / "weights")
    other.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    x, t = numbers(4, 1, 8, 8), torch.arange(1, 5)
    assert torch.equal(model(x, t), other(x, t))
    assert set(model.state_dict()) == {key for key, _ in model.named_parameters()}  # no schedule in it


@pytest.mark.slow
@everyone
def test_it_learns_eight_digits(name):
    digits = standardized(torch.from_numpy(load_digits().images[:8])[:, None])
    it = Trainer(IMAGE_MODELS[name](schedule), digits, schedule, batch=32, lr=4e-3)
    x0, eps, t = draw_examples(digits, schedule, 256, torch.Generator().manual_seed(1))
    x = schedule.noised(x0, eps, t)
    before = (it.model(x, t) - eps).square().mean()
    it.advance(60)
    assert (it.model(x, t) - eps).square().mean() < 0.9 * before
    *_, end = reverse(it.predictor, schedule, numbers(3, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    assert end.x.shape == (3, 1, 8, 8) and end.x.isfinite().all()


@everyone
def test_a_wrong_size_is_refused(name):
    with pytest.raises(ValueError, match="size must be one of small, medium, large, not huge"):
        IMAGE_MODELS[name](schedule, size="huge")


@everyone
@pytest.mark.parametrize("shape", [(2,), (8, 8), (0, 8, 8), (1, 0, 8), (1, 8, 65), (1, 1, 8, 8)])
def test_a_wrong_shape_is_refused(name, shape):
    with pytest.raises(ValueError, match="no side above 64, not "):
        IMAGE_MODELS[name](schedule, shape=shape)


# The U-Net.


@pytest.mark.parametrize(
    ("side", "halvings", "coarsest"), [(2, 1, 1), (8, 1, 4), (9, 1, 5), (16, 1, 8), (28, 2, 7), (64, 3, 8)]
)
def test_it_goes_down_to_8_pixels_a_side(side, halvings, coarsest):
    model = UNet(schedule, shape=(1, side, side))
    assert len(model.down) == len(model.up) == halvings
    seen = []
    model.bottom[1].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[2:]))
    model(numbers(1, 1, side, side), torch.tensor([1]))
    assert seen == [(coarsest, coarsest)]


def attentive():
    """Attention that has learned something."""
    attention = Attention(64)
    with torch.no_grad():
        for i, p in enumerate(attention.parameters()):
            p.copy_(numbers(*p.shape, seed=i) / 8)
    return attention


def test_attention_is_softmax_of_products():
    attention = attentive()
    x = numbers(2, 64, 3, 5)
    with torch.no_grad():
        q, k, value = attention.qkv(attention.norm(x)).flatten(2).chunk(3, dim=1)  # (2, 64, 15) each
        heads = []
        for head in (slice(0, 32), slice(32, 64)):
            share = (torch.einsum("bci,bcj->bij", q[:, head], k[:, head]) / 32**0.5).softmax(dim=2)
            heads.append(torch.einsum("bij,bcj->bci", share, value[:, head]))
        expected = x + attention.out(torch.cat(heads, dim=1).reshape(x.shape))
        assert torch.allclose(attention(x, None), expected, atol=1e-5)


def test_a_place_that_is_alone_sees_itself(monkeypatch):
    """In images of two pixels. PyTorch does not do it on every GPU."""

    def refused(*_):
        raise RuntimeError("query is not correctly aligned (strideM)")

    attention, x = attentive(), numbers(2, 64, 1, 1)
    expected = attention(x.expand(-1, -1, 1, 2), None)[..., :1]  # both of two equal places see the same
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", refused)
    assert torch.allclose(attention(x, None), expected, atol=1e-6)
    with pytest.raises(RuntimeError, match="aligned"):
        attention(numbers(2, 64, 1, 2), None)
