"""How tasks of one event loop wait for each other's news."""

import asyncio


class Changes:
    """Wakes all who wait, each time that there is news."""

    def __init__(self) -> None:
        self._watchers: list[asyncio.Future[None]] = []

    async def next(self) -> None:
        watcher = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        await watcher

    def tell(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)
