"""Several errors at once: one is raised, and none is lost."""

from __future__ import annotations

import asyncio
import logging

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report
from tests.engine.conftest import RunOnLoop
from tests.engine.exchange import Server
from tests.engine.journal import Journal
from tests.engine.lookups import report_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually


def errors_in(caplog: pytest.LogCaptureFixture) -> list[BaseException | None]:
    return [
        record.exc_info[1]
        for record in caplog.records
        if record.levelno == logging.ERROR and record.exc_info
    ]


def two_that_fail(lifespan: Lifespan, first: Exception, second: Exception) -> None:
    """Declare a hook that fails at 3, and one that fails while it is cancelled for that."""
    Journal().start(lifespan, "first", 3, first)

    @lifespan.on_start(name="second")
    async def fails_when_it_is_cancelled() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise second from None


def test_first_error_of_a_startup_is_raised_and_the_others_are_noted_on_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = OSError("nobody there"), LookupError("nothing found")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        two_that_fail(lifespan, first, second)
        with pytest.raises(OSError, match="nobody there") as caught:
            await lifespan.startup()
        assert caught.value is first
        [_, note] = first.__notes__
        assert note.startswith("Then '")
        assert note.endswith("failed too: LookupError: nothing found")
        return report_of(lifespan)

    report = run_virtually(main)
    assert errors_in(caplog) == [first, second]
    assert report.error == "OSError: nobody there"
    assert [step.error for step in report.steps if step.outcome == "failed"] == [
        "nobody there",
        "nothing found",
    ]


def test_message_to_the_server_names_all_errors() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        two_that_fail(lifespan, OSError("nobody there"), LookupError("nothing found"))
        answer = await Server(lifespan).startup()
        assert "'first.first' (" in answer["message"].splitlines()[0]
        assert "Failed too: '" in answer["message"]
        assert "LookupError: nothing found" in answer["message"]

    run_virtually(main)


def test_rollback_errors_are_noted_on_the_first_startup_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = OSError("nobody there"), LookupError("nothing to close")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> Report:
        journal = Journal()
        journal.resource(lifespan, "client", close_error=second)
        journal.start(lifespan, "first", 3, first)
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()
        assert any(
            "'shop.client'" in note and "LookupError: nothing to close" in note
            for note in first.__notes__
        )
        return report_of(lifespan)

    report = run_virtually(main)
    assert errors_in(caplog) == [first, second]
    assert report.status == "startup_failed"
    assert report.step("shop.client", "shutdown").error == "nothing to close"


def test_all_errors_of_a_shutdown_are_raised_as_one_group(
    run: RunOnLoop, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [OSError("won't close"), LookupError("nothing to close"), ValueError("no such thing")]

    async def main(lifespan: Lifespan) -> None:
        journal = Journal()
        for number, error in enumerate(errors):
            journal.resource(lifespan, f"r{number}", close_error=error, priority=number)
        with pytest.raises(ExceptionGroup, match="3 hooks failed to stop") as caught:
            async with lifespan.run("app"):
                pass
        assert list(caught.value.exceptions) == errors[::-1]
        report = report_of(lifespan)
        assert report.hooks_failed == 3

    run(main)

    assert errors_in(caplog) == errors[::-1]


def test_one_error_object_that_two_hooks_raise_names_both(run: RunOnLoop) -> None:
    error = OSError("the same for all")

    async def main(lifespan: Lifespan) -> None:
        journal = Journal()
        journal.resource(lifespan, "one", close_error=error)
        journal.resource(lifespan, "two", close_error=error)
        await lifespan.startup()
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()
        notes = "\n".join(error.__notes__)
        assert "'shop.one'" in notes
        assert "'shop.two'" in notes

    run(main)
