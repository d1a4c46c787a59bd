"""
The admin's pages with 1,000,000 recorded runs, to the same pages with 10,000, on SQLite and PostgreSQL. The large database
has runs of 90 days, 4 service types, 30 releases and 20 hosts; the newest 20,000 have 30 steps, the others 3. In the small
one they came as fast, so that its last hour has as many, and there are enough of every kind to fill a page. The pages are
asked for in turn, from the small one, from the small one again and from the large one, in one process. No plan of a query may
read a whole table.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings

from benchmarks.results import Row, Table

TITLE = "The admin at a million runs"
SMALL, LARGE = 10_000, 1_000_000
WITH_MANY_STEPS = 20_000
AT_MOST = 1.5
ROUNDS = 7
DAYS, SERVICE_TYPES, RELEASES, HOSTS = 90, 4, 30, 20
BYTES_A_RUN = 2_000
"""Bytes of a run with its steps and all indexes, as measured."""

LIST = "/admin/lifespan_app/lifespanrun/"


JOBS = [
    {
        "key": f"app_{number}.job_{number}",
        "state": "waiting",
        "reason": "",
        "every": 60.0,
        "rounds": 1_000,
        "crashes": 1,
        "last_crash": "OSError: nobody is there",
        "last_crash_at": "2026-11-30T12:00:00.000+00:00",
        "last_success_at": "2026-11-30T13:00:00.000+00:00",
        "next_at": "2026-11-30T13:01:00.000+00:00",
        "leads": False,
    }
    for number in range(4)
]
"""The background jobs of each run."""

BOOT = {"process": 1.0, "imported": 0.75, "app_ready": 0.5, "apps_ready": 0.25, "application": 0.2}
"""The boot record of each run."""


# Making the runs

RUN_COLUMNS = [
    "uuid",
    "short_id",
    "launch",
    "mode",
    "service_type",
    "environment",
    "release",
    "status",
    "ended_by",
    "host",
    "pid",
    "process",
    "server",
    "python_version",
    "django_version",
    "started_at",
    "ready_at",
    "readiness",
    "readiness_reason",
    "jobs",
    "last_seen_at",
    "startup_duration",
    "shutdown_duration",
    "hooks_total",
    "hooks_failed",
    "slowest_hook",
    "error",
    "error_class",
    "fingerprint",
    "left_out",
    "boot",
    "recorded_late",
    "loop_blocks",
    "lost_after",
]

STEP_COLUMNS = [
    "run_id",
    "app_label",
    "name",
    "kind",
    "phase",
    "priority",
    "attempt",
    "offset",
    "duration",
    "outcome",
    "reason",
    "needs",
    "on_critical_chain",
    "file",
    "line",
    "exception",
    "error",
    "cause",
    "action",
    "traceback",
    "fingerprint",
    "waiting_at",
    "log",
    "errors",
]


class Dialect:
    """The SQL that differs between databases."""

    numbers: str
    """Rows with a column `n`, from 1 to {count}."""
    text = "CAST({0} AS TEXT)"

    def at(self, seconds_before_now: str) -> str:
        """Return a moment."""
        raise NotImplementedError

    def span(self, microseconds: str) -> str:
        """Return a duration."""
        raise NotImplementedError

    def uuid(self, number: str) -> str:
        """Return a UUID."""
        raise NotImplementedError

    def json(self, text: str) -> str:
        """Return a JSON value."""
        return f"'{text}'"

    def short_id(self, number: str) -> str:
        """Return the short form of a UUID, as UUIDs by chance have it."""
        raise NotImplementedError

    def flag(self, condition: str) -> str:
        """Return a condition as a value."""
        return f"({condition})"


class SQLite(Dialect):
    """Times are texts, durations whole numbers."""

    numbers = (
        "(WITH RECURSIVE some(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM some WHERE n < {count})"
        " SELECT n FROM some) AS numbers"
    )

    def at(self, seconds_before_now: str) -> str:
        """Return a moment."""
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || ({seconds_before_now}) || ' seconds')"

    def span(self, microseconds: str) -> str:
        """Return a duration."""
        return f"({microseconds})"

    def uuid(self, number: str) -> str:
        """Return a UUID."""
        return f"printf('%032x', {number})"

    def short_id(self, number: str) -> str:
        """Return the short form of a UUID, as UUIDs by chance have it."""
        return f"printf('%08x', {number})"


class PostgreSQL(Dialect):
    """The SQL of PostgreSQL, which has types."""

    numbers = "generate_series(1, {count}) AS numbers(n)"

    def at(self, seconds_before_now: str) -> str:
        """Return a moment."""
        return f"now() - ({seconds_before_now}) * interval '1 second'"

    def span(self, microseconds: str) -> str:
        """Return a duration."""
        return f"({microseconds}) * interval '1 microsecond'"

    def json(self, text: str) -> str:
        """Return a JSON value."""
        return f"'{text}'::jsonb"

    def uuid(self, number: str) -> str:
        """Return a UUID."""
        return f"lpad(to_hex({number}), 32, '0')::uuid"

    def short_id(self, number: str) -> str:
        """Return the short form of a UUID, as UUIDs by chance have it."""
        return f"lpad(to_hex({number}), 8, '0')"


def runs_sql(dialect: Dialect, count: int) -> str:
    """Return the statement that inserts runs."""
    text = dialect.text.format
    before = f"(({count} - n) * {DAYS * 86_400.0} / {LARGE})"
    failed = "n % 20 = 0"
    live = f"n > {count} - 200"
    values = {
        "uuid": dialect.uuid("n"),
        "short_id": dialect.short_id("n"),
        "launch": f"'launch-' || {text('n / 4')}",
        "mode": "CASE n % 50 WHEN 7 THEN 'check' WHEN 8 THEN 'reload' ELSE 'server' END",
        "service_type": "CASE n % 4 WHEN 0 THEN 'api' WHEN 1 THEN 'app' WHEN 2 THEN 'worker'"
        " ELSE 'scheduler' END",
        "environment": "'production'",
        "release": f"'1.' || {text(f'n * {RELEASES} / ({count} + 1)')} || '.0'",
        "status": f"CASE WHEN {live} THEN 'serving' WHEN {failed} THEN 'startup_failed'"
        " WHEN n % 81 = 0 THEN 'lost' WHEN n % 61 = 0 THEN 'shutdown_failed' ELSE 'stopped' END",
        "ended_by": "'lifespan.shutdown'",
        "host": f"'web-' || {text(f'n % {HOSTS}')}",
        "pid": "1000 + n % 30000",
        "process": "'boot:namespace:start'",
        "server": "'uvicorn 0.54.0'",
        "python_version": "'3.13.9'",
        "django_version": "'6.1.3'",
        "started_at": dialect.at(before),
        "ready_at": f"CASE WHEN {failed} THEN NULL ELSE {dialect.at(before)} END",
        "readiness": f"CASE WHEN {live} THEN 'ok' ELSE 'stopped' END",
        "readiness_reason": "''",
        "jobs": dialect.json(json.dumps(JOBS)),
        "last_seen_at": dialect.at(f"CASE WHEN {live} THEN 0 ELSE {before} END"),
        "startup_duration": dialect.span("300000 + n % 97 * 1000"),
        "shutdown_duration": dialect.span("50000 + n % 31 * 1000"),
        "hooks_total": f"CASE WHEN n > {count - WITH_MANY_STEPS} THEN 30 ELSE 3 END",
        "hooks_failed": f"CASE WHEN {failed} THEN 1 ELSE 0 END",
        "slowest_hook": "'app_0.hook_0'",
        "error": f"CASE WHEN {failed} THEN 'OSError: nobody is there' ELSE '' END",
        "error_class": f"CASE WHEN {failed} THEN 'OSError' ELSE '' END",
        "fingerprint": f"CASE WHEN {failed} THEN 'fingerprint-' || {text('n / 20 % 4')} ELSE '' END",
        "left_out": dialect.json("[]"),
        "boot": dialect.json(json.dumps(BOOT)),
        "recorded_late": dialect.flag("1 = 0"),
        "loop_blocks": "0",
        "lost_after": f"CASE WHEN {live} THEN {dialect.at('-86400')} ELSE NULL END",
    }
    columns = ", ".join(f'"{name}"' for name in RUN_COLUMNS)
    chosen = ", ".join(values[name] for name in RUN_COLUMNS)
    numbers = dialect.numbers.format(count=count)
    return f"INSERT INTO lifespan_app_lifespanrun ({columns}) SELECT {chosen} FROM {numbers}"


def steps_sql(dialect: Dialect, runs: str, hooks: int) -> str:
    """Return the statement that inserts steps for some runs."""
    text = dialect.text.format
    failed = "run.status = 'startup_failed' AND n = 1"
    values = {
        "run_id": "run.id",
        "app_label": f"'app_' || {text('(n - 1) % 6')}",
        "name": f"'hook_' || {text('n - 1')}",
        "kind": "'resource'",
        "phase": "'startup'",
        "priority": "0",
        "attempt": "1",
        "offset": dialect.span("n * 1000"),
        "duration": dialect.span("n * 1000 + run.id % 100 * 10"),
        "outcome": f"CASE WHEN {failed} THEN 'failed' ELSE 'ok' END",
        "reason": "''",
        "needs": dialect.json("[]"),
        "on_critical_chain": dialect.flag("n = 1"),
        "file": "'shop/lifespan.py'",
        "line": "12",
        "exception": f"CASE WHEN {failed} THEN 'OSError' ELSE '' END",
        "error": f"CASE WHEN {failed} THEN 'nobody is there' ELSE '' END",
        "cause": "''",
        "action": "''",
        "traceback": "''",
        "fingerprint": f"CASE WHEN {failed} THEN run.fingerprint ELSE '' END",
        "waiting_at": "''",
        "log": dialect.json("[]"),
        "errors": dialect.json("[]"),
    }
    columns = ", ".join(f'"{name}"' for name in STEP_COLUMNS)
    chosen = ", ".join(values[name] for name in STEP_COLUMNS)
    numbers = dialect.numbers.format(count=hooks)
    return (
        f"INSERT INTO lifespan_app_lifespanstep ({columns}) SELECT {chosen}"
        f" FROM lifespan_app_lifespanrun AS run CROSS JOIN {numbers} WHERE {runs} ORDER BY run.id, n"
    )


def fill(alias: str, count: int) -> None:
    """Create the tables of a database, and insert runs with their steps."""
    from django.core.management import call_command
    from django.db import connections

    call_command("migrate", database=alias, verbosity=0)
    connection = connections[alias]
    dialect: Dialect = SQLite() if connection.vendor == "sqlite" else PostgreSQL()
    newest = max(count - WITH_MANY_STEPS, 0)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("PRAGMA cache_size = -200000")
        cursor.execute(runs_sql(dialect, count))
        cursor.execute(steps_sql(dialect, f"run.id <= {newest}", 3))
        cursor.execute(steps_sql(dialect, f"run.id > {newest}", 30))
        # A failed run with no good one before it, of its environment.
        table = "lifespan_app_lifespanrun"
        cursor.execute(f"UPDATE {table} SET environment = 'staging' WHERE id = {lonely(count)}")
        if connection.vendor == "postgresql":
            # As autovacuum does after such a load; SQLite never has statistics by itself.
            cursor.execute("VACUUM ANALYZE")


def lonely(count: int) -> int:
    """Return the key of the failed run with an environment of its own."""
    return count - 400 - count % 20


# Asking for the pages


def pages(count: int) -> dict[str, str]:
    """Return the URLs of the pages by name, for the runs and hooks of a database."""
    statuses = "live broken starting serving degraded stopping stopped startup_failed"
    return {
        "overview": "/admin/lifespan_app/",
        "list": LIST,
        "list, second page": f"{LIST}?p=2",
        **{
            f"list, status {status}": f"{LIST}?status={status}"
            for status in (*statuses.split(), "shutdown_failed", "lost")
        },
        **{
            f"list, service type {name}": f"{LIST}?service_type={name}"
            for name in ("api", "app", "worker", "scheduler", "nowhere")
        },
        **{
            f"list, started {span}": f"{LIST}?started={span}"
            for span in ("hour", "day", "week", "month")
        },
        **{
            f"list, mode {mode}": f"{LIST}?mode={mode}"
            for mode in ("all", "server", "reload", "check", "command")
        },
        **{
            f"list, search {term}": f"{LIST}?q={term}"
            for term in ("web-7", "web-1", "web", "1.7", "1.29", "1.", "nowhere")
        },
        "list, search by UUID": f"{LIST}?q={count // 2:032x}",
        "list, search by short id": f"{LIST}?q={count // 2:08x}",
        "list, search by process id": f"{LIST}?q={1000 + count // 2 % 30000}",
        "list, search by a class of errors": f"{LIST}?q=OSError",
        "list, search by a hook": f"{LIST}?q=app_0.hook_0",
        "index": "/admin/",
        "list, a launch": f"{LIST}?launch=launch-{count // 8}",
        "list, a fingerprint": f"{LIST}?fingerprint=fingerprint-1",
        "newest run": f"{LIST}{count}/change/",
        "run that failed": f"{LIST}{count - 200 - (count - 200) % 20}/change/",
        "run that failed, without a good one": f"{LIST}{lonely(count)}/change/",
        "oldest run": f"{LIST}1/change/",
        "run as JSON": f"{LIST}{count}/json/",
        "hook of all runs": f"{LIST}hook/app_0/hook_0/",
        "hook of the newest runs": f"{LIST}hook/app_5/hook_29/",
    }


class Plans:
    """Explain each query, and record those that read a whole table."""

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor
        self.scans: list[str] = []
        self.queries = 0

    def __call__(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        params, many, context = rest
        if sql.startswith("SELECT") and "lifespan_app_" in sql:
            self.queries += 1
            prefix = "EXPLAIN QUERY PLAN " if self.vendor == "sqlite" else "EXPLAIN "
            with (
                context["connection"].connection.cursor()
                if self.vendor != "sqlite"
                else (_closing(context["connection"].connection.cursor())) as cursor
            ):
                text = sql.replace("%s", "?") if self.vendor == "sqlite" else sql
                cursor.execute(prefix + text, params)
                for row in cursor.fetchall():
                    line = str(row[-1])
                    is_scan = (
                        # The newest rows are read from the end of an index, up to a limit.
                        line.startswith("SCAN lifespan_app")
                        and "INDEX lifespan_run_started" not in line
                        if self.vendor == "sqlite"
                        else "Seq Scan on lifespan_app" in line
                    )
                    if is_scan:
                        self.scans.append(f"{line.strip()}: {sql}")
        return execute(sql, params, many, context)


@contextmanager
def _closing(cursor: Any) -> Iterator[Any]:
    yield cursor
    cursor.close()


def ask(client: Any, alias: str, address: str) -> float:
    """Request a page from a database. Return the milliseconds."""
    from django.test import override_settings

    with override_settings(LIFESPAN={"HISTORY_DATABASE": alias}):
        began = time.perf_counter()
        answer = client.get(address)
        taken = (time.perf_counter() - began) * 1_000
    if answer.status_code != 200:
        raise RuntimeError(f"{address} answers {answer.status_code}")
    return taken


def compare(
    vendor: str, counts: tuple[int, int], client: Any, wanted: str, rounds: int
) -> Iterator[tuple[Row, list[float]]]:
    """Request each page in turn from both databases. Yield its row, and the control's ratios."""
    from django.db import connections

    small, large = counts
    aliases = f"{vendor}_small", f"{vendor}_large"
    for (what, of_small), of_large in zip(pages(small).items(), pages(large).values(), strict=True):
        if not re.search(wanted, what):
            continue
        plans = {alias: Plans(vendor) for alias in aliases}
        for alias, address in zip(aliases, (of_small, of_large), strict=True):
            ask(client, alias, address)  # fills caches
            with connections[alias].execute_wrapper(plans[alias]):
                ask(client, alias, address)
        taken: list[tuple[float, float, float]] = []
        for _ in range(rounds):
            taken.append(
                (
                    ask(client, aliases[0], of_small),
                    ask(client, aliases[0], of_small),
                    ask(client, aliases[1], of_large),
                )
            )
        queries = [plans[alias].queries for alias in aliases]
        scans = plans[aliases[1]].scans
        row = Row(
            name=what,
            samples=[in_large for _, _, in_large in taken],
            ratios=[in_large / in_small for in_small, _, in_large in taken],
            goal=f"at most {AT_MOST}, no more queries, no full scan",
            ratio_at_most=AT_MOST,
            holds=queries[1] <= queries[0] and not scans,
            note=f"{queries[1]} queries"
            + (f", {queries[0]} of the small one" if queries[0] != queries[1] else "")
            + (f"; full scan: {scans}" if scans else ""),
            why="the page reads more rows",
        )
        yield row, [again / first for first, again, _ in taken]


# Where the databases are


def configure(folder: Path, databases: dict[str, Any]) -> Any:
    """Set up Django with an admin, and return a client with permission to view it."""
    from django.contrib.staticfiles import finders  # noqa: F401 - importable before settings

    from tests.admin.project import APPS, MIDDLEWARE, TEMPLATES

    settings.configure(
        SECRET_KEY="for benchmarks only",
        ALLOWED_HOSTS=["*"],
        USE_TZ=True,
        INSTALLED_APPS=["lifespan_app", *APPS],
        MIDDLEWARE=[name for name in MIDDLEWARE if not name.startswith("policy.")],
        TEMPLATES=TEMPLATES,
        STATIC_URL="static/",
        ROOT_URLCONF="benchmarks.history",
        DATABASES=databases,
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    )
    django.setup()


def sqlite(path: Path) -> dict[str, Any]:
    """Return the entry of a SQLite database."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}


def make_room(folder: Path, vendors: Sequence[str], count: int) -> None:
    """Raise SystemExit if the disk has too little space."""
    needed = BYTES_A_RUN * count * len(vendors)
    free = shutil.disk_usage(folder).free
    if free < 1.5 * needed:
        raise SystemExit(
            f"{folder} has {free / 1e9:.1f} GB left; {1.5 * needed / 1e9:.1f} GB are needed. Set "
            "TMPDIR to a larger disk, or make fewer runs with --runs."
        )


def measure(
    rounds: int = ROUNDS,
    *,
    count: int = LARGE,
    small: int = SMALL,
    vendors: Sequence[str] = ("sqlite", "postgresql"),
    wanted: str = "",
) -> list[Table]:
    """Create the databases, and compare them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="history-")))
        make_room(folder, vendors, count)
        databases = {"default": sqlite(folder / "default.sqlite3")}
        if "sqlite" in vendors:
            databases["sqlite_small"] = sqlite(folder / "small.sqlite3")
            databases["sqlite_large"] = sqlite(folder / "large.sqlite3")
        if "postgresql" in vendors:
            from tests.clusters import PostgreSQL as Cluster

            for size in ("small", "large"):
                cluster = stack.enter_context(Cluster(limit=600))
                databases[f"postgresql_{size}"] = cluster.database
        configure(folder, databases)

        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.db import connections
        from django.test import Client

        call_command("migrate", verbosity=0)
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        found = []
        for vendor in vendors:
            fill(f"{vendor}_small", small)
            fill(f"{vendor}_large", count)
            compared = list(compare(vendor, (small, count), client, wanted, rounds))
            again = [ratio for _, ratios in compared for ratio in ratios]
            found.append(
                Table(
                    title=f"{count:,} runs against {small:,}, {vendor}",
                    unit="ms",
                    rows=[row for row, _ in compared],
                    against=1.0,
                    against_words=f"the page with {small:,} runs",
                    control=again,
                    noise_at_most=0.3,
                    plot="ratio",
                )
            )
        for connection in connections.all():
            connection.close()
        return found


def __getattr__(name: str) -> Any:
    # Django's admin can't be imported before the settings are there, and this is the URLconf.
    if name == "urlpatterns":
        from django.contrib import admin
        from django.urls import path

        return [path("admin/", admin.site.urls)]
    raise AttributeError(name)
