"""Toy diffusion: watch a small network learn to turn noise into a spiral. Run with: streamlit run app.py"""

import streamlit as st

from toydiff.text import words
from toydiff.ui.page import PAGES

st.set_page_config(page_title=words("titles.home"), page_icon="🌀", layout="wide")

home = st.Page("pages/home.py", title=words("nav.home"), url_path="start", default=True)
also_home = st.Page("pages/home.py", url_path="home")  # the default page has the address "/" alone
lessons = [st.Page(f"pages/{name}.py", title=words(f"nav.{name}")) for name in PAGES if name != "home"]
teacher = st.Page("pages/teacher.py", title=words("nav.teacher"))  # only the teacher's side bar lists it

# Hidden: a deep link into a fresh server runs a page without this file, so each page draws the table of contents.
st.navigation([home, *lessons, also_home, teacher], position="hidden").run()
