"""A start writes down whose processes are gone without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from lifespan_app.history.recording import lost
from lifespan_app.history.recording.identity import identity, place
from lifespan_app.history.recording.lost import AT_ONCE
from lifespan_app.models import LIVE, LifespanRun, Status
from tests.history.databases import HistoryDatabase
from tests.history.records import a_run

if TYPE_CHECKING:
    from pytest_django import Settings

NOW = timezone.now()
SECOND = timedelta(seconds=1)
EARLIER = NOW - SECOND
LATER = NOW + SECOND

OVER = [status for status in Status if status not in LIVE]


@pytest.fixture(scope="module")
def gone() -> tuple[str, int]:
    """Return who a process was that has ended."""
    say_who = "from lifespan_app.history.recording.identity import identity; print(identity())"
    with subprocess.Popen(
        [sys.executable, "-c", say_who], stdout=subprocess.PIPE, text=True
    ) as ended:
        assert ended.stdout is not None
        who = ended.stdout.read().strip()
    return who, ended.pid


@pytest.fixture
def alive() -> Iterator[tuple[str, int]]:
    """Return who a process is that goes on."""
    say_who = "from lifespan_app.history.recording.identity import identity; print(identity(), flush=True)"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", f"{say_who}; input()"], stdin=pipe, stdout=pipe, text=True
    ) as child:
        assert child.stdout is not None
        yield child.stdout.readline().strip(), child.pid
        child.kill()


def mark_lost(now: datetime) -> int:
    """Mark the lost runs, as a start does, and return how many were marked."""
    return sum(lost.mark_lost(*one) for one in lost.lost_runs(now).items())


def statuses() -> list[str]:
    """Return where the runs stand, the oldest first."""
    return list(LifespanRun.objects.order_by("pk").values_list("status", flat=True))


# By the clock.


@pytest.mark.parametrize("status", LIVE)
def test_silent_run_is_lost(history_database: HistoryDatabase, status: Status) -> None:
    a_run(status=status, lost_after=EARLIER)

    assert mark_lost(NOW) == 1
    assert statuses() == [Status.LOST]


@pytest.mark.parametrize(
    "lost_after", [LATER, None], ids=["heard of lately", "without a heartbeat"]
)
def test_run_that_need_not_be_heard_of_yet_is_not_lost(
    sqlite_history: HistoryDatabase, lost_after: object
) -> None:
    a_run(status=Status.SERVING, lost_after=lost_after)

    assert mark_lost(NOW) == 0
    assert statuses() == [Status.SERVING]


@pytest.mark.parametrize("status", OVER)
def test_ended_run_stays_as_it_ended(
    sqlite_history: HistoryDatabase, status: Status, gone: tuple[str, int]
) -> None:
    process, pid = gone
    a_run(status=status, lost_after=EARLIER, process=process, pid=pid)

    assert mark_lost(NOW) == 0
    assert statuses() == [status]


def test_silent_run_of_another_host_is_lost(sqlite_history: HistoryDatabase) -> None:
    elsewhere = "00000000-0000-0000-0000-000000000000:1:1:1"
    a_run(status=Status.SERVING, lost_after=EARLIER, process=elsewhere, host="elsewhere")
    a_run(status=Status.SERVING, lost_after=EARLIER, process="", host="a Mac")

    assert mark_lost(NOW) == 2


@pytest.mark.parametrize("use_tz", [True, False])
def test_lost_after_is_in_the_projects_time_zone(
    history_database: HistoryDatabase, settings: Settings, use_tz: bool
) -> None:
    settings.USE_TZ = use_tz
    now = timezone.now()
    a_run(status=Status.SERVING, lost_after=now - SECOND)
    a_run(status=Status.SERVING, lost_after=now + SECOND)

    assert mark_lost(now) == 1
    assert statuses() == [Status.LOST, Status.SERVING]


# By the process.


@pytest.mark.parametrize("lost_after", [LATER, None], ids=["heartbeat", "no heartbeat"])
def test_run_whose_process_is_gone_is_lost_at_once(
    history_database: HistoryDatabase, gone: tuple[str, int], lost_after: object
) -> None:
    process, pid = gone
    a_run(status=Status.SERVING, lost_after=lost_after, process=process, pid=pid)

    assert mark_lost(NOW) == 1
    assert statuses() == [Status.LOST]


def test_run_whose_process_goes_on_is_not_lost(
    history_database: HistoryDatabase, alive: tuple[str, int]
) -> None:
    process, pid = alive
    a_run(status=Status.SERVING, lost_after=LATER, process=process, pid=pid)

    assert mark_lost(NOW) == 0


def test_run_whose_pid_another_process_has_is_lost(
    sqlite_history: HistoryDatabase, alive: tuple[str, int]
) -> None:
    process, pid = alive
    a_run(status=Status.SERVING, lost_after=LATER, process=f"{place()}:1", pid=pid)
    a_run(status=Status.SERVING, lost_after=LATER, process=process, pid=pid)

    assert mark_lost(NOW) == 1
    assert statuses() == [Status.LOST, Status.SERVING]


@pytest.mark.parametrize("elsewhere", ["boot", "namespace", "nothing known"])
def test_processes_of_elsewhere_are_left_to_the_clock(
    sqlite_history: HistoryDatabase, gone: tuple[str, int], elsewhere: str
) -> None:
    boot, pid_namespace, time, start = gone[0].split(":")
    process = {
        "boot": f"00000000-0000-0000-0000-000000000000:{pid_namespace}:{time}:{start}",
        "namespace": f"{boot}:{pid_namespace}1:{time}:{start}",
        "nothing known": "",
    }[elsewhere]
    a_run(status=Status.SERVING, lost_after=LATER, process=process, pid=gone[1])

    assert mark_lost(NOW) == 0


def test_this_process_never_calls_itself_lost(sqlite_history: HistoryDatabase) -> None:
    """It may have been paused for longer than three heartbeats, and have a run besides."""
    a_run(status=Status.SERVING, lost_after=EARLIER, process=identity(), pid=os.getpid())

    assert mark_lost(NOW) == 0


def test_sibling_that_began_in_the_same_tick_is_another_process(
    sqlite_history: HistoryDatabase, gone: tuple[str, int]
) -> None:
    a_run(status=Status.SERVING, lost_after=EARLIER, process=identity(), pid=gone[1])

    assert mark_lost(NOW) == 1


def test_run_that_is_heard_of_meanwhile_is_not_lost(sqlite_history: HistoryDatabase) -> None:
    a_run(status=Status.SERVING, lost_after=EARLIER)

    def beat(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("UPDATE") and not later:
            later.append(True)
            LifespanRun.objects.update(lost_after=LATER)
        return execute(sql, *arguments)

    later: list[bool] = []
    with sqlite_history.connection.execute_wrapper(beat):
        assert mark_lost(NOW) == 0

    assert later
    assert statuses() == [Status.SERVING]


# What it costs.


@pytest.mark.parametrize("count", [0, 1, 30])
def test_start_that_finds_no_lost_run_locks_nothing(
    sqlite_history: HistoryDatabase, count: int
) -> None:
    for _ in range(count):
        a_run(status=Status.SERVING, lost_after=LATER, process=identity(), pid=os.getpid())

    with CaptureQueriesContext(sqlite_history.connection) as queries:
        mark_lost(NOW)

    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT"]


@pytest.mark.parametrize("count", [1, 30])
def test_marking_a_lost_run_takes_two_queries(
    history_database: HistoryDatabase, gone: tuple[str, int], count: int
) -> None:
    process, pid = gone
    for _ in range(count):
        a_run(status=Status.SERVING, lost_after=EARLIER)
        a_run(status=Status.SERVING, lost_after=LATER, process=process, pid=pid)

    with CaptureQueriesContext(history_database.connection) as queries:
        assert mark_lost(NOW) == 2 * count

    each = ["SELECT", "UPDATE"]
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "SELECT", *each * 2 * count]


@pytest.mark.once
def test_start_does_not_read_all_runs_there_are(sqlite_history: HistoryDatabase) -> None:
    """Also where SQLite knows how often the values of a column occur, and thinks of a scan."""
    common = {"mode": "server", "service_type": "app", "pid": 1}
    LifespanRun.objects.bulk_create(
        LifespanRun(
            **common,
            **dict.fromkeys(("started_at", "last_seen_at", "lost_after"), NOW - number * SECOND),
            uuid=uuid4(),
            status=OVER[number % len(OVER)],
        )
        for number in range(2000)
    )
    sqlite_history.run("ANALYZE")
    with CaptureQueriesContext(sqlite_history.connection) as queries:
        mark_lost(NOW)

    plans = [sqlite_history.run(f"EXPLAIN QUERY PLAN {query['sql']}") for query in queries]

    assert len(plans) == 2
    assert [step[3] for plan in plans for step in plan if step[3].startswith("SCAN")] == []


@pytest.mark.once
def test_start_marks_some_lost_runs_and_later_ones_the_rest(
    history_database: HistoryDatabase, gone: tuple[str, int]
) -> None:
    process, pid = gone
    common: dict[str, Any] = {"mode": "server", "service_type": "app", "status": Status.SERVING}
    common |= {"started_at": EARLIER, "last_seen_at": EARLIER}
    LifespanRun.objects.bulk_create(
        LifespanRun(uuid=uuid4(), **common, **values)
        for values in [
            {"lost_after": EARLIER, "pid": 1},
            {"lost_after": LATER, "process": process, "pid": pid},
        ]
        for _ in range(AT_ONCE + 1)
    )

    assert [mark_lost(NOW), mark_lost(NOW), mark_lost(NOW)] == [2 * AT_ONCE, 2, 0]
