"""What is logged of a run: a line when it has started, one when it has stopped, at DEBUG one per hook."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.engine.logger import logger
from tests.engine.apps import HostWithApps
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="lifespan_app")


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "lifespan_app"
    ]


def base_client_and_index(lifespan: Lifespan) -> None:
    """Declare base (1) <- index (2) beside client (2.5): three seconds, by base and index."""
    journal = Journal()
    base = journal.resource(lifespan, "base", opens=1, closes=1)
    journal.resource(lifespan, "client", opens=2.5, closes=1.5)
    journal.resource(lifespan, "index", opens=2, closes=0.75, depends_on=[base])


def test_startup_ends_with_a_line_of_total_hooks_and_longest_chain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base_client_and_index(lifespan)
        await lifespan.startup()

    run_virtually(main)

    assert lines(caplog) == [
        (
            "INFO",
            "Lifespan 'app' started: 3 hooks in 3.000 s; longest chain: shop.base -> shop.index.",
        )
    ]


def test_shutdown_ends_with_a_line_of_total_hooks_and_longest_chain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        base_client_and_index(lifespan)
        await lifespan.startup()
        caplog.clear()
        await lifespan.shutdown()

    run_virtually(main)

    [(level, line)] = lines(caplog)
    assert level == "INFO"
    assert line.startswith("Lifespan 'app' stopped (shutdown): 3 hooks ")
    assert "in 1.750 s" in line
    assert "longest chain: shop.index -> shop.base" in line


def test_one_hook_is_not_called_hooks(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client")
        await lifespan.startup()

    run_virtually(main)

    assert "started: 1 hook in 0.000 s" in lines(caplog)[0][1]


def test_degraded_start_is_a_warning_with_the_number_of_failed_hooks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        feed = journal.resource(
            lifespan, "feed", opens=1, open_error=OSError("nobody there"), required=False
        )
        journal.resource(lifespan, "index", depends_on=[feed])
        journal.resource(lifespan, "client")
        await lifespan.startup()

    run_virtually(main)

    assert lines(caplog)[-1] == (
        "WARNING",
        "Lifespan 'app' started: 3 hooks in 1.000 s, degraded: 1 failed, 1 skipped; "
        "longest chain: shop.feed.",
    )


def test_crash_and_restart_are_not_logged_as_a_startup(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        attempts: list[int] = []

        @lifespan.background(on_crash="restart")
        async def refresh() -> None:
            attempts.append(1)
            await asyncio.sleep(5)
            if len(attempts) == 1:
                raise ConnectionError("lost")
            await asyncio.sleep(1_000)

        async with lifespan.run("app"):
            await asyncio.sleep(60)

    run_virtually(main)

    assert sum("started:" in line for _, line in lines(caplog)) == 1
    assert ("WARNING", "Lifespan 'app' is degraded: 1 of 1 hook failed.") in lines(caplog)
    assert ("INFO", "Lifespan 'app' is serving again: no hook has failed.") in lines(caplog)


def test_why_a_run_is_over_is_in_its_line(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().start(lifespan, "fails", 2, OSError("nobody there"))
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

    run_virtually(main)

    assert [level for level, _ in lines(caplog)] == ["ERROR", "INFO"]
    assert "failed to start; 0 hooks rolled back in" in lines(caplog)[-1][1]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("start", r"failed to start after 2\.000 s: OSError: nobody there"),
        ("stop", r"failed to stop after 2\.000 s: OSError: nobody there"),
        ("job", r"crashed while serving after 2\.000 s: OSError: nobody there"),
    ],
)
def test_hook_that_fails_is_one_line_with_its_traceback(
    caplog: pytest.LogCaptureFixture, kind: str, text: str
) -> None:
    error = OSError("nobody there")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        if kind == "start":
            journal.start(lifespan, "shop", 2, error, required=False)
        elif kind == "stop":
            journal.shutdown(lifespan, "shop", 2, error)
        else:
            journal.job(lifespan, "shop", 2, error)
        await lifespan.startup()
        await asyncio.sleep(3)
        await asyncio.gather(lifespan.shutdown(), return_exceptions=True)

    run_virtually(main)

    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    pattern = rf"Lifespan hook 'shop\.shop' \(tests/engine/journal\.py:\d+\) {text}"
    assert re.fullmatch(pattern, record.getMessage())
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_debug_level_adds_a_line_for_each_step(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="lifespan_app")

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        feed = journal.resource(
            lifespan, "feed", open_error=OSError("nobody there"), required=False
        )
        journal.resource(lifespan, "index", depends_on=[feed])
        journal.resource(lifespan, "client", opens=2, closes=1)
        async with lifespan.run("app"):
            pass

    run_virtually(main)

    debug = [line for level, line in lines(caplog) if level == "DEBUG"]
    assert debug[:3] == [
        "shop.feed startup: begins.",
        "shop.client startup: begins.",
        "shop.feed startup: failed after 0.000 s.",
    ]
    assert debug[3].startswith("shop.index startup: skipped after 0.000 s (it needs 'shop.feed' (")
    assert debug[4:] == [
        "shop.client startup: ok after 2.000 s.",
        "shop.client shutdown: begins.",
        "shop.client shutdown: ok after 1.000 s.",
    ]


def test_info_level_has_no_line_for_a_step(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        Journal().resource(lifespan, "client")
        async with lifespan.run("app"):
            pass

    run_virtually(main)

    assert [level for level, _ in lines(caplog)] == ["INFO", "INFO"]


def test_no_level_of_a_logger_is_changed(run: RunOnLoop) -> None:
    def levels() -> list[int]:
        return [logging.getLogger(name).level for name in ("", "lifespan_app", "asyncio", "shop")]

    before = levels()

    async def main(lifespan: Lifespan) -> None:
        Journal().resource(lifespan, "client")
        async with lifespan.run("app"):
            assert levels() == before

    run(main)

    assert levels() == before


def test_nothing_is_printed(run: RunOnLoop, capfd: pytest.CaptureFixture[str]) -> None:
    async def main(lifespan: Lifespan) -> None:
        journal = Journal()
        journal.resource(lifespan, "client", close_error=OSError("won't close"))
        journal.start(lifespan, "fails", error=OSError("nobody there"), required=False)
        journal.job(lifespan, "refresh", 0, OSError("lost"))
        await lifespan.startup()
        await asyncio.sleep(0)
        with pytest.raises(ExceptionGroup):
            await lifespan.shutdown()

    run(main)

    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_long_chain_is_shown_by_its_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        before: list[Resource[str]] = []
        for number in range(100):
            before = [journal.resource(lifespan, f"r{number}", opens=0.01, depends_on=before)]
        await lifespan.startup()

    run_virtually(main)

    [(_, line)] = lines(caplog)
    assert "longest chain: shop.r0 -> shop.r1 -> shop.r2 -> shop.r3 -> ... 92 more ..." in line
    assert line.endswith("-> shop.r96 -> shop.r97 -> shop.r98 -> shop.r99.")


# What each record says beside its text.


def fields(record: logging.LogRecord) -> tuple[str, ...]:
    names = ("run", "service_type", "release", "hook", "phase")
    return tuple(getattr(record, f"lifespan_{name}") for name in names)


def record_of(caplog: pytest.LogCaptureFixture, text: str) -> logging.LogRecord:
    return next(record for record in caplog.records if text in record.getMessage())


def with_release(lifespan: Lifespan, release: str) -> None:
    settings = lifespan.adapter.settings()
    lifespan.adapter.settings = lambda: settings._replace(release=release)  # type: ignore[method-assign]


def test_record_names_its_run(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> str:
        with_release(lifespan, "2026.11")
        Journal().resource(lifespan, "client")
        async with lifespan.run("worker"):
            pass
        run = lifespan.last_run
        assert run is not None
        return run.facts.uuid

    run = run_virtually(main)

    for text in ("started:", "stopped ("):
        assert fields(record_of(caplog, text)) == (run, "worker", "2026.11", "", "")


@pytest.mark.parametrize(
    ("text", "phase"),
    [("failed to start", "startup"), ("It waits at", "startup"), ("failed to stop", "shutdown")],
)
def test_record_names_its_hook_and_the_phase(
    caplog: pytest.LogCaptureFixture, text: str, phase: str
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> str:
        journal = Journal()
        journal.resource(lifespan, "client", opens=6, close_error=OSError("it stays"))
        journal.resource(lifespan, "radio", required=False, open_error=OSError("no station"))
        with contextlib.suppress(ExceptionGroup):
            async with lifespan.run("app"):
                pass
        run = lifespan.last_run
        assert run is not None
        return run.facts.uuid

    run = run_virtually(main)

    hook = "shop.radio" if text == "failed to start" else "shop.client"
    assert fields(record_of(caplog, text)) == (run, "app", "", hook, phase)


def test_record_that_is_written_by_a_hook_names_it(caplog: pytest.LogCaptureFixture) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.on_start
        async def talk() -> None:
            logger.info("said inside")

        async with lifespan.run("app"):
            logger.info("said in the body")

    run_virtually(main)

    assert fields(record_of(caplog, "said inside"))[3:] == ("tests.engine.test_log.talk", "startup")
    assert fields(record_of(caplog, "said in the body"))[1:] == ("app", "", "", "")


def test_record_outside_of_a_run_has_the_same_fields_empty(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger.info("nothing runs")

    record = record_of(caplog, "nothing runs")
    form = logging.Formatter("[%(lifespan_run)s %(lifespan_hook)s] %(message)s")
    assert form.format(record) == "[ ] nothing runs"


def test_record_about_a_blocked_loop_names_the_run(caplog: pytest.LogCaptureFixture) -> None:
    lifespan = Lifespan(HostWithApps())
    ran: list[str] = []

    async def main() -> None:
        async with lifespan.run("app"):
            [run] = lifespan.runs
            ran.append(run.facts.uuid)
            # The watchdog's thread is none that knows by itself which run it watches.
            watchdog = threading.Thread(target=run._slow_hooks._blocked, args=[None, 6.0])
            watchdog.start()
            watchdog.join()

    asyncio.run(main())

    assert fields(record_of(caplog, "has been blocked")) == (ran[0], "app", "", "", "")
