"""Every name and number of a training on images in one place, as `Experiment` is for points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toydiff.data.images import IMAGES, MAX_IMAGES, Images
from toydiff.data.points import MIN_POINTS
from toydiff.diffusion.exact import Model
from toydiff.diffusion.samplers import WAYS, reverse
from toydiff.diffusion.schedules import MAX_T, MIN_T, SCHEDULES, Schedule
from toydiff.diffusion.trainer import Trainer
from toydiff.diffusion.trajectory import Frame, Trajectory
from toydiff.experiments.settings import Settings, number, one_of
from toydiff.networks.registry import IMAGE_MODELS
from toydiff.networks.unet import WIDTHS

CLIP = 1.0  # the largest norm of a gradient: usual ones are smaller, a rare large one does no harm


@dataclass(frozen=True)
class ImageExperiment(Settings):
    """The settings of a training on images."""

    datasets, user_field, size_field = IMAGES, "data", "n"

    data: str = one_of(IMAGES, "digits")
    network: str = one_of(IMAGE_MODELS, "unet")
    size: str = one_of(WIDTHS, "small")
    schedule: str = one_of(SCHEDULES, "cosine")
    T: int = number(MIN_T, MAX_T, 100)
    batch: int = number(2, 4096, 128)
    lr: float = number(1e-6, 1e3, 4e-3)
    seed: int = number(0, 2**31 - 1, 0)
    n: int = number(MIN_POINTS, MAX_IMAGES, 1797)  # how many images; a set that has fewer gives all it has

    def images(self) -> Images:
        """The data. ValueError, with a sentence, if it has to be downloaded and cannot be, or is a user's and
        not here."""
        images: Images = self.dataset_function(self.n, self.seed)
        return images

    def noise_schedule(self) -> Schedule:
        """The schedule."""
        return SCHEDULES[self.schedule](self.T)

    def model(self, shape: tuple[int, ...]) -> nn.Module:
        """The untrained network, for images of this shape, (C, H, W)."""
        return IMAGE_MODELS[self.network](self.noise_schedule(), shape=shape, size=self.size, seed=self.seed)

    def trainer(
        self,
        images: Images | None = None,
        device: torch.device | str = "cpu",
        *,
        bf16: bool | None = None,
        shared: bool = False,
    ) -> Trainer:
        """A training at step 0. images: the data, if it is there already; bf16: multiply in bfloat16 (None: where that
        is faster); shared: by all processes."""
        images = self.images() if images is None else images
        return Trainer(
            self.model(images.shape).to(device),
            images.x,
            self.noise_schedule(),
            batch=self.batch,
            lr=self.lr,
            seed=self.seed,
            autocast=self.bf16_helps(device) if bf16 is None else bf16,
            clip=CLIP,
            shared=shared,
        )

    def start(self, n: int, shape: tuple[int, ...]) -> Tensor:
        """(n, *shape): x_T, the same for every way down."""
        return torch.randn(n, *shape, generator=self.generator(1))

    def frames(self, model: Model, way: str, x: Tensor, steps: int | None = None) -> Iterator[Frame]:
        """One run down from x_T = x, on the device of x; `way`: a key of WAYS. Every way uses the same z."""
        sampler, noise = WAYS[way]
        schedule, z = self.noise_schedule(), self.generator(2)
        return reverse(model, schedule, x, sampler, steps=steps, noise=noise, generator=z)

    def reverse(self, model: Model, way: str, x: Tensor, steps: int | None = None) -> Trajectory:
        """The same, all frames of it."""
        return Trajectory.collect(self.frames(model, way, x, steps))

    def generator(self, stream: int) -> torch.Generator:
        """Random numbers of this seed; each use has a stream of its own."""
        return torch.Generator().manual_seed(1_000_003 * stream + self.seed)

    def work(self, shape: tuple[int, ...]) -> float:
        """Multiplications in the layers of the network for one batch of images (C, H, W), attention left out; a
        training step takes about three times as many."""
        model = self.model(shape)
        counts: list[int] = []
        for layer in model.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):  # each number of the answer takes one row of the weights
                row = layer.weight[0].numel()
                layer.register_forward_hook(lambda _, __, answer, row=row: counts.append(row * answer.numel()))
        with torch.inference_mode():
            model(torch.zeros(1, *shape), torch.ones(1, dtype=torch.long))
        return float(sum(counts) * self.batch)

    def bf16_helps(self, device: torch.device | str) -> bool:
        """Whether this network is trained faster in bfloat16 there. On a CPU that multiplies it the U-Net is, by a
        third; the Transformer, of many small products, is slower by as much."""
        kind = torch.device(device).type
        if kind == "cuda":
            return torch.cuda.is_bf16_supported(including_emulation=False)
        cpu = torch.cpu.get_capabilities()
        return kind == "cpu" and self.network == "unet" and bool(cpu.get("avx512_bf16") or cpu.get("amx_bf16"))


def usual_device() -> torch.device:
    """The graphics card if there is one: CUDA, or MPS on a Mac. Else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
