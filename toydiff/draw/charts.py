"""Charts, with plotly: schedules, loss, quality. They take their colours from the theme of the page."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from plotly.basedatatypes import BaseFigure
from torch import Tensor

from toydiff.diffusion.schedules import Schedule
from toydiff.draw.style import LIGHT

BLUE, ORANGE, CHART_GRAY = LIGHT.hues[6], LIGHT.hues[1], "#8a909c"
STILL = {"displayModeBar": False}  # the `config` of a chart without a toolbar
CURVE_POINTS = 300  # points of a loss curve: a screen cannot show more
# Streamlit puts the colours and fonts of the page into `layout`. The rest of its template, 5 kB, is for other charts.
TEMPLATE = {"layout": {"colorway": [BLUE, ORANGE, CHART_GRAY]}}

Numbers = Sequence[float] | np.ndarray[Any, Any]


class Chart(BaseFigure):
    """Traces and a layout as they travel to the browser. A go.Figure would validate all of it and copy it three times:
    too slow where thirty students ask every few seconds. Layouts are validated once, when they are made."""

    def __init__(self, traces: list[dict[str, Any]], layout: dict[str, Any]) -> None:
        self._sent = {"data": traces, "layout": layout | {"template": TEMPLATE}}

    def to_dict(self) -> dict[str, Any]:
        """Not a copy: plotly only turns it into JSON."""
        return self._sent


def schedule(s: Schedule) -> dict[str, go.Figure]:
    """Three charts over t: "beta"; "rates", sqrt(alpha_bar) and sqrt(1 - alpha_bar); "log_snr"."""
    t = torch.arange(s.T + 1)
    curves = {
        "beta": [("β", s.beta, ORANGE)],
        "rates": [("√ᾱ", s.signal, BLUE), ("√(1−ᾱ)", s.noise, CHART_GRAY)],
        "log_snr": [("log SNR", s.log_snr, BLUE)],
    }
    figures = {}
    for chart, lines in curves.items():
        figure = figures[chart] = go.Figure()
        for name, values, colour in lines:
            keep = values.isfinite()  # log-SNR is infinite at t = 0
            figure.add_scatter(x=t[keep].numpy(), y=values[keep].numpy(), name=name, line={"color": colour, "width": 3})
        figure.update_xaxes(range=[0, s.T], title={"text": "t", "standoff": 0}, showgrid=False, fixedrange=True)
        figure.update_yaxes(fixedrange=True)
        _plain(figure, 210).update_layout(showlegend=len(lines) > 1)
    return figures


def loss(losses: Tensor, best: float | None, title: str, axis: str, best_name: str) -> Chart:
    """The loss (step,) over training steps; `best`: the loss of the optimal predictor, None: not drawn."""
    steps, binned = averaged(losses)
    curve = _curve("lines", title, steps, binned, BLUE)
    return Chart([curve], _learning(title, axis, best, best_name, range=(0, 1.05)))


def quality(points: Sequence[tuple[int, float]], title: str, axis: str, floor_name: str) -> Chart:
    """Distance of the samples from the data over training steps: (step, multiple of its floor; nan: not measured)."""
    steps, ratios = zip(*points, strict=True)
    curve = _curve("lines+markers", title, steps, ratios, ORANGE)
    return Chart([curve], _learning(title, axis, 1.0, floor_name, rangemode="tozero", ticksuffix="×"))


def judged(points: Sequence[tuple[int, float]], floor: float, title: str, axis: str, floor_name: str) -> Chart:
    """A classifier's confidence over steps: (step, share of that in real images); floor: the share for noise."""
    steps, shares = zip(*points, strict=True)
    curve = _curve("lines+markers", title, steps, shares, ORANGE)
    return Chart([curve], _learning(title, axis, floor, floor_name, range=(0, 1.05), tickformat=".0%"))


def _curve(mode: str, name: str, x: Numbers, y: Numbers, colour: str, *, width: int = 2) -> dict[str, Any]:
    """A line that skips nan."""
    line = {"color": colour, "width": width}
    xy = {"x": _packed(x), "y": _packed(y)}
    return {"type": "scatter", "mode": mode, "name": name, **xy, "line": line, "connectgaps": True}


def _packed(numbers: Numbers) -> dict[str, str]:
    """float32 in plotly's binary form."""
    return {"dtype": "f4", "bdata": base64.b64encode(np.asarray(numbers, "<f4").tobytes()).decode()}


def pixels(values: Tensor, title: str, axis: str, names: tuple[str, str]) -> go.Figure:
    """The histogram of pixels, any shape, beside the density of N(0, 1). names: the legend entries of the two."""
    height, edges = torch.histogram(values.flatten().float(), 60, range=(-4.0, 4.0), density=True)
    x = torch.linspace(-4, 4, 161)
    normal = (-x.square() / 2).exp() / math.sqrt(2 * math.pi)
    figure = go.Figure()
    middles = (edges[1:] + edges[:-1]) / 2
    figure.add_bar(x=middles.numpy(), y=height.numpy(), name=names[0], marker_color=BLUE, width=8 / 60)
    figure.add_scatter(x=x.numpy(), y=normal.numpy(), mode="lines", name=names[1], line={"color": ORANGE, "width": 3})
    figure.update_xaxes(title={"text": axis, "standoff": 0}, fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    legend = {"x": 1, "xanchor": "right", "yanchor": "bottom"}
    return _plain(figure, 260).update_layout(title_text=title, margin_t=48, legend=legend)


@lru_cache(maxsize=64)
def _learning(title: str, axis: str, goal: float | None, goal_name: str, **yaxis: object) -> dict[str, Any]:
    """The layout of a chart over training steps, with a dashed line at the goal."""
    figure = go.Figure()
    if goal is not None:
        line = {"color": CHART_GRAY, "dash": "dash"}
        figure.add_hline(y=goal, line=line, annotation_text=goal_name, annotation_position="bottom right")
    figure.update_yaxes(fixedrange=True, **yaxis)
    figure.update_xaxes(title=axis, rangemode="tozero", fixedrange=True)
    _plain(figure, 205).update_layout(title_text=title, showlegend=False)
    layout: dict[str, Any] = figure.to_dict()["layout"]
    return layout


def _plain(figure: go.Figure, height: int) -> go.Figure:
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        legend={
            "orientation": "h",
            "x": 0.5,
            "xanchor": "center",
            "y": 1,
            "yanchor": "top",
            "bgcolor": "rgba(0,0,0,0)",
        },
        title_font_size=15,
        hovermode="x",
    )


CLOSE = 0.3  # decades: if the values span less, the axis reaches this far above and below their middle
LANES = (BLUE, ORANGE)  # the colours of the two networks of a race


def averaged(losses: Tensor) -> tuple[Numbers, Numbers]:
    """Means of the losses (step,) over equally long blocks, at most CURVE_POINTS: each block's last step; the means."""
    size = max(1, -(-len(losses) // CURVE_POINTS))
    means = losses[: len(losses) // size * size].reshape(-1, size).mean(1)
    return (torch.arange(1, len(means) + 1) * size).numpy(), means.numpy()


def race(
    curves: Mapping[str, tuple[Numbers, Numbers]],
    goals: Sequence[float],
    title: str,
    axis: str,
    goal_name: str,
) -> Chart:
    """One curve per network over training steps: name -> (steps, values), on a log scale.

    goals: dashed lines that no network gets under: one for both, one each, or none.
    """
    traces = [
        _curve("lines" if len(steps) > 1 else "markers", name, steps, values, colour)
        for (name, (steps, values)), colour in zip(curves.items(), LANES, strict=True)
    ]
    shown = [value for _, values in curves.values() for value in values if 0 < value < math.inf] + list(goals)
    decades = math.log10(max(shown) / min(shown)) if shown else 0
    # labels at 1, 10, 100; the fewer decades, the more digits between them have room
    digits = (1,) if decades > 2.5 else (1, 2, 5) if decades > 0.7 else (1, 1.5, 2, 3, 4, 5, 7)
    layout = _racing(tuple(goals), title, axis, goal_name, digits)
    if shown and decades < CLOSE:  # left to itself, plotly shows two decades around a single number
        middle = math.log10(max(shown) * min(shown)) / 2
        layout = layout | {"yaxis": layout["yaxis"] | {"range": [middle - CLOSE, middle + CLOSE]}}
    return Chart(traces, layout)


@lru_cache(maxsize=64)
def _racing(
    goals: tuple[float, ...],
    title: str,
    axis: str,
    goal_name: str,
    digits: tuple[float, ...],
) -> dict[str, Any]:
    figure = go.Figure()
    for goal, colour in zip(goals, LANES if len(goals) > 1 else [CHART_GRAY], strict=False):
        figure.add_hline(y=goal, line={"color": colour, "width": 1.5, "dash": "dash"})
        # the place of a text on a log axis is given as its logarithm
        text = {"text": goal_name, "showarrow": False, "xref": "paper", "x": 1, "xanchor": "right", "yanchor": "top"}
        figure.add_annotation(y=math.log10(goal), **text)
    figure.update_xaxes(title={"text": axis, "standoff": 0}, rangemode="tozero", fixedrange=True)
    ticks = [digit * 10.0**power for power in range(-6, 9) for digit in digits]
    figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks], fixedrange=True)
    legend = {"x": 0, "xanchor": "left", "yanchor": "bottom"}
    _plain(figure, 195).update_layout(title_text=title, margin_t=52, legend=legend)
    layout: dict[str, Any] = figure.to_dict()["layout"]
    return layout


def over_t(times: Tensor, curves: Mapping[str, Tensor], title: str) -> Chart:
    """Curves over t: `times` (F,), and name -> values (F,)."""
    traces = [
        _curve("lines", name, times.numpy(), values.numpy(), colour, width=3)
        for (name, values), colour in zip(curves.items(), LANES, strict=False)
    ]
    return Chart(traces, _from_0_to(int(times.max()), title, len(curves) > 1))


@lru_cache(maxsize=64)
def _from_0_to(T: int, title: str, legend: bool) -> dict[str, Any]:
    figure = go.Figure()
    figure.update_xaxes(range=[0, T], title={"text": "t", "standoff": 0}, showgrid=False, fixedrange=True)
    figure.update_yaxes(rangemode="tozero", fixedrange=True)
    _plain(figure, 230).update_layout(title_text=title, showlegend=legend)
    layout: dict[str, Any] = figure.to_dict()["layout"]
    return layout
