"""What has changed in a run is told by the signal ``run_changed``, once it is recorded."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from django.db import connections
from django.utils import timezone

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Facts, Readiness, Report, Status
from lifespan_app.history.recording import lost
from lifespan_app.history.recording.changes import Changes, state_of
from lifespan_app.models import LifespanRun
from lifespan_app.signals import run_changed
from tests.history.databases import HistoryDatabase
from tests.history.recording import has_status, recorded
from tests.history.records import a_run

if TYPE_CHECKING:
    from pytest_django import Settings


class Told(NamedTuple):
    change: str
    previous: str
    status: str
    thread: str
    pk: int | None


@pytest.fixture
def lifespan(sqlite_history: HistoryDatabase) -> Iterator[Lifespan]:
    with recorded() as lifespan:
        yield lifespan


@pytest.fixture
def told() -> Iterator[list[Told]]:
    """Return the changes that have been told."""
    changes: list[Told] = []

    def receive(sender: Any, run: LifespanRun, change: str, previous: str, **_: Any) -> None:
        assert sender is LifespanRun
        here = threading.current_thread().name
        changes.append(Told(change, previous, run.status, here, run.pk))

    run_changed.connect(receive)
    yield changes
    run_changed.disconnect(receive)


@pytest.fixture
def receiver() -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Return what connects a receiver for the time of the test."""
    connected: list[Callable[..., Any]] = []

    def connect(receive: Callable[..., Any]) -> None:
        connected.append(receive)
        run_changed.connect(receive)

    yield connect
    for receive in connected:
        run_changed.disconnect(receive)


async def until(look: Callable[[], object]) -> None:
    while not look():
        await asyncio.sleep(0.01)


async def in_thread(work: Callable[..., Any], **values: Any) -> None:
    def call() -> None:
        try:
            work(**values)
        finally:
            connections.close_all()

    await asyncio.to_thread(call)


def words(told: list[Told]) -> list[tuple[str, str]]:
    return [(one.change, one.previous) for one in told]


def test_run_that_serves_and_stops_is_told_from_the_thread_of_its_record(
    lifespan: Lifespan, told: list[Told]
) -> None:
    async def main() -> None:
        async with lifespan.run():
            await until(lambda: told)
        await until(lambda: len(told) > 1)

    asyncio.run(main())

    [run] = LifespanRun.objects.all()
    name = f"lifespan record {str(run.uuid)[:8]}"
    assert told == [
        Told("serving", "starting", "serving", name, run.pk),
        Told("stopped", "serving", "stopped", name, run.pk),
    ]


def test_row_and_steps_are_written_before_their_change_is_told(
    lifespan: Lifespan, receiver: Callable[[Callable[..., Any]], None]
) -> None:
    @lifespan.on_start
    def index() -> None:
        raise OSError("no index")

    seen: list[Any] = []

    def receive(run: LifespanRun, change: str, **_: Any) -> None:
        stored = LifespanRun.objects.get(pk=run.pk)
        outcomes = stored.steps.values_list("name", "outcome")
        seen.append((change, stored.status, stored.fingerprint == run.fingerprint, *outcomes))

    receiver(receive)

    async def main() -> None:
        with pytest.raises(OSError, match="no index"):
            async with lifespan.run():
                pass

    asyncio.run(main())
    assert seen == [("failed", "startup_failed", True, ("index", "failed"))]


def test_run_that_is_not_ready_recovers(lifespan: Lifespan, told: list[Told]) -> None:
    async def main() -> None:
        alive = asyncio.Event()
        crashes = asyncio.Event()

        @lifespan.background(on_crash="restart")
        async def job() -> None:
            if crashes.is_set():
                await alive.wait()
                await asyncio.Event().wait()
            await crashes.wait()
            raise OSError("gone")

        async with lifespan.run():
            await until(lambda: words(told) == [("serving", "starting")])
            crashes.set()
            await until(lambda: len(told) == 2)
            alive.set()
            await until(lambda: len(told) == 3)

    asyncio.run(main())
    assert words(told)[:3] == [
        ("serving", "starting"),
        ("not_ready", "serving"),
        ("recovered", "not_ready"),
    ]


def test_failure_of_something_optional_is_degraded(lifespan: Lifespan, told: list[Told]) -> None:
    @lifespan.on_start(required=False)
    def index() -> None:
        raise OSError("no index")

    async def main() -> None:
        async with lifespan.run():
            await until(lambda: told)

    asyncio.run(main())
    assert words(told)[0] == ("degraded", "starting")


SERVING = {
    Readiness.OK: "serving",
    Readiness.DEGRADED: "degraded",
    Readiness.WARM_UP_FAILED: "not_ready",
    Readiness.CRASHED: "not_ready",
    Readiness.CHECK_FAILED: "not_ready",
}


@pytest.mark.parametrize("readiness", Readiness)
def test_process_that_warms_up_or_stops_has_no_change_to_tell(readiness: Readiness) -> None:
    """What is expected is no news: no alert says that a start is not ready yet."""
    assert state_of(report(Status.SERVING, readiness)) == SERVING.get(readiness)


def test_failed_startup_is_told_when_its_rollback_has_ended() -> None:
    rolls_back = report(Status.STARTUP_FAILED, Readiness.STOPPING)

    assert state_of(rolls_back) is None


def report(status: Status, readiness: Readiness) -> Report:
    facts = Facts("", "app", "", "", "server", 1, "", 0.0, (), 0, status, readiness)
    return Report(facts, None)  # type: ignore[arg-type]  # no detail is asked for


def test_change_is_told_once_even_if_it_is_spooled_and_written(
    sqlite_history: HistoryDatabase, told: list[Told]
) -> None:
    changes = Changes()
    row = {"status": "serving", "service_type": "app"}

    changes.send(report(Status.SERVING, Readiness.OK), row, None)
    changes.send(report(Status.SERVING, Readiness.OK), row, 7)

    assert [(one.change, one.pk) for one in told] == [("serving", None)]


def test_run_that_waits_in_a_file_is_told_without_a_key(
    sqlite_history: HistoryDatabase, settings: Settings, tmp_path: Path, told: list[Told]
) -> None:
    with sqlite_history.connection.cursor() as cursor:
        cursor.execute("DROP TABLE lifespan_app_lifespanstep")
        cursor.execute("DROP TABLE lifespan_app_lifespanrun")
    settings.LIFESPAN = {**settings.LIFESPAN, "SPOOL_DIR": str(tmp_path / "spool")}
    with recorded() as lifespan:

        @lifespan.on_start
        def index() -> None:
            raise OSError("no index")

        async def main() -> None:
            with pytest.raises(OSError, match="no index"):
                async with lifespan.run():
                    pass

        asyncio.run(main())

    assert [(one.change, one.status, one.pk) for one in told] == [
        ("failed", "startup_failed", None)
    ]


# Receivers.


@pytest.mark.parametrize("error", [OSError("no mail"), SystemExit("enough")], ids=repr)
def test_receiver_that_fails_is_logged_and_changes_nothing(
    lifespan: Lifespan,
    told: list[Told],
    receiver: Callable[[Callable[..., Any]], None],
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    def fail(**_: Any) -> None:
        raise error

    receiver(fail)

    async def main() -> None:
        async with lifespan.run():
            await until(lambda: told)

    asyncio.run(main())
    assert [run.status for run in LifespanRun.objects.all()] == ["stopped"]
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_receiver_that_hangs_holds_no_start_and_no_stop_up(
    lifespan: Lifespan,
    receiver: Callable[[Callable[..., Any]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hangs, ends = threading.Event(), threading.Event()

    def hang(**_: Any) -> None:
        hangs.set()
        ends.wait(60)

    receiver(hang)

    async def main() -> None:
        async with lifespan.run():
            await until(hangs.is_set)
            await has_status("serving")
        assert not ends.is_set()

    asyncio.run(main())
    ends.set()
    for thread in threading.enumerate():
        if thread.name.startswith("lifespan record"):
            thread.join()
    [said] = [line for line in caplog.messages if "has not returned" in line]
    assert said.endswith("waits in a file.")


def test_failing_start_waits_two_seconds_for_a_thread_of_a_receiver(
    lifespan: Lifespan, receiver: Callable[[Callable[..., Any]], None]
) -> None:
    ends = threading.Event()

    def begin(**_: Any) -> threading.Thread:
        thread = threading.Thread(target=ends.wait, args=[60])
        thread.start()
        return thread

    receiver(begin)

    @lifespan.on_start
    def index() -> None:
        raise OSError("no index")

    async def main() -> float:
        begun = time.monotonic()
        with pytest.raises(OSError, match="no index"):
            async with lifespan.run():
                pass
        return time.monotonic() - begun

    took = asyncio.run(main())
    ends.set()
    assert 2 <= took < 30


# Lost runs.


def test_lost_run_is_told_and_logged_by_the_one_who_finds_it(
    sqlite_history: HistoryDatabase, told: list[Told], caplog: pytest.LogCaptureFixture
) -> None:
    now = timezone.now()
    run = a_run(status="degraded", lost_after=now - timedelta(seconds=1), host="web-1", pid=7)
    found = lost.lost_runs(now)

    assert [lost.mark_lost(*one) for one in [*found.items()] * 2] == [True, False]
    assert [(one.change, one.previous, one.status, one.pk) for one in told] == [
        ("lost", "degraded", "lost", run.pk)
    ]
    [record] = [one for one in caplog.records if "is lost" in one.getMessage()]
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(
        f"Run {str(run.uuid)[:8]} of 'app' on web-1, pid 7, is lost: its last heartbeat was at "
    )
    assert record.lifespan_run == str(run.uuid)  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["reload", "check", "test"])
def test_lost_run_of_a_development_server_is_no_error(
    sqlite_history: HistoryDatabase, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    now = timezone.now()
    a_run(status="serving", lost_after=now - timedelta(seconds=1), mode=mode)

    assert all(lost.mark_lost(*one) for one in lost.lost_runs(now).items())
    assert caplog.records == []


def test_process_that_serves_finds_a_lost_run_at_its_next_heartbeat(
    lifespan: Lifespan, settings: Settings, told: list[Told]
) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 0.1}

    async def main() -> None:
        async with lifespan.run():
            await until(lambda: told)
            now = timezone.now()
            await in_thread(a_run, status="serving", lost_after=now, pid=1)
            await until(lambda: len(told) > 1)

    asyncio.run(main())
    assert words(told)[:2] == [("serving", "starting"), ("lost", "serving")]


def test_run_that_was_taken_for_lost_recovers_with_its_next_heartbeat(
    lifespan: Lifespan, settings: Settings, told: list[Told]
) -> None:
    settings.LIFESPAN = {**settings.LIFESPAN, "HEARTBEAT": 0.1}

    async def main() -> None:
        async with lifespan.run():
            await until(lambda: told)
            await in_thread(LifespanRun.objects.update, status="lost")
            await until(lambda: len(told) > 1)

    asyncio.run(main())
    assert words(told)[:2] == [("serving", "starting"), ("recovered", "lost")]
    assert told[1].status == "serving"
