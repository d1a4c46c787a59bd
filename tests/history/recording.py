"""Runs that are recorded, in the test's own process: a plain `Lifespan` with Django around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created
from django.test.utils import setup_test_environment, teardown_test_environment

from lifespan_app import Lifespan
from lifespan_app.apps import install
from lifespan_app.history.recording.recorder import Recorder
from lifespan_app.models import LifespanRun, RunQuerySet


@contextmanager
def recorded() -> Iterator[Lifespan]:
    """Give a lifespan whose runs are recorded: here it is, for a while, no test."""
    lifespan = Lifespan()
    install(lifespan)
    lifespan.adapter.observers.append(Recorder())
    teardown_test_environment()
    try:
        yield lifespan
    finally:
        setup_test_environment()


class Queries:
    """The queries that are made on connections which are opened from now on, with their threads."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str]] = []

    def __enter__(self) -> Queries:
        connection_created.connect(self._opened)
        return self

    def __exit__(self, *_: object) -> None:
        connection_created.disconnect(self._opened)

    def _opened(self, connection: Any, **_: Any) -> None:
        # One wrapper opens, closes and opens its connection again.
        if self._note not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._note)

    def _note(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.made.append((threading.current_thread().name, sql))
        return execute(sql, params, many, context)


async def has_status(status: str) -> LifespanRun:
    """Wait until a run is recorded with a status, and return it."""
    return await there_is(LifespanRun.objects.filter(status=status))


async def there_is(runs: RunQuerySet) -> LifespanRun:
    """Wait until there is such a run, and return it."""

    def look() -> LifespanRun | None:
        try:
            return runs.all().first()
        finally:
            connections[runs.db].close()

    while (run := await asyncio.to_thread(look)) is None:
        await asyncio.sleep(0.01)
    return run
