"""A lesson as a file: settings, a training, and data of one's own. safetensors, that is numbers and a header of text:
nothing in it can run.

The tensors are those of `Trainer.state_dict()`; the header has the step, the settings and a sum over everything.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from toydiff.data import user_data
from toydiff.data.images import MAX_IMAGES, Images
from toydiff.data.points import MAX_POINTS, MIN_POINTS
from toydiff.data.user_data import UserDataset
from toydiff.diffusion.exact import Model
from toydiff.diffusion.speedups.averaged_weights import frozen
from toydiff.diffusion.trainer import Trainer
from toydiff.experiments.experiment import Experiment, PointTraining
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.networks.image_model import MAX_SIDE
from toydiff.text import words

Lesson = Experiment | ImageExperiment

FILE_VERSION = 2
DATA = "data"  # the tensor of a user's data set
KINDS: dict[str, type[Lesson]] = {"points": Experiment, "images": ImageExperiment}
FARTHEST = 1e4  # data has variance 1: what lies farther out is no data
MEMORY = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file held; that it all fits together has been checked."""

    experiment: Lesson
    shape: tuple[int, ...]  # of what was trained: (2,), or (C, H, W)
    state: dict[str, Any] | None  # of a Trainer; None: nothing was trained
    data: UserDataset | None  # the user's data set; the experiment finds it as long as this object is held

    def trainer(self, images: Images | None = None, device: torch.device | str = "cpu", **options: bool) -> Trainer:
        """The training, ready to go on; arguments as for `ImageExperiment.trainer`, for images only."""
        if isinstance(self.experiment, ImageExperiment):
            images = self.experiment.images() if images is None else images
            if self.state is not None and images.shape != self.shape:
                raise ValueError(words("cli.other_shape", shape=_across(self.shape), other=_across(images.shape)))
            trainer = self.experiment.trainer(images, device, **options)
        else:
            trainer = self.experiment.trainer()
        if self.state is not None:
            trainer.load_state_dict(self.state)
        return trainer

    def predictor(self, device: torch.device | str = "cpu") -> Model:
        """The network with the averaged weights: what samples. It needs no data."""
        model = _model(self.experiment, self.shape)
        return frozen(model, model.parameters() if self.state is None else self.state["average"]).to(device)


def save(path: Path, trainer: Trainer, experiment: PointTraining | ImageExperiment) -> None:
    """Write all of it or nothing: whenever the process dies, the file is whole, the old one or the new one."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(pack(trainer, experiment))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:  # a full disk: what is there of it is of no use, and in the way
        part.unlink(missing_ok=True)
        raise


def load(path: Path) -> Checkpoint:
    """ValueError, with a sentence, for what is not a whole checkpoint of this app."""
    return unpack(path.read_bytes(), path.name)


def pack(trainer: Trainer | None, experiment: PointTraining | ImageExperiment) -> bytes:
    """The content of the file; without a trainer, of a lesson in which nothing was trained. A user's data set is in
    it too. DatasetNotFound if that is not here."""
    data = experiment.user_dataset
    header: dict[str, Any] = {
        "version": FILE_VERSION,
        # a training on points is stored as the Experiment that shows it
        "kind": next(name for name, kind in KINDS.items() if issubclass(kind, type(experiment))),
        "experiment": experiment.to_params(),
        "shape": trainer.data.shape[1:] if trainer else None,
        "step": trainer.step if trainer else None,
        "diverged_at": trainer.diverged_at if trainer else None,
    }
    tensors = _flat(trainer) if trainer else {}
    if data is not None:
        images = data.data if isinstance(data.data, Images) else None
        header["data"] = {"name": data.name} | ({"mean": images.mean, "scale": images.scale} if images else {})
        tensors[DATA] = data.data.x if isinstance(data.data, Images) else data.data
    text = json.dumps(header)
    return safetensors.save(tensors, {"toydiff": text, "sum": _sum(text, tensors)})


def unpack(content: bytes, name: str) -> Checkpoint:
    """Read what `pack` wrote; `name` is for the message. ValueError for anything else."""
    try:
        tensors = safetensors.load(content)
        start = 8 + int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8:start])["__metadata__"]
        text = metadata["toydiff"]
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(words("cli.foreign", file=name)) from error
    if metadata.get("sum") != _sum(text, tensors):
        raise ValueError(words("cli.damaged", file=name))
    try:
        header = json.loads(text)
        experiment, problems = KINDS[header.get("kind", "images")].from_params(header["experiment"])
        if header["version"] not in (1, FILE_VERSION) or problems:
            raise ValueError(f"version {header['version']}, {problems}")
        data = _data(tensors.pop(DATA, None), experiment, header.get("data"))
        if header["step"] is None and not tensors:
            shape, state = (), None
        else:
            shape = tuple(header["shape"])
            state = _state(tensors, experiment, shape, header["step"], header["diverged_at"])
    except user_data.DatasetNotFound:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ValueError(words("cli.no_fit", file=name)) from error
    return Checkpoint(experiment, shape, state, data)


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
    experiment: Lesson,
    shape: tuple[int, ...],
    step: int,
    diverged_at: int | None,
) -> dict[str, Any]:
    """Back to a `Trainer.state_dict()`. ValueError, KeyError or RuntimeError if it is not one of this network."""
    if max(shape) > MAX_SIDE or type(step) is not int or type(diverged_at) not in (int, type(None)):
        raise ValueError(f"shape {shape}, step {step}, diverged at {diverged_at}")
    model = _model(experiment, shape)
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
    if diverged_at is None and not all(value.isfinite().all() for value in tensors.values()):
        raise ValueError("a network that answers nothing")
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


def _model(experiment: Lesson, shape: tuple[int, ...]) -> nn.Module:
    if isinstance(experiment, ImageExperiment):
        return experiment.model(shape)
    if shape != (2,):
        raise ValueError(f"shape {shape}")
    return experiment.model()


def _data(x: Tensor | None, experiment: Lesson, header: dict[str, Any] | None) -> UserDataset | None:
    """The user's data set, if the experiment names one. ValueError if it is missing or no data."""
    key = getattr(experiment, experiment.user_field)
    if not user_data.is_key(key):
        if x is not None:
            raise ValueError("data that the experiment does not name")
        return None
    if x is None or header is None:  # made before files held it, and good if the data is here
        return user_data.find(key)
    if x.dtype != torch.float32 or not (x.isfinite().all() and x.abs().max() < FARTHEST):
        raise ValueError("not data")
    if isinstance(experiment, ImageExperiment):
        n, C, H, W = x.shape
        mean, scale = float(header["mean"]), float(header["scale"])
        if not (n <= MAX_IMAGES and C in (1, 3) and max(H, W) <= MAX_SIDE and math.isfinite(mean) and 0 < scale < 1e4):
            raise ValueError(f"images {list(x.shape)}, mean {mean}, scale {scale}")
        data = user_data.keep(header["name"], Images("pictures", x, None, mean, scale))
    else:
        if x.ndim != 2 or x.shape[1] != 2 or not MIN_POINTS <= len(x) <= MAX_POINTS:
            raise ValueError(f"points {list(x.shape)}")
        data = user_data.keep(header["name"], x)
    if data.key != key:
        raise ValueError("other data than the settings say")
    return data


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
