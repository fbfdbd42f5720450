"""A training as a file: safetensors, that is numbers and a header of text. Nothing in it can run.

The tensors are those of `Trainer.state_dict()`; the header has the step, the settings and a sum over everything.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from toydiff.exact import Model
from toydiff.image_experiment import ImageExperiment
from toydiff.images import Images
from toydiff.text import words
from toydiff.training import Trainer
from toydiff.unet import MAX_SIDE

VERSION = 1
MEMORY = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file held; that it all fits together has been checked."""

    experiment: ImageExperiment
    shape: tuple[int, ...]  # (C, H, W): of one image
    state: dict[str, Any]  # of a Trainer

    def trainer(self, images: Images | None = None, device: torch.device | str = "cpu", **options: bool) -> Trainer:
        """The training, ready to go on; arguments as for `ImageExperiment.trainer`."""
        images = self.experiment.images() if images is None else images
        if images.shape != self.shape:
            raise ValueError(words("cli.other_shape", shape=_across(self.shape), other=_across(images.shape)))
        trainer = self.experiment.trainer(images, device, **options)
        trainer.load_state_dict(self.state)
        return trainer

    def predictor(self, device: torch.device | str = "cpu") -> Model:
        """The network with the averaged weights: what samples. It needs no data."""
        model = self.experiment.model(self.shape).eval().requires_grad_(False)
        for p, average in zip(model.parameters(), self.state["average"], strict=True):
            p.copy_(average)
        return model.to(device)


def save(path: Path, trainer: Trainer, experiment: ImageExperiment) -> None:
    """Write all of it or nothing: whenever the process dies, the file is whole, the old one or the new one."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(pack(trainer, experiment))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def load(path: Path) -> Checkpoint:
    """ValueError, with a sentence, for what is not a whole checkpoint of this app."""
    return unpack(path.read_bytes(), path.name)


def pack(trainer: Trainer, experiment: ImageExperiment) -> bytes:
    """The content of the file."""
    header = {
        "version": VERSION,
        "experiment": experiment.to_params(),
        "shape": trainer.data.shape[1:],
        "step": trainer.step,
        "diverged_at": trainer.diverged_at,
    }
    text, tensors = json.dumps(header), _flat(trainer)
    return safetensors.save(tensors, {"toydiff": text, "sum": _sum(text, tensors)})


def unpack(content: bytes, name: str) -> Checkpoint:
    """Read what `pack` wrote; `name` is for the message. ValueError for anything else."""
    try:
        tensors = safetensors.load(content)
        start = 8 + int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8:start])["__metadata__"]
        text = metadata["toydiff"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(words("cli.foreign", file=name)) from error
    if metadata.get("sum") != _sum(text, tensors):
        raise ValueError(words("cli.damaged", file=name))
    try:
        header = json.loads(text)
        experiment, problems = ImageExperiment.from_params(header["experiment"])
        if header["version"] != VERSION or problems:
            raise ValueError(f"version {header['version']}, {problems}")
        shape = tuple(header["shape"])
        state = _state(tensors, experiment, shape, header["step"], header["diverged_at"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(words("cli.no_fit", file=name)) from error
    return Checkpoint(experiment, shape, state)


def _flat(trainer: Trainer) -> dict[str, Tensor]:
    """A `Trainer.state_dict()` as tensors with names."""
    state, names = trainer.state_dict(), _names(trainer)
    flat = {name: state[name] for name in ("losses", "generator", "extra")}
    flat |= {f"model.{name}": value for name, value in state["model"].items()}
    flat |= {f"average.{name}": value for name, value in zip(names, state["average"], strict=True)}
    for i, memory in state["optimizer"]["state"].items():
        flat |= {f"optimizer.{key}.{names[i]}": memory[key] for key in MEMORY}
    return {name: value.cpu().contiguous() for name, value in flat.items()}


def _state(
    tensors: dict[str, Tensor],
    experiment: ImageExperiment,
    shape: tuple[int, ...],
    step: int,
    diverged_at: int | None,
) -> dict[str, Any]:
    """Back to a `Trainer.state_dict()`. ValueError, KeyError or RuntimeError if it is not one of this network."""
    if max(shape) > MAX_SIDE or type(step) is not int or type(diverged_at) not in (int, type(None)):
        raise ValueError(f"shape {shape}, step {step}, diverged at {diverged_at}")
    model = experiment.model(shape)
    trainer = Trainer(model, torch.zeros(1, *shape), experiment.noise_schedule())
    state, names = trainer.state_dict(), _names(trainer)

    kinds = {name: (value.dtype, value.shape) for name, value in _flat(trainer).items()}
    kinds["losses"] = torch.float32, torch.Size([step])
    if step:
        for name, p in model.named_parameters():
            kinds |= {f"optimizer.{key}.{name}": (p.dtype, p.shape) for key in MEMORY}
            kinds[f"optimizer.step.{name}"] = torch.float32, torch.Size()
    if {name: (value.dtype, value.shape) for name, value in tensors.items()} != kinds:
        raise ValueError("not the tensors of this network")
    for name in ("generator", "extra"):
        torch.Generator().set_state(tensors[name])  # fails if it is none

    state |= {name: tensors[name] for name in ("losses", "generator", "extra")}
    state |= {"step": step, "diverged_at": diverged_at}
    state["model"] = {name: tensors[f"model.{name}"] for name in state["model"]}
    state["average"] = [tensors[f"average.{name}"] for name in names]
    if step:
        state["optimizer"]["state"] = {
            i: {key: tensors[f"optimizer.{key}.{name}"] for key in MEMORY} for i, name in enumerate(names)
        }
    return state


def _names(trainer: Trainer) -> list[str]:
    return [name for name, _ in trainer.model.named_parameters()]


def _sum(text: str, tensors: dict[str, Tensor]) -> str:
    """CRC-32 of the header's text and of every tensor with its name: finds any damage, not malice."""
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        value = tensors[name]
        crc = zlib.crc32(f"{name} {value.dtype} {list(value.shape)}".encode(), crc)
        crc = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def _across(shape: tuple[int, ...]) -> str:
    return " × ".join(str(side) for side in shape)
