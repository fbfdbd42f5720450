"""What runs in the browser: the player, the canvas, the tab. ES modules as source, and how their data is packed.

May import `draw` and what is below. No Streamlit: what makes them Streamlit components is in `ui`.
"""
