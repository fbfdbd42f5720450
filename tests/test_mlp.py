"""Networks: one interface, a seed of their own, and as large as they say."""

import pytest
import torch

from toydiff.diffusion.schedules import SCHEDULES
from toydiff.networks.mlp import MLP
from toydiff.networks.registry import MODELS

everyone = pytest.mark.parametrize("name", MODELS)
schedule = SCHEDULES["cosine"](50)


@everyone
def test_answers_have_the_shape_of_the_question(name):
    model = MODELS[name](schedule)
    for size in (1, 2, 7):
        answer = model(torch.randn(size, 2), torch.randint(1, 51, (size,)))
        assert answer.shape == (size, 2) and answer.isfinite().all()


@everyone
def test_rows_do_not_see_each_other(name):
    model = MODELS[name](schedule)
    x, t = torch.randn(50, 2), torch.arange(1, 51)
    together = model(x, t)
    for i in (0, 25, 49):
        assert torch.allclose(model(x[i : i + 1], t[i : i + 1])[0], together[i], atol=1e-5)


@everyone
def test_a_seed_gives_one_network_and_leaves_the_global_seed_alone(name):
    state = torch.get_rng_state()
    first, second, other = (MODELS[name](schedule, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for a, b, c in zip(first.state_dict().values(), second.state_dict().values(), other.parameters(), strict=False):
        assert torch.equal(a, b)
        assert c.isfinite().all()
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@everyone
def test_every_parameter_learns(name):
    model = MODELS[name](schedule)
    model(torch.randn(64, 2), torch.randint(1, 51, (64,))).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_mlp_is_as_wide_and_deep_as_it_says():
    for depth, width in ((1, 4), (3, 128), (8, 16)):
        matrices = [p for p in MLP(schedule, width=width, depth=depth).parameters() if p.ndim == 2]
        assert len(matrices) == depth + 1
        assert [len(m) for m in matrices] == [width] * depth + [2]


def test_mlp_knows_t_unless_it_is_not_told():
    x = torch.randn(1, 2).expand(2, 2)
    for name, knows in (("mlp", True), ("mlp-no-time", False)):
        model = MODELS[name](schedule)
        seen = []
        model.net.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        answers = model(x, torch.tensor([5, 40]))
        assert torch.equal(seen[0][0], seen[0][1]) != knows
        # and nothing around the layers tells it either
        assert torch.allclose(answers[0], answers[1], atol=1e-5) != knows


@pytest.mark.parametrize("name", ["width", "depth"])
@pytest.mark.parametrize("value", [-1, 0, 1000])
def test_a_wrong_size_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be between . and "):
        MLP(schedule, **{name: value})
