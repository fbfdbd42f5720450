"""The teacher's view: who is here, what they train, a button that pauses all of it, and the way in for students."""

import streamlit as st

from toydiff.server.limits import SHORTEST
from toydiff.text import prose
from toydiff.ui import page, student_link, teacher

experiment = page.begin("teacher")

# If the server has no teacher's word, there is no view. If it has one, the word opens it.
if not teacher.offered():
    st.info(prose("teacher", "off", least=SHORTEST))
    st.stop()
if not teacher.known():
    page.say("teacher", "word")
    teacher.ask()
    st.stop()

# In full screen there is nothing but the way in: it is for the back row.
large = student_link.full_screen()
if not large:
    teacher.watch()
    page.say("teacher", "way-in")

picture, text = st.columns([3, 2] if large else [1, 2], gap="large")
with text:
    place = st.container(key="teacher-link")
    lesson, address = student_link.choices()
try:
    link = student_link.lesson_address(
        student_link.checked(address), lesson, experiment, st.session_state.image_experiment
    )
except ValueError as error:
    place.error(str(error))
    st.stop()
place.code(link, language=None, wrap_lines=True)
with picture:
    student_link.show_code(link)
