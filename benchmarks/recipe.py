"""What the default schedule shows and costs, and what each part of the recipe brings: python -m benchmarks.recipe"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from math import sqrt
from multiprocessing import Pool
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toydiff.data.points import DATASETS
from toydiff.diffusion.exact import Model
from toydiff.diffusion.recipe import PAPER, Recipe
from toydiff.experiments.experiment import Experiment
from toydiff.measures.clouds import Ruler, spread

STEPS = (500, 1000, 2500, 5000)  # of training, between measurements
COMPARED = ("ddpm", "ddim", "dpm-solver++")
CANDIDATES = ("log-linear", "sigmoid", "linear", "cosine")
SAMPLES = 2000
BAR_SAMPLES, BAR_SEEDS = 5000, 10  # of the rows that are compared with the bar
TIMES = (80, 60, 40, 20, 10, 5, 0)  # at which DDIM's distance from the data is measured
SHOWN_POINTS, SHOWN_PARTICLES = 600, 256  # of the home film


class Switch(NamedTuple):
    """A variant of the recipe."""

    target: str
    recipe: Recipe
    features: int = Experiment.features


OURS = Switch("stable", Recipe(antithetic_noise=False))
PLAIN = Switch("total", Recipe())
SWITCHES = {
    "the recipe": OURS,
    "without stable targets, with antithetic noise": PLAIN,
    "without either": Switch("total", OURS.recipe),
    **{
        f"without {name.replace('_', ' ')}": OURS._replace(recipe=replace(OURS.recipe, **{name: False}))
        for name in (one.name for one in fields(Recipe))
        if name != "antithetic_noise"
    },
    "with 32 Fourier features instead of 64": OURS._replace(features=32),
    "without Fourier features": OURS._replace(features=0),
    "Algorithm 1 alone": Switch("total", PAPER),
}


@cache
def ruler(dataset: str, seed: int, n: int) -> Ruler:
    """Measures samples of this data; always the same one."""
    return Ruler(Experiment(dataset=dataset, seed=seed).data(), n)


def distances(experiment: Experiment, model: Model, n: int, samplers: Iterable[str]) -> dict[str, float]:
    """Of n samples by each sampler, as multiples of the floor."""
    measure, start = ruler(experiment.dataset, experiment.seed, n), experiment.start(n)
    return {way: measure.ratio(experiment.reverse(model, way, start).end) for way in samplers}


def exactly(experiment: Experiment, n: int, samplers: Sequence[str]) -> dict[str, float]:
    """The same of the exact predictor."""
    torch.set_num_threads(1)
    return distances(experiment, experiment.exact(), n, samplers)


def trained(
    experiment: Experiment, switch: Switch, n: int, samplers: Sequence[str], steps: Sequence[int]
) -> dict[tuple[int, str], float]:
    """The same of a network, after each number of steps."""
    torch.set_num_threads(1)
    trainer = replace(experiment, target=switch.target, features=switch.features).trainer(switch.recipe)
    found: dict[tuple[int, str], float] = {}
    for step in steps:
        trainer.advance(step - trainer.step)
        found |= {(step, way): value for way, value in distances(experiment, trainer.predictor, n, samplers).items()}
    return found


def shown(experiment: Experiment) -> dict[str, float]:
    """What a film with the exact predictor shows: how many frames of mean only have .9 to .1 of the spread of the data,
    the spread at the end, and DDIM's mean distance from the data over t, as a share of that of noise."""
    torch.set_num_threads(1)
    small = replace(experiment, points=SHOWN_POINTS, particles=SHOWN_PARTICLES)
    data, model = small.data(), small.exact()
    widths = [spread(x, data) for x in small.reverse(model, "mean-only").x]
    ddim = small.reverse(model, "ddim")
    far = [_nearest(x, data) for x in ddim.x]
    share = {int(t): each / far[0] for t, each in zip(ddim.t, far, strict=True)}
    begins = next(frame for frame, width in enumerate(widths) if width < 0.9)
    return {
        "frames": float(next((frame for frame, width in enumerate(widths) if width < 0.1), len(widths)) - begins),
        "end": widths[-1],
        **{str(t): share[t] for t in TIMES},
    }


def _nearest(x: Tensor, data: Tensor) -> float:
    """The mean distance of the particles from the point of the data that is nearest to each."""
    return torch.cdist(x, data).min(1).values.mean().item()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser("python -m benchmarks.recipe", description=__doc__)
    parser.add_argument("--table", choices=tuple(TABLES), help="only this one")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean little")
    options = parser.parse_args(arguments)
    steps = (10, 20) if options.quick else STEPS
    n = 100 if options.quick else SAMPLES
    with Pool(options.processes) as pool:
        for name in (options.table,) if options.table else TABLES:
            print(f"\n## {name}\n", flush=True)
            for line in TABLES[name](pool.starmap, range(options.seeds), n, steps, options.quick):
                print(line, flush=True)
    return 0


StarMap = Callable[..., list[dict[Any, float]]]


def schedules_table(starmap: StarMap, seeds: range, n: int, steps: Sequence[int], quick: bool) -> Iterable[str]:
    """What each schedule shows and costs: means over all data sets and seeds; and DDPM on each data set alone."""
    datasets = list(DATASETS)[:1] if quick else list(DATASETS)
    cases = {
        name: [Experiment(dataset=dataset, schedule=name, seed=seed) for dataset in datasets for seed in seeds]
        for name in CANDIDATES
    }
    yield row("schedule", "frames .9-.1", "end", *(f"DDIM, t = {t}" for t in TIMES))
    yield rule(3 + len(TIMES))
    for name, experiments in cases.items():
        found = starmap(shown, [(one,) for one in experiments])
        yield row(name, *(f"{mean(each[key] for each in found):.2g}" for key in found[0]))
    yield ""
    yield row("schedule", "data", "sampler", "exact", *(f"{step:,} steps" for step in steps))
    yield rule(4 + len(steps))
    for name, experiments in cases.items():
        best = starmap(exactly, [(one, n, COMPARED) for one in experiments])
        learned = starmap(trained, [(one, OURS, n, COMPARED, steps) for one in experiments])
        runs = list(zip(experiments, best, learned, strict=True))
        for data, way in [*(("all", way) for way in COMPARED), *((dataset, "ddpm") for dataset in datasets)]:
            kept = [(known, network) for one, known, network in runs if data in ("all", one.dataset)]
            after = (f"{mean(network[step, way] for _, network in kept):.2f}" for step in steps)
            yield row(name, data, way, f"{mean(known[way] for known, _ in kept):.2f}", *after)


def switches_table(starmap: StarMap, seeds: range, n: int, steps: Sequence[int], quick: bool) -> Iterable[str]:
    """Each part of the recipe left out alone: spiral, DDPM, on the cosine schedule and on the default one."""
    n, seeds = (n, range(1)) if quick else (BAR_SAMPLES, range(BAR_SEEDS))
    usual = Experiment()
    yield row("spiral, DDPM", "schedule", *(f"{step:,} steps" for step in steps))
    yield rule(2 + len(steps))
    for schedule in ("cosine", usual.schedule):
        experiments = [replace(usual, schedule=schedule, seed=seed) for seed in seeds]
        best = starmap(exactly, [(one, n, ("ddpm",)) for one in experiments])
        yield row("the exact predictor", schedule, *[spoken([each["ddpm"] for each in best])] * len(steps))
        for name, switch in SWITCHES.items():
            learned = starmap(trained, [(one, switch, n, ("ddpm",), steps) for one in experiments])
            yield row(name, schedule, *(spoken([each[step, "ddpm"] for each in learned]) for step in steps))


def spoken(values: Sequence[float]) -> str:
    """The mean and its standard error."""
    error = f" ± {stdev(values) / sqrt(len(values)):.2f}" if len(values) > 1 else ""
    return f"{mean(values):.2f}{error}"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def rule(columns: int) -> str:
    return row(*["---"] * columns)


TABLES: Mapping[str, Callable[..., Iterable[str]]] = {
    "schedules": schedules_table,
    "switches": switches_table,
}

if __name__ == "__main__":
    sys.exit(main())
