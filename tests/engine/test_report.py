"""The report: what a run did, as plain data that tells the truth."""

from __future__ import annotations

import asyncio
import json
import pickle
import uuid
from pathlib import Path

import pytest

from lifespan_app import Lifespan, LifespanContext
from lifespan_app.engine.reporting.report import Report
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

BEGAN = 1_700_000_000 + 1000.0
"""The time of day when a virtual clock begins."""


def test_there_is_no_report_before_the_first_run(lifespan: Lifespan) -> None:
    assert lifespan.report() is None


def test_report_is_that_of_the_current_run_and_then_of_the_last_one() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client", opens=2, closes=1)
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(1)
        first = report_of(lifespan)
        assert first.status == "starting"
        assert not first.ready
        step = first.step("shop.client")
        assert (step.outcome, step.duration) == (None, 1)
        await starting
        assert report_of(lifespan).uuid == first.uuid
        assert report_of(lifespan).status == "serving"
        assert report_of(lifespan).ready
        stopping = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(0.5)
        assert (report_of(lifespan).status, report_of(lifespan).ready) == ("stopping", False)
        await stopping
        assert (report_of(lifespan).status, report_of(lifespan).ready) == ("stopped", False)
        async with lifespan.run("worker"):
            assert report_of(lifespan).service_type == "worker"
            assert report_of(lifespan).uuid != first.uuid

    run_virtually(main)


def test_times_of_steps_are_those_of_the_clock() -> None:
    """base (2) <- index (3); two seconds of service; index closes (1), then base (4)."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal = Journal()
        base = journal.resource(lifespan, "base", opens=2, closes=4)
        journal.resource(lifespan, "index", opens=3, closes=1, depends_on=[base])
        journal.job(lifespan, "refresh")
        async with lifespan.run(LifespanContext("api", "production")):
            await asyncio.sleep(2)
        return report_of(lifespan)

    report = run_virtually(main)
    assert uuid.UUID(report.uuid).version == 4
    assert (report.service_type, report.environment, report.server) == ("api", "production", "")
    assert report.started_at == BEGAN
    assert report.ready_at == BEGAN + 5
    assert report.stopping_at == BEGAN + 7
    assert report.stopped_at == BEGAN + 12
    assert (report.startup_duration, report.shutdown_duration) == (5, 5)
    assert report.ended_by == "the end of its body"
    assert report.error == ""
    assert (report.hooks_total, report.hooks_failed, report.slowest_hook) == (3, 0, "shop.index")
    assert [
        (step.name, step.kind, step.phase, step.outcome, step.offset, step.duration)
        for step in report.steps
    ] == [
        ("base", "resource", "startup", "ok", 0, 2),
        ("index", "resource", "startup", "ok", 2, 3),
        ("refresh", "background", "serving", "ok", 0, 2),
        ("base", "resource", "shutdown", "ok", 1, 4),
        ("index", "resource", "shutdown", "ok", 0, 1),
    ]


def test_step_has_the_location_of_its_hook_and_its_dependencies(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        journal = Journal()
        base = journal.resource(lifespan, "base", priority=-3)
        index = journal.resource(lifespan, "index", depends_on=[base])
        async with lifespan.run("app"):
            step = report_of(lifespan).step("shop.index")
            assert (step.app_label, step.name, step.key) == ("shop", "index", "shop.index")
            assert step.file == str(Path("tests", "engine", "journal.py"))
            assert step.line == index.hook.line
            assert step.priority == 0
            assert step.attempt == 1
            assert step.needs == (("shop.base", "declared"), ("priority -3", "priority"))
            assert report_of(lifespan).step("shop.base").priority == -3

    run(main)


def test_longest_chain_is_the_one_the_startup_has_waited_for() -> None:
    """a (1) <- b (5) <- c (1); d (6.5); e is quick and last in no chain."""

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal = Journal()
        a = journal.resource(lifespan, "a", opens=1)
        b = journal.resource(lifespan, "b", opens=5, depends_on=[a])
        journal.resource(lifespan, "c", opens=1, depends_on=[b])
        journal.resource(lifespan, "d", opens=6.5)
        journal.resource(lifespan, "e", depends_on=[a])
        journal.shutdown(lifespan, "farewell", depends_on=[b])
        await lifespan.startup()
        return report_of(lifespan)

    report = run_virtually(main)
    assert report.longest_chain == ("shop.a", "shop.b", "shop.c")
    assert {step.name for step in report.steps if step.on_critical_chain} == {"a", "b", "c"}


def test_longest_chain_of_a_startup_that_was_given_up_ends_with_a_cancelled_hook() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal = Journal()
        a = journal.resource(lifespan, "a", opens=1)
        b = journal.resource(lifespan, "b", opens=1, depends_on=[a])
        journal.resource(lifespan, "c", opens=60, depends_on=[b])
        loop.call_later(5, asyncio.ensure_future(lifespan.startup()).cancel)
        await asyncio.sleep(10)
        return report_of(lifespan)

    report = run_virtually(main)
    assert report.step("shop.c").outcome == "cancelled"
    assert report.longest_chain == ("shop.a", "shop.b", "shop.c")
    assert report.longest_stop == ("shop.b", "shop.a")


def test_longest_chain_goes_through_priorities() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal = Journal()
        journal.resource(lifespan, "early", opens=3)
        journal.resource(lifespan, "early_too", opens=1)
        journal.resource(lifespan, "late", opens=1, priority=1)
        await lifespan.startup()
        return report_of(lifespan)

    assert run_virtually(main).longest_chain == ("shop.early", "shop.late")


def test_failed_step_has_the_error_s_class_path_its_text_and_traceback(run: RunOnLoop) -> None:
    class OutOfBooks(Exception):
        pass

    async def main(lifespan: Lifespan) -> None:
        secret = "a local variable's value"

        @lifespan.on_start(required=False, name="fails")
        async def hook() -> None:
            hidden = secret
            raise OutOfBooks(f"{len(hidden)} books")

        async with lifespan.run("app"):
            [step] = report_of(lifespan).steps
            assert step.exception == (f"{__name__}.{OutOfBooks.__qualname__}")
            assert step.error == "24 books"
            assert "OutOfBooks: 24 books" in step.traceback
            assert "Traceback (most recent call last)" in step.traceback
            assert secret not in step.traceback

    run(main)


def test_left_out_hook_is_in_the_report_with_its_reason(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        Journal().resource(lifespan, "client", service_types=["worker"])
        async with lifespan.run("app"):
            [excluded] = report_of(lifespan).excluded
            assert excluded.key == "shop.client"
            assert excluded.reason == "for service type worker, not app"

    run(main)


def test_step_that_there_is_not_is_a_lookup_error(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async with lifespan.run("app"):
            with pytest.raises(LookupError, match=r"holds no startup step of 'shop\.client'"):
                report_of(lifespan).step("shop.client")

    run(main)


def test_steps_are_plain_data(run: RunOnLoop) -> None:
    """They can be kept, sent and compared: no live error, no hook, no value of a resource."""

    async def main(lifespan: Lifespan) -> None:
        journal = Journal()
        journal.resource(lifespan, "client")
        journal.start(lifespan, "fails", error=OSError("nobody there"), required=False)
        async with lifespan.run("app"):
            pass
        steps = report_of(lifespan).steps
        assert pickle.loads(pickle.dumps(steps)) == steps
        assert json.loads(json.dumps(steps)) == json.loads(json.dumps([list(s) for s in steps]))
        assert report_of(lifespan).steps == steps

    run(main)


def test_server_is_in_the_report(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        served = lifespan.prepare("app", server="uvicorn 0.54.0")
        await served.start()
        assert served.report().server == "uvicorn 0.54.0"
        await served.stop()

    run(main)


def test_report_shows_itself_in_a_line(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        for name in ("client", "index"):
            Journal().resource(lifespan, name)
        async with lifespan.run("app"):
            assert repr(report_of(lifespan)) == "<report of app: serving, 2 hooks>"

    run(main)
