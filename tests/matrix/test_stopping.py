"""However a server is stopped while it serves, what is open is closed, and it is recorded."""

from __future__ import annotations

import signal

import pytest

from tests.history.databases import HistoryDatabase
from tests.matrix import phrases
from tests.matrix.cells import assert_cells
from tests.matrix.columns import COLUMNS, WITH_LIFESPAN, Column
from tests.matrix.invariants import assert_all_closed
from tests.matrix.shop import STOPS_SLOWLY, shop
from tests.matrix.trial import Trial, tried
from tests.projects import Project

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.once]

each_column = pytest.mark.parametrize("column", COLUMNS, ids=str)
each_with_lifespan = pytest.mark.parametrize("column", WITH_LIFESPAN, ids=str)


def end(situation: str, trial: Trial, *, blocked: bool = False) -> None:
    """Let the server end, and compare how it went with what is kept."""
    code = None
    if not blocked:
        trial.go_on()
        code = trial.server.wait()
    workers = trial.recorded()
    assert_all_closed(situation, trial, workers)
    assert_cells(trial.column, {situation: phrases.stop(situation, trial, workers, code)})


@each_column
def test_ctrl_c_lets_a_request_in_flight_end(
    column: Column, project: Project, sqlite_history: HistoryDatabase
) -> None:
    """gunicorn's own worker sends no shutdown message then: it cancels."""
    with tried(column, shop(project, sqlite_history)) as trial:
        trial.begin_request()
        trial.interrupt()
        trial.wait_until_heard()
        end("Ctrl+C", trial)


@each_with_lifespan
def test_ctrl_c_twice_with_a_request_in_flight_is_observed(
    column: Column, project: Project, sqlite_history: HistoryDatabase
) -> None:
    with tried(column, shop(project, sqlite_history)) as trial:
        trial.begin_request()
        trial.interrupt()
        trial.wait_until_heard()
        trial.interrupt_again()
        blocked = column.heeds_second_interrupt and trial.wait_until_cut_or_blocked()
        end("Ctrl+C twice", trial, blocked=blocked)


@each_column
def test_sigterm_to_every_process_with_a_request_is_observed(
    column: Column, project: Project, sqlite_history: HistoryDatabase
) -> None:
    """systemd does so, unless it is told otherwise; workers of hypercorn die of it."""
    with tried(column, shop(project, sqlite_history)) as trial:
        trial.begin_request()
        trial.server.signal_group(signal.SIGTERM)
        trial.wait_until_heard()
        end("SIGTERM to all", trial)


@each_with_lifespan
def test_sigterm_again_while_resources_close_is_observed(
    column: Column, project: Project, sqlite_history: HistoryDatabase
) -> None:
    with tried(column, shop(project, sqlite_history, STOPS_SLOWLY)) as trial:
        trial.server.signal(signal.SIGTERM)
        trial.wait_for_holds()
        trial.server.signal(signal.SIGTERM)
        end("SIGTERM twice", trial)
