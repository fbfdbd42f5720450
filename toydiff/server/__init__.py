"""Who trains and who renders, for how many, with which limits: processes, fair shares of them, and what pages hold.

May import `components` and what is below. No Streamlit: what waits or is shown on a page belongs to `ui`.
"""
