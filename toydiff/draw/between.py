"""The pictures of lesson 8: where start noises lead, and what lies between two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from toydiff.data.images import GAP_PHASES, Images
from toydiff.diffusion.exact import Model
from toydiff.diffusion.latent import angle, invert, lerp, slerp
from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.charts import BLUE, CHART_GRAY, ORANGE
from toydiff.draw.images import scene_of
from toydiff.draw.scene import Panel, Scene
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.text import words

CHOICES_SHOWN = 36  # start noises to choose from, and runs from one of them
JUMPS = 50  # steps of every run of this lesson, if T is larger
WAY_PLACES = 41  # places on the way from one noise to another; the strip shows every fourth
STRIP = slice(None, None, 4)
TILE = 96  # pixels of a picture in the strip, at least


@dataclass(frozen=True, eq=False)
class Interpolation:
    """The way from one x_T to another, along the arc and along the straight line: the noise at WAY_PLACES places, and
    the image that DDIM makes of each."""

    share: Tensor  # (K,), shares of the way, 0 ... 1
    arc: Tensor  # (K, C, H, W): x_T
    straight: Tensor
    of_arc: Tensor  # (K, C, H, W): x_0
    of_straight: Tensor
    angle: float  # between both ends, radians

    @property
    def blend(self) -> Tensor:
        """(K, C, H, W): one image fades into the other, pixel by pixel. No noise, no network."""
        return lerp(self.of_arc[0], self.of_arc[-1], self.share)


def jumps(experiment: ImageExperiment) -> int:
    """The number of steps of every run of this lesson."""
    return min(experiment.T, JUMPS)


def ddim(experiment: ImageExperiment, model: Model, x: Tensor) -> Trajectory:
    """DDIM from x_T = x, (B, C, H, W): the run is deterministic."""
    return experiment.reverse(model, "ddim", x, jumps(experiment))


def start_of(experiment: ImageExperiment, model: Model, x: Tensor) -> tuple[Tensor, float]:
    """The x_T from which DDIM arrives at the images x, (B, C, H, W); and the root mean square error of its end."""
    *_, last = invert(model, experiment.noise_schedule(), x, jumps(experiment))
    off = ddim(experiment, model, last.x).end - x
    return last.x, off.square().mean().sqrt().item()


def interpolation(experiment: ImageExperiment, model: Model, a: Tensor, b: Tensor) -> Interpolation:
    """From x_T = a to x_T = b, both (C, H, W)."""
    share = torch.linspace(0, 1, WAY_PLACES)
    arc, straight = slerp(a, b, share), lerp(a, b, share)
    of_arc, of_straight = ddim(experiment, model, torch.cat([arc, straight])).end.split(WAY_PLACES)
    return Interpolation(share, arc, straight, of_arc, of_straight, angle(a, b))


def starts(experiment: ImageExperiment, images: Images, model: Model, made_by: str, n: int) -> tuple[Scene, Tensor]:
    """A film of DDIM from the first CHOICES_SHOWN of n start noises; and the images of all n runs, (n, C, H, W)."""
    run = ddim(experiment, model, experiment.start(n, images.shape))
    panel = Panel(words("names.ddim"), words("formulas.ddim"), _first(run))
    return scene_of(experiment, images, (panel,), words("names.ddim") + _in_jumps(experiment), made_by), run.end


def walked(
    experiment: ImageExperiment, images: Images, model: Model, made_by: str, a: Tensor, b: Tensor
) -> tuple[Interpolation, Scene]:
    """The way from x_T = a to x_T = b, and its film."""
    found = interpolation(experiment, model, a, b)
    return found, way_scene(experiment, images, found, made_by)


def way_scene(experiment: ImageExperiment, images: Images, walked: Interpolation, made_by: str) -> Scene:
    """The frames are places on the way: the noise on the arc, its image, and the image of the straight line."""
    percent = (100 * walked.share).round().long()
    typical = math.sqrt(walked.arc[0].numel())

    def panel(name: str, x: Tensor, noise: Tensor) -> Panel:
        lengths = noise.flatten(1).norm(dim=1).tolist()
        notes = tuple(words("between.length", length=f"{one:.1f}", share=f"{one / typical:.0%}") for one in lengths)
        run = Trajectory(percent, *[x[:, None]] * 3)
        return Panel(words(f"between.{name}"), words(f"between.{name}_formula"), run, notes)

    panels = (
        panel("noise", walked.arc, walked.arc),
        panel("arc", walked.of_arc, walked.arc),
        panel("straight", walked.of_straight, walked.straight),
    )
    return scene_of(experiment, images, panels, words("between.way") + _in_jumps(experiment), made_by, clock="place")


def dice(
    experiment: ImageExperiment, images: Images, model: Model, made_by: str, x: Tensor, n: int
) -> tuple[Scene, dict[str, Tensor]]:
    """n runs of DDPM and n of DDIM from the same x_T, (C, H, W): a film of the first CHOICES_SHOWN of each; and the
    images of all runs, (n, C, H, W), by the sampler's name."""
    copies = x.expand(n, *x.shape)
    runs = {name: experiment.reverse(model, name, copies, jumps(experiment)) for name in ("ddpm", "ddim")}
    panels = tuple(Panel(words(f"names.{name}"), words(f"formulas.{name}"), _first(run)) for name, run in runs.items())
    what = " | ".join(panel.title for panel in panels) + _in_jumps(experiment)
    scene = scene_of(experiment, images, panels, what, made_by)
    return scene, {name: run.end for name, run in runs.items()}


def largest_step(x: Tensor) -> float:
    """The largest change from an image to the next, x (K, C, H, W), as a share of the change from first to last."""
    steps = x.diff(dim=0).flatten(1).norm(dim=1)
    return (steps.max() / (x[-1] - x[0]).norm().clamp(min=1e-6)).item()


def row(images: Images, x: Tensor) -> np.ndarray:
    """Images (K, C, H, W) side by side, enlarged, as pixels (height, width, 4); transparent between them."""
    shown = images.pixels(x)
    shown = shown[..., None].repeat(3, -1) if shown.ndim == 3 else shown
    larger = math.ceil(TILE / max(images.shape[1:]))
    shown = shown.repeat(larger, 1).repeat(larger, 2)
    opaque = np.concatenate([shown, np.full((*shown.shape[:3], 1), 255, np.uint8)], -1)
    gap = TILE // 12
    tiles = np.pad(opaque, ((0, 0), (0, 0), (0, gap), (0, 0)))
    return np.concatenate(list(tiles), axis=1)[:, :-gap]


def bars(shares: Mapping[str, Tensor], title: str) -> go.Figure:
    """The share of each digit: name -> (10,), side by side."""
    figure = go.Figure()
    for (name, share), colour in zip(shares.items(), (BLUE, ORANGE), strict=False):
        figure.add_bar(x=list(range(len(share))), y=share.tolist(), name=name, marker_color=colour)
    figure.update_xaxes(tickvals=list(range(10)), title={"text": words("between.digit"), "standoff": 0})
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return _look(figure, title)


def phases(share: Tensor, found: Tensor, title: str) -> go.Figure:
    """The phase found at each place of the way, (K,), beside that of an evenly waxing moon. A band marks the gap."""
    figure, percent = go.Figure(), (100 * share).tolist()
    ends = [min(GAP_PHASES[0] - 0.05, found.min().item()), max(GAP_PHASES[1] + 0.05, found.max().item())]
    figure.add_hrect(*GAP_PHASES, fillcolor=CHART_GRAY, opacity=0.15, line_width=0)
    line = {"color": CHART_GRAY, "dash": "dash", "width": 2}
    even = (GAP_PHASES[0] + share * (GAP_PHASES[1] - GAP_PHASES[0])).tolist()
    figure.add_scatter(x=percent, y=even, name=words("between.even"), mode="lines", line=line)
    marker = {"color": BLUE, "size": 7}
    figure.add_scatter(x=percent, y=found.tolist(), name=words("between.found"), mode="markers", marker=marker)
    figure.update_xaxes(title={"text": words("between.place"), "standoff": 0}, range=[-2, 102])
    figure.update_yaxes(range=ends)
    return _look(figure, title)


def distances(share: Tensor, curves: Mapping[str, Tensor], title: str) -> go.Figure:
    """The distance of images from the nearest moon, name -> (K,), as a multiple of a real moon's distance."""
    figure = go.Figure()
    for (name, values), colour in zip(curves.items(), (BLUE, ORANGE), strict=True):
        line = {"color": colour, "width": 3}
        figure.add_scatter(x=(100 * share).tolist(), y=values.tolist(), name=name, mode="lines", line=line)
    line = {"color": CHART_GRAY, "dash": "dash", "width": 2}
    figure.add_scatter(x=[0, 100], y=[1, 1], name=words("between.real_moon"), mode="lines", line=line)
    figure.update_xaxes(title={"text": words("between.place"), "standoff": 0}, range=[-2, 102])
    figure.update_yaxes(rangemode="tozero", ticksuffix="×")
    return _look(figure, title)


def _look(figure: go.Figure, title: str) -> go.Figure:
    figure.update_xaxes(fixedrange=True, showgrid=False)
    figure.update_yaxes(fixedrange=True)
    return figure.update_layout(
        title={"text": title, "font_size": 15},
        height=270,
        margin={"l": 8, "r": 8, "t": 60, "b": 8},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"},
        hovermode="x",
    )


def _first(run: Trajectory) -> Trajectory:
    # copies, because a view would keep the whole tensor in memory
    return Trajectory(run.t, *(part[:, :CHOICES_SHOWN].clone() for part in (run.x, run.x0, run.mean)))


def _in_jumps(experiment: ImageExperiment) -> str:
    return words("page.jumps", steps=jumps(experiment))
