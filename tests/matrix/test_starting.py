"""A startup that fails serves nothing, and a stop that comes while starting is obeyed."""

from __future__ import annotations

import signal

import pytest

from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase
from tests.history.served import wait_for_record
from tests.matrix import phrases
from tests.matrix.cells import assert_cells
from tests.matrix.columns import COLUMNS, WITH_LIFESPAN, Column
from tests.matrix.invariants import assert_all_closed
from tests.matrix.shop import FAILS, HANGS, STARTS_SLOWLY, shop
from tests.matrix.trial import CLOSED, OPENED, Trial, of_process, opened_and_closed, tried
from tests.projects import Project
from tests.servers import GUNICORN, UVICORN, Kind, Server

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.once]

each_column = pytest.mark.parametrize("column", WITH_LIFESPAN, ids=str)

TRACEBACK = "Traceback (most recent call last)"


def told(trial: Trial, *words: str) -> bool:
    """Tell whether the server has printed the hook, its file and line, and more words."""
    line = trial.server.project.line_of("till/lifespan.py", "async def count") - 1
    place = ("hook 'till.count' (till/lifespan.py", f"lifespan.py:{line}")
    output = trial.server.output
    return all(word in output for word in (*place, "Nothing is served.", *words))


def wait_for_failure(trial: Trial) -> int | None:
    """Wait until the startup has failed, and return the exit code; None where the server waits."""
    if not trial.column.waits_for_change:
        return trial.server.wait_unanswered()
    wait_for_record(
        trial.server, lambda: LifespanRun.objects.filter(status="startup_failed").exists()
    )
    trial.server.wait_for_output("Application startup failed")
    assert not trial.server.answers()
    assert trial.server.exit_code is None
    return None


def mend(trial: Trial) -> None:
    """Write files that start, until the server has seen the change and serves them."""

    def seen() -> bool:
        # What is written before the server watches is not seen.
        trial.server.project.file("till/lifespan.py", "# mended\n")
        return "detected changes" in trial.server.output

    trial.server.until(seen, "No change was detected")
    trial.server.wait_until_ready()
    assert trial.server.get("/in_async/").text == "Emma"


def how_it_ended(situation: str, trial: Trial, outcome: str) -> list[str]:
    """Wait until the startup has failed; say how the server ended, or that it waits."""
    code = wait_for_failure(trial)
    assert_failed_whole(trial, outcome)
    if code is None:
        return ["waits for a change of the files"]
    return [phrases.ended(situation, trial.column, code)]


def assert_failed_whole(trial: Trial, outcome: str) -> None:
    """What was open is closed, and each run is recorded as failed, with its steps."""
    runs = list(LifespanRun.objects.all())
    assert runs
    for run in runs:
        assert run.status == "startup_failed"
        assert sorted(run.steps.values_list("name", "phase", "outcome")) == [
            ("connection", "shutdown", "ok"),
            ("connection", "startup", "ok"),
            ("count", "startup", outcome),
            ("shelf", "shutdown", "ok"),
            ("shelf", "startup", "ok"),
        ]
        events = of_process(run.pid, trial.server.project.events())
        assert opened_and_closed(events) == [*OPENED, *CLOSED]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_startup_that_fails_serves_nothing(
    column: Column, project: Project, sqlite_history: HistoryDatabase
) -> None:
    with tried(column, shop(project, sqlite_history, FAILS), serves=False) as trial:
        if not column.kind.has_lifespan:
            trial.wait_until_all_serve()
            assert project.events() == []
            assert_cells(column, {"fails": "Served, and no hook is started"})
            return
        end = how_it_ended("fails", trial, "failed")
        assert {run.error for run in LifespanRun.objects.all()} == {"OSError: the till is empty"}
        line = project.line_of("till/lifespan.py", "raise OSError")
        place = f'till/lifespan.py", line {line}, in count'
        assert told(trial, "OSError: the till is empty", TRACEBACK, place)
        if column.waits_for_change:
            mend(trial)
            end = [f"{end[0]}, and serves what is mended"]
        phrase = phrases.sentence(
            ["message and traceback shown", "nothing served"],
            [*end, "recorded as ``startup_failed``"],
        )
    assert_cells(column, {"fails": phrase})


@each_column
def test_startup_that_hangs_is_ended_by_our_deadline(
    column: Column, project: Project, sqlite_history: HistoryDatabase
) -> None:
    shop(project, sqlite_history, HANGS, STARTUP_DEADLINE=1)
    with tried(column, project, serves=False) as trial:
        end = how_it_ended("hangs", trial, "timed_out")
        assert told(trial, "STARTUP_DEADLINE")
        phrase = phrases.sentence(
            ["ended by ``STARTUP_DEADLINE``", "its hook named", "nothing served"],
            [*end, "recorded as ``startup_failed``"],
        )
    assert_cells(column, {"hangs": phrase})


@pytest.mark.parametrize("situation", ["starting, SIGTERM", "starting, Ctrl+C"])
@each_column
def test_stop_while_starting_is_observed(
    column: Column,
    situation: str,
    project: Project,
    sqlite_history: HistoryDatabase,
) -> None:
    """No server ends a startup because of a signal: it completes, and then all is closed."""
    shop(project, sqlite_history, STARTS_SLOWLY)
    with tried(column, project, serves=False) as trial:
        trial.wait_for_holds()
        code = None
        if situation == "starting, SIGTERM":
            trial.server.signal(signal.SIGTERM)
            trial.wait_until_workers_hear()
        else:
            trial.interrupt()
        if situation == "starting, Ctrl+C" and column.blocks_in:
            trial.wait_until_blocked()
        else:
            trial.go_on()
            code = trial.server.wait()
        workers = trial.recorded()
        assert_all_closed(situation, trial, workers)
        phrase = phrases.stop(situation, trial, workers, code)
        if code is not None:
            phrase = f"Startup completes, then {phrase[0].lower()}{phrase[1:]}"
    assert_cells(column, {situation: phrase})


@pytest.mark.parametrize(
    ("kind", "switch", "codes"),
    [(UVICORN, "--lifespan", {3}), (GUNICORN, "--asgi-lifespan", {3, 1})],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_server_with_lifespan_on_does_the_same(
    kind: Kind, switch: str, codes: set[int], project: Project, sqlite_history: HistoryDatabase
) -> None:
    shop(project, sqlite_history, FAILS)
    with Server(project, kind, options=[switch, "on"], ready=False) as server:
        assert server.wait_unanswered() in codes

    assert "OSError: the till is empty" in server.output
    assert TRACEBACK in server.output
    assert {run.status for run in LifespanRun.objects.all()} == {"startup_failed"}
