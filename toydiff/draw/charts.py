"""Charts, with plotly: schedules, loss, quality. They take their colours from the theme of the page."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from torch import Tensor

from toydiff.draw.style import LIGHT
from toydiff.schedules import Schedule

BLUE, ORANGE, GRAY = LIGHT.hues[6], LIGHT.hues[1], "#8a909c"
POINTS = 300  # drawn of a loss curve: more than a screen can show only costs time


def schedule(s: Schedule) -> dict[str, go.Figure]:
    """Three charts over t: "beta"; "rates", sqrt(alpha_bar) and sqrt(1 - alpha_bar); "log_snr"."""
    t = torch.arange(s.T + 1)
    curves = {
        "beta": [("β", s.beta, ORANGE)],
        "rates": [("√ᾱ", s.alpha_bar.sqrt(), BLUE), ("√(1−ᾱ)", (1 - s.alpha_bar).sqrt(), GRAY)],
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


def loss(losses: Tensor, best: float, title: str, axis: str, best_name: str) -> go.Figure:
    """The loss (step,) over training steps; `best`: the loss of the optimal predictor."""
    size = max(1, -(-len(losses) // POINTS))
    binned = losses[: len(losses) // size * size].reshape(-1, size).mean(1)
    steps = torch.arange(1, len(binned) + 1) * size
    figure = go.Figure()
    figure.add_scatter(x=steps.numpy(), y=binned.numpy(), mode="lines", name=title, line={"color": BLUE, "width": 2})
    figure.update_yaxes(range=[0, 1.05])
    return _learning(figure, title, axis, best, best_name)


def quality(points: Sequence[tuple[int, float]], title: str, axis: str, floor_name: str) -> go.Figure:
    """(step, distance of the samples from the data as a multiple of its floor) over training steps."""
    steps, ratios = zip(*points, strict=True)
    figure = go.Figure()
    figure.add_scatter(x=steps, y=ratios, mode="lines+markers", name=title, line={"color": ORANGE, "width": 2})
    figure.update_yaxes(rangemode="tozero", ticksuffix="×")
    return _learning(figure, title, axis, 1.0, floor_name)


def _learning(figure: go.Figure, title: str, axis: str, goal: float, goal_name: str) -> go.Figure:
    """A chart over training steps, with a dashed line that nothing gets under."""
    figure.add_hline(
        y=goal, line={"color": GRAY, "dash": "dash"}, annotation_text=goal_name, annotation_position="bottom right"
    )
    figure.update_yaxes(fixedrange=True)
    figure.update_xaxes(title=axis, rangemode="tozero", fixedrange=True)
    return _plain(figure, 205).update_layout(title_text=title, showlegend=False)


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
