"""Servers that lead a job in turn, while they and their database are killed, paused and restarted.

    python -m tests.torture --part leases --seconds 600 --database postgresql

The leader writes the time of the database into a table, again and again, with its number. A number that
is written after a newer one was written is refused. That may only happen to a process that was paused
past its lease: a process that ran on would be a second holder.
"""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.clusters import CLUSTERS, Cluster
from tests.leases.databases import LEASE_SECONDS, Database
from tests.projects import Project
from tests.servers import Server
from tests.torture.results import Row

SERVERS = 4
LATE = 2.0
"""Seconds after its end in which a pause still explains a refused number."""

LEADING = """
import asyncio
import os

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection
from lifespan_app import lifespan
from lifespan_app.history.recording.clock import Clock
from lifespan_app.models import LifespanLease


def write(number):
    now, _ = LifespanLease.objects.all().query.get_compiler("default").compile(Clock())
    with connection.cursor() as cursor:
        cursor.execute("UPDATE fence SET number = %s WHERE number <= %s", [number, number])
        cursor.execute(
            f"INSERT INTO beats (pid, number, refused, at) VALUES (%s, %s, %s, {now})",
            [os.getpid(), number, int(cursor.rowcount == 0)],
        )


@lifespan.background(once="cluster", on_crash="restart")
async def lead(context):
    number = context.lease.number
    while True:
        try:
            await sync_to_async(write)(number)
        except DatabaseError:
            pass
        await asyncio.sleep(0.02)
"""


class Beat(NamedTuple):
    """One write of a leader."""

    pid: int
    number: int
    refused: bool
    at: float
    """Seconds since 1970 by the clock of the database."""


@dataclass
class Torture:
    """What has been done to the servers, and when.

    Args:
        project: the project that they serve.
        cluster: their database.
        random: what decides.
    """

    project: Project
    cluster: Cluster
    random: random.Random
    servers: list[Server] = field(default_factory=list)
    pauses: list[tuple[int, float, float]] = field(default_factory=list)
    """Of which process, from when to when."""
    done: dict[str, int] = field(default_factory=dict)

    def run(self, seconds: float) -> None:
        """Torture them for so long."""
        actions: Sequence[Callable[[], None]] = (
            *[self.kill] * 4,
            *[self.stop] * 4,
            *[self.pause] * 4,
            self.restart_database,
        )
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            time.sleep(self.random.uniform(0.2, 3.0))
            action = self.random.choice(actions)
            action()
            self.done[action.__name__] = self.done.get(action.__name__, 0) + 1

    def start(self) -> Server:
        """Start one more server."""
        server = Server(self.project, ready=False)
        server.start()
        self.servers.append(server)
        return server

    def kill(self) -> None:
        """Kill a server, and start another one."""
        self._take().kill()
        self.start()

    def stop(self) -> None:
        """Stop a server gracefully, and start another one."""
        server = self._take()
        server.signal(signal.SIGTERM)
        self.start()
        with suppress(AssertionError):
            server.wait()
        server.kill()

    def pause(self) -> None:
        """Have a server stand still, mostly for longer than its lease."""
        server = self.random.choice(self.servers)
        began = time.time()
        server.signal_group(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.5, 2 * LEASE_SECONDS))
        server.signal_group(signal.SIGCONT)
        self.pauses.append((server.process.pid, began, time.time()))

    def restart_database(self) -> None:
        """Stop the database, for longer than a lease or not, and start it anew."""
        self.cluster.stop()
        time.sleep(self.random.uniform(0, 2 * LEASE_SECONDS))
        self.cluster.start()

    def _take(self) -> Server:
        return self.servers.pop(self.random.randrange(len(self.servers)))

    def end(self) -> None:
        """Kill all servers."""
        for server in self.servers:
            server.kill()

    def beats(self) -> list[Beat]:
        """Return what the leaders have written, in the order of the database's clock."""
        rows = self.cluster.query("SELECT pid, number, refused, at FROM beats ORDER BY at")
        return [Beat(pid, number, bool(no), at / 1e6) for pid, number, no, at in rows]

    def was_paused(self, beat: Beat) -> bool:
        """Return True if a process has just been woken from a pause."""
        return any(
            pid == beat.pid and began <= beat.at <= ended + LATE
            for pid, began, ended in self.pauses
        )


def second_holders(torture: Torture, beats: list[Beat]) -> list[Beat]:
    """Return the writes of processes that were no holder any more, and had not been paused."""
    newest = 0
    found = []
    for beat in beats:
        if (beat.refused or beat.number < newest) and not torture.was_paused(beat):
            found.append(beat)
        newest = max(newest, beat.number)
    return found


def tortured(
    folder: Path, database: str, seconds: float, seed: int | None = None
) -> tuple[Torture, list[Beat]]:
    """Torture servers on a database of their own; return what was done, and what they have written."""
    with ExitStack() as stack:
        cluster = stack.enter_context(CLUSTERS[database]())
        project = Project(folder / "project")
        Database(cluster).serve(project).app("shop", lifespan=LEADING)
        done = project.manage("migrate", "-v", "0")
        assert done.returncode == 0, done.stderr
        cluster.query("CREATE TABLE fence AS SELECT 0 AS number")
        cluster.query("CREATE TABLE beats (pid BIGINT, number BIGINT, refused INT, at BIGINT)")
        torture = Torture(project, cluster, random.Random(seed))
        stack.callback(torture.end)
        for _ in range(SERVERS):
            torture.start()
        torture.servers[0].wait_until_ready()
        torture.run(seconds)
        torture.end()
        return torture, torture.beats()


def leases(database: str, seconds: float, seed: int) -> Row:
    """Torture servers for so long; return what came of it."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        torture, beats = tortured(Path(folder), database, seconds, seed)
    faults = [f"a second holder wrote {beat}" for beat in second_holders(torture, beats)]
    if not beats:
        faults.append("nobody wrote anything")
    done = ", ".join(f"{name} {count}" for name, count in sorted(torture.done.items()))
    return Row(
        "leases",
        f"{SERVERS} servers, {database}: {done}",
        summary(beats),
        faults,
        str(seed),
        time.monotonic() - begun,
    )


def summary(beats: list[Beat]) -> str:
    """Return what the leaders have written."""
    holders = len({beat.number for beat in beats})
    refused = sum(beat.refused for beat in beats)
    return (
        f"{len(beats):,} writes by {holders} holders, one at a time; "
        f"{refused} of processes that had been paused were refused"
    )
