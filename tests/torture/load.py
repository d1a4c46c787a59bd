"""Clients that send one request after the other to a server, and note what comes back."""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

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


class Asked(NamedTuple):
    """One request."""

    begun: float
    seconds: float
    is_answered: bool


@dataclass
class Clients(Load):
    """Clients that ask for paths in turn, and note how long each answer took.

    Args:
        paths: the paths.
        pause: seconds between two requests of a client.
    """

    paths: Sequence[str] = ()
    pause: float = 0.0
    resting: bool = False
    """True while they are to send nothing."""
    under_way: int = 0
    """How many requests are under way."""
    asked: list[Asked] = field(default_factory=list)

    async def _ask(self, number: str) -> None:
        while self.resting:
            await asyncio.sleep(0.01)
        begun, answer = time.monotonic(), b""
        self.under_way += 1
        path = self.paths[int(number) % len(self.paths)]
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
            with closing(writer):
                request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                answer = await reader.read()
        finally:
            self.under_way -= 1
            seconds = time.monotonic() - begun
            self.asked.append(Asked(begun, seconds, answer.startswith(b"HTTP/1.1 200")))
        await asyncio.sleep(self.pause)

    def between(self, begin: float, end: float) -> list[Asked]:
        """Return the requests that began in that time."""
        return [one for one in self.asked if begin <= one.begun < end]


def failed(asked: Iterable[Asked]) -> int:
    """Return how many requests were not answered."""
    return sum(not one.is_answered for one in asked)


def median(asked: Iterable[Asked]) -> float:
    """Return the median of the seconds."""
    return statistics.median([one.seconds for one in asked] or [math.nan])


def worst(asked: Iterable[Asked]) -> float:
    """Return the most seconds."""
    return max([one.seconds for one in asked], default=math.nan)
