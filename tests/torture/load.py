"""Clients that send one request after the other to a server, and count what comes back."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.servers import HOST

CLIENTS = 12
LONGEST = 12.0
"""Seconds within which a server has ended: its own limit of 4, the shutdown's of 3, and some more."""


@dataclass
class Load:
    """Clients that send one request after the other, each on a connection of its own.

    Args:
        port: that of the server.
        patience: seconds after which a client gives up.
    """

    port: int
    patience: float = LONGEST
    answered: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)
    """What came instead of an answer, by the number of the request."""
    longest_gap: float = 0.0
    """Seconds between two answers that follow each other, at most."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _over: bool = False
    _thread: threading.Thread | None = None
    _last: float = 0.0

    def begin(self) -> None:
        """Send requests from a thread."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def end(self) -> None:
        """Send no more requests, and wait for what is under way."""
        self._over = True
        if self._thread is not None:
            self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self) -> None:
        for number in self._numbers:
            if self._over:
                return
            try:
                await asyncio.wait_for(self._ask(str(number)), self.patience)
            except (OSError, TimeoutError) as error:
                self.others[str(number)] = type(error).__name__
                await asyncio.sleep(0.02)

    async def _ask(self, number: str) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            request = (
                f"GET /work/?number={number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
            )
            writer.write(request.encode())
            answer = await reader.read()
        finally:
            writer.close()
        if answer.startswith(b"HTTP/1.1 200") and f"\r\n{number}".encode() in answer:
            self.answered.add(number)
            now = time.monotonic()
            self.longest_gap = max(self.longest_gap, now - (self._last or now))
            self._last = now
        else:
            self.others[number] = (
                answer[:12].decode(errors="replace") or "the connection was closed"
            )
