"""What a step costs: measures samplers by their network calls, and makes the charts and scenes of the results."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import takewhile
from threading import Lock
from typing import NamedTuple

import plotly.graph_objects as go
import torch
from torch import Tensor

from toydiff.diffusion.exact import Model
from toydiff.diffusion.samplers import SAMPLERS, WAYS, SamplerSpec, ddim, no_final_noise
from toydiff.diffusion.schedules import Schedule
from toydiff.diffusion.trajectory import Trajectory
from toydiff.draw.charts import BLUE, CHART_GRAY, ORANGE
from toydiff.draw.scene import Panel, Scene
from toydiff.draw.scenes import GHOST, stamp
from toydiff.draw.style import LIGHT
from toydiff.experiments.experiment import Experiment
from toydiff.measures.clouds import Ruler, perfect_samples, spread
from toydiff.text import words

COST_SAMPLES = 1000  # samples that a distance is measured on; a film shows the first of them
DRAWS = 24  # draws of perfect samples: they show how much a distance changes by chance alone
COST_STEPS = (1, 2, 3, 5, 10, 20, 40, 100, 200)  # numbers of steps at which the curves are measured; T is one more
RACED = ("ddpm", "ddim-half", "ddim", "heun", "dpm-solver++")
MARKERS = dict(zip(RACED, zip((1, 2, 6, 8, 4), ("circle", "square", "diamond", "x", "star"), strict=True), strict=True))
SWITCH_JUMPS = 20  # jumps in the scene of the switches: few enough for every switch to show


class Cost(NamedTuple):
    """One run of a sampler, measured."""

    way: str  # a key of WAYS
    steps: int
    calls: int  # of the network, counted
    seconds: float
    distance: float  # of the samples from the data, as a multiple of the floor
    spread: float


class Bench:
    """Runs samplers with one predictor on COST_SAMPLES particles, always from the same x_T with the same z, and
    measures them. It can be pickled, together with its measurements."""

    def __init__(
        self,
        experiment: Experiment,
        model: Model,
        trained: int | None = None,
        costs: Sequence[Cost] = (),
        data: Tensor | None = None,
    ) -> None:
        self.experiment, self.model = experiment, model
        self.trained = trained  # steps of training; None: the exact predictor
        self.data = experiment.data() if data is None else data
        self._costs = {(cost.way, cost.steps): cost for cost in costs}
        self.lock = Lock()  # sessions share a bench: each run is made once, and the other sessions wait for it

    def __reduce__(self) -> tuple[object, ...]:
        return Bench, (self.experiment, self.model, self.trained, tuple(self._costs.values()), self.data)

    @property
    def ruler(self) -> Ruler:
        """Measures how far samples are from the data."""
        return _ruler(self.experiment)

    @property
    def plan(self) -> list[tuple[str, int]]:
        """The runs of the chart, (way, steps), the short ones first. Heun calls twice a step, so it takes half of T."""
        most = dict.fromkeys(RACED, self.experiment.T) | {"heun": (self.experiment.T + 1) // 2}
        runs = [(name, n) for name, last in most.items() for n in (*(n for n in COST_STEPS if n <= last / 2), last)]
        return sorted(runs, key=lambda run: run[1])

    @property
    def made_by(self) -> str:
        """A name for the predictor."""
        return words("page.exact") if self.trained is None else words("page.network", steps=f"{self.trained:,}")

    def known(self, way: str, steps: int) -> bool:
        """Whether a run has been measured."""
        return (way, steps) in self._costs

    def cost(self, way: str, steps: int) -> Cost:
        """What a run costs; measured if it is not known."""
        if not self.known(way, steps):
            self.learn(self.measure(way, steps))
        return self._costs[way, steps]

    def measure(self, way: str, steps: int) -> Cost:
        """What a run costs."""
        run, calls, seconds = self.run(WAYS[way], steps)
        return Cost(way, steps, calls, seconds, self.ruler.ratio(run.end), spread(run.end, self.data))

    def learn(self, cost: Cost) -> None:
        """Remember what was measured."""
        self._costs[cost.way, cost.steps] = cost

    def run(self, way: SamplerSpec, steps: int) -> tuple[Trajectory, int, float]:
        """A run of COST_SAMPLES particles, how often it called the network, and the seconds that it took."""
        calls = 0

        def counted(x: Tensor, t: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return self.model(x, t)

        experiment = replace(self.experiment, steps=steps)
        began = time.perf_counter()
        run = experiment.reverse(counted, way, experiment.start(COST_SAMPLES))
        return run, calls, time.perf_counter() - began


@lru_cache(8)
def _ruler(experiment: Experiment) -> Ruler:
    return Ruler(experiment.data(), COST_SAMPLES)


def chance(experiment: Experiment) -> tuple[float, float]:
    """The lowest and the highest distance that perfect samples measure, of DRAWS draws."""
    ruler, perfect = _ruler(experiment), perfect_samples(experiment.data(), COST_SAMPLES, DRAWS + 1)[1:]
    distances = [ruler.ratio(x) for x in perfect]
    return min(distances), max(distances)


def enough(costs: Sequence[Cost], chance: tuple[float, float]) -> dict[str, int | None]:
    """For each way, the fewest measured calls from which on its samples are as near to the data as perfect samples can
    be by chance; None if they never are. Fewest calls first."""
    needs: dict[str, int | None] = {}
    for name in RACED:
        curve = sorted((cost for cost in costs if cost.way == name), key=lambda cost: cost.calls)
        near = list(takewhile(lambda cost: cost.distance <= chance[1], reversed(curve)))
        needs[name] = near[-1].calls if near else None
    return dict(sorted(needs.items(), key=lambda item: item[1] or math.inf))


def first_jump(schedule: Schedule, steps: int) -> tuple[float, float]:
    """The noise in units of the signal, sqrt((1 - a) / a), a: alpha_bar, at both ends of the first of `steps` jumps."""
    t, s, *_ = schedule.grid(steps)
    start, end = (1 / schedule.alpha_bar[[t, s]] - 1).sqrt().tolist()
    return start, end


def last_kick(schedule: Schedule, steps: int) -> float:
    """The std of the noise that sigma^2 = beta adds in the last of `steps` jumps."""
    return (1 - schedule.alpha_bar[schedule.grid(steps)[-2]]).sqrt().item()


def to_nearest(x: Tensor, data: Tensor) -> float:
    """The mean distance of points x (N, *shape) from the data point nearest to each."""
    return _distances(x, data).min(1).values.mean().item()


def between_neighbours(data: Tensor) -> float:
    """The mean distance of data points from the nearest other one: the value of `to_nearest` for perfect samples."""
    distances = _distances(data[:COST_SAMPLES], data)
    return distances.fill_diagonal_(torch.inf).min(1).values.mean().item()


def _distances(x: Tensor, data: Tensor) -> Tensor:
    return torch.cdist(x.flatten(1), data.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")


def run_scene(bench: Bench, experiment: Experiment) -> Scene:
    """The run that the experiment asks for, with its cost. All samples are measured, the first `particles` shown."""
    name, steps = experiment.sampler, experiment.steps or experiment.T
    run, *_ = bench.run(WAYS[name], steps)
    cost = bench.cost(name, steps)
    note = words("cost.note", calls=f"{cost.calls:,}", distance=f"{cost.distance:.2f}", spread=f"{cost.spread:.2f}")
    panel = Panel(words(f"names.{name}"), words(f"formulas.{name}"), _first(run, experiment.particles), (note,))
    return Scene((panel,), bench.data[:GHOST], stamp(experiment, panel.title, bench.made_by))


class Switches(NamedTuple):
    """How the middle of the three runs differs from DDPM, and the eta of the right one."""

    variance: str = "ddpm-beta"  # or "ddpm"
    noisy_end: bool = True
    eta: float = 0.0


def switches_scene(bench: Bench, experiment: Experiment, switches: Switches) -> tuple[Scene, list[float]]:
    """DDPM, DDPM as switched, DDIM with eta, in SWITCH_JUMPS jumps; and `to_nearest` of each one's samples."""
    steps = min(SWITCH_JUMPS, experiment.T)
    variance, title = SAMPLERS[switches.variance], words(f"names.{switches.variance}")
    if not switches.noisy_end:
        variance, title = no_final_noise(variance), words("cost.quiet", name=title)
    ways = (
        (words("names.ddpm"), words("formulas.ddpm"), SamplerSpec(SAMPLERS["ddpm"])),
        (title, words(f"formulas.{switches.variance}"), SamplerSpec(variance)),
        (
            words("cost.ddim", eta=f"{switches.eta:.2f}"),
            words("formulas.ddim-half" if switches.eta else "formulas.ddim"),
            SamplerSpec(partial(ddim, eta=switches.eta)),
        ),
    )
    panels, away = [], []
    for name, formula, way in ways:
        run, *_ = bench.run(way, steps)
        away.append(to_nearest(run.end, bench.data))
        distance, width = bench.ruler.ratio(run.end), spread(run.end, bench.data)
        note = words("cost.switches_note", distance=f"{distance:.2f}", spread=f"{width:.2f}", nearest=f"{away[-1]:.3f}")
        panels.append(Panel(name, formula, _first(run, experiment.particles), (note,)))
    what = stamp(replace(experiment, steps=steps), " | ".join(panel.title for panel in panels), bench.made_by)
    return Scene(tuple(panels), bench.data[:GHOST], what), away


def _first(run: Trajectory, n: int) -> Trajectory:
    """The run of the first n particles."""
    return Trajectory(run.t, run.x[:, :n], run.x0[:, :n], run.mean[:, :n])


def chart(costs: Sequence[Cost], chosen: Cost, chance: tuple[float, float]) -> go.Figure:
    """Distance over network calls, a curve for each way. A click on a point gives its way and steps as customdata."""
    figure = go.Figure()
    figure.add_hrect(*chance, fillcolor=CHART_GRAY, opacity=0.2, line_width=0)
    corner = {"xref": "paper", "x": 0, "xanchor": "left", "y": math.log10(chance[0]), "yanchor": "bottom"}
    figure.add_annotation(text=words("cost.chance"), showarrow=False, **corner)
    figure.add_hline(y=1, line={"color": CHART_GRAY, "dash": "dash"})
    for name in dict.fromkeys(cost.way for cost in costs):
        hue, symbol = MARKERS[name]
        colour = LIGHT.hues[hue]
        curve = [cost for cost in costs if cost.way == name]
        figure.add_scatter(
            x=[cost.calls for cost in curve],
            y=[cost.distance for cost in curve],
            customdata=[[cost.way, cost.steps] for cost in curve],
            text=[_hover(cost) for cost in curve],
            hoverinfo="text",
            mode="lines+markers",
            name=words(f"names.{name}"),
            line={"color": colour, "width": 2},
            marker={"symbol": symbol, "size": 10},
            unselected={"marker": {"opacity": 1}},
        )
    ring = {"symbol": "circle-open", "size": 22, "color": ORANGE, "line": {"width": 3}}
    figure.add_scatter(
        x=[chosen.calls], y=[chosen.distance], mode="markers", marker=ring, showlegend=False, hoverinfo="skip"
    )
    ticks = [digit * 10**power for power in range(-1, 4) for digit in (1, 2, 5)]
    logarithmic = {"type": "log", "tickvals": ticks, "fixedrange": True}
    figure.update_xaxes(**logarithmic, title={"text": words("cost.calls_axis"), "standoff": 4})
    heights = [height for height in (*chance, *(cost.distance for cost in (*costs, chosen))) if math.isfinite(height)]
    ends = [math.log10(min(heights) / 1.15), math.log10(max(heights) * 1.3)]
    figure.update_yaxes(**logarithmic, range=ends, ticktext=[f"{tick:g}×" for tick in ticks])
    return figure.update_layout(
        title={"text": words("cost.chart_title"), "font_size": 15},
        height=470,
        margin={"l": 8, "r": 8, "t": 32, "b": 8},
        legend={"x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "bgcolor": "rgba(0,0,0,0)"},
        hovermode="closest",
        dragmode=False,
    )


def _hover(cost: Cost) -> str:
    return words(
        "cost.hover",
        name=words(f"names.{cost.way}"),
        steps=cost.steps,
        calls=cost.calls,
        distance=f"{cost.distance:.2f}",
        spread=f"{cost.spread:.2f}",
        seconds=f"{cost.seconds:.3f}",
    )


def one_jump(x: Tensor, data: Tensor) -> go.Figure:
    """Samples x (N, 2) over the data; a ring marks the mean of the data."""
    figure = go.Figure()
    for name, points, marker in (
        ("data", data[:COST_SAMPLES], {"size": 4, "color": CHART_GRAY, "opacity": 0.4}),
        (
            "mean",
            data.mean(0, keepdim=True),
            {"size": 24, "symbol": "circle-open", "color": BLUE, "line": {"width": 2}},
        ),
        ("samples", x, {"size": 5, "color": ORANGE, "opacity": 0.7}),
    ):
        horizontal, vertical = points.T.numpy()
        figure.add_scatter(x=horizontal, y=vertical, mode="markers", marker=marker, name=words(f"cost.{name}"))
    axis = {"range": [-2.6, 2.6], "fixedrange": True, "visible": False}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis, scaleanchor="x")
    legend = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 0, "yanchor": "top"}
    return figure.update_layout(height=400, margin={"l": 8, "r": 8, "t": 8, "b": 40}, legend=legend, hovermode=False)
