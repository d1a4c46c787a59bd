"""A run is told in a sentence, whatever befell it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from lifespan_app.history.reading import advice, describe, time_text
from lifespan_app.history.reading.statistics import spread
from lifespan_app.models import Status
from tests import records

SENTENCES = {
    "startup_failed": (
        "library.http_client failed after 0.20 s; 1 hook was rolled back; nothing was served."
    ),
    "timed_out": (
        "catalogue.index did not start within 10 s; 1 hook was rolled back; nothing was served."
    ),
    "stopped": "Served for 8 min 20 s; stopped by the server; all hooks stopped in 70 ms.",
    "shutdown_failed": (
        "Served for 8 min 20 s; stopped by the server; library.http_client did not stop within "
        "5.0 s; 2 hooks stopped."
    ),
    "healthy": "Serving for 10 min; 5 hooks started in 0.42 s.",
    "degraded": (
        "notices.notice_board failed after 0.21 s; serving without it for 10 min; 1 hook was "
        "skipped."
    ),
    "crashed_job": (
        "search.refresh crashed after it had run for 3 min 2 s; serving without it for 10 min."
    ),
    "restarting_job": "search.refresh has crashed 36 times; serving for 10 min, degraded.",
    "not_ready": (
        "Not ready for 1 min 30 s (check failed); library.http_client: check failed: "
        "ConnectionError: refused; started 10 min ago."
    ),
    "stalled_job": "search.refresh is stalled; serving without it for 10 min.",
    "lost": "No heartbeat since {last_seen}; it had served for 1 h 40 min.",
    "starting": "Starting for 7.0 s; it waits for catalogue.index.",
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", SENTENCES)
def test_story_of_a_run_is_told_in_a_sentence(name: str) -> None:
    now = timezone.now()
    run = records.STORIES[name]()
    steps = list(run.steps.order_by("pk"))
    # By the clock of the records, whatever time writing them took.
    after = {"starting": 7}.get(name, 600.42)
    at = now if name == "lost" else run.started_at + timedelta(seconds=after)
    if name == "lost":
        run.last_seen_at = at - timedelta(minutes=50)
        run.ready_at = run.last_seen_at - timedelta(minutes=100)

    expected = SENTENCES[name].format(last_seen=time_text.clock(run.last_seen_at))
    assert describe.headline(run, steps, at) == expected


@pytest.mark.django_db
def test_job_of_a_run_that_has_ended_was_stalled() -> None:
    run = records.stalled_job()
    run.status, run.stopped_at = Status.STOPPED, timezone.now()
    (step,) = describe.broken(run.steps.all())
    step.run = run

    assert describe.failure_text(step) == "search.refresh was stalled"


@pytest.mark.django_db
def test_advice_for_a_stalled_job_names_the_line_where_it_waits() -> None:
    run = records.stalled_job()

    sentences = advice.for_run(run, list(run.steps.order_by("pk")))

    assert sentences == [
        "It waits at search/lifespan.py:44: check whether the service it calls there responds."
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.00004, "0 ms"),
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (0.0129, "13 ms"),
        (0.0997, "0.10 s"),
        (0.2134, "0.21 s"),
        (0.219, "0.22 s"),
        (2.29, "2.3 s"),
        (5.03, "5.0 s"),
        (13.7, "14 s"),
        (59.4, "59 s"),
        (59.9, "1 min"),
        (182, "3 min 2 s"),
        (3_599.6, "1 h"),
        (3_600, "1 h"),
        (3_659, "1 h 1 min"),
        (86_399, "1 d"),
        (100_000, "1 d 4 h"),
    ],
)
def test_durations_are_short_and_rounded(seconds: float, text: str) -> None:
    assert time_text.duration(seconds) == time_text.duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 s"), (30.0, "30 s"), (0.5, "0.50 s"), (60, "1 min"), (86400, "1 d")],
)
def test_interval_that_was_set_has_no_more_digits_than_it_was_given(
    seconds: float, text: str
) -> None:
    assert time_text.interval(seconds) == text


def test_numbers_are_written_as_in_the_language_of_the_reader() -> None:
    with translation.override("de"):
        assert time_text.duration(0.2134).startswith("0,21")


def test_spread_names_median_and_worst_of_its_sample() -> None:
    found = spread([0.5, *(number / 100 for number in range(1, 20))])

    assert found is not None
    assert (found.count, found.p95, found.worst) == (20, 0.19, 0.5)
    assert found.median == pytest.approx(0.105)
    assert spread([]) is None


@pytest.mark.django_db
def test_advice_for_a_job_that_begins_again_says_when() -> None:
    run = records.restarting_job()
    [sentence] = advice.for_run(run, list(run.steps.all()), timezone.now())

    assert sentence.startswith(
        "Fix the error in search.refresh (search/lifespan.py:19). It begins again by itself, "
    )
    assert sentence.endswith("next attempt in 42 s.")


@pytest.mark.django_db
def test_attempt_whose_time_has_come_is_begun_now() -> None:
    run = records.restarting_job()
    later = timezone.now() + timedelta(minutes=1)

    [sentence] = advice.for_run(run, list(run.steps.all()), later)

    assert sentence.endswith("next attempt now.")


@pytest.mark.django_db
def test_advice_for_a_job_that_begins_no_more_is_to_restart_the_process() -> None:
    given_up = records.job("search.refresh", "given_up", crashes=5, last_crash="KeyError: 'isbn'")
    run = records.restarting_job(jobs=[given_up])
    steps = list(run.steps.order_by("pk"))

    assert describe.headline(run, steps).startswith(
        "search.refresh has crashed 5 times and is given up; serving without it for "
    )
    assert advice.for_run(run, steps) == [
        "Fix the error in search.refresh (search/lifespan.py:19), then restart the process."
    ]


@pytest.mark.django_db
def test_advice_for_a_failing_check_is_to_look_at_the_service_behind_it() -> None:
    [sentence] = advice.for_run(records.not_ready(), [])

    assert "ready again as soon as the check passes" in sentence


@pytest.mark.django_db
def test_job_that_runs_again_after_a_crash_is_told_so() -> None:
    runs = records.job("search.refresh", "running", rounds=2, crashes=1, last_crash="KeyError")
    run = records.restarting_job(jobs=[runs])
    [crash] = describe.broken(run.steps.all())

    assert describe.failure_text(crash) == "search.refresh had crashed, and runs again"
    assert advice.for_run(run, [crash]) == [
        "Fix the error in search.refresh (search/lifespan.py:19), so that it does not crash again."
    ]
