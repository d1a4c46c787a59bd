"""A hook's page counts its runs, and knows the phases apart."""

from __future__ import annotations

import pytest

from lifespan_app.history.reading.hook_history import HookHistory, hook_history
from tests import records

pytestmark = pytest.mark.django_db


def of(key: str) -> HookHistory:
    found = hook_history(key)
    assert found is not None
    return found


def test_job_that_crashed_has_failed_in_these_runs() -> None:
    records.healthy(ago=500)
    for number in range(2):
        records.crashed_job(ago=100 + number)

    hook = of("search.refresh")

    assert (hook.whole.broken, len(hook.whole.runs)) == (2, 3)
    (serving,) = hook.phases
    assert (serving.name, serving.outcomes) == ("serving", [("crashed", 2)])


def test_hook_that_failed_to_stop_has_failed_though_it_started() -> None:
    records.stopped(ago=900)
    records.shutdown_failed(ago=800)

    hook = of("library.http_client")

    assert (hook.whole.broken, len(hook.whole.runs)) == (1, 2)
    outcomes = {part.name: part.outcomes for part in hook.phases}
    assert outcomes == {"startup": [], "shutdown": [("timed out", 1)]}
    assert [run.worst.phase for run in hook.shown] == ["shutdown", "startup"]


def test_skipped_start_is_named_as_such_and_not_a_failure() -> None:
    records.startup_failed()

    hook = of("catalogue.index")

    assert hook.whole.broken == 0
    assert hook.phases[0].outcomes == [("skipped", 1)]


def test_newest_run_is_the_one_that_started_last() -> None:
    records.healthy(ago=10, host="new")
    records.lost(ago=9_000, host="old", recorded_late=True)

    assert [run.run.host for run in of("catalogue.index").shown] == ["new", "old"]
