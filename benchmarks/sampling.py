"""(c) Points down 100 steps of DDPM, against diffusers' scheduler with the same network, schedule and noise."""

from __future__ import annotations

from functools import partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.table import Row, interleaved, seconds
from toydiff.diffusion.exact import Model
from toydiff.experiments.experiment import Experiment


def ours(experiment: Experiment, model: Model, x: Tensor) -> Tensor:
    """As the pages sample: every frame is kept."""
    return experiment.reverse(model, "ddpm", x).end


@torch.no_grad()
def diffusers(experiment: Experiment, model: Model, x: Tensor) -> Tensor:
    """The loop of diffusers' documentation. Its times run from T - 1 to 0 where ours run from T to 1."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    schedule, generator = experiment.noise_schedule(), experiment.generator(2)
    scheduler = DDPMScheduler(schedule.T, trained_betas=schedule.beta[1:].numpy(), clip_sample=False)
    scheduler.set_timesteps(schedule.T)
    for t in scheduler.timesteps:
        eps = model(x, torch.full((len(x),), int(t) + 1))
        x = scheduler.step(eps, t, x, generator=generator).prev_sample
    return x


def rows(quick: bool = False) -> list[Row]:
    """What a class samples from, and what a panel of the app shows."""
    rounds = 3 if quick else 15
    experiment = Experiment()
    model = experiment.trainer().predictor  # untrained: takes as long
    table = []
    for points in (2000, experiment.particles):
        runs = [partial(run, experiment, model, experiment.start(points)) for run in (ours, diffusers)]
        for run in runs:
            run()  # warm up
        a, b = map(median, interleaved(rounds, *(partial(seconds, run) for run in runs)))
        what = f"sampling, {points:,} points x {experiment.T} steps of DDPM"
        how = f"theirs: diffusers' DDPMScheduler, same network, same points at the end; median of {rounds}"
        table.append(Row(what, f"{1000 * a:.0f} ms", f"{1000 * b:.0f} ms", f"{b / a:.1f} x", how))
    return table
