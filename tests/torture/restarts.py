"""Rolling restarts: a server gets SIGHUP under load, and replaces its four workers."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import GUNICORN_UVICORN, HYPERCORN, UVICORN, Kind, Server, ServerFailed
from tests.torture.load import Load
from tests.torture.results import Row, table
from tests.torture.servers import GOES_ON, KINDS, WARM, migrated, numbers
from tests.torture.systems import OURS

WORKERS = 4
LONGEST = 60.0
"""Seconds that any one step may take. granian waits 3.5 seconds before it stops each worker."""
MOST_CHARACTERS = 4000
"""Of what a server that failed has said. It names each request."""
MORE = {UVICORN: ("--timeout-worker-healthcheck", "30")}
"""uvicorn gives up a restart if a new worker needs longer than this, by default 5 seconds."""
RESTARTS: dict[Kind, tuple[str, ...]] = {
    kind: (*options, "--workers", str(WORKERS), *MORE.get(kind, ()))
    for kind, options in KINDS.items()
}
RESTARTS_QUICK = {GUNICORN_UVICORN: RESTARTS[GUNICORN_UVICORN]}
HEAD = (
    *("server", "answers", "failed", "lost", "cut", "read closed", "opened", "closed"),
    *("longest gap", "seconds", "exit code", "history", "faults"),
)


@dataclass
class Restart:
    """What came of a rolling restart."""

    kind: Kind
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """How many requests got something else than an answer, by what they got."""
    lost: int = 0
    """How many of the failed ones a view had begun."""
    cut: int = 0
    read_closed: int = 0
    opened: int = 0
    closed: int = 0
    gap: float = 0.0
    seconds: float = 0.0
    code: int | None = None
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its row."""
        failed = ", ".join(f"{count} x {what}" for what, count in self.failed.items()) or "0"
        history = ", ".join(f"{count} {status}" for status, count in self.statuses.items())
        return (
            *(self.kind.name, f"{self.answered:,}", failed, str(self.lost), str(self.cut)),
            *(str(self.read_closed), str(self.opened), str(self.closed), f"{self.gap:.1f}"),
            *(f"{self.seconds:.1f}", str(self.code), history, "; ".join(self.faults)),
        )


def restarts(kinds: Mapping[Kind, tuple[str, ...]] = RESTARTS) -> Row:
    """Restart the workers of each server, and print a table of all."""
    begun = time.monotonic()
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        database = migrated(Path(folder) / "migrated")
        for number, (kind, options) in enumerate(kinds.items()):
            one = restarted(kind, options, Path(folder) / str(number), database)
            seen.append(one)
            sys.stderr.write(f"restarts: {'  '.join(one.cells)}\n")
    sys.stdout.write(f"\n{table(HEAD, [one.cells for one in seen])}\n")
    faults = [f"{one.kind.name}: {fault}" for one in seen for fault in one.faults]
    result = (
        f"{sum(one.answered for one in seen):,} requests answered, "
        f"{sum(one.failed.total() for one in seen)} failed, "
        f"{sum(one.lost - one.cut for one in seen)} that had begun were lost, "
        f"{sum(one.read_closed for one in seen)} reads of a closed resource"
    )
    tried = f"rolling restarts of {WORKERS} workers of {len(kinds)} servers"
    return Row("restarts", tried, result, faults, "", time.monotonic() - begun)


def restarted(kind: Kind, options: tuple[str, ...], folder: Path, database: Path) -> Restart:
    """Send SIGHUP under load, wait for new workers, and stop the server without load."""
    project = OURS.project(folder, "serving", "fine")
    shutil.copy(database, folder / "db.sqlite3")
    seen = Restart(kind)
    server = Server(project, kind, options=options, ready=False, limit=LONGEST)
    load = Load(server.port, LONGEST)

    def ended() -> int:
        return sum(run["status"] not in GOES_ON for run in project.runs())

    def serving() -> int:
        return sum(run["status"] == "serving" for run in project.runs())

    try:
        server.start()
        server.until(lambda: serving() == WORKERS, "Not every worker came to serve")
        load.begin()
        server.until(lambda: len(load.answered) >= WARM, "Requests were not answered")
        begun = time.monotonic()
        server.signal(signal.SIGHUP)
        server.until(lambda: ended() >= WORKERS == serving(), "The workers were not replaced")
        seen.seconds = time.monotonic() - begun
        enough = len(load.answered) + WARM
        server.until(lambda: len(load.answered) >= enough, "Requests were not answered")
        load.end()
        server.signal(signal.SIGTERM)
        seen.code = server.wait()
    except ServerFailed as error:
        seen.faults.append(str(error).splitlines()[0])
        sys.stderr.write(f"{kind.name}: {str(error)[:MOST_CHARACTERS]}\n")
    finally:
        load.end()
        server.kill()
    order = project.events()
    lost = numbers(order, "begins") - load.answered
    seen.answered, seen.failed = len(load.answered), Counter(load.others.values())
    seen.lost, seen.gap = len(lost), load.longest_gap
    seen.cut = len(lost & numbers(order, "cut")) if kind is HYPERCORN else 0
    seen.read_closed = len(numbers(order, "reads"))
    seen.opened, seen.closed = order.count("opens"), order.count("closes")
    seen.statuses = Counter(str(run["status"]) for run in project.runs())
    if seen.lost > seen.cut:
        seen.faults.append(f"{seen.lost} requests that had begun were not answered")
    if seen.read_closed:
        seen.faults.append(f"{seen.read_closed} requests read a resource after its close")
    if not seen.opened == seen.closed == 2 * WORKERS:
        seen.faults.append(f"{seen.opened} resources were opened, and {seen.closed} closed")
    if seen.code != 0:
        seen.faults.append(f"the exit code is {seen.code}")
    if seen.statuses != {"stopped": 2 * WORKERS}:
        seen.faults.append(f"history says {dict(seen.statuses)}")
    return seen
