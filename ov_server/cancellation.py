"""How one thread calls off what another one waits for."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Cancellation:
    """Of a load, from its beginning until its engine is closed. From any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Callable[[], object]] = []
        self.called = False

    def call(self) -> None:
        """Ends what is waited for now, and all that would be waited for later."""
        with self._lock:
            self.called = True
            for call in self._calls:
                call()

    @contextmanager
    def ending(self, call: Callable[[], object]) -> Generator[None]:
        """While something is waited for: `call` ends it, perhaps at once, never after."""
        with self._lock:
            self._calls.append(call)
            if self.called:
                call()
        try:
            yield
        finally:
            with self._lock:
                self._calls.remove(call)
