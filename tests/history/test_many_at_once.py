"""Eight workers that start in one moment leave eight true records."""

from __future__ import annotations

import signal

import pytest

from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase
from tests.history.served import complaints, recorded, serving, statuses, wait_for_record
from tests.projects import Project
from tests.servers import GUNICORN, Server

# Forked from one process that has loaded the application, they begin within milliseconds.
EIGHT = ["-w", "8", "--preload"]


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
def test_eight_workers_leave_eight_records_and_nothing_is_logged(
    project: Project, history_database: HistoryDatabase
) -> None:
    recorded(project, history_database)
    with Server(project, GUNICORN, options=EIGHT, limit=60) as server:
        runs = wait_for_record(server, serving(8))
        up = LifespanStep.objects.filter(phase="startup")
        wait_for_record(server, lambda: up.count() == 8)

        assert len({run.pid for run in runs}) == 8
        assert len({run.launch for run in runs}) == 1

        server.signal(signal.SIGTERM)
        server.wait()

    assert statuses() == ["stopped"] * 8
    for run in LifespanRun.objects.all():
        steps = run.steps.values_list("phase", "name", "outcome")
        assert sorted(steps) == [("shutdown", "shelf", "ok"), ("startup", "shelf", "ok")]
        assert not run.recorded_late
    assert complaints(server) == []
    assert not list(project.folder.glob("spool/*"))
