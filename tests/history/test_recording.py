"""Every run leaves a true record: its row, and a row for each hook and phase."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test.utils import setup_test_environment, teardown_test_environment

from lifespan_app import Lifespan
from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase
from tests.history.recording import Queries, has_status, recorded, there_is

if TYPE_CHECKING:
    from pytest_django import Settings


def steps(run: LifespanRun) -> dict[str, list[tuple[str, str]]]:
    """Return the name and the outcome of each step, by phase."""
    found: dict[str, list[tuple[str, str]]] = {"startup": [], "serving": [], "shutdown": []}
    for step in run.steps.all():
        found[step.phase].append((step.name, step.outcome))
    return found


def books(lifespan: Lifespan) -> None:
    """Declare a resource, what needs it, and a job."""

    @lifespan.resource
    async def shelf() -> AsyncIterator[str]:
        logging.getLogger("books").warning("ten books")
        yield "shelf"

    @lifespan.on_start
    def count(shelf: str) -> None: ...

    @lifespan.background
    async def sort(shelf: str) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("priority", [2**31, -(2**63), 10**400])
def test_priority_that_no_column_holds_costs_no_step(lifespan: Lifespan, priority: int) -> None:
    @lifespan.on_start(priority=priority)
    def first() -> None: ...

    async def main() -> None:
        async with lifespan.run():
            pass

    asyncio.run(main())

    [run] = LifespanRun.objects.all()
    assert steps(run)["startup"] == [("first", "ok")]


class TestARunThatGoesWell:
    def test_run_leaves_its_row(self, lifespan: Lifespan) -> None:
        books(lifespan)

        async def main() -> str:
            async with lifespan.run("worker"):
                report = lifespan.report()
                assert report is not None
                return report.uuid

        uuid = asyncio.run(main())
        [run] = LifespanRun.objects.all()

        assert (str(run.uuid), run.service_type, run.mode) == (uuid, "worker", "command")
        assert (run.status, run.ended_by) == ("stopped", "the end of its body")
        assert (run.hooks_total, run.hooks_failed) == (3, 0)
        times = [run.started_at, run.ready_at, run.stopping_at, run.stopped_at]
        assert times == sorted(times, key=lambda at: at or run.started_at)
        assert None not in times
        for taken in (run.startup_duration, run.shutdown_duration):
            assert taken
            assert taken > timedelta(0)
        assert run.slowest_hook.endswith((".shelf", ".count"))
        assert (run.error, run.fingerprint, run.recorded_late) == ("", "", False)
        assert run.python_version
        assert run.django_version
        assert run.host
        assert run.launch
        assert run.process

    def test_run_leaves_its_steps(self, lifespan: Lifespan) -> None:
        books(lifespan)

        async def main() -> None:
            async with lifespan.run():
                pass

        asyncio.run(main())
        [run] = LifespanRun.objects.all()

        assert steps(run) == {
            "startup": [("shelf", "ok"), ("count", "ok")],
            "serving": [("sort", "ok")],
            "shutdown": [("shelf", "ok")],
        }
        shelf, count = run.steps.filter(phase="startup")
        assert count.needs == [[shelf.key, "needs"]]
        assert shelf.on_critical_chain
        assert count.offset >= shelf.duration
        assert shelf.file.endswith("test_recording.py")
        [[offset, *line]] = shelf.log
        assert line == ["WARNING", "books", "ten books"]
        assert offset >= 0

    def test_hooks_that_the_environment_leaves_out_are_recorded(
        self, lifespan: Lifespan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        books(lifespan)
        key = next(node.key for node in lifespan.plan("app").hooks if node.key.endswith(".shelf"))
        monkeypatch.setenv("LIFESPAN_SKIP", key)

        async def main() -> None:
            async with lifespan.run("app"):
                pass

        asyncio.run(main())

        [run] = LifespanRun.objects.all()
        assert [key, "left out by LIFESPAN_SKIP"] in run.left_out
        assert all("LIFESPAN_SKIP" in reason for _key, reason in run.left_out)
        assert not run.steps.filter(name="shelf").exists()
        assert run.short_id == str(run.uuid)[:8]


class TestARunThatFails:
    def test_failed_start_is_recorded_with_its_rollback(self, lifespan: Lifespan) -> None:
        books(lifespan)

        @lifespan.on_start
        async def warm(shelf: str) -> None:
            raise OSError("nobody is there")

        async def main() -> None:
            async with lifespan.run():
                pass

        with pytest.raises(OSError, match="nobody is there"):
            asyncio.run(main())
        [run] = LifespanRun.objects.all()
        failed = run.steps.get(name="warm")

        assert (run.status, run.ended_by) == ("startup_failed", "startup failed")
        assert run.error == "OSError: nobody is there"
        assert run.error_class == "OSError"
        assert len(run.fingerprint) == 32
        assert run.ready_at is None
        assert failed.outcome == "failed"
        assert (failed.exception, failed.error) == ("OSError", "nobody is there")
        assert 'raise OSError("nobody is there")' in failed.traceback
        assert failed.fingerprint == run.fingerprint
        assert ("shelf", "ok") in steps(run)["shutdown"]

    def test_failed_stop_is_recorded(self, lifespan: Lifespan) -> None:
        @lifespan.resource
        async def shelf() -> AsyncIterator[str]:
            yield "shelf"
            raise OSError("it does not close")

        async def main() -> None:
            async with lifespan.run():
                pass

        with pytest.raises(ExceptionGroup):
            asyncio.run(main())
        [run] = LifespanRun.objects.all()

        assert (run.status, run.hooks_failed) == ("shutdown_failed", 1)
        assert run.error == "OSError: it does not close"
        assert steps(run)["shutdown"] == [("shelf", "failed")]

    def test_failed_optional_hook_is_recorded_as_degraded(self, lifespan: Lifespan) -> None:
        @lifespan.resource(required=False)
        async def notices() -> AsyncIterator[str]:
            raise OSError("nobody is there")
            yield "never"

        seen: list[LifespanRun] = []

        async def main() -> None:
            async with lifespan.run():
                seen.append(await has_status("degraded"))

        asyncio.run(main())

        assert seen[0].error == "OSError: nobody is there"
        assert seen[0].fingerprint

    def test_crash_while_serving_is_recorded_at_once(self, lifespan: Lifespan) -> None:
        async def main() -> None:
            fall = asyncio.Event()

            @lifespan.background(required=False)
            async def job() -> None:
                await fall.wait()
                raise OSError("it fell")

            async with lifespan.run():
                await has_status("serving")
                fall.set()
                await has_status("degraded")
                await there_is(LifespanRun.objects.filter(steps__outcome="crashed"))

        asyncio.run(main())
        [run] = LifespanRun.objects.all()
        assert steps(run)["serving"] == [("job", "crashed")]
        assert run.steps.get(phase="serving").error == "it fell"

    def test_job_that_is_stalled_no_more_is_recorded(
        self, lifespan: Lifespan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lifespan_app.history.recording.record.LEAST_PAUSE", 0.1)

        async def main() -> None:
            alive = asyncio.Event()

            @lifespan.background(required=False, stall_after=0.5)
            async def job() -> None:
                await alive.wait()
                while True:
                    lifespan.beat()
                    await asyncio.sleep(0.01)

            async with lifespan.run():
                await there_is(LifespanRun.objects.filter(steps__outcome="stalled"))
                alive.set()
                await there_is(
                    LifespanRun.objects.filter(steps__phase="serving", steps__outcome="")
                )

        asyncio.run(main())


class TestTheFirstWrite:
    def test_first_write_begins_before_the_first_hook(self, lifespan: Lifespan) -> None:
        """A hook that waits for its own run's row gets to see it, with nothing started yet."""
        seen: list[Any] = []

        @lifespan.on_start
        async def look() -> None:
            run = await has_status("starting")
            seen.append((run.ready_at, run.hooks_failed, run.slowest_hook))

        async def main() -> None:
            async with lifespan.run():
                pass

        asyncio.run(main())
        assert seen == [(None, 0, "")]


class TestTheQueries:
    @staticmethod
    def of_a_run_with(lifespan: Lifespan, hooks: int) -> Queries:
        for number in range(hooks):

            async def resource() -> AsyncIterator[int]:
                yield 1

            lifespan.resource(name=f"resource_{number}")(resource)

        async def main() -> None:
            async with lifespan.run():
                await has_status("serving")

        with Queries() as queries:
            asyncio.run(main())
        assert LifespanRun.objects.get().steps.count() == 2 * hooks
        return queries

    @pytest.mark.slow
    def test_queries_are_as_many_for_3000_hooks_as_for_3(
        self, history_database: HistoryDatabase, settings: Settings
    ) -> None:
        # On a busy machine the last rows of 3000 hooks take longer than a server would wait for.
        settings.LIFESPAN = {**settings.LIFESPAN, "SHUTDOWN_DEADLINE": 120}
        found = []
        for hooks in (3, 3000):
            history_database.clear()
            with recorded() as lifespan:
                queries = self.of_a_run_with(lifespan, hooks)
            recorder = [sql for name, sql in queries.made if name.startswith("lifespan record")]
            # A run that is over at once does not come to look after others, which reads.
            writes = ("INSERT", "UPDATE", "DELETE")
            found.append([sql for sql in recorder if sql.startswith(writes)])

        few, many = map(len, found)
        # How many changes of the run's own row are written as one is a matter of time.
        more = 2.0
        if history_database.kind == "sqlite":
            # Django 5.2 gives SQLite 999 parameters in a query.
            more += 2 * 3000 * len(LifespanStep._meta.concrete_fields) / 999
        assert abs(many - few) <= more

    def test_queries_are_made_in_the_records_thread(self, on_sqlite: Lifespan) -> None:
        books(on_sqlite)

        async def main() -> None:
            async with on_sqlite.run():
                pass

        with Queries() as queries:
            asyncio.run(main())
        threads = {name for name, _ in queries.made}
        assert len(threads) == 1
        assert threads.pop().startswith("lifespan record")


class TestHistoryOff:
    def test_history_off_records_nothing(self, on_sqlite: Lifespan, settings: Any) -> None:
        settings.LIFESPAN = {**settings.LIFESPAN, "HISTORY": False}

        async def main() -> None:
            async with on_sqlite.run():
                pass

        asyncio.run(main())
        assert not LifespanRun.objects.exists()


class TestATest:
    def test_test_records_nothing_by_itself(self, sqlite_history: HistoryDatabase) -> None:
        with recorded() as lifespan:
            setup_test_environment()

            async def main() -> None:
                async with lifespan.run():
                    pass

            asyncio.run(main())
            teardown_test_environment()
        assert not LifespanRun.objects.exists()
