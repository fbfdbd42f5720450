"""A component without a picture: the browser's tab remembers which session it is."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from toydiff.components.bundle import component

_component = st.components.v2.component("toydiff_tab", **component("tab")._asdict())


class Before(NamedTuple):
    """What the tab remembers of an earlier session."""

    key: str
    trained: bool  # whether there was anything to lose


def tab(key: str, trained: bool, answered: str | None) -> Before | None:
    """Have the tab remember this session. Returns, once, the other session that it remembered. The tab goes on
    remembering that one until its key is `answered`, because the tab may be loaded again before it has an answer."""
    data = {"key": key, "trained": trained, "answered": answered}
    before = _component(key="tab", data=data, on_before_change=lambda: None).before
    if not isinstance(before, dict) or not isinstance(before.get("key"), str):
        return None
    return Before(before["key"][:100], before.get("trained") is True)
