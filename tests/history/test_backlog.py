"""A run that imports what others have left goes on with its own record meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.db import connections

from lifespan_app import Lifespan
from lifespan_app.history.recording.maintenance import maintain
from lifespan_app.history.recording.spool import SpoolFile
from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase
from tests.history.recording import recorded, there_is

if TYPE_CHECKING:
    from pytest_django import Settings

MANY = 800
HOST = "left a file"


@pytest.fixture
def backlog(history_database: HistoryDatabase, tmp_path: Path, settings: Settings) -> Path:
    """Return a folder with the files of many runs whose processes are gone."""
    folder = tmp_path / "spool"
    settings.LIFESPAN = {**settings.LIFESPAN, "SPOOL_DIR": str(folder), "HEARTBEAT": 0.05}
    row = {"mode": "server", "service_type": "app", "status": "stopped", "pid": 1, "host": HOST}
    now = time.time()
    for _ in range(MANY):
        file = SpoolFile(folder, uuid := str(uuid4()))
        file.append({"run": {"uuid": uuid, **row, "started_at": now, "last_seen_at": now}})
        file.close()
    return folder


@pytest.fixture
def lifespan() -> Iterator[Lifespan]:
    with recorded() as lifespan:

        @lifespan.resource
        async def shelf() -> str:
            return "shelf"

        yield lifespan


def maintained(database: HistoryDatabase) -> None:
    """Do what the next start does for others."""
    for pause in maintain():
        time.sleep(pause)
    connections[database.alias].close()


def waiting(folder: Path) -> int:
    return len(list(folder.iterdir()))


@pytest.mark.once
async def test_heartbeats_and_the_end_of_a_run_do_not_wait_for_a_backlog(
    backlog: Path, lifespan: Lifespan, history_database: HistoryDatabase
) -> None:
    own = LifespanRun.objects.exclude(host=HOST)
    async with lifespan.run():
        serving = await there_is(own.filter(status="serving"))
        await there_is(own.filter(last_seen_at__gt=serving.last_seen_at))
        assert waiting(backlog)

    run = await there_is(own)
    assert (run.status, run.recorded_late) == ("stopped", False)
    left = waiting(backlog)
    assert left

    await asyncio.to_thread(maintained, history_database)
    assert waiting(backlog) == 0
    await there_is(LifespanRun.objects.filter(host=HOST, recorded_late=True))
