"""The code that runs in the browser: player, canvas and tab, as ES modules; and the packing of their data.

May import `draw` and what is below. No Streamlit here: `ui` makes Streamlit components of them.
"""
