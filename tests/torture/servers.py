"""Real servers that are stopped under load, while they start, serve or stop.

A cell is a server, a moment, a signal, and how a hook behaves. In each, views read a resource that
tells whether it was closed, a client counts answers, and afterwards what the server, the project's
journal and the history say is held against what must be true.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from tests.projects import Project
from tests.servers import (
    GRANIAN,
    GUNICORN,
    GUNICORN_UVICORN,
    HOST,
    HYPERCORN,
    UVICORN,
    Kind,
    Server,
    ServerFailed,
)
from tests.torture.results import Row, table

CLIENTS = 12
WARM = 40
"""How many requests are answered before a signal is sent."""
LONGEST = 12.0
"""Seconds within which a server has ended: its own limit of 4, the shutdown's of 3, and some more."""
GO_ON = "go-on"

KINDS: dict[Kind, tuple[str, ...]] = {
    UVICORN: ("--lifespan", "on", "--timeout-graceful-shutdown", "4"),
    HYPERCORN: (),
    GRANIAN: ("--workers-kill-timeout", "8"),
    GUNICORN: ("--asgi-lifespan", "on", "--graceful-timeout", "8"),
    GUNICORN_UVICORN: ("--graceful-timeout", "8"),
}
MOMENTS = ("starting", "serving", "stopping")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
HOOKS = ("fine", "raises", "hangs")

BREAKS_OFF = {(GUNICORN, signal.SIGINT), (GUNICORN_UVICORN, signal.SIGINT)}
"""Who cancels requests, or kills its worker, on SIGINT to its main process (docs/servers)."""

LIFESPAN = f"""
import asyncio
from pathlib import Path

from journal import write
from lifespan_app import lifespan

MOMENT, HOOKS = {{moment!r}}, {{hooks!r}}


class Store:
    closed = False


@lifespan.resource
async def store():
    opened = Store()
    write("opens")
    yield opened
    opened.closed = True
    write("closes")


async def behave():
    if HOOKS == "raises":
        raise OSError("the till is empty")
    if HOOKS == "hangs":
        await asyncio.Event().wait()


async def held():
    write("holds")
    while not Path({GO_ON!r}).exists():
        await asyncio.sleep(0.01)


@lifespan.resource
async def till(store):
    if MOMENT == "starting":
        await held()
        await behave()
    yield "till"
    write("stops")
    if MOMENT == "stopping":
        await held()
    if MOMENT != "starting":
        await behave()
"""

VIEWS = """
import asyncio

from django.http import HttpResponse
from journal import write

from .lifespan import store


async def work(request):
    number = request.GET["number"]
    write("begins", number)
    await asyncio.sleep(0.02)
    if store(request).closed:
        write("reads closed", number)
    return HttpResponse(number)
"""


@dataclass(frozen=True)
class Cell:
    """One thing that is tried."""

    kind: Kind
    moment: str
    number: Signals
    hooks: str

    @property
    def promises_answers(self) -> bool:
        """Whether the server answers each request that it has begun."""
        breaks_off = self.moment == "serving" and (self.kind, self.number) in BREAKS_OFF
        return not (breaks_off or self.number is signal.SIGKILL)

    def __str__(self) -> str:
        return f"{self.kind.name}, {self.moment}, {self.number.name}, {self.hooks}"


ALL_CELLS = tuple(
    Cell(kind, moment, number, hooks)
    for kind, moment, number, hooks in itertools.product(KINDS, MOMENTS, SIGNALS, HOOKS)
)
QUICK_CELLS = tuple(
    cell
    for cell in ALL_CELLS
    if (cell.moment, cell.number, cell.hooks)
    in {
        ("serving", signal.SIGTERM, "fine"),
        ("serving", signal.SIGTERM, "hangs"),
        ("serving", signal.SIGKILL, "fine"),
        ("starting", signal.SIGTERM, "raises"),
    }
)


@dataclass
class Load:
    """Clients that send one request after the other, each on a connection of its own.

    Args:
        port: that of the server.
    """

    port: int
    answered: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)
    """What came instead of an answer, by the number of the request."""
    _numbers: Iterable[int] = field(default_factory=itertools.count)
    _over: bool = False
    _thread: threading.Thread | None = None

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
                await asyncio.wait_for(self._ask(str(number)), LONGEST)
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
        else:
            self.others[number] = (
                answer[:12].decode(errors="replace") or "the connection was closed"
            )


@dataclass
class Seen:
    """What came of a cell."""

    cell: Cell
    answered: int = 0
    lost: int = 0
    read_closed: int = 0
    code: int | None = None
    seconds: float = 0.0
    status: str = ""
    closed: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its row."""
        code = "runs" if self.code is None else str(self.code)
        cell = self.cell
        return (
            *(cell.kind.name, cell.moment, cell.number.name, cell.hooks),
            *(f"{self.answered:,}", str(self.lost), str(self.read_closed)),
            *(code, f"{self.seconds:.1f}", self.status, "; ".join(self.faults)),
        )


HEAD = (
    *("server", "moment", "signal", "hooks", "answers", "lost", "read closed"),
    *("exit code", "seconds", "history", "faults"),
)


def servers(cells: Sequence[Cell]) -> Row:
    """Try each cell, and print a table of all."""
    begun = time.monotonic()
    seen = []
    with tempfile.TemporaryDirectory() as folder:
        database = migrated(Path(folder) / "migrated")
        for number, cell in enumerate(cells):
            one = tried(cell, Path(folder) / str(number), database)
            seen.append(one)
            sys.stderr.write(f"servers: {number + 1} of {len(cells)}: {'  '.join(one.cells)}\n")
    sys.stdout.write(f"\n{table(HEAD, [one.cells for one in seen])}\n")
    faults = [f"{one.cell}: {fault}" for one in seen for fault in one.faults]
    answered, lost = sum(one.answered for one in seen), sum(one.lost for one in seen)
    promised = sum(one.lost for one in seen if one.cell.promises_answers)
    result = (
        f"{answered:,} requests answered, {promised} lost where the server promises an answer, "
        f"{lost - promised} elsewhere, {sum(one.read_closed for one in seen)} reads of a closed resource"
    )
    tried_ = f"{len(cells)} stops of {len({cell.kind for cell in cells})} servers"
    return Row("servers", tried_, result, faults, "", time.monotonic() - begun)


def project_in(folder: Path, moment: str, hooks: str) -> Project:
    """Write the project of a cell."""
    project = Project(folder)
    limits = {"STARTUP_DEADLINE": 3, "SHUTDOWN_TIMEOUT": 1, "SHUTDOWN_DEADLINE": 3}
    project.settings(LIFESPAN={**limits, "SPOOL_DIR": str(folder / "spool")})
    lifespan = LIFESPAN.format(moment=moment, hooks=hooks)
    return project.app("shop", lifespan=lifespan, views=VIEWS)


def migrated(folder: Path) -> Path:
    """Return a database that has the tables."""
    project = project_in(folder, "serving", "fine")
    done = project.manage("migrate", "-v", "0")
    assert done.returncode == 0, done.stderr
    return folder / "db.sqlite3"


def tried(cell: Cell, folder: Path, database: Path) -> Seen:
    """Try one cell."""
    project = project_in(folder, cell.moment, cell.hooks)
    shutil.copy(database, folder / "db.sqlite3")
    server = Server(project, cell.kind, options=KINDS[cell.kind], ready=False)
    load = Load(server.port)
    seen = Seen(cell)
    try:
        server.start()
        begun = signalled(cell, server, load)
        with suppress(ServerFailed):
            server.limit = LONGEST
            seen.code = server.wait()
        seen.seconds = time.monotonic() - begun
    except ServerFailed as error:
        seen.faults.append(str(error).splitlines()[0])
        sys.stderr.write(f"{cell}: {error}\n")
    finally:
        server.kill()
        load.end()
    looked_at(seen, project, load)
    return seen


def signalled(cell: Cell, server: Server, load: Load) -> float:
    """Send the signal at its moment; return when the server could begin to end."""
    go_on = server.project.folder / GO_ON
    if cell.moment == "starting":
        server.wait_for_event("holds")
        server.until(server.project.runs, "The history has no run")
    else:
        server.wait_until_ready()
        load.begin()
        server.until(lambda: len(load.answered) >= WARM, "Requests were not answered")
    if cell.moment == "stopping":
        server.signal(signal.SIGTERM)
        server.wait_for_event("holds")
    if cell.number is signal.SIGKILL:
        server.signal_group(cell.number)
    else:
        server.signal(cell.number)
    go_on.touch()
    return time.monotonic()


def looked_at(seen: Seen, project: Project, load: Load) -> None:
    """Hold what was seen against what must be true."""
    cell, events = seen.cell, Counter(project.events())
    begun = {event.split()[1] for event in events if event.startswith("begins")}
    seen.answered = len(load.answered)
    lost = begun - load.answered
    seen.lost = len(lost)
    seen.read_closed = sum(event.startswith("reads closed") for event in events)
    seen.closed = events["closes"] > 0
    statuses = sorted({str(run["status"]) for run in project.runs()})
    seen.status = ", ".join(statuses)
    if seen.read_closed:
        seen.faults.append(f"{seen.read_closed} requests read a resource after its close")
    order = project.events()
    stops = order.index("stops") if "stops" in order else len(order)
    late = sum(order.index(f"begins {number}") > stops for number in lost)
    if seen.lost and cell.promises_answers:
        instead = Counter(load.others.get(number, "nothing") for number in lost)
        came = ", ".join(f"{count} x {what}" for what, count in instead.items())
        seen.faults.append(
            f"{seen.lost} requests that had begun were not answered: {came}; {late} of them had "
            "begun while hooks stopped"
        )
    if seen.code is None:
        seen.faults.append(f"it had not ended after {LONGEST:g} s")
    if events["closes"] > events["opens"]:
        seen.faults.append("a resource was closed twice")
    if cell.number is not signal.SIGKILL and (cell.kind, cell.number) not in BREAKS_OFF:
        if events["closes"] != events["opens"]:
            seen.faults.append("a resource was not closed")
    if len(statuses) != 1 or statuses[0] not in expected(seen):
        seen.faults.append(f"history says {seen.status!r}, and not {expected(seen)}")


def expected(seen: Seen) -> Sequence[str]:
    """Return the statuses that are true in the history."""
    cell = seen.cell
    if not seen.closed:
        # A process that is killed may not have written the last of them.
        return ("starting", "serving", "degraded", "stopping")
    if cell.hooks == "fine":
        return ("stopped",)
    return ("startup_failed",) if cell.moment == "starting" else ("shutdown_failed",)
