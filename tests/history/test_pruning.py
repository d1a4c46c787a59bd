"""What is too old goes, a few runs at a time; what is still of use stays."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from threading import Barrier, Thread
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from lifespan_app.history.recording import pruning
from lifespan_app.history.recording.pruning import prune, prune_some
from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase, opened, sqlite
from tests.history.records import a_run, a_step

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_django import DjangoDbBlocker, Settings


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def an_old_run(days: float = 100, **values: Any) -> LifespanRun:
    """Write a run of a service type of its own unless one is given, so that nothing keeps it."""
    at = days_ago(days)
    run = a_run(**{"started_at": at, "last_seen_at": at, **values})
    a_step(run)
    a_step(run, phase="shutdown")
    return run


def hosts() -> list[str]:
    """Return the hosts of the runs there are, which tell them apart here."""
    return list(LifespanRun.objects.order_by("host").values_list("host", flat=True))


def pruned(days: int = 90, **options: Any) -> tuple[int, int]:
    """Prune, and return how many runs and steps went."""
    all_of_it = list(prune(days, **options))
    return all_of_it[-1][:2] if all_of_it else (0, 0)


class TestOnEachDatabase:
    def test_old_runs_are_deleted_with_their_steps(self, history_database: HistoryDatabase) -> None:
        an_old_run(host="old")
        an_old_run(host="older", days=200)
        an_old_run(host="young", days=80)

        assert pruned() == (2, 4)
        assert hosts() == ["young"]
        assert LifespanStep.objects.count() == 2

    def test_last_runs_of_each_service_type_stay(self, history_database: HistoryDatabase) -> None:
        for number in range(3):
            for kind in ("app", "worker"):
                an_old_run(host=f"{kind} {number}", service_type=kind, days=100 - number)

        assert pruned(keep_last=2) == (2, 4)
        assert hosts() == ["app 1", "app 2", "worker 1", "worker 2"]
        assert pruned() == (2, 4)
        assert hosts() == ["app 2", "worker 2"]
        assert pruned(keep_last=0) == (2, 4)

    def test_run_that_serves_stays(self, history_database: HistoryDatabase) -> None:
        later = timezone.now() + timedelta(minutes=1)
        old = days_ago(95)
        an_old_run(host="serves", status="serving", lost_after=later)
        an_old_run(host="without heartbeat", status="degraded", lost_after=None)
        an_old_run(host="silent", status="serving", lost_after=old)
        an_old_run(host="lost", status="lost", lost_after=old)
        an_old_run(host="last")

        pruned()

        assert hosts() == ["last", "serves", "without heartbeat"]

    def test_run_that_has_just_ended_is_not_old(self, history_database: HistoryDatabase) -> None:
        an_old_run(host="served for months", last_seen_at=days_ago(1))
        an_old_run(host="last", days=0)

        assert pruned() == (0, 0)

    @pytest.mark.parametrize("batch", [1, 2, 7, 100])
    def test_batch_size_makes_no_difference(
        self, history_database: HistoryDatabase, batch: int
    ) -> None:
        together = days_ago(100)
        for number in range(7):
            status, host = ("serving", "serves") if number % 3 == 1 else ("stopped", "over")
            an_old_run(status=status, host=host, started_at=together, last_seen_at=together)
        a_run(host="last")

        assert pruned(batch=batch) == (5, 10)
        assert hosts() == ["last", "serves", "serves"]

    def test_two_prunings_at_once_delete_everything_once(
        self, history_database: HistoryDatabase
    ) -> None:
        for _ in range(30):
            an_old_run()
        a_run(host="last")
        together = Barrier(2)
        found: list[tuple[int, int]] = []

        def prune_too() -> None:
            together.wait()
            found.append(pruned(batch=3))
            connections[history_database.alias].close()

        threads = [Thread(target=prune_too) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # What one was deleting, the other has left to it.
        found.append(pruned())

        assert [sum(column) for column in zip(*found, strict=True)] == [30, 60]
        assert hosts() == ["last"]
        assert not LifespanStep.objects.exists()

    def test_pruning_takes_one_query_where_nothing_is_old(
        self, history_database: HistoryDatabase
    ) -> None:
        a_run()

        with CaptureQueriesContext(history_database.connection) as queries:
            assert prune_some() == 0

        assert len(queries) == 1


def test_query_for_what_is_old_uses_the_index(sqlite_history: HistoryDatabase) -> None:
    with CaptureQueriesContext(sqlite_history.connection) as queries:
        prune_some()

    plan = sqlite_history.run(f"EXPLAIN QUERY PLAN {queries[0]['sql']}")
    [[*_, detail]] = plan
    assert "USING INDEX" in detail
    assert "(started_at<?)" in detail


def test_no_row_is_counted(sqlite_history: HistoryDatabase) -> None:
    for _ in range(5):
        an_old_run()

    with CaptureQueriesContext(sqlite_history.connection) as queries:
        pruned(batch=2)

    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]


def test_recorder_prunes_some_at_a_time(
    sqlite_history: HistoryDatabase, settings: Settings
) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HISTORY_DAYS": 30}
    for number in range(5):
        an_old_run(host=f"run {number}", days=40 - number)
    serves = an_old_run(host="serves", days=50, status="serving")

    a_run(host="the last one")

    assert list(iter(lambda: prune_some(3), 0)) == [2, 2, 1]
    assert sorted(hosts()) == ["serves", "the last one"]
    assert serves.steps.count() == 2


def test_runs_with_very_many_steps_go_one_at_a_time(
    sqlite_history: HistoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_MOST_STEPS", 10)
    for _ in range(4):
        an_old_run(hooks_total=4)
    a_run()

    with CaptureQueriesContext(sqlite_history.connection) as queries:
        assert pruned() == (4, 8)

    deleted = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deleted) == 8


@pytest.mark.once
def test_batch_may_be_larger_than_a_query_takes_parameters(
    sqlite_history: HistoryDatabase,
) -> None:
    at = days_ago(100)
    some = [a_run(started_at=at, last_seen_at=at) for _ in range(2)]
    LifespanRun.objects.bulk_create(
        LifespanRun(
            uuid=f"{number:032x}",
            service_type="app",
            status="stopped",
            pid=1,
            started_at=at,
            last_seen_at=at,
        )
        for number in range(1_500)
    )

    assert pruned(batch=5_000) == (1_501, 0)
    assert len(some) == 2


@pytest.mark.parametrize("days", [50_000, 10**9, 10**400])
def test_more_days_than_a_calendar_has_keep_everything(
    history_database: HistoryDatabase, days: int
) -> None:
    an_old_run(days=5_000)
    an_old_run()

    assert pruned(days) == (0, 0)
    assert len(hosts()) == 2


# The command


def prunelifespan(**options: Any) -> str:
    output = StringIO()
    call_command("prunelifespan", stdout=output, **options)
    return output.getvalue()


def test_command_says_what_it_did(history_database: HistoryDatabase) -> None:
    an_old_run(host="old")
    an_old_run(host="last")

    said = prunelifespan()

    assert said == "Deleted 1 run and 2 steps: no heartbeat for 90 days.\n"
    assert hosts() == ["last"]


def test_dry_run_deletes_nothing(sqlite_history: HistoryDatabase) -> None:
    for _ in range(3):
        an_old_run(host="old")

    assert prunelifespan(dry_run=True, batch=1) == (
        "2 runs would be deleted: no heartbeat for 90 days.\n"
    )
    assert len(hosts()) == 3


def test_days_are_those_of_the_setting(sqlite_history: HistoryDatabase, settings: Settings) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HISTORY_DAYS": 7}
    an_old_run(days=8)
    an_old_run(days=6)

    assert prunelifespan() == "Deleted 1 run and 2 steps: no heartbeat for 7 days.\n"
    assert "for 1 day." in prunelifespan(days=1)


def test_keep_last_keeps_none_or_more(sqlite_history: HistoryDatabase) -> None:
    for _ in range(4):
        an_old_run()

    assert prunelifespan(keep_last=3).startswith("Deleted 1 run and")
    assert prunelifespan(keep_last=0).startswith("Deleted 3 runs and")


def test_quiet_command_says_nothing(sqlite_history: HistoryDatabase) -> None:
    an_old_run()

    assert prunelifespan(verbosity=0, keep_last=0) == ""
    assert hosts() == []


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_shows_how_far_it_is(sqlite_history: HistoryDatabase) -> None:
    for number in range(4):
        an_old_run(days=100 - number)
    output = Terminal()

    call_command("prunelifespan", stdout=output, keep_last=0, batch=2, no_color=True)

    assert output.getvalue() == (
        f"\r2 runs, up to {days_ago(99):%Y-%m-%d}"
        f"\r4 runs, up to {days_ago(97):%Y-%m-%d}"
        "\nDeleted 4 runs and 8 steps: no heartbeat for 90 days.\n"
    )


@pytest.mark.parametrize(
    "argument", ["--days=-1", "--days=soon", "--keep-last=-1", "--batch=0", "--batch=1.5"]
)
def test_numbers_that_mean_nothing_are_refused(argument: str) -> None:
    with pytest.raises(CommandError, match="is not an integer"):
        call_command("prunelifespan", argument)


def test_missing_tables_are_named(
    tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    settings.LIFESPAN = {"HISTORY_DATABASE": "empty"}
    with (
        django_db_blocker.unblock(),
        opened(sqlite(tmp_path / "empty.sqlite3"), alias="empty"),
        pytest.raises(CommandError) as caught,
    ):
        prunelifespan()

    assert str(caught.value) == (
        "The history in database 'empty' can't be pruned: "
        "OperationalError: no such table: lifespan_app_lifespanrun\n"
        "Has 'manage.py migrate --database empty' made its tables?"
    )
