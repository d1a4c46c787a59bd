"""Real servers that are stopped or reloaded under load, while they start, serve or stop.

A cell is a server, a moment, a signal, and how a hook behaves. In each, views read a resource that
tells whether it was closed, a client counts answers, and afterwards what the server, the project's
journal and the history say is held against what must be true. The same cells can be tried with
what others use instead of lifespan_app.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals

from tests.fork_server import let_children_hear_signals
from tests.projects import Project
from tests.servers import (
    GRANIAN,
    GUNICORN,
    GUNICORN_UVICORN,
    HYPERCORN,
    UVICORN,
    Kind,
    Server,
    ServerFailed,
)
from tests.torture.load import LONGEST, Load
from tests.torture.results import Row, table
from tests.torture.systems import GO_ON, OURS, System

SIDE_BY_SIDE = 3
"""How many cells are tried at the same time: each of them waits most of the time."""
WARM = 40
"""How many requests are answered before a signal is sent."""

KINDS: dict[Kind, tuple[str, ...]] = {
    UVICORN: ("--lifespan", "on", "--timeout-graceful-shutdown", "4"),
    HYPERCORN: (),
    GRANIAN: ("--workers-kill-timeout", "8"),
    GUNICORN: ("--asgi-lifespan", "on", "--graceful-timeout", "8"),
    GUNICORN_UVICORN: ("--graceful-timeout", "8"),
}
MOMENTS = ("starting", "serving", "stopping")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
HOOKS = ("fine", "raises", "hangs", "blocks")

BREAKS_OFF = {(GUNICORN, signal.SIGINT), (GUNICORN_UVICORN, signal.SIGINT)}
"""Who cancels requests, or kills its worker, on SIGINT to its main process (docs/servers)."""

FAILED_START = {
    UVICORN: {3},
    HYPERCORN: {0},
    GRANIAN: {1},
    GUNICORN: {1, 3},
    GUNICORN_UVICORN: {1, 3},
}
"""Exit codes after a startup that fails. gunicorn's is 1 if two workers fail at the same moment, or one
after a signal. granian's is 0 if a signal has told it to stop in the meantime."""
GOES_ON = ("starting", "serving", "degraded", "stopping")
"""What the history says of a process that has not ended, or was killed."""


@dataclass(frozen=True)
class Cell:
    """One thing that is tried."""

    kind: Kind
    moment: str
    number: Signals
    hooks: str
    system: System = OURS

    @property
    def kills(self) -> bool:
        """Whether the signal ends the process at once, as SIGHUP does with uvicorn's only process."""
        return self.number is signal.SIGKILL or (
            self.kind is UVICORN and self.number is signal.SIGHUP
        )

    @property
    def reloads(self) -> bool:
        """Whether the server starts again after the signal, if hooks let it."""
        return (
            self.number is signal.SIGHUP and self.kind is not UVICORN and self.moment != "stopping"
        )

    @property
    def promises_answers(self) -> bool:
        """Whether the server answers each request that it has begun."""
        breaks_off = self.moment == "serving" and (self.kind, self.number) in BREAKS_OFF
        return not (breaks_off or self.kills)

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
        ("serving", signal.SIGTERM, "blocks"),
        ("serving", signal.SIGHUP, "fine"),
        ("serving", signal.SIGKILL, "fine"),
        ("starting", signal.SIGTERM, "raises"),
    }
)


def cells_beside(system: System) -> tuple[Cell, ...]:
    """Return the cells in which a system is compared with ours."""
    return tuple(
        Cell(kind, moment, number, hooks, system)
        for kind, moment, number, hooks in itertools.product(
            (UVICORN, HYPERCORN), MOMENTS, (signal.SIGTERM, signal.SIGINT), HOOKS
        )
    )


@dataclass
class Seen:
    """What came of a cell."""

    cell: Cell
    answered: int = 0
    lost: int = 0
    cut: int = 0
    """How many of the lost ones hypercorn cut off as it had just begun them (docs/reliability)."""
    read_closed: int = 0
    left_open: int = 0
    code: int | None = None
    seconds: float = 0.0
    status: str = ""
    closed: bool = False
    untried: str = ""
    """Why the signal could not be sent, or the server did not reload."""
    faults: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its row."""
        code = "runs" if self.code is None else str(self.code)
        cell = self.cell
        return (
            *(cell.kind.name, cell.moment, cell.number.name, cell.hooks),
            *(f"{self.answered:,}", str(self.lost), str(self.cut), str(self.read_closed)),
            *(str(self.left_open), code, f"{self.seconds:.1f}", self.status),
            "; ".join(self.faults),
        )


HEAD = (
    *("server", "moment", "signal", "hooks", "answers", "lost", "cut", "read closed"),
    *("left open", "exit code", "seconds", "history", "faults"),
)


def servers(cells: Sequence[Cell]) -> Row:
    """Try each cell, and print a table of all."""
    begun = time.monotonic()
    seen = all_tried(cells)
    faults = [f"{one.cell}: {fault}" for one in seen for fault in one.faults]
    answered, lost = sum(one.answered for one in seen), sum(one.lost for one in seen)
    cut = sum(one.cut for one in seen)
    promised = sum(one.lost - one.cut for one in seen if one.cell.promises_answers)
    result = (
        f"{answered:,} requests answered, {promised} lost where the server promises an answer, "
        f"{cut} cut off by hypercorn, {lost - promised - cut} lost elsewhere, "
        f"{sum(one.read_closed for one in seen)} reads of a closed resource"
    )
    tried_ = f"{len(cells)} stops of {len({cell.kind for cell in cells})} servers"
    return Row("servers", tried_, result, faults, "", time.monotonic() - begun)


def beside(system: System) -> Row:
    """Try the cells with a system that others use, and count what would be a fault of ours."""
    begun = time.monotonic()
    cells = cells_beside(system)
    seen = all_tried(cells)
    fails = [one for one in seen if one.cell.kind is UVICORN and starts_in_vain(one.cell)]
    result = (
        f"{sum(one.left_open > 0 for one in seen)} with a resource left open, "
        f"{sum(one.lost > one.cut for one in seen)} with lost requests, "
        f"{sum(one.read_closed > 0 for one in seen)} with reads of a closed resource, "
        f"{sum(one.code is None and not one.untried for one in seen)} had not ended after {LONGEST:g} s, "
        f"{sum(one.code == 3 for one in fails)} of {len(fails)} failed starts had exit code 3; "
        f"longest {max(one.seconds for one in seen if one.code is not None):.1f} s"
    )
    tried_ = f"{len(cells)} stops with {system.name} {system.version}"
    faults = [f"{one.cell}: {one.untried}" for one in seen if one.untried]
    return Row("servers", tried_, result, faults, "", time.monotonic() - begun)


def all_tried(cells: Sequence[Cell]) -> list[Seen]:
    """Try cells, some of them side by side, and print a table."""
    let_children_hear_signals()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        database = migrated(Path(folder) / "migrated")

        def told(number: int, cell: Cell) -> Seen:
            one = tried(cell, Path(folder) / str(number), database)
            sys.stderr.write(f"servers: {number} of {len(cells)}: {'  '.join(one.cells)}\n")
            return one

        seen = list(pool.map(told, itertools.count(1), cells))
    sys.stdout.write(f"\n{table(HEAD, [one.cells for one in seen])}\n")
    return seen


def migrated(folder: Path) -> Path:
    """Return a database that has the tables."""
    project = OURS.project(folder, "serving", "fine")
    done = project.manage("migrate", "-v", "0")
    assert done.returncode == 0, done.stderr
    return folder / "db.sqlite3"


def tried(cell: Cell, folder: Path, database: Path) -> Seen:
    """Try one cell."""
    project = cell.system.project(folder, cell.moment, cell.hooks)
    shutil.copy(database, folder / "db.sqlite3")
    server = Server(project, cell.kind, options=KINDS[cell.kind], ready=False, limit=LONGEST)
    load = Load(server.port)
    seen = Seen(cell)
    try:
        server.start()
        begun = signalled(cell, server, load)
        if cell.reloads:
            stopped_after_reload(server)
        with suppress(ServerFailed):
            seen.code = server.wait()
        seen.seconds = time.monotonic() - begun
    except ServerFailed as error:
        seen.untried = str(error).splitlines()[0]
        sys.stderr.write(f"{cell}: {error}\n")
    finally:
        server.kill()
        load.end()
    looked_at(seen, project, load)
    return seen


def signalled(cell: Cell, server: Server, load: Load) -> float:
    """Send the signal at its moment; return when the server could begin to end."""
    if cell.moment == "starting":
        server.wait_for_event("holds")
        if cell.system is OURS:
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
    (server.project.folder / GO_ON).touch()
    return time.monotonic()


def stopped_after_reload(server: Server) -> None:
    """Send SIGTERM once a new worker serves and the old one has ended, or see the server end."""

    def reloaded() -> bool:
        statuses = [run["status"] for run in server.project.runs()]
        ended = [status for status in statuses if status not in GOES_ON]
        now_serving = statuses.count("serving") == 1 == len(statuses) - len(ended)
        return server.exit_code is not None or bool(ended and now_serving)

    server.until(reloaded, "The server has not reloaded", may_end=True)
    if server.exit_code is None:
        server.signal(signal.SIGTERM)


def looked_at(seen: Seen, project: Project, load: Load) -> None:
    """Hold what was seen against what must be true."""
    cell, order = seen.cell, project.events()
    events = Counter(order)
    seen.answered = len(load.answered)
    seen.read_closed = sum(event.startswith("reads closed") for event in events)
    seen.closed = events["closes"] > 0
    seen.left_open = events["opens"] - events["closes"]
    lost = numbers(order, "begins") - load.answered
    seen.lost = len(lost)
    if cell.kind is HYPERCORN:
        seen.cut = len(lost & numbers(order, "cut"))
    if seen.read_closed:
        seen.faults.append(f"{seen.read_closed} requests read a resource after its close")
    if seen.lost > seen.cut and cell.promises_answers:
        stops = order.index("stops") if "stops" in order else len(order)
        late = sum(order.index(f"begins {number}") > stops for number in lost)
        instead = Counter(load.others.get(number, "nothing") for number in lost)
        came = ", ".join(f"{count} x {what}" for what, count in instead.items())
        seen.faults.append(
            f"{seen.lost} requests that had begun were not answered: {came}; {late} of them had "
            "begun while hooks stopped"
        )
    if seen.untried:
        seen.faults.append(seen.untried)
    elif seen.code is None:
        seen.faults.append(f"it had not ended after {LONGEST:g} s")
    elif seen.code not in exit_codes(cell):
        seen.faults.append(f"the exit code is {seen.code}, and not {exit_codes(cell)}")
    if seen.left_open < 0:
        seen.faults.append("a resource was closed twice")
    if seen.left_open > 0 and not cell.kills and (cell.kind, cell.number) not in BREAKS_OFF:
        seen.faults.append("a resource was not closed")
    if cell.system is not OURS:
        return
    statuses = sorted({str(run["status"]) for run in project.runs()})
    seen.status = ", ".join(statuses)
    if len(statuses) != 1 or statuses[0] not in expected(seen):
        seen.faults.append(f"history says {seen.status!r}, and not {expected(seen)}")


def numbers(events: Iterable[str], word: str) -> set[str]:
    """Return the numbers of the requests that the journal names after a word."""
    return {event.split()[1] for event in events if event.split()[0] == word}


def starts_in_vain(cell: Cell) -> bool:
    """Say whether the startup fails."""
    return cell.moment == "starting" and cell.hooks != "fine"


def exit_codes(cell: Cell) -> set[int]:
    """Return the exit codes that the server has in such a cell."""
    if cell.kills:
        return {-cell.number}
    if starts_in_vain(cell):
        was_stopped = cell.kind is GRANIAN and not cell.reloads
        return {0} if was_stopped else FAILED_START[cell.kind]
    if cell.kind is UVICORN and (cell.number is signal.SIGTERM or cell.moment == "stopping"):
        return {-signal.SIGTERM}
    return {0}


def expected(seen: Seen) -> Sequence[str]:
    """Return the statuses that are true in the history."""
    cell = seen.cell
    if not seen.closed:
        # A process that is killed may not have written the last of them.
        return GOES_ON
    if cell.hooks == "fine":
        return ("stopped",)
    return ("startup_failed",) if cell.moment == "starting" else ("shutdown_failed",)
