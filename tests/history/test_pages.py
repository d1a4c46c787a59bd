"""The list asks SQLite, PostgreSQL and MariaDB for the same, each in a way that its indexes serve."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connections
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from lifespan_app.history.reading import queries
from lifespan_app.history.reading.hook_history import hook_history
from lifespan_app.history.reading.overview import overview
from lifespan_app.history.reading.queries import (
    begins_with,
    conditions_of,
    newest_pks,
    search_pks,
)
from lifespan_app.models import LifespanRun
from tests import records
from tests.history.databases import HistoryDatabase

pytestmark = [pytest.mark.slow, pytest.mark.every_pair]


def found(term: str, most: int = 100, skip: int = 0, **filters: Any) -> list[int]:
    """Return the primary keys that a search finds, newest first."""
    runs = LifespanRun.objects.filter(**filters)
    return search_pks(runs, conditions_of(term), most, skip)


def plan(database: HistoryDatabase, runs: Any) -> str:
    """Return how a database reads some runs, where it may not read the whole table."""
    connection = connections[database.alias]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Of a table this small it would read all, whatever the indexes.
            cursor.execute("SET enable_seqscan = off")
    return str(runs.explain())


def test_prefix_is_searched_by_an_index(history_database: HistoryDatabase) -> None:
    for number in range(40):
        records.recorded("stopped", host=f"web-{number}", release=f"1.{number}")

    for column, prefix, count in (("host", "web-1", 11), ("release", "1.3", 11), ("host", "eb", 0)):
        runs = LifespanRun.objects.filter(begins_with(column, prefix))
        assert runs.count() == count
        assert "host" in plan(history_database, runs) or "release" in plan(history_database, runs)


@pytest.mark.parametrize("prefix", ["100%", "a_b", "c\\d", "é", "🦀", "'; --"])
def test_signs_that_mean_something_in_a_pattern_mean_themselves(
    history_database: HistoryDatabase, prefix: str
) -> None:
    if history_database.kind == "latin1" and not prefix.isascii():
        pytest.skip("its columns can't hold it")
    wanted = records.recorded("stopped", host=f"{prefix}-1")
    for other in ("100x", "axb", "cxd", "z", "x"):
        records.recorded("stopped", host=f"{other}-1")

    assert found(prefix) == [wanted.pk]


def test_ids_and_classes_of_errors_are_searched_by_an_index(
    history_database: HistoryDatabase,
) -> None:
    wanted = records.startup_failed(pid=987_654)
    for _ in range(40):
        records.recorded("stopped", host="web")
    columns = {"short_id": wanted.short_id, "pid": wanted.pid, "error_class": wanted.error_class}

    for column, value in columns.items():
        runs = LifespanRun.objects.filter(**{column: value})
        assert f"lifespan_run_{column.removesuffix('_class')}" in plan(history_database, runs)
        assert found(str(value)) == [wanted.pk]
    assert found("builtins.ConnectionRefusedError") == [wanted.pk]
    assert found("library.http_client") == [wanted.pk]


def test_newest_run_is_the_one_that_started_last(history_database: HistoryDatabase) -> None:
    started = [records.recorded("stopped", ago=ago, host="web-1").pk for ago in (30, 900, 10, 60)]
    newest = [started[number] for number in (2, 0, 3, 1)]

    runs = LifespanRun.objects.all()
    assert newest_pks(runs, 10) == newest
    assert newest_pks(runs, 10, parts=[Q(status="stopped"), Q(status="lost")]) == newest
    assert found("web") == newest
    for column in ("status", "service_type", "mode", "fingerprint", "launch"):
        of_column = LifespanRun.objects.filter(**{column: "stopped"})[:5]
        explained = plan(history_database, of_column)
        assert f"lifespan_run_{column}" in explained or "lost_after" in explained


def test_uuid_is_searched_as_it_is(history_database: HistoryDatabase) -> None:
    wanted = records.recorded("stopped")
    records.recorded("stopped")

    for term in (str(wanted.uuid), wanted.uuid.hex, f" {wanted.uuid} "):
        assert found(term) == [wanted.pk]


def test_search_finds_the_newest_that_everything_fits(
    history_database: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "WINDOW", 5)
    monkeypatch.setattr(queries, "CANDIDATES", 10)
    old = [records.recorded("lost", host="web-1") for _ in range(4)]
    by_release = records.recorded("stopped", host="db", release="web-2")
    many = [records.recorded("stopped", host=f"web-{number}") for number in range(12)]
    for _ in range(6):
        records.recorded("stopped", host="db")
    fitting = [*reversed(many), by_release, *reversed(old)]

    assert found("web") == [run.pk for run in fitting]
    assert found("web", 3, skip=2) == [run.pk for run in fitting[2:5]]
    # Those that were looked at first are all of another status.
    assert found("web", 3, status="lost") == [run.pk for run in reversed(old)][:3]
    assert found("web-1") == [run.pk for run in fitting if run.host.startswith("web-1")]


def test_every_page_is_read_from_every_database(history_database: HistoryDatabase) -> None:
    records.of_every_status()

    shown = overview(timezone.now())
    hook = hook_history("catalogue.index")

    assert shown.running == 11
    assert {failure.status for failure in shown.current} == {"degraded", "not_ready"}
    assert hook is not None
    assert len(hook.errors) == 1
    assert re.search("of|processes", shown.headline)
    connection = connections[history_database.alias]
    with CaptureQueriesContext(connection) as captured:
        overview(timezone.now())
    assert len(captured) == 8


def test_search_finds_old_runs_behind_many_candidates_of_two_columns(
    sqlite_history: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "WINDOW", 1)
    monkeypatch.setattr(queries, "CANDIDATES", 4)
    wanted = records.recorded("lost", ago=1_000, host="web-1", release="2").pk
    for ago in range(2):
        records.recorded("stopped", ago=ago, host="web-1", release="2")
    for ago in range(3):
        records.recorded("stopped", ago=10 + ago, host="db-1", release="web")

    assert found("web", status="lost") == [wanted]
