"""A page with the canvas, for tests/test_canvas.py. What Python knows of the drawing stands under it, as JSON."""

import hashlib
import json

import streamlit as st

from toydiff.ui.canvas import canvas

state = st.session_state
state.runs = state.get("runs", 0) + 1
if st.checkbox("shown", value=True):
    state.kept = canvas(
        key="cloud",
        initial=state.kept if "kept" in state else None,
        most=int(st.query_params.get("most", 10_000)),
    )
st.button("rerun")
points = state.kept
version = hashlib.blake2b(points.tobytes()).hexdigest()  # the same for the same points in the same order
low, high = (points.min(0).tolist(), points.max(0).tolist()) if len(points) else ([], [])
st.text(json.dumps({"runs": state.runs, "count": len(points), "version": version, "low": low, "high": high}))
