"""(a) Seconds of training until the samples look right: their distance from the data below 1.5 x its floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from time import perf_counter
from typing import NamedTuple

from torch import Tensor

from benchmarks.baselines import BASELINE_SAMPLES, Baseline, plain, smalldiffusion, toydiff
from benchmarks.table import Row, skipped
from toydiff.experiments.experiment import Experiment
from toydiff.measures.clouds import Ruler

GOAL_RATIO, PAUSE = 1.5, 0.25
RACE_DATASETS = ("spiral", "gaussians", "checkerboard")


class Finish(NamedTuple):
    """Seconds of training so far, and the distance as a multiple of its floor."""

    seconds: float = 0.0
    ratio: float = inf

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s"
            if self.ratio < GOAL_RATIO
            else f"> {self.seconds:.0f} s (then {self.ratio:.1f} x floor)"
        )


def race(racers: Mapping[str, Baseline], data: Tensor, cap: float) -> dict[str, Finish]:
    """Everybody trains in turn, for PAUSE seconds or a tenth of the time so far, until the goal or the cap."""
    ruler = Ruler(data, BASELINE_SAMPLES)
    finish = {name: Finish() for name in racers}
    for baseline in racers.values():
        next(baseline.training)
    while running := [name for name, (spent, ratio) in finish.items() if not ratio < GOAL_RATIO and spent < cap]:
        for name in running:
            spent, began = finish[name].seconds, perf_counter()
            while perf_counter() - began < max(PAUSE, spent / 10):
                next(racers[name].training)
            spent += perf_counter() - began
            finish[name] = Finish(spent, ruler.ratio(racers[name].samples()))  # not counted
    return finish


def rows(quick: bool = False) -> list[Row]:
    """Two rows per dataset. Ours is the median of three seeds; the others take so long that one must do."""
    cap, seeds = (1.0, 1) if quick else (20.0, 3)
    table = []
    for dataset in RACE_DATASETS[:1] if quick else RACE_DATASETS:
        experiment = Experiment(dataset=dataset)
        what = f"training, {dataset}"
        racers = {"ours": toydiff(experiment), "a plain loop": plain(experiment)}
        try:
            racers["smalldiffusion 0.5.0"] = smalldiffusion(experiment)
        except ImportError as error:
            table.append(skipped(f"{what}: smalldiffusion", error))
        finish = race(racers, experiment.data(), cap)
        for seed in range(1, seeds):
            again = replace(experiment, seed=seed)
            finish |= race({f"ours, seed {seed}": toydiff(again)}, again.data(), cap)
        ours = sorted(at for name, at in finish.items() if name.startswith("ours"))[seeds // 2]
        for name in [name for name in racers if name != "ours"]:
            theirs = finish[name]
            open_end = "" if theirs.ratio < GOAL_RATIO else "> "
            ratio = f"{open_end}{theirs.seconds / ours.seconds:.0f} x" if ours.ratio < GOAL_RATIO else "–"
            how = f"until SWD < {GOAL_RATIO} x floor, {BASELINE_SAMPLES:,} samples; "
            how += f"ours: median of {seeds} seeds, {name}: one"
            table.append(Row(f"{what}: {name}", str(ours), str(theirs), ratio, how))
    return table
