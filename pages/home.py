"""The first screen: the point of it all, moving, and one button to start."""

import streamlit as st

from toydiff.experiments.experiment import Experiment
from toydiff.text import words
from toydiff.ui import page
from toydiff.ui.export import film_with_export
from toydiff.ui.runs import exact_scene

experiment = page.begin("home")

top, button = st.columns([4, 1], vertical_alignment="center")
with top:
    page.say("home", "point")
with button:
    if st.button(words("page.start"), type="primary", icon=":material/play_arrow:", width="stretch"):
        st.switch_page("pages/forward.py")

# Fewer data points than in the lessons: the picture has to be there at once.
shown = Experiment(dataset=experiment.dataset, points=600, seed=experiment.seed)
film_with_export(exact_scene(shown), key="home", name=f"toydiff-{shown.dataset}", autoplay=True)

page.say("home", "legend")

for column, name in zip(st.columns(3), ("forward", "train", "reverse"), strict=True):
    with column, st.container(border=True, height="stretch"):
        page.link_to(name, f"**{words(f'titles.{name}')}**")
        page.say("home", name)

page.say("home", "two-pixels")
