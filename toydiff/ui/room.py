"""The room of this server, as Streamlit runs it."""

from __future__ import annotations

from functools import cache

from streamlit.runtime import Runtime, get_instance

from toydiff.server.limits import limits
from toydiff.server.sessions import Room
from toydiff.ui.uploads import forget_old


@cache
def room() -> Room:
    """The one room of this server. ValueError, with a sentence, if its limits cannot be used."""
    return Room(limits(), connected, forget_old)


def connected(visit: str) -> bool:
    """Whether a browser shows this session now. Outside of a server, as in tests of a page, always."""
    return not Runtime.exists() or get_instance().is_active_session(visit)
