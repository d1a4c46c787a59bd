"""The overview is true: what it says of processes, failures and times is what the records say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from lifespan_app.admin.charts import chart_of_starts
from lifespan_app.history.reading import advice, describe, overview, statistics, time_text
from lifespan_app.history.reading.overview import Overview
from lifespan_app.history.reading.states import ServiceState
from lifespan_app.models import LifespanRun, Phase, Status
from tests import records

pytestmark = pytest.mark.django_db


def read() -> Overview:
    return overview.overview(timezone.now())


def state(service_type: str) -> ServiceState:
    return next(one for one in read().states if one.service_type == service_type)


def crashed(**columns: Any) -> LifespanRun:
    """Write a run that a crashed job has stopped: on_crash="stop"."""
    run = records.crashed_job(**columns)
    ended = run.started_at + timedelta(seconds=3)
    ends = {"stopping_at": ended, "stopped_at": ended, "last_seen_at": ended, "lost_after": None}
    changes = {"status": Status.STOPPED, "ended_by": "the crash of 'search.refresh'", **ends}
    LifespanRun.objects.filter(pk=run.pk).update(**changes)
    run.refresh_from_db()
    return run


def at(moment: datetime | None) -> str:
    assert moment is not None
    return time_text.clock(moment)


class TestServiceTypes:
    def test_type_whose_starts_all_fail_has_a_row_and_begins_the_headline(self) -> None:
        last = records.stopped(service_type="api", ago=4_000)
        for number in range(6):
            records.startup_failed(service_type="api", ago=60 * (number + 1))
        for _ in range(2):
            records.healthy(service_type="app")

        found = read()

        served = f"0 running, last served {at(last.stopped_at)}"
        assert [(one.service_type, one.sentence) for one in found.states] == [
            ("api", served),
            ("app", "2 of 2 serving"),
        ]
        assert found.headline == f"api: {served}. 2 of 2 processes are serving."

    def test_type_that_never_served_says_so_of_its_sample(self) -> None:
        for _ in range(3):
            records.startup_failed()

        assert state("api").sentence == "0 running, did not serve in the last 3 starts"

    def test_silent_type_is_not_called_dead(self) -> None:
        run = records.silent(service_type="worker")
        records.healthy()

        assert state("worker").sentence == f"no heartbeat since {at(run.last_seen_at)}"
        assert state("worker").is_down

    def test_type_that_was_stopped_is_not_down(self) -> None:
        records.stopped(service_type="worker")
        records.healthy()

        found = read()

        assert not state("worker").is_down
        assert found.headline == "1 process is serving."

    def test_type_that_was_stopped_after_its_new_release_failed_is_down(self) -> None:
        records.stopped(ago=4_000, release="1")
        ended = timezone.now()
        records.stopped(ago=3_000, release="1", stopped_at=ended, last_seen_at=ended)
        records.startup_failed(ago=60, release="2")

        assert state("api").is_down

    def test_degraded_types_stand_before_those_that_serve(self) -> None:
        records.healthy(service_type="a")
        records.degraded(service_type="b")
        records.startup_failed(service_type="c")
        records.stopped(service_type="d")

        assert [one.service_type for one in read().states] == ["c", "b", "a", "d"]

    def test_nothing_that_runs_after_an_orderly_stop_is_said_so(self) -> None:
        records.stopped()

        assert read().headline == "No process is running; the last ones were stopped."


class TestLoops:
    def test_workers_of_one_start_that_fail_together_are_no_loop(self) -> None:
        for _ in range(4):
            records.startup_failed(launch="one", ago=60)

        assert read().loops == []

    def test_failed_starts_one_after_the_other_are_a_loop(self) -> None:
        for number in range(4):
            records.startup_failed(ago=20 * (number + 1))

        assert read().loops == ["api"]

    def test_workers_that_one_server_replaces_again_and_again_are_a_loop(self) -> None:
        for number in range(4):
            records.startup_failed(launch="one", ago=20 * (number + 1))

        assert read().loops == ["api"]

    def test_loop_is_over_when_the_type_has_started_well_since(self) -> None:
        for number in range(6):
            records.startup_failed(ago=100 + 20 * number)
        records.healthy(ago=90)

        found = read()

        assert found.loops == []
        assert found.current == []

    def test_processes_that_crashes_stop_again_and_again_are_a_loop(self) -> None:
        for number in range(5):
            crashed(service_type="worker", ago=10 + 6 * number)

        found = read()

        assert found.loops == ["worker"]
        assert state("worker").is_down
        (failure,) = found.current
        assert failure.headline == "search.refresh crashed after it had run for 3 min 2 s"

    def test_crash_is_not_resolved_by_a_process_that_has_just_started(self) -> None:
        crashed(ago=30)
        records.healthy(ago=3)

        assert len(read().current) == 1

    def test_crash_is_resolved_by_a_process_that_has_served_for_a_minute(self) -> None:
        crashed(ago=600)
        records.healthy(ago=90)

        assert read().current == []


def test_failure_of_one_server_start_is_counted_as_one() -> None:
    for _ in range(4):
        records.startup_failed(launch="one")

    (failure,) = read().current

    assert (len(failure.runs), failure.server_starts) == (4, 1)


def test_failure_names_the_releases_that_have_it_newest_first() -> None:
    for ago, release in ((30, "1.0"), (20, "1.1"), (10, "1.1"), (5, "")):
        records.startup_failed(ago=ago, release=release)

    [failure] = read().failures

    assert failure.releases == ["1.1", "1.0"]


class TestTimes:
    def test_failed_starts_are_not_in_the_startup_times(self) -> None:
        records.healthy(up_after=1.4)
        for _ in range(5):
            records.startup_failed(release="1.9.0")

        (times,) = read().times

        assert times.releases == ["1.8.2"]
        assert times.startup.count == 1
        assert times.startup.median == 1.4
        assert len(chart_of_starts(times.starts).columns) == 1

    def test_stop_is_compared_with_stops(self) -> None:
        runs = [records.stopped().pk for _ in range(3)]

        found = statistics.usual_in(runs, Phase.STARTUP, Phase.SHUTDOWN)

        assert found["library.http_client", "startup"].median == 0.03
        assert found["library.http_client", "shutdown"].median == 0.05

    @pytest.mark.parametrize(("count", "text"), [(19, "slowest"), (20, "p95")])
    def test_95th_percentile_is_told_of_enough_values_only(self, count: int, text: str) -> None:
        found = statistics.spread([0.1] * count)

        assert found is not None
        assert describe.upper(found).startswith(text)


class TestTheDay:
    def test_part_of_the_day_before_the_sample_is_told_apart(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(overview, "NEWEST", 3)
        monkeypatch.setattr(statistics, "NEWEST", 3)
        for number in range(5):
            records.stopped(ago=3_600 * (number + 1))

        (day,) = read().days

        assert day.since is not None
        assert float(day.unread.rstrip("%")) == pytest.approx(100 * 21 / 24, abs=0.1)

    def test_quiet_day_is_known_whole(self) -> None:
        records.stopped(ago=3_600)

        (day,) = read().days

        assert (day.since, day.unread) == (None, "")


def test_run_that_was_imported_late_stands_where_it_started() -> None:
    new = records.healthy(ago=10)
    late = records.lost(ago=9_000, recorded_late=True)

    assert list(LifespanRun.objects.all()) == [new, late]


def test_silence_is_told_with_its_three_causes() -> None:
    run = records.silent()

    (sentence,) = advice.for_run(run, list(run.steps.all()))

    assert "killed" in sentence
    assert "its host went down" in sentence
    assert "can't reach the database" in sentence
