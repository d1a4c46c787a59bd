"""What comes up after the startup is in the record as well, with how far it said to be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase
from tests.history.recording import has_status, recorded, there_is


@pytest.fixture
def lifespan(sqlite_history: HistoryDatabase) -> Iterator[Lifespan]:
    with recorded() as lifespan:
        yield lifespan


def steps() -> list[tuple[str, str, str]]:
    """Return phase, name and outcome of each step."""
    found = LifespanStep.objects.values_list("phase", "name", "outcome")
    return sorted((str(phase), str(name), str(outcome)) for phase, name, outcome in found)


async def until_written(outcome: str) -> None:
    """Wait until the step of the model is recorded so."""
    await there_is(LifespanRun.objects.filter(steps__name="model", steps__outcome=outcome))


def model_that_waits(lifespan: Lifespan, loaded: asyncio.Event) -> None:
    @lifespan.resource
    async def client() -> AsyncIterator[str]:
        yield "client"

    @lifespan.resource(wait=False)
    async def model() -> AsyncIterator[str]:
        lifespan.progress(0.6, "loading shard 3 of 5")
        await loaded.wait()
        yield "model"


def test_warm_up_step_is_written_as_running_and_then_as_it_ended(lifespan: Lifespan) -> None:
    async def main() -> None:
        loaded = asyncio.Event()
        model_that_waits(lifespan, loaded)
        async with asyncio.timeout(30), lifespan.run("app"):
            await has_status("not_ready")
            await until_written("")
            loaded.set()
            await until_written("ok")

    asyncio.run(main())
    assert steps() == [
        ("shutdown", "client", "ok"),
        ("shutdown", "model", "ok"),
        ("startup", "client", "ok"),
        ("startup", "model", "ok"),
    ]
    step = LifespanStep.objects.get(phase="startup", name="model")
    assert [line[3].partition("): ")[2] for line in step.log] == ["60 %, loading shard 3 of 5."]


def test_warm_up_cancelled_by_a_shutdown_is_not_left_running(lifespan: Lifespan) -> None:
    async def main() -> None:
        model_that_waits(lifespan, asyncio.Event())
        async with asyncio.timeout(30), lifespan.run("app"):
            await until_written("")

    asyncio.run(main())
    assert LifespanRun.objects.get().status == "stopped"
    assert steps() == [
        ("shutdown", "client", "ok"),
        ("startup", "client", "ok"),
        ("startup", "model", "cancelled"),
    ]


def test_warm_up_that_fails_is_a_failure_of_the_running_run(lifespan: Lifespan) -> None:
    async def main() -> None:
        @lifespan.resource(wait=False)
        async def model() -> AsyncIterator[str]:
            await asyncio.sleep(0)
            raise OSError("no weights")
            yield

        async with asyncio.timeout(30), lifespan.run("app"):
            await has_status("not_ready")
            await until_written("failed")

    asyncio.run(main())
    run = LifespanRun.objects.get()
    assert (run.status, run.hooks_failed, run.error) == ("stopped", 1, "OSError: no weights")
