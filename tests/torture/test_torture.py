"""`make torture`: its short forms, and that it finds what it looks for."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.projects import Project
from tests.servers import HYPERCORN, UVICORN, Kind
from tests.torture import __main__ as command
from tests.torture.load import Load
from tests.torture.results import Row
from tests.torture.servers import KINDS, Cell, Seen, looked_at, migrated, tried
from tests.torture.soak import slope, soak

STOPPED = ["opens", "begins 1", "closes"]


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
@pytest.mark.once
def test_starts_and_stops_leave_no_thread_task_or_descriptor_behind() -> None:
    assert soak(20, {"threads": 0.001, "tasks": 0.001, "descriptors": 0.001}).faults == []


# What it finds.


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Seen]:
    """Return what looks at a server that was stopped by SIGTERM while it served."""

    def look(
        events: list[str], *, answered: str = "1", status: str = "stopped", hooks: str = "fine"
    ) -> Seen:
        project = Project(tmp_path)
        project.journal.write_text("\n".join(events))
        monkeypatch.setattr(project, "runs", lambda: [{"status": status}])
        seen = Seen(Cell(UVICORN, "serving", signal.SIGTERM, hooks), code=0)
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


def test_no_server_promises_an_answer_after_sigkill() -> None:
    assert not Cell(HYPERCORN, "serving", signal.SIGKILL, "fine").promises_answers
    assert Cell(HYPERCORN, "serving", signal.SIGTERM, "fine").promises_answers


def test_slope_and_its_error_are_those_of_the_line_through_the_counts() -> None:
    assert slope([10, 12, 14, 16]) == (2, 0)
    left, error = slope([10, 11, 10, 11, 10, 11])
    assert 0 < left < 3 * error


# The command.


def test_command_prints_the_seed_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--part", "model", "--plans", "3", "--seed", "7"]) == 0

    printed = capsys.readouterr()
    assert "seed 7" in printed.err
    assert "every rule holds" in printed.out
    assert "7 to 9" in printed.out


def test_command_fails_with_each_fault(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("soak", "1 starts", "leaks", ["each start leaves a thread"], "", 1.0)
    monkeypatch.setitem(command.PARTS, "soak", lambda asked: row)

    assert command.main(["--part", "soak"]) == 1
    assert "soak: each start leaves a thread" in capsys.readouterr().out
