"""Which runs are overdue, lost, serving or good: the same for a row in Python and for a query."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from uuid import uuid4

import pytest
from django.utils import timezone

from lifespan_app.history.reading.states import (
    BY_CRASH,
    has_failed,
    kind_of,
    started_well,
    status_of,
)
from lifespan_app.history.reading.statistics import (
    SLOW,
    Start,
    is_slow,
    newest_runs,
    slow_from,
    spread,
)
from lifespan_app.models import LifespanRun, Readiness, Status
from tests.history.databases import HistoryDatabase

NOW = timezone.now().replace(microsecond=0)
SECOND = timedelta(seconds=1)


@pytest.fixture
def runs(history_database: HistoryDatabase) -> list[LifespanRun]:
    """Return runs with every combination of the columns that the rules read."""
    combinations = product(
        Status,
        (None, NOW - SECOND, NOW, NOW + SECOND),
        (Readiness.OK, Readiness.WARMING_UP),
        ("lifespan.shutdown", f"{BY_CRASH}'books.broker'"),
        (None, NOW),
    )
    rows = [
        LifespanRun(
            uuid=uuid4(),
            mode="server",
            service_type="app",
            pid=1,
            started_at=NOW,
            last_seen_at=NOW,
            status=status,
            lost_after=lost_after,
            readiness=readiness,
            ended_by=ended_by,
            ready_at=ready_at,
        )
        for status, lost_after, readiness, ended_by, ready_at in combinations
    ]
    LifespanRun.objects.bulk_create(rows)
    return list(LifespanRun.objects.all())


def test_queries_and_rows_agree(runs: list[LifespanRun]) -> None:
    queries = LifespanRun.objects
    lost, live, serving = (
        set(found) for found in (queries.lost(NOW), queries.live(NOW), queries.serving(NOW))
    )
    good = set(queries.filter(started_well(NOW)))

    for run in runs:
        status = run.status_at(NOW)
        assert (run in lost) == run.is_lost(NOW) == (status == Status.LOST)
        assert (run in live) == (not run.is_over and not run.is_lost(NOW))
        assert (run in serving) == (status in (Status.SERVING, Status.DEGRADED))
        if run.ready_at is None:
            assert run not in good
        elif run.status != Status.STARTING:
            assert (run in good) == (kind_of(run, NOW) == "good")


def test_sample_of_starts_has_the_same_states(runs: list[LifespanRun]) -> None:
    starts: dict[int, Start] = {start.pk: start for start in newest_runs().newest}

    for run in runs:
        start = starts[run.pk]
        assert status_of(start, NOW) == run.status_at(NOW)
        assert kind_of(start, NOW) == kind_of(run, NOW)


def test_process_that_is_silent_while_it_is_not_ready_has_failed(
    sqlite_history: HistoryDatabase,
) -> None:
    run = LifespanRun(status=Status.NOT_READY, lost_after=NOW - SECOND, ready_at=NOW)

    assert has_failed(run, NOW)


def test_run_that_a_crash_has_stopped_is_no_good_one(runs: list[LifespanRun]) -> None:
    found = LifespanRun.objects.filter(started_well(NOW), status=Status.STOPPED)

    assert {run.ended_by for run in found} == {"lifespan.shutdown"}


@pytest.mark.parametrize("median", [0.001, 0.015, 0.02, 1.0])
def test_duration_is_slow_from_the_end_of_what_is_usual(median: float) -> None:
    usually = spread([median])
    end = timedelta(seconds=slow_from(median))

    assert end.total_seconds() == pytest.approx(max(SLOW * median, median + 0.01))
    assert is_slow(end + timedelta(microseconds=1), usually)
    assert not is_slow(end - timedelta(milliseconds=1), usually)
