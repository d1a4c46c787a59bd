"""The check W009 says what became of the last run that failed or got lost, and what came after it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from lifespan_app.history.reading.troubles import recent_failures
from tests.history.records import a_run

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


def last_one() -> str:
    [found] = recent_failures()
    return found.what.partition("the last one: ")[2]


def test_failed_start_is_named_with_the_first_line_of_its_error() -> None:
    a_run(status="startup_failed", error="OSError: no index\nmore")

    assert last_one() == "startup failed: OSError: no index"


def test_lost_run_is_not_explained_by_the_error_of_an_optional_hook() -> None:
    a_run(status="lost", error="OSError: no recommendations")

    assert last_one() == "lost"


def test_later_start_that_has_succeeded_is_mentioned() -> None:
    a_run(status="startup_failed", started_at=timezone.now() - 5 * MINUTE)
    a_run(status="startup_failed", service_type="worker")
    a_run(status="serving", ready_at=timezone.now())

    app, worker = recent_failures()

    assert app.what.endswith("startup failed; a later one has started successfully")
    assert worker.what.endswith("startup failed")


def test_earlier_start_that_has_succeeded_is_not_mentioned() -> None:
    a_run(status="stopped", started_at=timezone.now() - 5 * MINUTE, ready_at=timezone.now())
    a_run(status="startup_failed")

    assert last_one() == "startup failed"
