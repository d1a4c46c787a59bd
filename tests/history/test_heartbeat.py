"""A run that serves gives signs of life; one that gives none for too long is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connections

from lifespan_app import Lifespan
from lifespan_app.history.recording import rows, timetable
from lifespan_app.models import LifespanRun, Status
from tests.history.databases import HistoryDatabase
from tests.history.recording import has_status, recorded, there_is

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture
def lifespan(sqlite_history: HistoryDatabase) -> Iterator[Lifespan]:
    with recorded() as lifespan:

        @lifespan.resource
        async def shelf() -> str:
            return "shelf"

        yield lifespan


@pytest.fixture
def beats(lifespan: Lifespan, settings: Settings) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 0.1}


def delete_runs() -> None:
    LifespanRun.objects.all().delete()
    connections["history"].close()


async def served(lifespan: Lifespan) -> LifespanRun:
    async with lifespan.run():
        return await has_status("serving")


def test_run_is_lost_when_it_misses_three_of_its_own_heartbeats(lifespan: Lifespan) -> None:
    run = asyncio.run(served(lifespan))

    assert run.lost_after == run.last_seen_at + timedelta(seconds=90)
    assert not run.is_lost(run.lost_after)
    assert run.is_lost(run.lost_after + timedelta(seconds=1))


def test_silence_without_heartbeats_never_means_lost(
    lifespan: Lifespan, settings: Settings
) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 0}
    run = asyncio.run(served(lifespan))

    assert run.lost_after is None
    assert not run.is_lost(run.last_seen_at + timedelta(days=900))


@pytest.mark.usefixtures("beats")
def test_each_heartbeat_is_written(lifespan: Lifespan) -> None:
    async def main() -> None:
        async with lifespan.run():
            run = await has_status("serving")
            for _ in range(2):
                later = LifespanRun.objects.filter(last_seen_at__gt=run.last_seen_at)
                run = await there_is(later)

    asyncio.run(main())


@pytest.mark.usefixtures("beats")
def test_run_that_was_taken_for_lost_is_back_with_its_next_heartbeat(lifespan: Lifespan) -> None:
    async def main() -> None:
        async with lifespan.run():
            run = await has_status("serving")
            await asyncio.to_thread(LifespanRun.objects.update, status=Status.LOST)
            again = await has_status("serving")
            assert again.last_seen_at > run.last_seen_at

    asyncio.run(main())


@pytest.mark.usefixtures("beats")
def test_run_whose_row_was_deleted_is_written_anew_with_its_steps(lifespan: Lifespan) -> None:
    async def main() -> None:
        async with lifespan.run():
            await has_status("serving")
            await there_is(LifespanRun.objects.filter(steps__phase="startup"))
            await asyncio.to_thread(delete_runs)
            await there_is(LifespanRun.objects.filter(status="serving", steps__phase="startup"))
            await asyncio.to_thread(delete_runs)

    asyncio.run(main())
    [run] = LifespanRun.objects.all()
    assert (run.status, run.hooks_total) == ("stopped", 1)
    assert {step.phase for step in run.steps.all()} == {"startup", "shutdown"}


def test_heartbeats_of_many_workers_spread() -> None:
    now = time.monotonic()

    beats = {round(timetable.Timetable(30.0).beat_at - now, 3) for _ in range(20)}

    assert len(beats) > 10
    assert rows.NOT_LOST_FOR > 1 + timetable.JITTER
