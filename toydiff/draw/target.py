"""The pictures of lesson 5: walks that end in one place, their noise, and Gaussians of one step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from toydiff.diffusion import walks
from toydiff.diffusion.bound import Normal, bound
from toydiff.diffusion.exact import Model
from toydiff.diffusion.samplers import SAMPLERS
from toydiff.diffusion.targets import last_step_variance
from toydiff.diffusion.trajectory import Trajectory
from toydiff.diffusion.walks import Walks, given
from toydiff.draw.charts import BLUE, CHART_GRAY, ORANGE
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.scenes import GHOST, stamp
from toydiff.draw.style import LIGHT
from toydiff.experiments.experiment import Experiment
from toydiff.text import words

# half-widths of a view: the usual one, and the largest, at which an arrow of length 1 can still be seen
TARGET_HALF_WIDTH, WIDEST = 3.3, 9.0
WHOLE, DISC_WALKS = 40, 400  # walks that are shown whole, and walks whose noise is shown
MIN_WALKS = 8  # with fewer, no number is shown
VARIANCE_TIMES = 12  # times at which the variance is measured
WORK = 2**25  # times · data points · particles of a bound: a fraction of a second
BOUND_PARTICLES = 32  # particles of a bound, at least
WALK_FILM_FRAMES = 100  # frames of a film that counts walks: first one by one, then more and more at once
PREDICTOR_COLOURS, PINK = (BLUE, ORANGE), LIGHT.hues[9]
LINE_WIDTHS = (4.5, 2.0)  # lines of two predictors: different, so that both can be seen where they agree
TICKS = [10.0**power for power in range(-12, 4)]
CIRCLE = torch.linspace(0, 2 * math.pi, 73)


def walks_to_place(experiment: Experiment) -> tuple[Scene, Walks, Scene | None]:
    """A scene of whole walks to the place; many more walks to it; a scene of their noise, None below MIN_WALKS."""
    data, schedule, t = experiment.data(), experiment.noise_schedule(), experiment.time
    place = torch.tensor([experiment.x, experiment.y])
    whole = walks.whole_walks(data, schedule, t, place, WHOLE, experiment.generator(6))
    many = walks.walks_through(data, schedule, t, place, DISC_WALKS, experiment.generator(7))
    noises = noises_scene(experiment, many) if len(many.x) >= MIN_WALKS else None
    return arrivals_scene(experiment, whole), many, noises


def variances(experiment: Experiment) -> tuple[Tensor, Tensor, Tensor]:
    """Times (K,); both targets' variances measured there, (K, 2); and the last step's in closed form, (T,)."""
    schedule = experiment.noise_schedule()
    times = torch.linspace(1, experiment.T, VARIANCE_TIMES).round().long().unique()
    measured = walks.variances(experiment.data(), schedule, times, DISC_WALKS, experiment.generator(8))
    return times, measured, last_step_variance(schedule, torch.arange(1, experiment.T + 1))


def exact_bound(experiment: Experiment, sampler: str) -> Tensor:
    """`bounds` of the exact predictor."""
    return bounds(experiment, experiment.exact(), sampler)


def bounds(experiment: Experiment, model: Model, sampler: str) -> Tensor:
    """The terms of the bound (T + 1, n), for n data points."""
    n = min(max(WORK // (experiment.T * experiment.points), BOUND_PARTICLES), DISC_WALKS)
    data, schedule = experiment.data(), experiment.noise_schedule()
    return bound(model, data, schedule, SAMPLERS[sampler], n, experiment.generator(9))


def arrivals_scene(experiment: Experiment, run: Trajectory) -> Scene:
    """Whole walks from the data to the place, which a dot marks: t = 0 ... `experiment.time`."""
    dot = torch.zeros(len(run.t), 1, 2)  # an arrow without length
    wide = max(TARGET_HALF_WIDTH, abs(experiment.x) + 0.3, abs(experiment.y) + 0.3)
    return _scene(
        experiment, Panel(words("target.arrivals"), words("formulas.chain"), run, arrows=dot), half_width=wide
    )


def noises_scene(experiment: Experiment, walks: Walks) -> Scene:
    """The total noise of the walks, and the noise of their last step: a dot per walk; the arrow is the mean so far."""
    place = torch.tensor([experiment.x, experiment.y])
    closed = given(experiment.data(), experiment.noise_schedule(), experiment.time, place)
    counts = torch.logspace(0, math.log10(len(walks.x)), WALK_FILM_FRAMES).round().long().unique()
    added = torch.arange(len(walks.x)) < counts[:, None]  # (F, n)
    panels = []
    for name, noise, variance in (("total", walks.eps, closed.total), ("last-step", walks.last, closed.last)):
        x = place + added[..., None] * noise  # a walk that is not counted yet waits at the place
        means = torch.stack([noise[:n].mean(0) for n in counts])
        notes = tuple(_note(noise[:n], variance.item()) for n in counts)
        run = Trajectory(counts, x, x, x)
        panels.append(Panel(words(f"names.{name}"), words(f"target.{name}"), run, notes, means[:, None]))
    wide = 1.7 * walks.last.var(0).mean().sqrt().item()
    half_width = min(max(TARGET_HALF_WIDTH, wide), WIDEST)
    return _scene(experiment, *panels, half_width=half_width, clock="walks", start=walks.x0)


def _note(noise: Tensor, variance: float) -> str:
    x, y = noise.mean(0).tolist()
    measured = f"{noise.var(0).mean():.3g}" if len(noise) > 1 else "–"
    return words("target.note", x=f"{x:.2f}", y=f"{y:.2f}", measured=measured, variance=f"{variance:.3g}")


def _scene(experiment: Experiment, *panels: Panel, **options: Any) -> Scene:
    """A scene whose arrows stand at the place of the experiment."""
    x, y = experiment.x, experiment.y
    what = stamp(experiment, words("target.at", x=f"{x:g}", y=f"{y:g}", t=experiment.time), words("page.no_network"))
    return Scene(panels, experiment.data()[:GHOST], what, places=torch.tensor([[x, y]]), **options)


def variance_chart(variance: Tensor, times: Tensor, measured: Tensor) -> go.Figure:
    """The variance of both targets over t. Lines: 1 for the total noise, `variance` (T,) for the last step's. Circles:
    `measured` (K, 2) at `times` (K,)."""
    figure, T = go.Figure(), len(variance)
    lines = torch.stack([torch.ones(T), variance])
    for name, line, points, colour in zip(("total", "last-step"), lines, measured.T, PREDICTOR_COLOURS, strict=True):
        name = words(f"names.{name}")
        t = list(range(1, T + 1))
        figure.add_scatter(x=t, y=line.tolist(), name=name, mode="lines", line={"color": colour, "width": 2})
        dots = {"x": times.tolist(), "y": points.tolist(), "name": words("target.measured", name=name)}
        marker = {"color": colour, "size": 9, "symbol": "circle-open", "line": {"width": 2}}
        figure.add_scatter(**dots, mode="markers", marker=marker, showlegend=False)
    return _over_t(figure, T, words("target.variance_title"))


def bound_chart(terms: Mapping[str, Tensor]) -> go.Figure:
    """L_{t-1} over t = 2 ... T, of each predictor: terms (T + 1, n), as `toydiff.diffusion.bound.bound` gives them."""
    figure, T = go.Figure(), 0
    for (name, nats), colour, width in zip(terms.items(), PREDICTOR_COLOURS, LINE_WIDTHS, strict=False):
        T = len(nats) - 1
        line = {"color": colour, "width": width}
        values = nats[1:-1].mean(1).tolist()
        figure.add_scatter(x=list(range(2, T + 1)), y=values, name=name, mode="lines", line=line)
    return _over_t(figure, T, words("target.bound_title"))


def _over_t(figure: go.Figure, T: int, title: str) -> go.Figure:
    figure.update_xaxes(title={"text": "t", "standoff": 0}, range=[0, T * 1.01], fixedrange=True)
    figure.update_yaxes(type="log", tickvals=TICKS, tickformat="~g", fixedrange=True)
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
    margin = {"l": 8, "r": 8, "t": 64, "b": 8}
    return figure.update_layout(title_text=title, title_font_size=15, height=300, margin=margin, legend=legend)


def step_chart(truth: Normal, students: Mapping[str, Normal], x0: Tensor, x: Tensor) -> go.Figure:
    """One step back from x (1, 2) in the plane: the Gaussians as circles with their std as radius. The view is as wide
    as they need; the way to x0 (1, 2) may lead out of it."""
    figure = go.Figure()
    way = torch.cat([x, x0]).T.tolist()
    figure.add_scatter(
        x=way[0], y=way[1], name=words("target.way"), mode="lines", line={"color": CHART_GRAY, "dash": "dot"}
    )
    for name, point, symbol in (("xₜ", x, "diamond-open"), ("x₀", x0, "star")):
        marker = {"color": PINK, "size": 15, "symbol": symbol, "line": {"width": 2, "color": PINK}}
        figure.add_scatter(x=[point[0, 0].item()], y=[point[0, 1].item()], name=name, mode="markers", marker=marker)
    answers = {words("target.truth"): truth, **students}
    for (name, normal), colour, width in zip(
        answers.items(), (CHART_GRAY, *PREDICTOR_COLOURS), (3.0, *LINE_WIDTHS), strict=False
    ):
        (mx, my), std = normal.mean[0].tolist(), normal.var.sqrt().item()
        px, py = (mx + std * CIRCLE.cos()).tolist(), (my + std * CIRCLE.sin()).tolist()
        figure.add_scatter(
            x=px, y=py, name=name, mode="lines", line={"color": colour, "width": width}, hoverinfo="skip"
        )
        marker = {"color": colour, "size": 10, "symbol": "x" if normal is truth else "circle"}
        figure.add_scatter(x=[mx], y=[my], name=name, mode="markers", marker=marker, showlegend=False)
    reach = [(normal.mean - truth.mean).norm() + normal.var.sqrt() for normal in answers.values()]
    far = 1.15 * max([part.item() for part in reach] + [(x - truth.mean).norm().item()])
    mx, my = truth.mean[0].tolist()
    figure.update_xaxes(range=[mx - far, mx + far], fixedrange=True, constrain="domain")
    figure.update_yaxes(range=[my - far, my + far], fixedrange=True, scaleanchor="x", constrain="domain")
    margin = {"l": 8, "r": 8, "t": 8, "b": 8}
    legend = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.1, "yanchor": "top", "font": {"size": 13}}
    return figure.update_layout(height=440, margin=margin, legend=legend)
