"""Streamlit: how every page begins, controls, the session's state, what pages show of the lessons, the teacher's view.

May import everything here. What can be said without Streamlit belongs to a room below.
"""
