"""Every server's way to start, replace and stop its workers leaves true records."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase
from tests.history.served import complaints, recorded, serving, statuses, wait_for_record
from tests.projects import Project
from tests.servers import (
    GRANIAN,
    GUNICORN,
    GUNICORN_UVICORN,
    HYPERCORN,
    UVICORN,
    Kind,
    Server,
)

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.once]

SERVERS = [UVICORN, HYPERCORN, GRANIAN, GUNICORN, GUNICORN_UVICORN]


def two(kind: Kind) -> list[str]:
    """Return the options for two workers."""
    return ["-w" if "gunicorn" in kind.name else "--workers", "2"]


def steps() -> Counter[tuple[str, str]]:
    """Count the steps that are kept, by phase and outcome."""
    return Counter(LifespanStep.objects.values_list("phase", "outcome"))


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.name)
def test_workers_that_are_replaced_and_stopped_are_all_recorded(
    kind: Kind, project: Project, sqlite_history: HistoryDatabase
) -> None:
    recorded(project, sqlite_history)
    with Server(project, kind, options=two(kind)) as server:
        wait_for_record(server, serving(2))
        server.signal(signal.SIGHUP)
        wait_for_record(server, lambda: statuses() == ["stopped", "stopped", "serving", "serving"])
        if kind is HYPERCORN:
            # A worker that has begun its lifespan, and does not listen yet, hears of no end.
            server.wait_for_output("Running on", count=4)
        server.signal(signal.SIGTERM)
        server.wait()

    assert statuses() == ["stopped"] * 4
    assert steps() == {("startup", "ok"): 4, ("shutdown", "ok"): 4}
    assert len(set(LifespanRun.objects.values_list("launch", flat=True))) == 1
    assert {run.server.split()[0] for run in LifespanRun.objects.all()} == {
        "uvicorn" if kind is GUNICORN_UVICORN else kind.name
    }
    assert {run.ended_by for run in LifespanRun.objects.all()} == {"lifespan.shutdown"}
    assert complaints(server) == []
