"""A fault in the engine's own steps fails the run: the server is answered, and nothing hangs.

What the engine is given by the program around it is called at each of its steps, so one call that
raises is a fault at that step.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.settings import Settings
from tests.engine.apps import written_in
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually

CALLS = ("time", "around_task", "around_thread", "work_returned")
"""What the engine asks of its host while a run starts, serves and stops."""


class Fault(Exception):
    pass


class Failing:
    """Raise at one call of the host: the so-and-so-many-th of one method.

    Args:
        lifespan: whose host it is.
        method: the name of the method.
        at: at which call, from 1 on.
    """

    def __init__(self, lifespan: Lifespan, method: str, at: int) -> None:
        self.calls = 0
        self._at = at
        self._original: Callable[..., Any] = getattr(lifespan.adapter, method)
        setattr(lifespan.adapter, method, self._call)

    @property
    def happened(self) -> bool:
        """Whether it has raised."""
        return self.calls >= self._at

    def _call(self, *args: Any) -> Any:
        self.calls += 1
        if self.calls == self._at:
            # The virtual clock stands still while a thread works: that thread has come back.
            self._original(*args)
            raise Fault
        return self._original(*args)


def declare(lifespan: Lifespan, journal: Journal) -> None:
    """Declare one hook of each kind."""
    base = journal.resource(lifespan, "base", opens=1, closes=1)
    journal.start(lifespan, "warm_up", 1, depends_on=[base])
    journal.shutdown(lifespan, "tell", 1)
    journal.job(lifespan, "refresh", 2, OSError("crash"), on_crash="restart")
    journal.job(lifespan, "clean")

    @lifespan.resource
    @written_in("shop.lifespan")
    def thread() -> Iterator[str]:
        yield "a thread"

    @lifespan.on_start
    @written_in("shop.lifespan")
    def prepare(thread: str) -> None: ...


@pytest.mark.parametrize("method", CALLS)
def test_fault_at_any_step_leaves_no_run_hanging(method: str) -> None:
    at = 1
    while served_with_fault(method, at):
        at += 1
    assert at > 1


def served_with_fault(method: str, at: int) -> bool:
    """Serve with a fault at one step; return False if there are no so many steps."""
    settings = Settings(shutdown_deadline=8)
    return run_virtually(lambda lifespan, _: served(lifespan, method, at), settings=settings)


async def served(lifespan: Lifespan, method: str, at: int) -> bool:
    """Serve for a while and stop; return whether the fault has happened."""
    declare(lifespan, Journal())
    failing = Failing(lifespan, method, at)
    async with asyncio.timeout(400):
        server = Server(lifespan)
        answer = await server.startup()
        if answer["type"] == "lifespan.startup.complete":
            await asyncio.sleep(5)
            await server.shutdown()
        else:
            assert failing.happened
        await server.raised()
    assert lifespan.runs == []
    return failing.happened


def test_fault_while_a_hook_starts_stops_open_hooks() -> None:
    journal = Journal()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = journal.resource(lifespan, "client")
        Failing(lifespan, "around_task", 2)
        journal.start(lifespan, "warm_up", depends_on=[client])
        server = Server(lifespan)
        answer = await server.startup()
        assert answer["type"] == "lifespan.startup.failed"
        assert "Fault" in answer["message"]
        assert isinstance(await server.raised(), Fault)

    run_virtually(main)
    assert journal.events[-1] == "close client: done"


def test_hooks_are_reported_without_a_working_directory(tmp_path: Path) -> None:
    gone = tmp_path / "release"
    gone.mkdir()
    before = Path.cwd()

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        @written_in("shop.lifespan")
        async def client() -> AsyncIterator[str]:
            os.chdir(gone)
            gone.rmdir()
            yield "client"
            raise OSError("not closed")

        server = Server(lifespan)
        assert (await server.startup())["type"] == "lifespan.startup.complete"
        answer = await server.shutdown()
        assert answer["type"] == "lifespan.shutdown.failed"
        assert "'shop.client'" in answer["message"]

    try:
        run_virtually(main)
    finally:
        os.chdir(before)
