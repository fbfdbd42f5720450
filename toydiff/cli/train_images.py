"""Training on images from a terminal: toydiff train-images --data digits --out digits.safetensors"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import distributed

from toydiff.diffusion.trainer import Trainer
from toydiff.experiments import checkpoint
from toydiff.experiments.image_experiment import ImageExperiment, usual_device
from toydiff.text import words

SAVE_EVERY = 10.0  # seconds between two saved states, at most: a killed process loses no more
CALL = 0.5  # seconds that one call of the trainer should take, because Ctrl-C waits for its end
IMAGE_FIELDS = ("network", "size", "schedule", "T", "batch", "lr", "seed", "n")
OPTION = {"n": "--images"}  # torchrun would read --n as short for an option of its own

# Kept until the process ends. If a thread of gloo were the last to release its group, it would have to wait for itself,
# and would abort the process.
_groups: list[distributed.ProcessGroup | None] = []


class Processes:
    """All processes of one training: one, or as many as torchrun started. Number 0 prints, reads and writes."""

    def __init__(self) -> None:
        self.rank, self.local, self.count = (
            int(os.environ.get(name, usual)) for name, usual in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))
        )
        self.here = max(self.local + 1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))  # on this machine

    def device(self, name: str | None) -> torch.device:
        """The device of this process: `name`, or the best one. ValueError if there is none for it."""
        device = torch.device(name) if name else usual_device()
        if device.type == "mps" and self.count > 1 and not name:  # torch.distributed does not support MPS
            device = torch.device("cpu")
        # all processes stop together, so that number 0 can say why
        if device.type == "cuda" and not (torch.cuda.is_available() and self.here <= torch.cuda.device_count()):
            raise ValueError(words("cli.no_gpu", count=torch.cuda.device_count()))
        if device.type == "mps" and (self.count > 1 or not torch.backends.mps.is_available()):
            raise ValueError(words("cli.no_mps"))
        return torch.device("cuda", self.local) if device.type == "cuda" else device

    @contextmanager
    def together(self, device: torch.device) -> Iterator[None]:
        """Inside, the processes can communicate."""
        if self.count == 1:
            yield
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        _groups.append(distributed.group.WORLD)
        try:
            yield
        finally:
            distributed.destroy_process_group()

    def smallest(self, *numbers: int, device: torch.device) -> list[int]:
        """For each number, the smallest over all processes."""
        if self.count == 1:
            return list(numbers)
        agreed = torch.tensor(numbers, device=device)
        distributed.all_reduce(agreed, distributed.ReduceOp.MIN)
        return agreed.tolist()

    def same(self, content: bytes | None, device: torch.device) -> bytes | None:
        """The content that process 0 has read, for all processes: the others read no checkpoint."""
        if self.count == 1:
            return content
        size = -self.smallest(-len(content or b""), device=device)[0]
        found = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else torch.empty(size).byte()
        found = found.to(device)
        distributed.broadcast(found, 0)
        return found.cpu().numpy().tobytes() or None


def train_images(options: argparse.Namespace) -> int:
    """Train up to step `options.steps`, and save to `options.out`. Returns the exit status."""
    chosen = {name: getattr(options, name) for name in ("data", *IMAGE_FIELDS)}
    experiment = ImageExperiment(**{name: value for name, value in chosen.items() if value is not None})
    if options.n is None:
        experiment = replace(experiment, n=experiment.usual_size)
    if options.steps < 1:
        raise ValueError(words("cli.few_steps", steps=options.steps))
    if not 0 <= options.save_every <= 3600:
        raise ValueError(words("cli.bad_save_every", seconds=options.save_every))
    processes = Processes()
    if experiment.batch % processes.count:
        raise ValueError(words("cli.uneven", batch=experiment.batch, count=processes.count))
    device = processes.device(options.device)
    with processes.together(device):
        return _train(experiment, options, processes, device)


def _train(
    experiment: ImageExperiment,
    options: argparse.Namespace,
    processes: Processes,
    device: torch.device,
) -> int:
    out: Path = options.out
    content = out.read_bytes() if processes.rank == 0 and out.exists() else None
    content = processes.same(content, device)
    settings = {"bf16": options.bf16, "shared": processes.count > 1}
    # one process of each machine downloads the data if needed, and the others find its files
    images = experiment.images() if processes.local == 0 else None
    processes.smallest(0, device=device)
    if content:
        found = checkpoint.unpack(content, out.name)
        if not isinstance(found.experiment, ImageExperiment):
            raise ValueError(words("cli.of_points", file=out))
        _check_same(found.experiment, experiment, out)
        trainer = found.trainer(images, device, **settings)
        _say(processes, words("cli.resumed", file=out, step=f"{trainer.step:,}"))
    else:
        trainer = experiment.trainer(images, device, **settings)
    try:
        return _advance(trainer, experiment, options, processes)
    except torch.OutOfMemoryError as error:
        raise ValueError(words("cli.no_memory", file=out, batch=experiment.batch, size=experiment.size)) from error


def _advance(
    trainer: Trainer,
    experiment: ImageExperiment,
    options: argparse.Namespace,
    processes: Processes,
) -> int:
    out, steps, device = options.out, options.steps, trainer.device
    first, n, started = trainer.step, 1, time.monotonic()
    saved, writing = started, 0.0
    with _stops() as stops:
        while trainer.step < steps:
            before = time.monotonic()
            trainer.advance(min(n, steps - trainer.step))
            if trainer.diverged_at is not None:
                raise ValueError(words("cli.images_diverged", step=f"{trainer.diverged_at + 1:,}"))
            now = time.monotonic()
            if processes.rank == 0:
                bar(words("cli.training"), trainer.step, steps)
            took = now - before
            n = max(1, min(2 * n, int(n * CALL / max(took, 1e-9))))
            # every process has to make the same steps, and to stop after the same one
            n, unstopped = processes.smallest(n, int(not stops), device=device)
            if not unstopped:
                break
            if now - saved + max(took, CALL) + writing > options.save_every:  # after the next call it would be too late
                _save(trainer, experiment, out, processes)
                saved, writing = now, time.monotonic() - now
    made, seconds = trainer.step - first, time.monotonic() - started
    if made:
        _save(trainer, experiment, out, processes)
    if trainer.step < steps:
        end = "\n" if sys.stderr.isatty() else ""
        _say(processes, end + words("cli.stopped", file=out, step=f"{trainer.step:,}"))
        return 128 + max(stops, default=signal.SIGINT)
    last = trainer.losses[-100:]
    sentence = words(
        "cli.trained_images", file=out, steps=f"{trainer.step:,}", loss=f"{last.mean():.3f}", last=len(last)
    )
    _say(processes, sentence)
    if made:
        _say(processes, words("cli.speed", speed=f"{made / seconds:,.1f}", device=device.type, count=processes.count))
    return 0


def _save(trainer: Trainer, experiment: ImageExperiment, out: Path, processes: Processes) -> None:
    if processes.rank == 0:
        checkpoint.save(out, trainer, experiment)


def _check_same(found: ImageExperiment, asked: ImageExperiment, out: Path) -> None:
    """ValueError if the file's settings differ from those that are asked for."""
    theirs = asdict(found)
    other = [
        f"{OPTION.get(name, f'--{name}')} {theirs[name]}"
        for name, value in asdict(asked).items()
        if theirs[name] != value
    ]
    if other:
        raise ValueError(words("cli.other_training", file=out, settings=", ".join(other)))


@contextmanager
def _stops() -> Iterator[list[int]]:
    """A list that collects the signals that ask to stop. From the second one on, Python handles them as usual."""
    stops: list[int] = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        stops.append(number)
        for each in usual:
            signal.signal(each, usual[each])

    for number in usual:
        signal.signal(number, stop)
    try:
        yield stops
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)


def _say(processes: Processes, sentence: str) -> None:
    if processes.rank == 0:
        print(sentence, flush=True)


def leave(status: int) -> None:
    """End the process. After a training on several processes, skip Python's clean-up: a thread of gloo may still
    release a tensor, which needs a running interpreter, and would abort the process."""
    if not _groups:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def bar(what: str, done: int, total: int) -> None:
    """A bar, redrawn in place, if the output is a terminal."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{what} {'█' * (30 * done // total):30} {done:,} / {total:,}", end=end, file=sys.stderr, flush=True)


def add_train_images(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `train-images` and its options."""
    command = commands.add_parser(
        "train-images",
        help=words("cli.train_images"),
        description=words("cli.train_images_more", seconds=f"{SAVE_EVERY:g}"),
        epilog=words("cli.train_images_examples"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(run=train_images)
    default, choices = ImageExperiment(), ImageExperiment.choices()
    command.add_argument("--data", choices=choices["data"], default=default.data, help=words("cli.data"))
    command.add_argument("--steps", type=int, default=5000, metavar="N", help=words("cli.steps"))
    command.add_argument(
        "--out", type=Path, default=Path("images.safetensors"), metavar="FILE", help=words("cli.out_images")
    )
    command.add_argument(
        "--save-every", type=float, default=SAVE_EVERY, metavar="SECONDS",
        help=words("cli.save_every", seconds=f"{SAVE_EVERY:g}"),
    )  # fmt: skip
    command.add_argument("--device", choices=("cpu", "cuda", "mps"), help=words("cli.device"))
    command.add_argument("--bf16", action=argparse.BooleanOptionalAction, help=words("cli.bf16"))
    help_of = {
        "network": words("cli.network"),
        "size": words("cli.size"),
        "schedule": words("help.schedule"),
        "T": words("help.T"),
        "batch": words("cli.batch"),
        "lr": words("cli.lr"),
        "seed": words("cli.seed"),
        "n": words("cli.n"),
    }
    for name in IMAGE_FIELDS:
        usual = getattr(default, name)
        command.add_argument(
            OPTION.get(name, f"--{name}"), dest=name, type=type(usual), choices=choices.get(name),
            metavar=None if name in choices else "N", help=f"{help_of[name]} {words('cli.default', value=usual)}",
        )  # fmt: skip
