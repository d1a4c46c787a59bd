"""The servers and clients of one fault: before it, in it, and until everything is recorded."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, suppress
from typing import Any

from tests.projects import Project
from tests.servers import UVICORN, Server
from tests.torture.databases.faults import until
from tests.torture.databases.place import Place
from tests.torture.databases.seen import Seen
from tests.torture.load import Clients

PAUSE, PAUSE_WITH_DATABASE = 0.2, 1.0
"""Seconds between two requests of a client: each one opens a connection to the database if it needs it."""
PLAIN, BOOKS = ("/plain/", "/readyz"), ("/books/",)
"""What needs no database, and what does."""


class Trial:
    """The servers of a cell, and their clients.

    Args:
        seen: what came of it.
        place: their project.
        stack: ends them.
    """

    plain: Clients
    control: Clients
    books: Clients
    before: float
    """When clients began; this and what follows is by the monotonic clock."""
    recovered: float
    """When everything was recorded again, or there had been time enough for it."""
    steps: list[str]
    """The steps of a run that has begun and ended before the fault."""

    def __init__(self, seen: Seen, place: Place, stack: ExitStack) -> None:
        self.seen = seen
        self.place = place
        self.rehearsed = self.early = 0
        """The processes that started before the fault, and stopped before and in it."""
        self.servers: list[Server] = []
        """Those with a history, the last one started after the fault."""
        self.codes: list[int] = []
        """The exit codes."""
        self._stack = stack

    def run(self, seconds: float) -> None:
        """Start servers, have the fault, and stop them when everything is recorded.

        Args:
            seconds: how long the time before the fault, and the fault, last at least.
        """
        [main] = self._start("--workers", "2")
        [beside] = self._serve(self.place.control, "--workers", "2")
        self._until_recorded(2)
        self.plain = self._clients(main, PAUSE, *PLAIN)
        self.control = self._clients(beside, PAUSE, *PLAIN)
        self.books = self._clients(main, PAUSE_WITH_DATABASE, *BOOKS)
        self.before = time.monotonic()
        rehearsal, early = self._start_two()
        self._until_recorded(4)
        self._stop(rehearsal)
        self.rehearsed, self.early = rehearsal.process.pid, early.process.pid
        [self.steps] = [run["steps"] for run in self.place.look() if run["pid"] == self.rehearsed]
        wait_until(self.before + seconds)
        begins = time.monotonic()
        with self.seen.cell.fault(self.place):
            within, late = self._start_two()
            self._stop(early)
            self._stop(within)
            wait_until(begins + seconds)
            self.seen.waited = len(self.place.files())
        ends = time.monotonic()
        [after] = self._start()
        with suppress(TimeoutError):
            for _ in range(2):
                before_it = self._seen_at()
                until(lambda: self._beating(before_it) == 4)  # noqa: B023
            until(lambda: not self.place.files())
            self.seen.recovered = time.monotonic() - ends
        self.recovered = time.monotonic()
        time.sleep(1.0)
        for clients in (self.plain, self.control, self.books):
            clients.end()
        for server in (late, main, after):
            self._stop(server, is_told=False)
        self.seen.plain, self.seen.control, self.seen.books = (
            (clients.between(self.before, begins), clients.between(begins, ends))
            for clients in (self.plain, self.control, self.books)
        )

    def _clients(self, server: Server, pause: float, *paths: str) -> Clients:
        one = Clients(server.port, paths=paths, pause=pause)
        self._stack.callback(one.end)
        one.begin()
        return one

    def _serve(self, project: Project, *options: str, count: int = 1) -> list[Server]:
        # Starts servers at once, and waits until they answer.
        options = ("--lifespan", "on", "--timeout-graceful-shutdown", "2", *options)
        servers = [Server(project, UVICORN, options=options) for _ in range(count)]
        for server in servers:
            self._stack.callback(server.kill)
            server.start()
        for server in servers:
            server.wait_until_ready()
        return servers

    def _start(self, *options: str, count: int = 1) -> list[Server]:
        servers = self._serve(self.place.project, *options, count=count)
        self.servers += servers
        return servers

    def _start_two(self) -> list[Server]:
        begun = time.monotonic()
        servers = self._start(count=2)
        self.seen.starts.append(time.monotonic() - begun)
        return servers

    def _stop(self, server: Server, *, is_told: bool = True) -> None:
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        self.codes.append(server.wait())
        if is_told:
            self.seen.stops.append(time.monotonic() - begun)

    def _until_recorded(self, count: int) -> None:
        # Until the history has so many runs with all steps of their startup.
        sql = (
            "SELECT count(*) FROM lifespan_app_lifespanstep"
            " WHERE name = 'check' AND phase = 'startup'"
        )
        until(lambda: self.place.database.query(sql)[0][0] == count)

    def _seen_at(self) -> dict[int, Any]:
        # When each run that goes on was seen last.
        sql = (
            "SELECT pid, last_seen_at FROM lifespan_app_lifespanrun"
            " WHERE status IN ('serving', 'degraded')"
        )
        return dict(self.place.database.query(sql))

    def _beating(self, before: dict[int, Any]) -> int:
        # How many runs were seen since.
        return sum(at != before.get(pid) for pid, at in self._seen_at().items())


def wait_until(moment: float) -> None:
    """Sleep until a moment of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))
