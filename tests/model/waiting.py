"""Waiting for what a server does by itself; the bound only ends a test that fails."""

import time
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")

BOUND_S = 90


def until(condition: Callable[[], T], what: str, seconds: float = BOUND_S) -> T:
    """The condition's first true value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"did not come about: {what}"
        Event().wait(0.05)
    return value
