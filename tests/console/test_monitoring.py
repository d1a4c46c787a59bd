"""A monitoring system learns from an exit code whether processes serve, and whether any has failed."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from lifespan_app.models import LifespanRun
from tests.history.records import a_run

if TYPE_CHECKING:
    from tests.projects import Project

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def asked(*arguments: str) -> tuple[int, str]:
    """Return the exit code of the command and the first line of what it says."""
    output, code = StringIO(), 0
    try:
        call_command("showlifespan", "--now", *arguments, stdout=output, no_color=True)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, output.getvalue().splitlines()[0]


def ago(**values: Any) -> LifespanRun:
    """Write a run that began and ended some minutes ago."""
    at = timezone.now() - values.pop("minutes", 5) * MINUTE
    times = {"started_at": at, "last_seen_at": at + SECOND}
    return a_run(host="web-1", pid=7, **{**times, **values})


def name(run: LifespanRun) -> str:
    return f"'{run.service_type}' {str(run.uuid)[:8]} (web-1, pid 7)"


def test_enough_processes_are_as_expected() -> None:
    for _ in range(2):
        a_run(status="serving")
    a_run(status="degraded")

    assert asked("--expect", "app=3") == (0, "OK: all is as expected")


@pytest.mark.parametrize("status", ["starting", "stopping", "stopped", "lost", "not_ready"])
def test_process_that_does_not_serve_is_missing(status: str) -> None:
    a_run(status="serving")
    a_run(status=status)

    assert asked("--expect", "app=2") == (
        2,
        "CRITICAL: 1 of 2 processes of 'app' are serving",
    )


def test_process_without_a_heartbeat_is_missing() -> None:
    a_run(status="serving", lost_after=timezone.now() - SECOND)

    assert asked("--expect", "app=1", "--expect", "worker=1") == (
        2,
        "CRITICAL: 0 of 1 processes of 'app' are serving; 0 of 1 processes of 'worker' are serving",
    )


def test_lost_run_is_told_until_a_later_start_has_succeeded() -> None:
    run = ago(status="lost", error="OSError: of an optional hook, long before")
    a_run(status="serving", started_at=timezone.now() - 20 * MINUTE, ready_at=timezone.now())

    assert asked("--fail-on", "lost") == (2, f"CRITICAL: {name(run)} is lost, 4 min ago")

    ago(minutes=1, status="serving", ready_at=timezone.now())
    assert asked("--fail-on", "lost") == (0, "OK: all is as expected")


def test_failed_start_is_told_with_its_error() -> None:
    run = ago(status="startup_failed", error="OSError: no index\nmore", minutes=10)

    assert asked("--fail-on", "failed,lost") == (
        2,
        f"CRITICAL: {name(run)} failed, 9 min ago: OSError: no index",
    )
    assert asked("--fail-on", "lost") == (0, "OK: all is as expected")


def test_start_of_another_service_type_makes_up_for_nothing() -> None:
    ago(status="startup_failed", service_type="worker")
    a_run(status="serving", ready_at=timezone.now())

    assert asked("--fail-on", "failed")[0] == 2


@pytest.mark.parametrize(
    "values", [{"minutes": 25 * 60}, {"mode": "check"}, {"mode": "reload"}], ids=str
)
def test_old_failures_and_those_of_a_developer_are_passed_over(values: dict[str, Any]) -> None:
    ago(status="startup_failed", **values)

    assert asked("--fail-on", "failed") == (0, "OK: all is as expected")


def test_process_that_is_not_ready_is_told() -> None:
    run = ago(status="not_ready")

    assert asked("--fail-on", "not-ready") == (2, f"CRITICAL: {name(run)} is not ready")


def test_json_stays_json() -> None:
    a_run(status="serving")
    output, errors = StringIO(), StringIO()

    call_command(
        *("showlifespan", "--now", "--expect", "app=1", "--format", "json"),
        stdout=output,
        stderr=errors,
    )

    assert [one["run"]["service_type"] for one in json.loads(output.getvalue())] == ["app"]
    assert errors.getvalue() == "OK: all is as expected\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--now", "--expect", "app"], "'app' is not a service type and a number, such as app=3."),
        (["--now", "--expect", "app=-1"], "'app=-1' is not a service type and a number"),
        (["--now", "--fail-on", "broken"], "'broken' is not one of lost, failed, not-ready."),
        (["--fail-on", "lost"], "--expect and --fail-on need --now."),
    ],
)
def test_argument_that_is_wrong_is_refused(arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("showlifespan", *arguments)

    assert says in str(refused.value)


@pytest.mark.parametrize("tables", [True, False], ids=["no database", "no tables"])
def test_history_that_cannot_be_read_is_unknown(project: Project, tables: bool) -> None:
    if tables:
        project.settings(
            DATABASES={
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(Path(project.folder) / "no" / "folder" / "db.sqlite3"),
                }
            }
        )
    says = "The database of the history does not respond: unable to open database file"

    ran = project.manage("showlifespan", "--now", "--expect", "app=1")

    assert ran.returncode == 3
    assert ran.stdout.startswith(f"UNKNOWN: {says if tables else 'The history has no tables yet'}")
