"""Background jobs on the pages: a table of those of a run, and one of all processes."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from lifespan_app.history.reading.jobs import jobs_of
from lifespan_app.history.reading.overview import overview
from lifespan_app.models import LifespanRun
from tests import records
from tests.admin.project import HOME, LIST

EXACT = re.compile(r" \((?:\S+ )?\d\d:\d\d:\d\d \w+\)")
"""The exact time behind how long ago something was."""


def text_of(client: Client, address: str) -> str:
    """Return what is on a page, without marks and with single spaces."""
    answer = client.get(address)
    assert answer.status_code == 200
    text = re.sub(r"\s+", " ", strip_tags(answer.content.decode().replace("</", " </")))
    return EXACT.sub("", text)


def test_run_page_shows_each_job_with_its_state_and_what_comes_next(reader: Client) -> None:
    run = records.restarting_job()
    page = text_of(reader, f"{LIST}{run.pk}/change/")

    assert "search.refresh crashed 36 attempts, 36 crashes – 18 s ago" in page
    assert "KeyError: &#x27;isbn&#x27; next attempt in 42 s" in page
    assert "search.sweep every 1 min waiting 10 rounds 12 s ago – next round in 48 s" in page


def test_run_page_of_a_lost_run_shows_the_jobs_as_they_were_and_promises_nothing(
    reader: Client,
) -> None:
    jobs = [records.job("search.sweep", "waiting", every=60, rounds=10, next_at=48)]
    run = records.lost(jobs=jobs)
    page = text_of(reader, f"{LIST}{run.pk}/change/")

    assert "Jobs (as of the last heartbeat)" in page
    assert "search.sweep every 1 min waiting 10 rounds – – –" in page


def test_run_page_shows_steps_of_the_service_that_are_no_jobs(reader: Client) -> None:
    run = records.crashed_job()
    page = text_of(reader, f"{LIST}{run.pk}/change/")

    assert "search.refresh : crashed , after 3 min 2 s" in page


def test_overview_shows_the_jobs_of_all_processes_the_unwell_ones_first(reader: Client) -> None:
    records.restarting_job()
    well = records.job("search.refresh", "running")
    records.healthy(jobs=[well])
    records.healthy(jobs=[well, records.job("app.sweep", "standing_by")])
    records.healthy(jobs=[{**records.job("app.sweep", "running"), "leads": True}], host="web-7")
    records.stopped(jobs=[records.job("old.job", "crashed")])

    groups = overview(timezone.now()).jobs
    assert [(one.key, [(state, n) for state, _, n in one.states]) for one in groups] == [
        ("search.refresh", [("crashed", 1), ("running", 2)]),
        ("app.sweep", [("running", 1), ("standing_by", 1)]),
        ("search.sweep", [("waiting", 1)]),
    ]
    page = text_of(reader, HOME)
    assert "search.refresh api crashed ×1 running ×2" in page
    assert "app.sweep api, led by web-7 pid" in page
    assert "search.sweep api, every 1 min waiting 12 s ago – next round in" in page
    assert "old.job" not in page


def test_overview_lists_the_first_jobs_and_counts_the_others(reader: Client) -> None:
    records.healthy(jobs=[records.job(f"shop.job_{n}", "running") for n in range(60)])
    page = text_of(reader, HOME)

    assert "10 more jobs are not listed." in page


def test_jobs_of_lost_processes_are_not_on_the_overview(reader: Client) -> None:
    records.silent(jobs=[records.job("search.refresh", "running")])

    assert overview(timezone.now()).jobs == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "jobs",
    [
        [None, 7, "text", []],
        [{}],
        [{"key": "a.b"}],
        [{"key": "a.b", "state": "running", "rounds": "many"}],
        [{"key": "a.b", "state": "running", "next_at": "soon"}],
    ],
)
def test_job_that_another_version_has_written_in_another_way_is_left_out(jobs: object) -> None:
    good = records.job("shop.sweep", "running")
    run = records.healthy(jobs=[*jobs, good])  # type: ignore[misc]

    assert [job.key for job in jobs_of(LifespanRun.objects.get(pk=run.pk))] == ["shop.sweep"]


@pytest.mark.django_db
def test_state_of_a_newer_version_is_shown_as_it_is() -> None:
    run = records.healthy(jobs=[records.job("shop.sweep", "dreaming")])

    [job] = jobs_of(run)
    assert (job.label, job.is_unwell) == ("dreaming", False)


def test_hostile_text_in_a_job_is_text(reader: Client) -> None:
    hostile = records.HOSTILE
    job = records.job(f"a.{hostile}", "crashed", reason=hostile, last_crash=hostile, crashes=1)
    run = records.healthy(jobs=[job])

    for address in (HOME, f"{LIST}{run.pk}/change/"):
        page = reader.get(address).content.decode()
        assert "<script>document" not in page
        assert "<img src=x" not in page


def test_attempts_of_a_start_are_on_its_run_page(reader: Client) -> None:
    retried = records.step("shop.broker", errors=["OSError: refused", "OSError: busy"], attempt=3)
    failed = records.no_notices(errors=["OSError: first"], attempt=2)
    run = records.recorded("degraded", steps=[retried, failed])
    page = text_of(reader, f"{LIST}{run.pk}/change/")

    assert "2 attempts failed before OSError: refused OSError: busy" in page
    assert "1 attempt failed before OSError: first" in page


def test_list_says_of_a_process_that_is_not_ready_why(reader: Client) -> None:
    records.not_ready()
    page = text_of(reader, f"{LIST}?status=not_ready")

    assert "check failed: library.http_client: check failed: ConnectionError: refused" in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("readiness", "is_broken"), [("warming_up", False), ("crashed", True), ("check_failed", True)]
)
def test_process_that_warms_up_is_not_broken(readiness: str, is_broken: bool) -> None:
    records.not_ready(readiness=readiness)
    found = overview(timezone.now())

    broken = "api: 1 running, not ready."
    assert found.headline == (broken if is_broken else "0 of 1 processes are serving, 1 not ready.")
    assert bool(found.current) is is_broken


@pytest.mark.django_db
def test_processes_with_the_same_failing_check_are_one_failure() -> None:
    for number in range(3):
        reason = f"shop.pool: check failed: TimeoutError: after 2.0{number} s"
        records.not_ready(readiness_reason=reason)
    records.not_ready(readiness_reason="shop.other: check failed: OSError")

    assert sorted(len(one.runs) for one in overview(timezone.now()).current) == [1, 3]


@pytest.mark.django_db
def test_failure_of_a_process_that_is_not_ready_began_when_its_readiness_ended() -> None:
    run = records.not_ready()
    [failure] = overview(timezone.now()).current

    assert failure.last_at == run.readiness_since
    assert timezone.now() - failure.last_at < timedelta(minutes=3)


@pytest.mark.django_db
def test_overview_begins_with_the_service_type_that_is_not_ready() -> None:
    records.healthy(service_type="app")
    records.not_ready(service_type="worker")
    records.healthy(service_type="worker")
    found = overview(timezone.now())

    assert found.headline == "2 of 3 processes are serving, 1 not ready."
    [worker, app] = found.states
    assert (worker.service_type, worker.level) == ("worker", "bad")
    assert worker.sentence == "1 of 2 serving, 1 not ready"
    assert app.level == "good"
    # It has started: what is not ready now is no failed start.
    assert [day.failed for day in found.days] == [0, 0]
