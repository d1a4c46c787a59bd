"""`make torture`: its short forms, and that it finds what it looks for."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.needs import needs_postgresql
from tests.projects import Project
from tests.servers import GRANIAN, GUNICORN, GUNICORN_UVICORN, HYPERCORN, UVICORN, Kind
from tests.torture import parts
from tests.torture.__main__ import main
from tests.torture.load import Load
from tests.torture.long_load import SECONDS_QUICK, load
from tests.torture.restarts import RESTARTS, WORKERS, restarted
from tests.torture.results import Row
from tests.torture.servers import KINDS, Cell, Seen, exit_codes, looked_at, migrated, tried
from tests.torture.soak import soak
from tests.torture.suites import CHECKOUT
from tests.torture.systems import PEERS, System

STOPPED = ["opens", "begins 1", "closes"]
CUT_OFF = ["opens", "begins 1", "begins 2", "cut 2", "closes"]


# Short forms.


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_server_that_is_stopped_under_load_loses_no_request(kind: Kind, tmp_path: Path) -> None:
    cell = Cell(kind, "serving", signal.SIGTERM, "fine")

    seen = tried(cell, tmp_path / "cell", migrated(tmp_path / "migrated"))

    assert seen.faults == []
    assert seen.answered > 0
    assert seen.status == "stopped"


@pytest.mark.slow
@pytest.mark.server
def test_hook_that_blocks_its_thread_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    cell = Cell(UVICORN, "serving", signal.SIGTERM, "blocks")

    seen = tried(cell, tmp_path / "cell", migrated(tmp_path / "migrated"))

    assert seen.faults == []
    assert seen.status == "shutdown_failed"


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("kind", [GUNICORN, GUNICORN_UVICORN], ids=lambda kind: kind.name)
def test_server_that_is_reloaded_under_load_loses_no_request_that_has_begun(
    kind: Kind, tmp_path: Path
) -> None:
    cell = Cell(kind, "serving", signal.SIGHUP, "fine")

    seen = tried(cell, tmp_path / "cell", migrated(tmp_path / "migrated"))

    assert seen.faults == []
    assert seen.status == "stopped"


@pytest.mark.slow
@pytest.mark.server
def test_rolling_restart_opens_and_closes_the_resources_of_each_worker(tmp_path: Path) -> None:
    database = migrated(tmp_path / "migrated")

    seen = restarted(GUNICORN_UVICORN, RESTARTS[GUNICORN_UVICORN], tmp_path / "it", database)

    assert seen.faults == []
    assert seen.opened == seen.closed == 2 * WORKERS


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("system", PEERS.values(), ids=PEERS)
def test_project_of_a_peer_serves_and_stops(system: System, tmp_path: Path) -> None:
    cell = Cell(UVICORN, "serving", signal.SIGTERM, "fine", system)

    seen = tried(cell, tmp_path / "cell", migrated(tmp_path / "migrated"))

    assert seen.faults == []
    assert seen.answered > 0


@pytest.mark.slow
@pytest.mark.once
def test_starts_and_stops_leave_no_thread_task_or_descriptor_behind() -> None:
    assert soak(20).faults == []


@pytest.mark.slow
@pytest.mark.server
@needs_postgresql
def test_load_with_crashes_spawned_functions_and_leases_leaves_nothing_behind() -> None:
    row = load("postgresql", SECONDS_QUICK)

    assert row.faults == []
    assert " 0 by another process" not in row.tried


# What it finds.


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """Return what looks at a server that was stopped by SIGTERM while it served."""

    def look(
        events: list[str],
        *,
        answered: str = "1",
        status: str = "stopped",
        hooks: str = "fine",
        kind: Kind = UVICORN,
        code: int = -signal.SIGTERM,
    ) -> Seen:
        project = Project(tmp_path)
        project.journal.write_text("\n".join(events))
        monkeypatch.setattr(project, "runs", lambda: [{"status": status}])
        seen = Seen(Cell(kind, "serving", signal.SIGTERM, hooks), code=code)
        load = Load(0)
        load.answered.add(answered)
        looked_at(seen, project, load)
        return seen

    return look


def test_good_stop_has_no_fault(stopped: Callable[..., Seen]) -> None:
    assert stopped(STOPPED).faults == []


def test_request_that_is_not_answered_is_a_fault(stopped: Callable[..., Seen]) -> None:
    [fault] = stopped(STOPPED, answered="2").faults

    assert fault.startswith("1 requests that had begun were not answered: 1 x nothing; 0 of them")


def test_request_that_hypercorn_cuts_off_is_counted_and_no_fault(
    stopped: Callable[..., Seen],
) -> None:
    seen = stopped(CUT_OFF, kind=HYPERCORN, code=0)

    assert (seen.lost, seen.cut, seen.faults) == (1, 1, [])


def test_request_that_another_server_cuts_off_is_a_fault(stopped: Callable[..., Seen]) -> None:
    seen = stopped(CUT_OFF)

    assert (seen.lost, seen.cut) == (1, 0)
    assert "were not answered" in seen.faults[0]


def test_exit_code_that_the_server_does_not_promise_is_a_fault(
    stopped: Callable[..., Seen],
) -> None:
    assert stopped(STOPPED, code=0).faults == ["the exit code is 0, and not {-15}"]
    assert stopped(STOPPED, kind=HYPERCORN, code=0).faults == []


def test_read_of_a_closed_resource_is_a_fault(stopped: Callable[..., Seen]) -> None:
    [fault] = stopped([*STOPPED, "reads closed 1"]).faults

    assert "read a resource after its close" in fault


def test_resource_that_is_not_closed_is_a_fault(stopped: Callable[..., Seen]) -> None:
    assert stopped(["opens"], status="serving").faults == ["a resource was not closed"]


@pytest.mark.parametrize(
    ("hooks", "status"), [("fine", "shutdown_failed"), ("raises", "stopped"), ("fine", "serving")]
)
def test_history_that_says_something_else_is_a_fault(
    stopped: Callable[..., Seen], hooks: str, status: str
) -> None:
    [fault] = stopped(STOPPED, hooks=hooks, status=status).faults

    assert f"history says '{status}'" in fault


def test_sighup_ends_the_only_process_of_uvicorn_and_reloads_other_servers() -> None:
    alone, other = (Cell(kind, "serving", signal.SIGHUP, "fine") for kind in (UVICORN, GUNICORN))

    assert (alone.kills, alone.reloads, exit_codes(alone)) == (True, False, {-signal.SIGHUP})
    assert (other.kills, other.reloads, exit_codes(other)) == (False, True, {0})


def test_startup_that_fails_has_the_exit_code_of_the_server() -> None:
    codes = {
        kind.name: exit_codes(Cell(kind, "starting", signal.SIGTERM, "raises")) for kind in KINDS
    }

    assert (codes["uvicorn"], codes["hypercorn"]) == ({3}, {0})


def test_startup_that_fails_after_granian_was_told_to_stop_has_exit_code_0() -> None:
    stopped, reloaded = (
        exit_codes(Cell(GRANIAN, "starting", number, "raises"))
        for number in (signal.SIGTERM, signal.SIGHUP)
    )

    assert (stopped, reloaded) == ({0}, {1})


def test_no_server_promises_an_answer_after_sigkill() -> None:
    assert not Cell(HYPERCORN, "serving", signal.SIGKILL, "fine").promises_answers
    assert Cell(HYPERCORN, "serving", signal.SIGTERM, "fine").promises_answers


# The command.


def test_command_prints_the_seed_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--part", "model", "--plans", "3", "--seed", "7"]) == 0

    printed = capsys.readouterr()
    assert "seed 7" in printed.err
    assert "every rule holds" in printed.out
    assert "7 to 9" in printed.out
    assert re.search(r"UTC, \d+ s with 2 jobs .* uvicorn \d", printed.out)


@pytest.mark.slow
@pytest.mark.server
def test_parts_run_side_by_side_in_processes_of_their_own() -> None:
    words = ["-m", "tests.torture", "--quick", "--part", "model", "restarts", "--plans", "3"]
    command = [sys.executable, *words]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert re.search(r"^model +3 random plans", run.stdout, re.MULTILINE)
    assert re.search(r"^restarts +rolling restarts", run.stdout, re.MULTILINE)


def test_part_that_breaks_off_is_a_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parts.PARTS, "soak", lambda asked: 1 / 0)

    assert main(["--part", "soak"]) == 1
    assert "soak: ZeroDivisionError('division by zero')" in capsys.readouterr().out


@pytest.mark.once
def test_command_fails_with_each_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("soak", "1 starts", "leaks", ["each start leaves a thread"], "", 1.0)
    monkeypatch.setitem(parts.PARTS, "soak", lambda asked: row)

    assert main(["--part", "soak"]) == 1
    assert "soak: each start leaves a thread" in capsys.readouterr().out
