"""Your own data: drawn, from a file, or typed, it is a dataset like the others. And whole lessons, kept in files."""

import streamlit as st

from toydiff.data import user_data
from toydiff.experiments.experiment import Experiment
from toydiff.text import words
from toydiff.ui import own as lesson
from toydiff.ui import page, state

page.begin("own")
experiment = page.settings("dataset")
in_use = user_data.title(experiment.dataset)

page.say("own", "question")
way = lesson.choose()
source, result = st.columns(2)
cloud, problem = None, ""
with source:
    try:
        cloud = lesson.INPUT_WAYS[way]()
    except ValueError as error:
        problem = str(error)
with result:
    if cloud is not None:
        one = lesson.offer(cloud, way)
        lesson.preview(one.name, cloud.x, one.key)
    else:
        if problem:
            st.warning(problem)
        else:
            st.info(words(f"own.begin_{way}"))
        lesson.preview(words("own.in_use", data=in_use), experiment.data(), experiment.training)

page.say("own", "use", data=in_use)
names = [user_data.title(key) for key in state.user_keys(Experiment)]
if names:
    page.say("own", "brought", names=", ".join(f"**{name}**" for name in names))
for column, name in zip(st.columns(3), ("forward", "train", "reverse"), strict=True):
    with column:
        page.link_to(name, words(f"nav.{name}"))

page.say("own", "file")
lesson.offer_file(experiment)
lesson.say_what_was_opened()

page.say("own", "becomes")
