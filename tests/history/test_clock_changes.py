"""Without USE_TZ, what took 25 s took 25 s when the clocks are changed, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from lifespan_app.history.reading import describe, time_text
from lifespan_app.history.reading.overview import Day
from lifespan_app.history.reading.states import RECENT
from lifespan_app.history.recording.store import fitted
from lifespan_app.history.recording.store import moment as moment_to_write
from lifespan_app.models import LifespanRun, Status

if TYPE_CHECKING:
    from pytest_django import Settings

BACK = datetime(2026, 11, 1, 7, tzinfo=UTC).timestamp()
"""When it is 2 o'clock in Chicago, and then 1 o'clock."""
FORWARD = datetime(2026, 3, 8, 8, tzinfo=UTC).timestamp()
"""When it is 2 o'clock, and then 3 o'clock."""

HOUR = 3600


@pytest.fixture(autouse=True)
def _chicago(settings: Settings) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/Chicago"


@pytest.fixture(params=[BACK, FORWARD], ids=["back", "forward"])
def change(request: pytest.FixtureRequest) -> float:
    return float(request.param)


def moment(seconds: float) -> datetime:
    """Return a time as it comes back from a database, which keeps no ``fold``."""
    return moment_to_write(seconds).replace(fold=0)


def served(begin: float, seconds: float) -> LifespanRun:
    """Return a run that has served for so long."""
    end = moment(begin + seconds)
    return LifespanRun(
        status=Status.STOPPED,
        started_at=moment(begin - 1),
        ready_at=moment(begin),
        stopping_at=end,
        stopped_at=end,
        last_seen_at=end,
        shutdown_duration=timedelta(0),
    )


@pytest.mark.parametrize(
    ("before", "seconds"),
    [(10, 25), (1, 2), (HOUR / 2, HOUR - 60), (2 * HOUR, 4 * HOUR), (86400, 172800)],
    ids=str,
)
def test_time_served_is_right_over_a_clock_change(
    change: float, before: float, seconds: float
) -> None:
    run = served(change - before, seconds)

    assert describe.served_for(run, moment(change + seconds)) == timedelta(seconds=seconds)


def test_story_of_a_run_is_right_over_a_clock_change(change: float) -> None:
    run = served(change - 10, 25)

    assert describe.headline(run, [], moment(change + 60)).startswith("Served for 25 s")


@pytest.mark.parametrize(
    ("status", "said"), [("starting", "Starting for 25 s"), ("stopping", "Stopping for 25 s")]
)
def test_running_time_is_right_over_a_clock_change(change: float, status: str, said: str) -> None:
    at = moment(change - 10)
    run = LifespanRun(status=status, started_at=at, stopping_at=at, last_seen_at=at)

    assert said in describe.headline(run, [], moment(change + 15))


def test_time_ago_is_right_over_a_clock_change(change: float) -> None:
    assert time_text.ago(moment(change - 15), moment(change + 15)) == "30 s ago"


def test_start_stands_right_on_the_days_strip_over_a_clock_change(change: float) -> None:
    start = served(change - 10, 0)
    day = Day("app", [start], now=moment(change + 86400 / 4 - 10))  # type: ignore[list-item]

    assert [place for place, _ in day.ticks()] == ["75.00%"]
    assert timedelta(hours=1) < RECENT


@pytest.mark.parametrize("before", [100, 80, 40, 1, 0])
def test_run_with_heartbeats_is_not_lost_over_a_clock_change(change: float, before: float) -> None:
    seen = change - before
    row = {"status": "serving", "last_seen_at": seen, "lost_after": seen + 90}
    run = LifespanRun(**fitted(LifespanRun, row))

    run.lost_after = run.lost_after.replace(fold=0) if run.lost_after else None

    lost_at = [after for after in range(90) if run.is_lost(moment(seen + after))]

    assert lost_at == []
