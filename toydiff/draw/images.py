"""The scenes of the lesson on images. The runs are those of the plane; only the shape differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from toydiff.data import user_data
from toydiff.data.images import Images, pixels
from toydiff.diffusion import exact, trajectory
from toydiff.diffusion.exact import Model
from toydiff.diffusion.trajectory import Frame, Trajectory
from toydiff.draw.charts import BLUE, CHART_GRAY
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.scenes import GHOST, THREE_WAYS
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.text import words

GRID_IMAGES = 36  # images in a grid
IMAGE_FILM_FRAMES = 50  # frames of a film, about
IMAGES_AT_ONCE = 500  # images compared with the data at once


def training_scene(experiment: ImageExperiment, images: Images, run: Trajectory, made_by: str) -> Scene:
    """Checkpoints of a training; images of two pixels are shown as particles too."""
    panel = Panel(words("images.samples"), words("formulas.ddpm"), run)
    panels = (panel,) if images.shape != (1, 1, 2) else (panel, Panel(words("images.plane"), "", _plane(run)))
    return scene_of(experiment, images, panels, words("names.ddpm"), made_by, clock="step")


def ways_scene(
    experiment: ImageExperiment, images: Images, model: Model, made_by: str
) -> tuple[Scene, dict[str, float]]:
    """Three ways down from the same x_T with the same z, about IMAGE_FILM_FRAMES of their frames; and for each way the
    variance across its samples, as a share of the data's."""
    start = experiment.start(GRID_IMAGES, images.shape)
    times = torch.linspace(experiment.T, 0, min(IMAGE_FILM_FRAMES, experiment.T) + 1).round().long()
    runs = {way: _some(experiment.frames(model, way, start), times) for way in THREE_WAYS}
    whole = variance(images.x)
    panels = tuple(
        Panel(
            words(f"names.{way}"),
            words(f"formulas.{way}"),
            run,
            tuple(words("images.variance", share=f"{variance(x) / whole:.1%}") for x in run.x),
        )
        for way, run in runs.items()
    )
    scene = scene_of(experiment, images, panels, " | ".join(words(f"names.{way}") for way in runs), made_by)
    return scene, {way: variance(run.end) / whole for way, run in runs.items()}


def exact_ways(experiment: ImageExperiment, images: Images) -> tuple[Scene, dict[str, float]]:
    """`ways_scene` with the best possible predictor, which knows every image by heart."""
    return ways_scene(experiment, images, exact.cloud(images.x, experiment.noise_schedule()), words("page.exact"))


def bridge_scene(experiment: ImageExperiment, images: Images, run: Trajectory, way: str, made_by: str) -> Scene:
    """One way down for images of two pixels, and the same run as points: each image is a particle."""
    name, formula = words(f"names.{way}"), words(f"formulas.{way}")
    panels = (Panel(name, formula, run), Panel(words("images.plane"), words("images.two"), _plane(run)))
    return scene_of(experiment, images, panels, name, made_by)


def nearest_scene(experiment: ImageExperiment, images: Images, run: Trajectory, made_by: str) -> tuple[Scene, Tensor]:
    """DDPM samples, beside each one's nearest image of the data; and the distances of those, (B,)."""
    distance, nearest = closest(run.end, images.x)
    name, beside = words("names.ddpm"), words("images.nearest")
    panels = (
        Panel(name, words("formulas.ddpm"), run),
        Panel(beside, words("images.of_data"), run, still=images.x[nearest]),
    )
    return scene_of(experiment, images, panels, f"{name} | {beside}", made_by), distance


def forward_scene(experiment: ImageExperiment, images: Images) -> Scene:
    """The same images dissolve, step by step and in one jump."""
    generator, schedule = experiment.generator(3), experiment.noise_schedule()
    x0 = images.x[torch.randint(len(images.x), (GRID_IMAGES,), generator=generator)]
    times = torch.linspace(0, experiment.T, min(IMAGE_FILM_FRAMES, experiment.T) + 1).round().long()
    runs: Mapping[str, Trajectory] = {
        route.__name__: _some(route(x0, schedule, generator), times) for route in (trajectory.chain, trajectory.jump)
    }
    panels = tuple(Panel(words(f"names.{name}"), words(f"formulas.{name}"), run) for name, run in runs.items())
    return scene_of(experiment, images, panels, words("page.forward"), words("page.no_network"))


def _some(frames: Iterable[Frame], times: Tensor) -> Trajectory:
    """The frames at these times only: a thousand frames of colour images would take a gigabyte."""
    wanted = set(times.tolist())
    return Trajectory.collect(frame for frame in frames if frame.t in wanted)


def variance(x: Tensor) -> float:
    """The variance across images x (B, C, H, W), the mean over pixels."""
    return x.double().var(0, correction=0).mean().item()


def usual_distances(x: Tensor) -> tuple[float, float]:
    """The mean distance of images (B, C, H, W) from their mean; of the first IMAGES_AT_ONCE from the nearest other."""
    nearest, _ = closest(x[:IMAGES_AT_ONCE], x, rank=2)
    return distances(x, x.mean(0)).mean().item(), nearest.mean().item()


def differences(sets: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Where images (B, C, H, W) differ from each other: the standard deviation of each pixel, (H, W), by the name of
    the set. 255 is the largest of all: one scale for all sets."""
    stds = {name: x.double().var(0, correction=0).mean(0).sqrt() for name, x in sets.items()}
    most = max(std.max().item() for std in stds.values())
    return {name: (255 * std / most).round().byte().numpy() for name, std in stds.items()}


def digit_counts(counts: Sequence[int], title: str) -> go.Figure:
    """How many samples a classifier takes for each digit, (10,), and a line at the number of samples per digit if all
    digits came equally often."""
    names = [str(digit) for digit in range(len(counts))]
    bars = go.Bar(x=names, y=list(counts), marker_color=BLUE, text=list(counts), textposition="inside", textangle=0)
    figure = go.Figure(bars.update(insidetextanchor="middle", textfont_color="white"))
    name = {"annotation_text": words("images.evenly"), "annotation_position": "right"}
    figure.add_hline(y=sum(counts) / len(counts), line={"color": CHART_GRAY, "dash": "dash"}, **name)
    figure.update_xaxes(type="category", fixedrange=True)
    figure.update_yaxes(rangemode="tozero", fixedrange=True)
    margin = {"l": 8, "r": 80, "t": 32, "b": 8}
    return figure.update_layout(title_text=title, title_font_size=15, height=210, margin=margin, showlegend=False)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """(B,): the length of the difference of images x (B, C, H, W) and y (the same, or one image)."""
    return (x - y).flatten(1).norm(dim=1)


def closest(x: Tensor, data: Tensor, rank: int = 1) -> tuple[Tensor, Tensor]:
    """For images x (B, C, H, W) the length of the difference from the nearest image of the data, (B,), and its index.
    Rank 2: from the second nearest, which for images of the data is the nearest other one."""
    found = [
        torch.cdist(part.flatten(1), data.flatten(1)).topk(rank, largest=False) for part in x.split(IMAGES_AT_ONCE)
    ]
    return (
        torch.cat([values[:, -1] for values, _ in found]),
        torch.cat([places[:, -1] for _, places in found]),
    )


def _plane(run: Trajectory) -> Trajectory:
    """Images of two pixels as points."""
    return Trajectory(run.t, run.x.flatten(2), run.x0.flatten(2), run.mean.flatten(2))


def scene_of(
    experiment: ImageExperiment,
    images: Images,
    panels: tuple[Panel, ...],
    what: str,
    made_by: str,
    clock: str = "t",
) -> Scene:
    """These panels, with the stamp of a film of images. what: the title in it; made_by: the predictor."""
    stamp = words(
        "images.stamp",
        data=user_data.title(experiment.data),
        n=f"{len(images.x):,}",
        schedule=words(f"names.{experiment.schedule}"),
        T=experiment.T,
        what=what,
        predictor=made_by,
        seed=experiment.seed,
    )
    data = images.x[:GHOST].flatten(1) if images.shape == (1, 1, 2) else images.x[:1]  # images have no ghost
    return Scene(panels, data, stamp, clock=clock, pixels=partial(pixels, mean=images.mean, scale=images.scale))
