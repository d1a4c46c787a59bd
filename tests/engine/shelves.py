"""A value that only its own event loop may use, as an HTTP client is."""

from __future__ import annotations

import asyncio


class Shelf:
    """Something that works on one loop only."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    async def count(self, at_least: int = 0, *more: int) -> int:
        assert asyncio.get_running_loop() is self.loop
        return max(3, at_least, *more)
