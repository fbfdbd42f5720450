"""The page that (e) opens: one film, in our player or as Plotly frames, at the press of a button."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from toydiff.draw.scene import Scene
from toydiff.draw.scenes import reverse_scene
from toydiff.draw.style import THEMES
from toydiff.experiments.experiment import Experiment
from toydiff.ui.player import player
from toydiff.ui.startup import prepare

PLAYBACK_TRAIL_FRAMES = 12


@st.cache_resource
def film() -> Scene:
    """Three panels of 256 particles, 101 frames."""
    experiment = Experiment()
    return reverse_scene(experiment, experiment.exact(), "exact predictor")


def traces(scene: Scene, frame: int) -> list[go.Scatter]:
    """Trails and particles of each panel at one frame, two SVG scatters a panel."""
    colors = np.array(THEMES["light"].hues)[scene.hue]
    found = []
    for panel in scene.panels:
        x = panel.trajectory.x.numpy()
        past = x[max(0, frame - PLAYBACK_TRAIL_FRAMES) : frame + 1]
        gap = np.full_like(past[:1], np.nan)  # one line with gaps: a trace for each particle is slower still
        line = np.concatenate([past, gap]).swapaxes(0, 1).reshape(-1, 2)
        found.append(go.Scatter(x=line[:, 0], y=line[:, 1], mode="lines", line={"width": 0.8, "color": "#aab"}))
        found.append(
            go.Scatter(x=x[frame, :, 0], y=x[frame, :, 1], mode="markers", marker={"color": colors, "size": 5})
        )
    return found


def plotly_film(scene: Scene) -> go.Figure:
    """Plotly's own film: a frame for each time, and a button that plays them in six seconds, as our player does."""
    panels, frames = len(scene.panels), len(scene.ticks)
    figure = make_subplots(1, panels, subplot_titles=[panel.title for panel in scene.panels])
    columns = [1 + i // 2 for i in range(2 * panels)]
    figure.add_traces(traces(scene, 0), rows=[1] * len(columns), cols=columns)
    figure.frames = [go.Frame(data=traces(scene, frame)) for frame in range(frames)]
    pace = {"frame": {"duration": 6000 / frames, "redraw": False}, "transition": {"duration": 0}}
    play = {"label": "Play", "method": "animate", "args": [None, pace]}
    figure.update_layout(showlegend=False, height=420, updatemenus=[{"type": "buttons", "buttons": [play]}])
    figure.update_xaxes(range=[-scene.half_width, scene.half_width])
    figure.update_yaxes(range=[-scene.half_width, scene.half_width])
    return figure


def main() -> None:
    """Each run of the page makes its film afresh from the same scene."""
    st.set_page_config(layout="wide")
    prepare()
    scene = film()
    ours, theirs = st.button("player"), st.button("plotly")
    if ours:
        player(scene, key="player", autoplay=True)
    if theirs:
        st.plotly_chart(plotly_film(scene))


if __name__ == "__main__":
    main()
