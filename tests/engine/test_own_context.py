"""Observers run in the run's own context: what they do is part of no hook."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.current_hook import current_hook
from lifespan_app.observers import Observer, Report, Step
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually

Told = Callable[[Report], None]


class OnChange(Observer):
    """Call a function with each report of a change."""

    def __init__(self, call: Told) -> None:
        self._call = call

    def run_changed(self, report: Report) -> None:
        self._call(report)


def client_of(lifespan: Lifespan) -> Resource[str]:
    @lifespan.resource
    @written_in("shop.lifespan")
    async def client() -> AsyncIterator[str]:
        yield "client"

    return client


def test_task_of_an_observer_reads_until_the_shutdown(run: RunOnLoop) -> None:
    """It was started while the last hook came up, and reads while others stop."""
    read: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        client = client_of(lifespan)
        tasks: list[asyncio.Task[None]] = []

        async def look() -> None:
            read.append(client.current())
            await asyncio.sleep(0.1)
            read.append(client.current())

        def follow(report: Report) -> None:
            if report.status == "serving":
                tasks.append(asyncio.get_running_loop().create_task(look()))

        lifespan.observe(OnChange(follow))

        @lifespan.on_shutdown
        @written_in("shop.lifespan")
        async def farewell(client: str) -> None:
            await asyncio.gather(*tasks)

        async with lifespan.run("app"):
            pass

    run(main)
    assert read == ["client", "client"]


def test_lines_of_an_observer_are_no_step_s(run: RunOnLoop) -> None:
    logger = logging.getLogger("somebody")

    async def main(lifespan: Lifespan) -> Report | None:
        client_of(lifespan)
        lifespan.observe(OnChange(lambda report: logger.warning("it is %s", report.status)))
        async with lifespan.run("app"):
            pass
        return lifespan.report()

    report = run(main)
    assert report is not None
    assert [step.log for step in report.steps] == [(), ()]


@pytest.mark.parametrize("form", ["async", "sync"])
def test_observer_is_inside_of_the_run_and_of_no_hook(form: str) -> None:
    inside: list[object] = []

    class Follows(Observer):
        def step_changed(self, report: Report, step: Step) -> None:
            inside.append(current_hook.get())

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> object:
        lifespan.observe(Follows())
        if form == "async":
            client_of(lifespan)
        else:
            lifespan.on_start(name="prepare")(written_in("shop.lifespan")(lambda: None))
        async with lifespan.run("app"):
            [run] = lifespan.runs
        return run

    run = run_virtually(main)
    assert inside
    assert set(map(id, inside)) == {id(run)}


def test_stop_requested_by_an_observer_is_handled_after_the_event(run: RunOnLoop) -> None:
    """It may ask at any time: what is being done is done first."""
    journal = Journal()

    async def main(lifespan: Lifespan) -> None:
        journal.resource(lifespan, "client")

        def end(report: Report) -> None:
            if report.status == "serving":
                [run] = lifespan.runs
                run.notice("an observer")

        lifespan.observe(OnChange(end))
        async with lifespan.run("app"):
            assert lifespan.stopping.is_set()

    run(main)
    assert journal.events[-1] == "close client: done"


# observe().


def test_observer_added_during_a_run_is_called_until_it_is_removed() -> None:
    told: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client_of(lifespan)
        async with lifespan.run("app"):
            remove = lifespan.observe(OnChange(lambda report: told.append(report.status)))
        remove()
        remove()
        async with lifespan.run("app"):
            pass

    run_virtually(main)
    assert told == ["stopping", "stopped"]


def test_observer_added_from_another_thread_is_called() -> None:
    told: list[str] = []
    lifespan = Lifespan()
    client_of(lifespan)
    with lifespan.run_sync("app"):
        thread = threading.Thread(
            target=lifespan.observe, args=[OnChange(lambda report: told.append(report.status))]
        )
        thread.start()
        thread.join()
    assert told == ["stopping", "stopped"]


# Snapshots.


def test_report_stays_as_it_is_while_the_run_goes_on(run: RunOnLoop) -> None:
    """Nothing has to be read at once: it is a value, whenever it is looked at."""

    async def main(lifespan: Lifespan) -> list[Report]:
        reports: list[Report] = []
        lifespan.observe(OnChange(reports.append))
        Journal().resource(lifespan, "client", opens=0.1)
        async with lifespan.run("app"):
            pass
        return reports

    reports = run(main)
    assert [report.status for report in reports] == ["starting", "serving", "stopping", "stopped"]
    assert [len(report.steps) for report in reports] == [0, 1, 1, 2]
    assert [len(report.pending) for report in reports] == [1, 0, 0, 0]


def test_reports_are_compared_by_value_and_read_in_any_thread() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[Report, Report, Report]:
        Journal().resource(lifespan, "client", closes=1)
        async with lifespan.run("app"):
            [run] = lifespan.runs
            one, two = run.report(), run.report()
        return one, two, run.report()

    one, two, last = run_virtually(main)
    seen: list[object] = []
    thread = threading.Thread(
        target=lambda: seen.extend([one == two, one == last, len(last.steps)])
    )
    thread.start()
    thread.join()
    assert seen == [True, False, 2]
    assert hash(one) == hash(two)
