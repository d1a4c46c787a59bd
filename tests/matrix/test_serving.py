"""What is open is there for requests under every server, and each process is recorded."""

from __future__ import annotations

import signal

import pytest

from lifespan_app.models import LifespanRun, Mode
from tests.history.databases import HistoryDatabase
from tests.matrix import phrases
from tests.matrix.cells import assert_cells
from tests.matrix.columns import COLUMNS, Column
from tests.matrix.invariants import assert_all_closed
from tests.matrix.shop import shop
from tests.matrix.trial import Trial, Worker, tried
from tests.projects import Project

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.once]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_requests_read_what_is_open_and_sigterm_lets_them_end(
    column: Column, project: Project, sqlite_history: HistoryDatabase
) -> None:
    column = column.with_workers
    with tried(column, shop(project, sqlite_history)) as trial:
        seen = {"async view": read(trial, "in_async"), "sync view": read(trial, "in_sync")}
        trial.begin_request()
        trial.server.signal(signal.SIGTERM)
        trial.wait_until_heard()
        trial.go_on()
        code = trial.server.wait()
        workers = trial.recorded()
        assert_all_closed("SIGTERM", trial, workers)
        seen["runs"] = runs(workers)
        seen["SIGTERM"] = phrases.stop("SIGTERM", trial, workers, code)
        if column.kind.has_lifespan:
            assert seen["async view"] == seen["sync view"] == "Read"
            assert code in (0, -signal.SIGTERM)
            assert "Traceback" not in trial.server.output
            seen["server"] = server_of(workers)
            seen["state"] = state_of(workers)

    assert_cells(column, seen)


def read(trial: Trial, view: str) -> str:
    """Say what a view reads."""
    text = trial.server.get(f"/{view}/").text
    return "Read" if text == "Emma" else f"Raises ``{text}``"


def runs(workers: list[Worker]) -> str:
    """Say which runs there are of the workers of one start."""
    if not workers:
        return "None"
    assert len({worker.run.launch for worker in workers}) == 1
    mode = {worker.run.mode for worker in workers} - {Mode.SERVER}
    one = "One" if len(workers) == 1 else "One a worker, of one launch"
    return f"{one}, with the mode ``{mode.pop()}``" if mode else one


def server_of(workers: list[Worker]) -> str:
    """Say which server is recorded, without its version."""
    [server] = {run.server.split()[0] for run in LifespanRun.objects.all()}
    return f"``{server}``"


def state_of(workers: list[Worker]) -> str:
    """Say what the server has left in the state; the resources hold what they held, either way."""
    left = {tuple(worker.state) for worker in workers}
    if left == {()}:
        return "Emptied by the server; the resources hold what they held"
    assert left == {("connection", "shelf")}
    return "As it was"
