"""What is written twice is there once, and what is older changes nothing."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from lifespan_app.history.recording.store import Writer, fitted
from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase


def a_row(uuid: str, status: str, last_seen_at: float) -> dict[str, Any]:
    named = {"uuid": uuid, "mode": "server", "service_type": "app", "pid": 1, "status": status}
    return {"run": {**named, "started_at": last_seen_at - 10, "last_seen_at": last_seen_at}}


def test_file_brings_a_run_up_to_date(history_database: HistoryDatabase) -> None:
    uuid, now = str(uuid4()), time.time()
    Writer(uuid).write(a_row(uuid, "serving", now))

    late = Writer(uuid, late=True)
    late.write(a_row(uuid, "stopping", now + 1))
    late.write(a_row(uuid, "stopped", now + 2))

    [run] = LifespanRun.objects.all()
    assert (run.status, run.recorded_late) == ("stopped", True)


def test_file_that_is_older_than_the_row_changes_nothing(
    history_database: HistoryDatabase,
) -> None:
    """As when a process is killed after the database has its rows, before the file is removed."""
    uuid, now = str(uuid4()), time.time()
    Writer(uuid).write(a_row(uuid, "stopped", now))

    late = Writer(uuid, late=True)
    late.write(a_row(uuid, "starting", now - 2))
    late.write(a_row(uuid, "serving", now - 1))

    [run] = LifespanRun.objects.all()
    assert (run.status, run.recorded_late) == ("stopped", False)


def test_waiting_entry_of_the_rows_moment_changes_nothing(
    history_database: HistoryDatabase,
) -> None:
    uuid, now = str(uuid4()), time.time()

    for writer in (Writer(uuid), Writer(uuid, late=True), Writer(uuid, late=True)):
        writer.write(a_row(uuid, "stopped", now))

    assert LifespanRun.objects.get().status == "stopped"


def test_run_whose_key_another_run_has_now_keeps_its_own_row_and_steps(
    history_database: HistoryDatabase,
) -> None:
    """As after a backup was restored, or the tables were dropped and made again."""
    now = time.time()
    first, second = str(uuid4()), str(uuid4())
    writer, other = Writer(first), Writer(second)
    for one, uuid in ((writer, first), (other, second)):
        one.write(a_row(uuid, "serving", now))
    LifespanRun.objects.all().delete()
    row = LifespanRun(**fitted(LifespanRun, a_row(second, "serving", now)["run"]), pk=writer.pk)
    LifespanRun.objects.bulk_create([row])

    writer.write(a_step("sweep"))
    writer.beat({"last_seen_at": now + 1})
    writer.write(a_row(first, "stopped", now + 2))
    other.write(a_step("poll"))

    assert runs_with_steps() == {(first, "stopped", "sweep"), (second, "serving", "poll")}


def a_step(name: str) -> dict[str, Any]:
    where = {"app_label": "shop", "name": name, "kind": "background", "phase": "serving"}
    return {"steps": [{**where, "offset": 0.0, "duration": 0.0}], "phases": []}


def runs_with_steps() -> set[tuple[str, str, str]]:
    steps = LifespanStep.objects.values_list("run__uuid", "run__status", "name")
    return {(str(uuid), status, name) for uuid, status, name in steps}
