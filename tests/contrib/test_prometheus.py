"""Prometheus scrapes what the lifespans of all workers of a server have done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from lifespan_app import Lifespan
from lifespan_app.contrib import prometheus
from lifespan_app.contrib.prometheus import Metrics
from tests.projects import Project
from tests.servers import Server

pytestmark = pytest.mark.once

Samples = dict[tuple[str, ...], float]
"""Values by name and label values, in the order of the labels' names."""


def parsed(text: str) -> Samples:
    """Read the text that Prometheus scrapes."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def lifespan(registry: CollectorRegistry) -> Lifespan:
    lifespan = Lifespan()
    lifespan.observe(Metrics(registry))
    return lifespan


def scraped(registry: CollectorRegistry) -> Samples:
    return parsed(generate_latest(registry).decode())


HOOK = f"{__name__}.shelf"


def test_run_is_counted_from_its_startup_to_its_end(
    lifespan: Lifespan, registry: CollectorRegistry
) -> None:
    @lifespan.resource
    async def shelf() -> AsyncIterator[str]:
        yield "shelf"

    async def main() -> None:
        async with lifespan.run("app"):
            during = scraped(registry)
            assert during["lifespan_ready", "app"] == 1
            assert during["lifespan_run_info", "development", "", "", "app"] == 1
            assert during["lifespan_startup_seconds_count", "ok", "app"] == 1
            assert during["lifespan_hook_startup_seconds_count", HOOK, "ok", "app"] == 1
            assert ("lifespan_shutdown_seconds_count", "ok", "app") not in during

    asyncio.run(main())
    after = scraped(registry)
    assert after["lifespan_ready", "app"] == 0
    assert after["lifespan_run_info", "development", "", "", "app"] == 0
    assert after["lifespan_shutdown_seconds_count", "ok", "app"] == 1
    assert after["lifespan_hook_shutdown_seconds_count", HOOK, "ok", "app"] == 1


def test_failed_startup_and_its_rollback_are_counted(
    lifespan: Lifespan, registry: CollectorRegistry
) -> None:
    @lifespan.resource
    async def shelf() -> AsyncIterator[str]:
        yield "shelf"

    @lifespan.on_start
    async def index(shelf: str) -> None:
        raise OSError("no index")

    async def main() -> None:
        with pytest.raises(OSError, match="no index"):
            async with lifespan.run("app"):
                pass

    asyncio.run(main())
    after = scraped(registry)
    assert after["lifespan_startup_seconds_count", "failed", "app"] == 1
    assert after["lifespan_shutdown_seconds_count", "rollback", "app"] == 1
    index_key = f"{__name__}.index"
    assert after["lifespan_hook_startup_seconds_count", index_key, "failed", "app"] == 1
    assert after["lifespan_ready", "app"] == 0


def test_rounds_crashes_and_the_last_success_of_a_job_are_counted(
    lifespan: Lifespan, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "EVERY", 0.01)
    rounds = 0

    @lifespan.background(every=0.01)
    async def refresh() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 2:
            raise OSError("gone")

    job = f"{__name__}.refresh"

    async def main() -> None:
        async with lifespan.run("app"):
            while scraped(registry).get(("lifespan_job_rounds_total", job, "app"), 0) < 4:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    after = scraped(registry)
    assert after["lifespan_job_rounds_total", job, "app"] >= 4
    assert after["lifespan_job_crashes_total", job, "app"] == 1
    assert after["lifespan_job_last_success_timestamp_seconds", job, "app"] > 1e9


def test_process_that_is_not_ready_any_more_is_counted_off(
    lifespan: Lifespan, registry: CollectorRegistry
) -> None:
    crashes = asyncio.Event()

    @lifespan.background
    async def job() -> None:
        await crashes.wait()
        raise OSError("gone")

    async def main() -> None:
        async with lifespan.run("app"):
            assert scraped(registry)["lifespan_ready", "app"] == 1
            crashes.set()
            while scraped(registry)["lifespan_ready", "app"]:
                await asyncio.sleep(0.01)

    asyncio.run(main())


def test_hook_that_is_up_after_the_startup_is_counted_once(
    lifespan: Lifespan, registry: CollectorRegistry
) -> None:
    up = asyncio.Event()

    @lifespan.resource(wait=False)
    async def shelf() -> AsyncIterator[str]:
        await up.wait()
        yield "shelf"

    async def main() -> None:
        async with lifespan.run("app"):
            assert scraped(registry)["lifespan_ready", "app"] == 0
            up.set()
            while not scraped(registry)["lifespan_ready", "app"]:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    assert scraped(registry)["lifespan_hook_startup_seconds_count", HOOK, "ok", "app"] == 1


# Several workers.

LIFESPAN = """
    from lifespan_app import lifespan
    from lifespan_app.contrib.prometheus import Metrics

    lifespan.observe(Metrics())


    @lifespan.resource
    async def shelf():
        yield "shelf"


    @lifespan.background(every=3600)
    async def refresh(): ...
"""

VIEWS = """
    import logging
    import threading

    from django.http import HttpResponse
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector


    def metrics(request):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


    async def blocks(request):
        is_logged = threading.Event()
        handler = logging.Handler()
        handler.emit = lambda record: "has been blocked" in record.getMessage() and is_logged.set()
        logging.getLogger("lifespan_app").addHandler(handler)
        assert is_logged.wait(30)
        return HttpResponse("done")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the workers' metrics are."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    return folder


@pytest.mark.server
@pytest.mark.slow
def test_four_workers_are_scraped_as_one(project: Project, folder: Path) -> None:
    project.app("books", lifespan=LIFESPAN, views=VIEWS)
    spool = str(project.folder / "spool")
    project.settings(LIFESPAN={"RELEASE": "1.8.2", "SLOW_LOOP": 0.2, "SPOOL_DIR": spool})
    project.with_tables()
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    with Server(project, options=["--workers", "4"], environment=environment) as server:

        def scrape() -> Samples:
            answer = server.get("/metrics/")
            # prometheus_client can't read the file that a starting worker has just made.
            return parsed(answer.text) if answer.status == 200 else {}

        server.until(lambda: scrape().get(("lifespan_ready", "app")) == 4, "Not all are ready.")
        server.get("/blocks/")
        server.until(lambda: scrape()["lifespan_loop_blocks_total", "app"] == 1, "It is not told.")
        metrics = scrape()

    [(facts, workers)] = [one for one in metrics.items() if one[0][0] == "lifespan_run_info"]
    assert facts[1:3] == ("production", "1.8.2")
    assert facts[3].startswith("uvicorn")
    assert workers == 4
    assert metrics["lifespan_startup_seconds_count", "ok", "app"] == 4
    assert metrics["lifespan_hook_startup_seconds_count", "books.shelf", "ok", "app"] == 4
    assert metrics["lifespan_job_rounds_total", "books.refresh", "app"] == 4
    assert metrics["lifespan_job_crashes_total", "books.refresh", "app"] == 0
    assert metrics["lifespan_job_last_success_timestamp_seconds", "books.refresh", "app"] > 1e9
    assert metrics["lifespan_loop_longest_block_seconds", "app"] >= 0.2
    assert len([*folder.glob("counter_*.db")]) == 4
