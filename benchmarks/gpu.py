"""On a GPU: python -m benchmarks.gpu [--quick]. How fast the U-Net trains there, which share of the chip that uses, and
when its digits look right, against the CPU beside it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from math import ceil
from statistics import median
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.table import Row, interleaved, machine, markdown, seconds, skipped
from toydiff.data.images import Images, moon_phases
from toydiff.diffusion.trainer import Trainer
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.limits import limits
from toydiff.server.trained_network import EvalSettings, judge

USUAL_RUN = ImageExperiment()
GPU_SIDES = (28, 32)  # pixels: of MNIST, and of the largest set that is drawn here
# network and batch: the app's, and what keeps a GPU busy
GPU_SIZES = ((USUAL_RUN.size, USUAL_RUN.batch), ("large", 1024))
MATRIX = 8192  # rows and columns of the products that show what the chip can do
GOAL_SHARE = 0.8  # how sure the judge has to be, as a share of how sure it is of real digits
# digits that it sees, ten times as many as in the app, each time after so many steps
JUDGED_SAMPLES, STEPS_BETWEEN_LOOKS = (360, 50)
WARM = 10  # steps before anything is timed; torch.compile does its work in them


class Precision(NamedTuple):
    """A way to train: `bf16` as for `ImageExperiment.trainer`, and how the chip's peak is measured for it."""

    bf16: bool
    peak: str  # a key of PEAKS
    compiled: dict[str, Any] | None = None  # what torch.compile is told; None: nothing is compiled

    def trainer(self, experiment: ImageExperiment, images: Images, device: torch.device) -> Trainer:
        """A training that has made its first WARM steps."""
        trainer = experiment.trainer(images, device, bf16=self.bf16)
        if self.compiled is not None:
            trainer.model.compile(**self.compiled)
        trainer.advance(WARM)
        return trainer


PEAKS = {  # what the matrices are made of, and how exactly float32 is multiplied
    "bf16": (torch.bfloat16, "highest"),
    "tf32": (torch.float32, "high"),
    "float32": (torch.float32, "highest"),
}
PRECISIONS = {
    "float32": Precision(False, "tf32"),  # in which PyTorch's convolutions multiply float32 unless told not to
    "bf16": Precision(True, "bf16"),  # the app's
    "bf16, torch.compile": Precision(True, "bf16", {"dynamic": False}),
    "bf16, torch.compile with CUDA graphs": Precision(True, "bf16", {"dynamic": False, "mode": "reduce-overhead"}),
}


class Score(NamedTuple):
    """Seconds and steps of training so far, and how sure the judge is of its digits."""

    seconds: float = 0.0
    step: int = 0
    share: float = 0.0

    def __str__(self) -> str:
        reached = self.share >= GOAL_SHARE
        return f"{self.seconds:.1f} s" if reached else f"> {self.seconds:.0f} s (then {self.share:.0%} as sure)"


def spent(device: torch.device, work: Callable[[], object]) -> float:
    """Seconds until the device has done the work: a GPU is still at it when Python has gone on."""
    return seconds(lambda: (work(), getattr(torch, device.type).synchronize()))


def peak(device: torch.device, kind: str, n: int, rounds: int) -> float:
    """FLOP/s in the product of two matrices, n x n: as fast as this chip gets."""
    dtype, precision = PEAKS[kind]
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(n, n, device=device, generator=generator).to(dtype) for _ in "ab")
    with multiplied(precision):
        times = [spent(device, lambda: torch.mm(a, b)) for _ in range(3 + rounds)]
    return 2 * n**3 / median(times[3:])  # the first ones warm up


@contextmanager
def multiplied(precision: str) -> Iterator[None]:
    """How exactly matrices of float32 are multiplied inside."""
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(usual)


def flop(trainer: Trainer) -> int:
    """Floating-point operations of one more step, in matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        trainer.advance(1)
    return counter.get_total_flops()


def speeds(
    experiment: ImageExperiment, side: int, device: torch.device, peaks: Mapping[str, float], turn: float, rounds: int
) -> list[Row]:
    """A row for each way: steps per second on images of side x side, and what the chip could do. Each way has so many
    turns of so many seconds."""
    images, trainers, broken = moon_phases(side=side), {}, {}
    for name, way in PRECISIONS.items():
        try:
            trainers[name] = way.trainer(experiment, images, device)
        except RuntimeError as error:  # too little memory, or nothing to compile with
            broken[name] = str(error).splitlines()[0]
    steps = {name: ceil(turn * WARM / spent(device, partial(it.advance, WARM))) for name, it in trainers.items()}
    work = [partial(spent, device, partial(it.advance, steps[name])) for name, it in trainers.items()]
    times = dict(zip(trainers, interleaved(rounds, *work), strict=True))
    speed = {name: steps[name] / median(times[name]) for name in trainers}  # a second
    products = flop(replace(experiment, batch=2).trainer(images)) * experiment.batch / 2  # it grows with the batch
    torch.compiler.reset()  # what was compiled is of no use to another shape

    table = []
    for name, way in PRECISIONS.items():
        what = f"training steps, {side} x {side}, {experiment.size}, batch {experiment.batch:,}: {name}"
        if name in broken:
            table.append(skipped(what, broken[name]))
            continue
        most = peaks[way.peak] / products
        than_float32 = "" if name == "float32" else f"{speed[name] / speed.get('float32', torch.nan):.2f} x float32; "
        how = (
            f"{than_float32}theirs: nothing but the step's products, {products / 1e9:,.0f} GFLOP, "
            f"at the {way.peak} peak; median of {rounds} times {steps[name]:,} steps"
        )
        row = Row(what, f"{speed[name]:,.1f} a second", f"{most:,.0f} a second", f"{speed[name] / most:.1%}", how)
        table.append(row)
    return table


def race(experiment: ImageExperiment, device: torch.device, cap: float) -> Score:
    """Train on digits as the app does until the judge is sure enough, or for `cap` seconds; judging is not counted."""
    torch.set_num_threads(limits().threads if device.type == "cpu" else 1)
    images = experiment.images()
    experiment.trainer(images, device).advance(WARM)
    trainer, score = experiment.trainer(images, device), Score()
    x, jumps = experiment.start(JUDGED_SAMPLES, images.shape).to(device), min(experiment.T, EvalSettings().image_jumps)
    while score.share < GOAL_SHARE and score.seconds < cap:
        so_far = score.seconds + spent(device, partial(trainer.advance, STEPS_BETWEEN_LOOKS))
        *_, last = experiment.frames(trainer.predictor, "ddpm", x, jumps)
        score = Score(so_far, trainer.step, judge().share(images, last.x))
    return score


def digits(devices: Sequence[torch.device], seeds: int, cap: float) -> Row:
    """The row of the race: ours on the first device, theirs on the second, the median of so many seeds each."""
    scores = [[race(replace(USUAL_RUN, seed=seed), device, cap) for device in devices] for seed in range(seeds)]
    ours, theirs = (sorted(each)[seeds // 2] for each in zip(*scores, strict=True))
    both = ours.share >= GOAL_SHARE and theirs.share >= GOAL_SHARE
    precision = "bf16" if USUAL_RUN.bf16_helps(devices[1]) else "float32"
    return Row(
        f"training, digits, {USUAL_RUN.size}, batch {USUAL_RUN.batch}: "
        f"until the judge is {GOAL_SHARE:.0%} as sure as of real ones",
        str(ours),
        str(theirs),
        f"{theirs.seconds / ours.seconds:.1f} x" if both else "–",
        f"theirs: the CPU of the same machine, {limits().threads} threads, {precision}; {ours.step:,} and "
        f"{theirs.step:,} steps; {JUDGED_SAMPLES} digits, DDPM in {EvalSettings().image_jumps} jumps; "
        f"median of {seeds} seeds",
    )


def rows(device: torch.device, quick: bool = False) -> Iterator[Row]:
    """The table, line by line."""
    turn, rounds, seeds, cap = (0.1, 2, 1, 3.0) if quick else (0.5, 5, 3, 60.0)
    yield digits((device, torch.device("cpu")), seeds, cap)
    torch.set_num_threads(1)  # as in the app, where a GPU trains
    peaks = {kind: peak(device, kind, MATRIX, 4 * rounds) for kind in PEAKS}
    for kind, most in peaks.items():
        how = f"{MATRIX:,} x {MATRIX:,}, random numbers; median of {4 * rounds}"
        yield Row(f"matrix product: the {kind} peak", f"{most / 1e12:,.0f} TFLOP/s", "–", "–", how)
    for size, batch in GPU_SIZES:
        for side in GPU_SIDES:
            yield from speeds(ImageExperiment(size=size, batch=batch), side, device, peaks, turn, rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit status: 2 where there is no GPU."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean little")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("There is no GPU here that PyTorch can use: nothing was measured.", file=sys.stderr)
        return 2
    table = []
    for row in rows(torch.device("cuda"), options.quick):
        print(f"    {' | '.join(row)}", file=sys.stderr)
        table.append(row)
    print(f"- Date: {date.today().isoformat()}\n- Machine: {torch.cuda.get_device_name()}, {machine()}\n")
    print(markdown(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
