"""Background jobs in tests: left out unless they are asked for, and run round by round."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lifespan_app import Lifespan
from lifespan_app.errors import LifespanError
from lifespan_app.testing import lifespan_running

WAIT = 10.0


class TestWithoutJobs:
    """What a test does not ask for does not happen."""

    async def test_jobs_are_left_out(self, lifespan: Lifespan) -> None:
        begun: list[str] = []

        @lifespan.background
        async def listen() -> None:
            begun.append("listen")

        @lifespan.background(every=0.001)
        async def refresh() -> None:
            begun.append("refresh")

        async with lifespan_running() as running:
            await asyncio.sleep(0.01)
            assert running.report.status == "serving"
        assert begun == []
        assert running.report.status == "stopped"
        assert running.report.steps == ()

    async def test_jobs_begin_where_they_are_asked_for(self, lifespan: Lifespan) -> None:
        begun = asyncio.Event()

        @lifespan.background
        async def listen() -> None:
            begun.set()

        async with lifespan_running(background=True):
            async with asyncio.timeout(WAIT):
                await begun.wait()


class TestARound:
    """``await running.round(job)``."""

    async def test_round_is_run_once_with_what_the_job_asks_for(self, lifespan: Lifespan) -> None:
        seen: list[str] = []

        @lifespan.resource
        async def shelf() -> str:
            return "a shelf"

        @lifespan.background(every=0.001)
        async def refresh(shelf: str) -> None:
            await asyncio.sleep(0)
            seen.append(shelf)

        async with lifespan_running() as running:
            await running.round(refresh)
            assert seen == ["a shelf"]
            await asyncio.sleep(0.01)
            assert seen == ["a shelf"]
            await running.round(refresh)
            assert seen == ["a shelf"] * 2
            key = f"{__name__}.refresh"
            await running.round(key)
            step = running.report.step(key, "serving")
            assert (step.outcome, step.attempt) == ("ok", 3)

    async def test_round_raises_what_it_raises_and_the_next_one_is_well(
        self, lifespan: Lifespan
    ) -> None:
        @lifespan.background(every=60, on_crash="restart")
        async def refresh() -> None:
            if running.report.ready:
                raise ZeroDivisionError

        async with lifespan_running() as running:
            with pytest.raises(ZeroDivisionError):
                await running.round(refresh)
            assert not running.report.ready
            await running.round(refresh)
            assert running.report.ready

    async def test_plain_function_is_run_in_a_thread_of_the_test(self, lifespan: Lifespan) -> None:
        threads: list[int] = []

        @lifespan.background(every=60)
        def refresh() -> None:
            threads.append(threading.get_ident())

        async with lifespan_running() as running:
            await running.round(refresh)
        assert len(threads) == 1

    @pytest.mark.parametrize("in_thread", [True, False])
    def test_sync_test_runs_a_round_too(self, lifespan: Lifespan, in_thread: bool) -> None:
        done: list[str] = []

        def in_a_thread() -> None:
            done.append("in a thread")

        async def on_the_loop() -> None:
            done.append("on the loop")

        refresh = lifespan.background(every=60)(in_a_thread if in_thread else on_the_loop)
        with lifespan_running() as running:
            running.round_sync(refresh)
        assert len(done) == 1

    async def test_where_jobs_run_a_round_comes_behind_the_one_that_runs(
        self, lifespan: Lifespan
    ) -> None:
        go, begun = asyncio.Event(), asyncio.Event()
        rounds: list[str] = []

        @lifespan.background(every=60)
        async def refresh() -> None:
            rounds.append("begins")
            begun.set()
            await go.wait()
            rounds.append("ends")

        async with lifespan_running(background=True) as running:
            await begun.wait()
            asyncio.get_running_loop().call_soon(go.set)
            await running.round(refresh)
        assert rounds == ["begins", "ends"] * 2

    async def test_job_without_rounds_has_none_to_run(self, lifespan: Lifespan) -> None:
        @lifespan.background
        async def listen() -> None: ...

        @lifespan.on_start
        async def start() -> None: ...

        async def elsewhere() -> None: ...

        async with lifespan_running() as running:
            for hook in (listen, start):
                with pytest.raises(TypeError, match="has no rounds"):
                    await running.round(hook)
            with pytest.raises(LookupError, match="holds no background job"):
                await running.round(elsewhere)
            with pytest.raises(LifespanError, match="Write 'await running"):
                running.round_sync(listen)
            with pytest.raises(LookupError, match="Did you mean"):
                await running.round(f"{__name__}.lisen")

    async def test_round_that_the_end_cuts_short_is_told_so(self, lifespan: Lifespan) -> None:
        begun = asyncio.Event()

        @lifespan.background(every=60)
        async def refresh() -> None:
            begun.set()
            await asyncio.get_running_loop().create_future()

        async with lifespan_running() as running:
            waiting = asyncio.ensure_future(running.round(refresh))
            await begun.wait()
        with pytest.raises(LifespanError, match="No round of"):
            await waiting

    async def test_after_the_end_there_are_no_rounds(self, lifespan: Lifespan) -> None:
        @lifespan.background(every=60)
        async def refresh() -> None: ...

        async with lifespan_running() as running:
            pass
        with pytest.raises(LifespanError, match="No round of"):
            async with asyncio.timeout(WAIT):
                await running.round(refresh)


@pytest.mark.django_db
def test_round_sees_the_rows_of_the_test(lifespan: Lifespan) -> None:
    from django.contrib.auth.models import User

    names: list[str] = []

    @lifespan.background(every=60)
    def refresh() -> None:
        names.extend(User.objects.values_list("username", flat=True))

    User.objects.create(username="reader")
    with lifespan_running() as running:
        running.round_sync(refresh)
    assert names == ["reader"]
