"""The time, as it can be passed in."""

from collections.abc import Callable
from typing import Any, Protocol


class Clock(Protocol):
    """An event loop is one; tests have their own."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any: ...
