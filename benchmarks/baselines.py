"""Who races in (a): this project, the loop one writes first, and the package from which its film comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from toydiff.diffusion.samplers import reverse
from toydiff.experiments.experiment import Experiment

BASELINE_SAMPLES = 5000


class Baseline(NamedTuple):
    """Somebody who trains: the first `next(training)` prepares, each further one is some steps."""

    training: Iterator[object]
    samples: Callable[[], Tensor]  # (BASELINE_SAMPLES, 2), from the network as it is now


def toydiff(experiment: Experiment) -> Baseline:
    """This project, as its pages use it."""
    trainer, x = experiment.trainer(), experiment.start(BASELINE_SAMPLES)

    def training() -> Iterator[None]:
        while True:
            yield
            trainer.advance(20)

    return Baseline(training(), lambda: experiment.reverse(trainer.predictor, "ddpm", x).end)


def plain(experiment: Experiment) -> Baseline:
    """Algorithm 1 as one writes it for the first time: DataLoader, Adam, uniform t, a list of losses. Layers, batch,
    schedule and sampler are ours; t enters as t / T."""
    torch.manual_seed(experiment.seed)
    width, schedule = experiment.width, experiment.noise_schedule()
    alpha_bar, T = schedule.alpha_bar.float(), schedule.T
    net = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(experiment.data()), batch_size=experiment.batch, shuffle=True)
    losses = []

    def model(x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = net(torch.cat([x, t[:, None] / T], dim=1))
        return out

    def training() -> Iterator[None]:
        while True:
            for (x0,) in loader:
                yield
                t, eps = torch.randint(1, T + 1, (len(x0),)), torch.randn_like(x0)
                a = alpha_bar[t][:, None]
                loss = nn.functional.mse_loss(model(a.sqrt() * x0 + (1 - a).sqrt() * eps, t), eps)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())

    def samples() -> Tensor:
        *_, last = reverse(model, schedule, torch.randn(BASELINE_SAMPLES, 2))
        return last.x

    return Baseline(training(), samples)


def smalldiffusion(experiment: Experiment) -> Baseline:
    """The package from PyPI, with every number of the toy example in its README; only the data is ours.
    https://github.com/yuanchenyang/smalldiffusion#toy-models"""
    sys.modules["torchvision"] = MagicMock()  # asked for by its picture data sets, which have no part in this
    try:
        from smalldiffusion import ScheduleLogLinear, Swissroll, TimeInputMLP, diffusion, samples, training_loop
    finally:
        del sys.modules["torchvision"]

    diffusion.tqdm = iter  # no progress bar across our table
    torch.manual_seed(experiment.seed)
    dataset = Swissroll(0, 1, 1)
    dataset.vals = experiment.data()
    loader = DataLoader(dataset, batch_size=2048)
    model = TimeInputMLP(hidden_dims=(16, 128, 128, 128, 128, 16))
    schedule = ScheduleLogLinear(N=200, sigma_min=0.005, sigma_max=10)
    trainer = training_loop(loader, model, schedule, epochs=10**9)

    def sample() -> Tensor:
        *_, x0 = samples(model, schedule.sample_sigmas(20), gam=2, batchsize=BASELINE_SAMPLES)
        return x0

    return Baseline((ns.loss.item() for ns in trainer), sample)
