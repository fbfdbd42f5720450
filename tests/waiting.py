"""How tests wait: for what happens, never for a time. How fast the machine is changes nothing but how long it takes."""

import time
from collections.abc import Callable

PATIENCE = 120.0  # seconds after which something is given up: what goes well takes one or two


def wait_for(condition: Callable[[], object], what: str = "", pause: Callable[[float], object] = time.sleep) -> None:
    """Return when the condition is true. AssertionError when it never is. pause: lets so many seconds go by."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        pause(0.02)
