"""The diffusion Transformer's own; what it shares with the U-Net is in test_unet.py."""

import math

import pytest
import torch

from toydiff.diffusion.schedules import SCHEDULES
from toydiff.networks.dit import DiT, positions

schedule = SCHEDULES["cosine"](50)


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def outspoken(**settings):
    """All weights drawn, none 0."""
    model = DiT(schedule, **settings)
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(numbers(*p.shape, seed=i) / 8)
    return model


@pytest.mark.parametrize(
    ("shape", "patch", "count"), [((1, 8, 8), 2, 16), ((1, 16, 16), 2, 64), ((1, 28, 28), 4, 49), ((3, 9, 13), 2, 35)]
)
def test_a_picture_becomes_at_most_64_patches(shape, patch, count):
    model = outspoken(shape=shape)
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    model(numbers(2, *shape), torch.tensor([1, 2]))
    assert model.patch == patch
    assert seen == [(2, count, 64)]


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 12, 10), (3, 32, 32)])
def test_patches_come_back_to_where_they_were(shape):
    """With the blocks at work on nothing and the first and last matrix each other's inverse, the layers are the
    identity."""
    model = DiT(schedule, shape=shape)
    model.norm = torch.nn.Identity()
    with torch.no_grad():
        inside = shape[0] * model.patch**2
        model.first.weight.copy_(torch.eye(64)[:, :inside])
        model.last.weight.copy_(torch.eye(64)[:inside])
        model.first.bias.zero_()
        model.places.zero_()
    x = numbers(2, *shape)
    assert torch.equal(model.layers(x, torch.zeros(2, 8)), x)


def test_it_knows_places_only_by_their_names():
    """Without positions, columns or rows of patches that trade places take their answers along; with them not."""
    model = outspoken()
    x, t = numbers(2, 1, 8, 8), torch.tensor([5, 30])
    order = torch.tensor([6, 7, 0, 1, 2, 3, 4, 5])
    assert not torch.allclose(model(x[..., order], t), model(x, t)[..., order], atol=1e-2)
    model.places.zero_()
    assert torch.allclose(model(x[..., order], t), model(x, t)[..., order], atol=1e-4)
    assert torch.allclose(model(x[:, :, order], t), model(x, t)[:, :, order], atol=1e-4)


def test_positions_are_the_formula():
    """Vaswani et al. 2017, section 3.5, for the row and then for the column."""
    d, rows, columns = 16, 3, 5
    table = positions(rows, columns, d)
    assert table.shape == (rows * columns, d)
    for row in range(rows):
        for column in range(columns):
            expected = []
            for place in (row, column):
                angle = [place / 10_000 ** (i / (d / 4)) for i in range(d // 4)]
                expected += [math.sin(a) for a in angle] + [math.cos(a) for a in angle]
            assert table[row * columns + column].tolist() == pytest.approx(expected, abs=1e-6)
    assert len(table.unique(dim=0)) == rows * columns


def test_blocks_begin_as_nothing():
    model = DiT(schedule)
    x, time = numbers(2, 16, 64), numbers(2, 1, 64)
    for block in model.blocks:
        assert torch.equal(block(x, time), x)


def test_attention_is_softmax_of_products():
    block = outspoken().blocks[0]
    x = numbers(2, 10, 64)
    with torch.no_grad():
        q, k, value = block.qkv(x).chunk(3, dim=2)  # (2, 10, 64) each
        heads = []
        for head in (slice(0, 32), slice(32, 64)):
            share = (q[..., head] @ k[..., head].mT / 32**0.5).softmax(dim=2)
            heads.append(share @ value[..., head])
        assert torch.allclose(block.attention(x), block.out(torch.cat(heads, dim=2)), atol=1e-5)
