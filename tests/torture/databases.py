"""Faults of the database under servers that answer requests: the answers, and what is recorded after it.

A cell is a database and a fault. While clients ask a server with two workers, for views that need no
database and for one that does, other servers start and stop before the fault and in it. Afterwards the
history is held against the project's journal.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import pwd
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.clusters import Cluster, MariaDB, PostgreSQL
from tests.projects import Project
from tests.servers import HOST, UVICORN, Server, ServerFailed
from tests.torture.load import Load
from tests.torture.results import Row, table

SECONDS, SECONDS_QUICK = 8.0, 2.0
"""How long the time before a fault and the fault last at least."""
PAUSE, PAUSE_WITH_DATABASE = 0.2, 1.0
"""Seconds between two requests of a client: each one opens a connection to the database if it needs it."""
EVERY = 2.0
"""Seconds between two restarts, migrations or cut connections while such a fault lasts."""
HEARTBEAT = 2
RECOVERED = 60.0
"""Seconds after a fault within which everything is recorded: the record waits up to 30 between attempts."""
SHUTDOWN, LAST_WRITE = 3, 1.5
"""Seconds that a stop may take, and that the history may take more for its last write."""
LATER = 3.0
"""Seconds that a start or a stop may take longer in a fault than before: other work runs here, too."""
SLOWER, WORST = 3.0, 1.0
"""How often the median may be that of before, and how many seconds the slowest answer may take longer."""
BUSY = 2.0
"""How many processes may want each processor where times are judged."""
END_DIFFERS = 2.0
"""Seconds between the end that the journal has and the one that the history has, at most."""

LIFESPAN = """
import asyncio
import logging
import os
import random
import time

from journal import write
from lifespan_app import lifespan


def much():
    # Nothing compresses it: a full disk has no room for it.
    return random.randbytes(6_000).hex()


@lifespan.resource
async def store():
    logging.getLogger("shop").warning(much())
    write("starts", os.getpid())
    yield "store"
    write("closes", os.getpid(), time.time())


@lifespan.on_start
def check(store):
    pass


@lifespan.background(on_crash="restart", required=False)
async def crash(store):
    await asyncio.sleep(0.5)
    write("crashes", os.getpid())
    raise OSError(much())


@lifespan.background(every=0.5)
def sweep(store):
    pass
"""

VIEWS = """
from django.db import connection
from django.http import HttpResponse

from .lifespan import store


async def plain(request):
    return HttpResponse(store(request))


def books(request):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO visits (number) VALUES (1)")
    return HttpResponse("one more")
"""

PROBES = """
from django.urls import include, path

urlpatterns = [path("", include("lifespan_app.urls"))]
"""

LOOK = """
import json

import django

django.setup()

from lifespan_app.models import LifespanRun

runs = LifespanRun.objects.prefetch_related("steps").order_by("started_at")
print(json.dumps([
    {
        "pid": run.pid,
        "status": run.status,
        "late": run.recorded_late,
        "stopped_at": run.stopped_at and run.stopped_at.timestamp(),
        "crashes": sum(job["crashes"] for job in run.jobs),
        "steps": sorted(f"{step.phase} {step.name}" for step in run.steps.all()),
    }
    for run in runs
]))
"""


CLUSTERS: dict[str, type[Cluster]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}


class SQLite:
    """An SQLite file, with what is needed here of a ``Cluster``.

    Args:
        folder: the folder of the file.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder
        self.file = folder / "db.sqlite3"

    def connect(self) -> Any:
        """Open a connection, with autocommit."""
        return sqlite3.connect(self.file, timeout=30, isolation_level=None, check_same_thread=False)

    def query(self, sql: str) -> list[Any]:
        """Run a query on a connection of its own and return its rows."""
        with closing(self.connect()) as connection:
            return list(connection.execute(sql))

    def serve(self, project: Project) -> None:
        """Have a project use this database."""
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(self.file)}
        project.settings(DATABASES={"default": entry})


class Disk:
    """A small disk in memory, mounted at a folder.

    Args:
        folder: is made.
        owner: the user to whom it belongs.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._mount(f"size=1G,mode=0700,uid={owner}", "-t", "tmpfs", "tmpfs")

    def fill(self) -> None:
        """Leave no room."""
        found = os.statvfs(self.folder)
        self._mount(f"remount,size={(found.f_blocks - found.f_bfree) * found.f_frsize}")

    def clear(self) -> None:
        """Make room again."""
        self._mount("remount,size=1G")

    def remove(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", "--lazy", self.folder], check=True)

    def _mount(self, options: str, *words: str) -> None:
        command = ["mount", *words, "-o", options, str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)


@dataclass
class Place:
    """A project on a database of its own.

    Args:
        kind: the database.
        database: its server, or its file.
        project: the project.
        disk: the disk of the database, if it can become full.
    """

    kind: str
    database: Cluster | SQLite
    project: Project
    disk: Disk | None = None
    done: Counter[str] = field(default_factory=Counter)
    """What was done to it in the fault, more than once."""

    @property
    def cluster(self) -> Cluster:
        """Its server."""
        assert isinstance(self.database, Cluster)
        return self.database

    def migrate(self, *target: str) -> bool:
        """Migrate; return False if the database refuses it now."""
        return self.project.manage("migrate", "-v", "0", *target).returncode == 0


# The faults. Each lasts as long as its block.


@contextmanager
def stopped(place: Place) -> Iterator[None]:
    """Have no server."""
    place.cluster.stop()
    yield
    place.cluster.start()


@contextmanager
def restarted(place: Place) -> Iterator[None]:
    """Restart the server again and again."""

    def restart() -> None:
        place.cluster.restart()
        place.done["restarts"] += 1

    with again_and_again(restart):
        yield


def paused(place: Place) -> AbstractContextManager[None]:
    """Have the server stand still."""
    return place.cluster.paused()


WAITING = {
    "postgresql": "select pid from pg_stat_activity where wait_event_type = 'Lock'",
    "mariadb": "select trx_mysql_thread_id from information_schema.innodb_trx where trx_state = 'LOCK WAIT'",
}
CUT = {"postgresql": "select pg_terminate_backend({})", "mariadb": "kill {}"}


@contextmanager
def cut(place: Place) -> Iterator[None]:
    """End the connections that write to the history, in the middle of their writes.

    They wait there for the rows of the runs: a statement waits for the one that it changes, and a
    transaction that has replaced steps for the one that they belong to.
    """

    def cut_some() -> None:
        with holding(place, "BEGIN", "SELECT id FROM lifespan_app_lifespanrun FOR UPDATE"):
            until(lambda: place.database.query(WAITING[place.kind]))
            for [one] in place.database.query(WAITING[place.kind]):
                with suppress(Exception):  # it may have gone
                    place.database.query(CUT[place.kind].format(one))
                    place.done["writes cut"] += 1

    with again_and_again(cut_some):
        yield


LOCK = {
    "postgresql": ("BEGIN", "LOCK TABLE lifespan_app_lifespanrun IN ACCESS EXCLUSIVE MODE"),
    "mariadb": ("LOCK TABLES lifespan_app_lifespanrun WRITE",),
    "sqlite": ("BEGIN EXCLUSIVE",),
}


def locked(place: Place) -> AbstractContextManager[None]:
    """Lock the table of runs, or all of SQLite."""
    return holding(place, *LOCK[place.kind])


@contextmanager
def full(place: Place) -> Iterator[None]:
    """Have a disk without room; a server that ended of it is started again when there is room."""
    assert place.disk is not None
    place.disk.fill()
    with suppress(Exception):
        place.database.query(f"INSERT INTO visits VALUES {', '.join(['(1)'] * 100_000)}")
    yield
    place.disk.clear()
    if isinstance(place.database, Cluster):
        with suppress(Exception):
            place.database.query("select 1")
            return
        place.done["end of the server"] += 1
        place.database.restart()


@contextmanager
def migrated(place: Place) -> Iterator[None]:
    """Take back the newer half of the history's migrations, and apply it, again and again."""

    def back_and_forth() -> None:
        place.done["migrations"] += place.migrate("lifespan_app", "0004")
        until(lambda: place.migrate("lifespan_app"))

    with again_and_again(back_and_forth):
        yield


@contextmanager
def dropped(place: Place) -> Iterator[None]:
    """Take back all of the history's migrations, which drops its tables; then apply them."""
    until(lambda: place.migrate("lifespan_app", "zero"))
    yield
    until(lambda: place.migrate("lifespan_app"))


@contextmanager
def holding(place: Place, *statements: str) -> Iterator[None]:
    """Keep open the connection on which these statements ran."""
    with closing(place.database.connect()) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        yield
        cursor.execute("UNLOCK TABLES" if statements[0].startswith("LOCK") else "COMMIT")


@contextmanager
def again_and_again(act: Callable[[], None]) -> Iterator[None]:
    """Do something from another thread until the block ends; raise what it has raised."""
    over = threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        try:
            while not over.is_set():
                act()
                over.wait(EVERY)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


def until(look: Callable[[], object], limit: float = RECOVERED) -> None:
    """Look again and again until something is true. Raises ``TimeoutError``."""
    give_up_at = time.monotonic() + limit
    while not look():
        if time.monotonic() > give_up_at:
            raise TimeoutError
        time.sleep(0.05)


Fault = Callable[[Place], AbstractContextManager[None]]
SERVED: tuple[Fault, ...] = (stopped, restarted, paused, cut, full, locked, migrated, dropped)
"""What happens to PostgreSQL and MariaDB."""


class Cell(NamedTuple):
    """One thing that is tried."""

    database: str
    fault: Fault

    def __str__(self) -> str:
        return f"{self.database}, {self.fault.__name__}"


ALL_CELLS = (
    *(Cell(kind, fault) for kind in ("postgresql", "mariadb") for fault in SERVED),
    *(Cell("sqlite", fault) for fault in (locked, full, migrated, dropped)),
)
QUICK_CELLS = (Cell("postgresql", stopped), Cell("sqlite", locked))


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


@dataclass
class Seen:
    """What came of a cell; times are seconds."""

    cell: Cell
    done: str = ""
    plain: tuple[list[Asked], list[Asked]] = ([], [])
    """Requests without the database, before and in the fault."""
    books: tuple[list[Asked], list[Asked]] = ([], [])
    starts: list[float] = field(default_factory=list)
    """How long two starts at once took, before the fault and in it."""
    stops: list[float] = field(default_factory=list)
    """How long stops took, the first before the fault, the others in it."""
    runs: int = 0
    late: int = 0
    waited: int = 0
    """How many records waited in files at the end of the fault."""
    recovered: float = math.nan
    warnings: int = 0
    lost: int = 0
    """How often a server that had started after the fault called a run lost that went on."""
    faults: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of its row."""
        before, during = self.plain
        return (
            *(self.cell.database, self.cell.fault.__name__, self.done),
            f"{len(during):,}, {failed(during)} failed",
            f"{median(before) * 1e3:.0f} / {median(during) * 1e3:.0f}",
            f"{worst(before) * 1e3:.0f} / {worst(during) * 1e3:.0f}",
            f"{len(self.books[1]) - failed(self.books[1]):,} of {len(self.books[1]):,}",
            *(" / ".join(f"{one:.1f}" for one in some) for some in (self.starts, self.stops)),
            f"{self.runs}, {self.late} late",
            *(str(self.waited), f"{self.recovered:.1f}", str(self.warnings), str(self.lost)),
            "; ".join(self.faults),
        )


HEAD = (
    *("database", "fault", "done", "answers without it", "median ms", "worst ms", "with it"),
    *("starts s", "stops s", "runs", "files", "recovered s", "warnings", "lost", "faults"),
)


def failed(asked: Iterable[Asked]) -> int:
    """Return how many requests were not answered."""
    return sum(not one.is_answered for one in asked)


def median(asked: Iterable[Asked]) -> float:
    """Return the median of the seconds."""
    return statistics.median([one.seconds for one in asked] or [math.nan])


def worst(asked: Iterable[Asked]) -> float:
    """Return the most seconds."""
    return max([one.seconds for one in asked], default=math.nan)


def databases(cells: Sequence[Cell], seconds: float) -> Row:
    """Try each cell, and print a table of all; those that can't be tried here are told.

    Args:
        cells: what is tried.
        seconds: how long the time before a fault, and the fault, last at least.
    """
    begun = time.monotonic()
    seen: list[Seen] = []
    for number, cell in enumerate(cells):
        try:
            with tempfile.TemporaryDirectory() as folder:
                seen.append(tried(cell, Path(folder), seconds))
            said = "  ".join(seen[-1].cells)
        except NotHere as why:
            said = f"left out: {cell}: {why}"
        sys.stderr.write(f"databases: {number + 1} of {len(cells)}: {said}\n")
    sys.stdout.write(f"\n{table(HEAD, [one.cells for one in seen])}\n")
    plain = [one for each in seen for one in each.plain[1]]
    result = (
        f"{len(plain):,} requests without the database in faults, {failed(plain)} failed; "
        f"{sum(one.runs for one in seen)} runs recorded, {sum(one.late for one in seen)} of them late"
    )
    faults = [f"{one.cell}: {fault}" for one in seen for fault in one.faults]
    return Row("databases", f"{len(seen)} faults", result, faults, "", time.monotonic() - begun)


class NotHere(Exception):
    """A cell can't be tried on this machine."""


@contextmanager
def placed(cell: Cell, folder: Path) -> Iterator[Place]:
    """Make the database of a cell and a project on it."""
    with ExitStack() as stack:
        database: Cluster | SQLite
        if cell.database == "sqlite":
            database = SQLite(folder / "database")
            database.data.mkdir()
            owner = os.geteuid()
        else:
            server = CLUSTERS[cell.database]
            if server.program.find() is None:
                raise NotHere(server.program.missing)
            database = server()
            owner = pwd.getpwnam(database.owner).pw_uid if os.geteuid() == 0 else os.geteuid()
        disk = None
        if cell.fault is full:
            try:
                disk = Disk(database.data, owner)
            except (OSError, subprocess.CalledProcessError) as error:
                raise NotHere(f"no disk can be mounted here ({error}): run it as root") from error
            stack.callback(disk.remove)
        if isinstance(database, Cluster):
            stack.enter_context(database)
        project = Project(folder / "project")
        limits = {"SHUTDOWN_TIMEOUT": 1, "SHUTDOWN_DEADLINE": SHUTDOWN, "HEARTBEAT": HEARTBEAT}
        project.settings(LIFESPAN={**limits, "SPOOL_DIR": str(folder / "spool")})
        database.serve(project)
        project.app("shop", lifespan=LIFESPAN, views=VIEWS).app("probes", urls=PROBES)
        project.file("look.py", LOOK)
        place = Place(cell.database, database, project, disk)
        assert place.migrate()
        database.query("CREATE TABLE visits (number INT)")
        yield place


def tried(cell: Cell, folder: Path, seconds: float) -> Seen:
    """Try one cell."""
    seen = Seen(cell)
    with placed(cell, folder) as place, ExitStack() as stack:
        try:
            Trial(seen, place, folder / "spool", stack).run(seconds)
        except (ServerFailed, TimeoutError) as error:
            seen.faults.append(f"{error!r}".splitlines()[0][:300])
            sys.stderr.write(f"{cell}: {error}\n")
        seen.done = ", ".join(f"{count} {what}" for what, count in place.done.items())
    return seen


class Trial:
    """The servers of a cell.

    Args:
        seen: what came of it.
        place: their project.
        spool: the folder in which records wait.
        stack: ends them.
    """

    def __init__(self, seen: Seen, place: Place, spool: Path, stack: ExitStack) -> None:
        self.seen = seen
        self.place = place
        self.spool = spool
        self.rehearsed = self.early = 0
        """The processes that started before the fault, and stopped before and in it."""
        self._stack = stack
        self._servers: list[Server] = []
        self._codes: list[int] = []

    def run(self, seconds: float) -> None:
        """Start servers, have the fault, and look at what is left of it."""
        [main] = self.start("--workers", "2")
        self.until_recorded(2)
        clients = [
            self.clients(main, PAUSE, "/plain/", "/readyz"),
            self.clients(main, PAUSE_WITH_DATABASE, "/books/"),
        ]
        before = time.monotonic()
        rehearsal, early = self.start_two()
        self.until_recorded(4)
        self.stop(rehearsal)
        self.rehearsed, self.early = rehearsal.process.pid, early.process.pid
        [steps] = [run["steps"] for run in self.look() if run["pid"] == self.rehearsed]
        wait_until(before + seconds)
        begins = time.monotonic()
        with self.seen.cell.fault(self.place):
            within, late = self.start_two()
            self.stop(early)
            self.stop(within)
            wait_until(begins + seconds)
            self.seen.waited = len(self.files())
        ends = time.monotonic()
        [after] = self.start()
        with suppress(TimeoutError):
            for _ in range(2):
                before_it = self.seen_at()
                until(lambda: self.beating(before_it) == 4)  # noqa: B023
            until(lambda: not self.files())
            self.seen.recovered = time.monotonic() - ends
        recovered = time.monotonic()
        time.sleep(1.0)
        for one in clients:
            one.end()
        for server in (late, main, after):
            self.stop(server, is_told=False)
        self.seen.plain, self.seen.books = (
            (one.between(before, begins), one.between(begins, ends)) for one in clients
        )
        self.look_at_answers(clients, before, recovered)
        self.look_at_history(steps)

    def clients(self, server: Server, pause: float, *paths: str) -> Clients:
        """Have clients ask a server."""
        one = Clients(server.port, paths=paths, pause=pause)
        self._stack.callback(one.end)
        one.begin()
        return one

    def start(self, *options: str, count: int = 1) -> list[Server]:
        """Start servers at once, and wait until they answer."""
        options = ("--lifespan", "on", "--timeout-graceful-shutdown", "2", *options)
        servers = [Server(self.place.project, UVICORN, options=options) for _ in range(count)]
        self._servers += servers
        for server in servers:
            self._stack.callback(server.kill)
            server.start()
        for server in servers:
            server.wait_until_ready()
        return servers

    def start_two(self) -> list[Server]:
        """Start two servers, and note how long that took."""
        begun = time.monotonic()
        servers = self.start(count=2)
        self.seen.starts.append(time.monotonic() - begun)
        return servers

    def stop(self, server: Server, *, is_told: bool = True) -> None:
        """Stop a server, and wait until it has ended."""
        begun = time.monotonic()
        server.signal(signal.SIGTERM)
        self._codes.append(server.wait())
        if is_told:
            self.seen.stops.append(time.monotonic() - begun)

    def files(self) -> list[Path]:
        """Return what waits."""
        return list(self.spool.iterdir()) if self.spool.exists() else []

    def look(self) -> list[dict[str, Any]]:
        """Return the runs in the history, with their steps."""
        done = self.place.project.run("look.py")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def until_recorded(self, count: int) -> None:
        """Wait until the history has so many runs with all steps of their startup."""
        sql = (
            "SELECT count(*) FROM lifespan_app_lifespanstep"
            " WHERE name = 'check' AND phase = 'startup'"
        )
        until(lambda: self.place.database.query(sql)[0][0] == count)

    def seen_at(self) -> dict[int, Any]:
        """Return when each run that goes on was seen last."""
        sql = (
            "SELECT pid, last_seen_at FROM lifespan_app_lifespanrun"
            " WHERE status IN ('serving', 'degraded')"
        )
        return dict(self.place.database.query(sql))

    def beating(self, before: dict[int, Any]) -> int:
        """Return how many runs were seen since."""
        return sum(at != before.get(pid) for pid, at in self.seen_at().items())

    def look_at_answers(self, clients: Sequence[Clients], before: float, recovered: float) -> None:
        """Hold the answers, starts and stops in the fault against those before it."""
        seen, (plain, books) = self.seen, clients
        if count := failed(plain.between(before, math.inf)):
            seen.faults.append(f"{count} requests without the database failed")
        if count := failed(books.between(recovered, math.inf)):
            seen.faults.append(f"{count} requests with the database failed after the fault")
        calm, during = seen.plain
        if median(during) > SLOWER * median(calm) + 0.01 or worst(during) > worst(calm) + WORST:
            if os.getloadavg()[0] > BUSY * (os.cpu_count() or 1):
                self.place.done["machine too busy to judge times"] += 1
            else:
                seen.faults.append("answers without the database were slower")
        for what, (first, *others) in (("start", seen.starts), ("stop", seen.stops)):
            if max(others) > first + LATER + (SHUTDOWN + LAST_WRITE if what == "stop" else 0):
                seen.faults.append(f"a {what} took {max(others):.1f} s")
        if set(self._codes) - {-signal.SIGTERM, 0}:
            seen.faults.append(f"servers ended with {self._codes}")

    def look_at_history(self, steps: list[str]) -> None:
        """Hold the history against the journal."""
        seen = self.seen
        events = [event.split() for event in self.place.project.events()]
        started = Counter(int(one[1]) for one in events if one[0] == "starts")
        crashes = Counter(int(one[1]) for one in events if one[0] == "crashes")
        closed = {int(one[1]): float(one[2]) for one in events if one[0] == "closes"}
        runs = self.look()
        seen.runs, seen.late = len(runs), sum(run["late"] for run in runs)
        found = Counter(run["pid"] for run in runs)
        if seen.cell.fault is dropped:
            del started[self.rehearsed]  # it had ended, and went with its table
        if found != started:
            seen.faults.append(f"runs lost: {started - found}, invented: {found - started}")
        for run in runs:
            for what, is_so, should in (
                ("status", run["status"], "stopped"),
                ("steps", run["steps"], self.left_of(steps, run["pid"])),
                ("crashes", run["crashes"], crashes[run["pid"]]),
            ):
                if is_so != should:
                    seen.faults.append(f"{what} of {run['pid']}: {is_so}, not {should}")
            end = closed.get(run["pid"], math.inf)
            if abs((run["stopped_at"] or 0.0) - end) > END_DIFFERS:
                seen.faults.append(f"end of {run['pid']}: {run['stopped_at']}, not {end}")
        if math.isnan(seen.recovered):
            seen.faults.append(f"not everything was recorded {RECOVERED:g} s after the fault")
        if self.files():
            seen.faults.append(f"{len(self.files())} records still wait in files")
        output = "\n".join(server.output for server in self._servers)
        seen.warnings = output.count("Can't write run history")
        *knew, after = [re.findall("Run .* is lost: .*", one.output) for one in self._servers]
        seen.lost = len(after)
        if any(knew):
            seen.faults.append(f"runs were called lost by servers that knew of the fault: {knew}")
        for words in ("was given up", "is left out", "can't be imported", "The database refuses"):
            if count := output.count(words):
                seen.faults.append(f"{count} times '{words}' in the output")
        if isinstance(self.place.database, Cluster):
            self.place.database.wait_for_clients(0)

    def left_of(self, steps: list[str], pid: int) -> list[str]:
        """Return the steps that a run has in the end."""
        if self.seen.cell.fault is dropped and pid == self.early:
            # Written before the fault, they went with the table, and the process ended in the fault.
            return [step for step in steps if not step.startswith("startup")]
        return steps


def wait_until(moment: float) -> None:
    """Sleep until a moment of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))
