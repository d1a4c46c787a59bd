"""Hooks that run once: start functions wait for their turn, one job leads and the others stand by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from lifespan_app import Lifespan, LifespanContext
from lifespan_app.engine.lease import Lease, Refusal
from lifespan_app.engine.reporting.report import Readiness
from lifespan_app.engine.settings import Settings
from lifespan_app.errors import HookError
from tests.engine.apps import written_in
from tests.engine.exchange import Server
from tests.engine.leases import Board
from tests.engine.lookups import problems_of, report_of, run_of
from tests.engine.virtual_clock import VirtualLoop, run_virtually

OTHER = "process 5 on host web-1"


def second() -> float:
    return round(asyncio.get_running_loop().time() - 1000, 3)


def with_board(lifespan: Lifespan, *, at_once: bool = False) -> Board:
    board = Board(at_once=at_once)
    lifespan.adapter.leases = board
    return board


def migrating(
    lifespan: Lifespan, error: BaseException | None = None, **options: Any
) -> list[tuple[float, Lease | None]]:
    """Declare a start function that runs once; return its calls: the second, and the lease."""
    calls: list[tuple[float, Lease | None]] = []

    @lifespan.on_start(**{"once": "release", **options})
    @written_in("shop.lifespan")
    async def migrate(context: LifespanContext) -> None:
        calls.append((second(), context.lease))
        await asyncio.sleep(2)
        if error is not None:
            raise error

    return calls


def leading(lifespan: Lifespan, **options: Any) -> list[tuple[float, str]]:
    """Declare a job that is led; return what it does, with the second."""
    done: list[tuple[float, str]] = []

    @lifespan.background(**{"once": "cluster", **options})
    @written_in("shop.lifespan")
    async def poll(context: LifespanContext) -> None:
        assert context.lease is not None
        done.append((second(), f"leads {context.lease.number}"))
        try:
            await asyncio.sleep(1000)
        finally:
            done.append((second(), "stops"))

    return done


# Start functions.


def test_hooks_of_a_run_inside_a_leased_hook_have_no_lease() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Lease | None]:
        with_board(lifespan, at_once=True)
        leases: list[Lease | None] = []
        inner = Lifespan()

        @inner.on_start
        async def warm_up(context: LifespanContext) -> None:
            leases.append(context.lease)

        @lifespan.on_start(once="release")
        @written_in("shop.lifespan")
        async def migrate(context: LifespanContext) -> None:
            leases.append(context.lease)
            async with inner.run("app"):
                pass

        async with lifespan.run("app"):
            return leases

    assert run_virtually(main) == [Lease("shop.migrate", 1), None]


def test_start_waits_for_its_turn_and_its_success_is_told() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, Lease | None]]:
        board = with_board(lifespan)
        calls = migrating(lifespan)
        loop.call_later(7, board.grant)
        async with lifespan.run("app"):
            assert second() == 9
            assert board.last.wanted[:2] == ("shop.migrate", "release")
            assert board.last.ended == {"success": True, "error": "", "still_runs": False}
        return calls

    assert run_virtually(main) == [(7, Lease("shop.migrate", 1))]


def test_success_of_another_process_is_taken() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Any]:
        board = with_board(lifespan)
        calls = migrating(lifespan)
        loop.call_later(7, lambda: board.last.claimant.is_answered(OTHER, None))
        async with lifespan.run("app"):
            step = report_of(lifespan).step("shop.migrate")
            assert (step.outcome, step.reason) == ("ok", f"{OTHER} has run it")
            assert board.last.ended is None
        return calls

    assert run_virtually(main) == []


def test_failure_of_another_process_counts_and_names_it() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board = with_board(lifespan)
        migrating(lifespan, retry=60)
        failure = HookError("OperationalError: no space")
        loop.call_later(7, lambda: board.last.claimant.is_answered(OTHER, failure))
        async with lifespan.run("app"):
            pass

    with pytest.raises(HookError, match=f"failed in {OTHER}: .*no space"):
        run_virtually(main)


def test_failure_is_told_once_all_attempts_have_failed() -> None:
    board: list[Board] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board.append(with_board(lifespan, at_once=True))
        migrating(lifespan, OSError("no space"), retry=12)
        async with lifespan.run("app"):
            pass

    with pytest.raises(OSError, match="no space"):
        run_virtually(main)
    [claim] = board[0].claims
    assert claim.ended == {"success": False, "error": "OSError: no space", "still_runs": False}


def test_limit_of_a_start_is_that_of_the_wait_and_then_that_of_the_function() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Any]:
        board = with_board(lifespan)
        calls = migrating(lifespan, timeout=3)
        loop.call_later(2, board.grant)
        async with lifespan.run("app"):
            assert second() == 4
        return calls

    assert len(run_virtually(main)) == 1


def test_start_that_waits_too_long_says_for_whom() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board = with_board(lifespan)
        migrating(lifespan, timeout=3)
        loop.call_later(1, lambda: board.last.claimant.waits_behind(f"{OTHER} runs it"))
        async with lifespan.run("app"):
            pass

    with pytest.raises(HookError, match=f"limit of 3 s. It waits at its turn: {OTHER} runs it"):
        run_virtually(main)


def test_stop_ends_the_wait_at_once_and_takes_no_turn() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Any]:
        board = with_board(lifespan)
        calls = migrating(lifespan)
        server = Server(lifespan)
        startup = asyncio.ensure_future(server.startup())
        await asyncio.sleep(1)
        server.task.cancel()
        await server.raised()
        assert second() == 1
        assert board.last.ended == {"success": False, "error": "", "still_runs": False}
        startup.cancel()
        return calls

    assert run_virtually(main) == []


def test_start_that_is_stopped_leaves_the_work_to_another_process() -> None:
    board: list[Board] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board.append(with_board(lifespan, at_once=True))
        migrating(lifespan)
        opening = asyncio.create_task(lifespan.startup("app"))
        await asyncio.sleep(1)
        opening.cancel()
        await asyncio.wait([opening])

    run_virtually(main)
    assert board[0].last.ended == {"success": False, "error": "", "still_runs": False}


def test_sync_start_waits_without_a_thread() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Lease | None]:
        board = with_board(lifespan)
        leases: list[Lease | None] = []

        @lifespan.on_start(once="launch")
        @written_in("shop.lifespan")
        def migrate(context: LifespanContext) -> None:
            leases.append(context.lease)

        loop.call_later(7, board.grant)
        async with lifespan.run("app"):
            assert second() == 7
        return leases

    assert run_virtually(main) == [Lease("shop.migrate", 1)]


def test_start_whose_lease_is_lost_is_cancelled_and_fails() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board = with_board(lifespan, at_once=True)
        migrating(lifespan)
        loop.call_later(1, lambda: board.last.claimant.loses_lease("could not be renewed"))
        async with lifespan.run("app"):
            pass

    with pytest.raises(HookError, match="was cancelled: its lease could not be renewed"):
        run_virtually(main)


def test_start_whose_lease_is_lost_runs_on_no_longer() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[str]:
        board = with_board(lifespan, at_once=True)
        events: list[str] = []

        @lifespan.resource
        @written_in("shop.lifespan")
        async def client() -> AsyncIterator[str]:
            yield "client"
            events.append(f"client closes at {second():g}")

        @lifespan.on_start(once="release")
        @written_in("shop.lifespan")
        async def migrate(client: str) -> None:
            try:
                await asyncio.sleep(2)
                events.append("migrates on")
            finally:
                events.append(f"migrate ends at {second():g}")

        loop.call_later(1, lambda: board.last.claimant.loses_lease("could not be renewed"))
        with pytest.raises(HookError):
            await lifespan.startup("app")
        await asyncio.sleep(5)
        return events

    assert run_virtually(main) == ["migrate ends at 1", "client closes at 1"]


def test_start_that_ignores_its_cancellation_is_abandoned_also_without_its_lease() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> tuple[Any, Any]:
        board = with_board(lifespan, at_once=True)

        @lifespan.on_start(once="release")
        @written_in("shop.lifespan")
        async def migrate() -> None:
            while True:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(1000)

        opening = asyncio.create_task(lifespan.startup("app"))
        loop.call_later(1, opening.cancel)
        # It has been cancelled twice by then.
        loop.call_later(2.5, lambda: board.last.claimant.loses_lease("could not be renewed"))
        await asyncio.wait([opening])
        return report_of(lifespan).step("shop.migrate").outcome, second()

    assert run_virtually(main) == ("abandoned", 3)


def test_wait_that_passes_its_limit_is_given_up_before_the_next_attempt() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Any]:
        board = with_board(lifespan)
        migrating(lifespan, timeout=3, retry=20)
        loop.call_later(8, board.grant)
        async with lifespan.run("app"):
            pass
        return [claim.ended for claim in board.claims]

    *given_up, granted = run_virtually(main)
    assert given_up == [{"success": False, "error": "", "still_runs": False}] * 2
    assert granted == {"success": True, "error": "", "still_runs": False}


def test_start_in_a_thread_that_is_abandoned_leaves_its_lease_to_run_out() -> None:
    board: list[Board] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board.append(with_board(lifespan, at_once=True))

        @lifespan.on_start(once="release", timeout=3)
        @written_in("shop.lifespan")
        def migrate() -> None:
            loop.sleep_in_thread(1000)

        async with lifespan.run("app"):
            pass

    with pytest.raises(HookError, match="did not start within its limit of 3 s"):
        run_virtually(main)
    ended = board[0].last.ended
    assert ended is not None
    assert (ended["success"], ended["still_runs"]) == (False, True)
    assert "limit of 3 s" in str(ended["error"])


# Jobs.


def test_job_stands_by_until_it_leads() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        board = with_board(lifespan)
        done = leading(lifespan)
        async with lifespan.run("app"):
            board.last.claimant.waits_behind(f"{OTHER} leads")
            [job] = run_of(lifespan).scheduler.graph.jobs
            assert job.job.standing_by == f"{OTHER} leads"
            assert report_of(lifespan).readiness is Readiness.OK
            await asyncio.sleep(5)
            board.grant()
            await asyncio.sleep(5)
            assert (job.job.standing_by, job.lease) == ("", Lease("shop.poll", 1))
        assert board.last.ended == {"success": False, "error": "", "still_runs": False}
        return done

    assert run_virtually(main) == [(5, "leads 1"), (10, "stops")]


def test_job_whose_lease_is_lost_is_cancelled_and_stands_by_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        board = with_board(lifespan, at_once=True)
        done = leading(lifespan)
        async with lifespan.run("app"):
            await asyncio.sleep(5)
            board.last.claimant.loses_lease("could not be renewed")
            await asyncio.sleep(5)
            assert len(board.claims) == 2
            assert report_of(lifespan).readiness is Readiness.OK
        return done

    with caplog.at_level(logging.WARNING):
        assert run_virtually(main) == [
            (0, "leads 1"),
            (5, "stops"),
            (5, "leads 2"),
            (10, "stops"),
        ]
    [line] = caplog.messages
    assert "The lease of 'shop.poll'" in line
    assert "could not be renewed. It is cancelled." in line


def test_crashed_job_gives_its_lease_back() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board = with_board(lifespan, at_once=True)

        @lifespan.background(once="cluster")
        @written_in("shop.lifespan")
        async def poll() -> None:
            raise OSError("no network")

        async with lifespan.run("app"):
            await asyncio.sleep(1)
            assert board.last.ended == {"success": False, "error": "", "still_runs": False}

    run_virtually(main)


def test_job_that_is_restarted_keeps_its_lease_in_the_pauses() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[int]:
        board = with_board(lifespan, at_once=True)
        numbers: list[int] = []

        @lifespan.background(once="cluster", on_crash="restart")
        @written_in("shop.lifespan")
        async def poll(context: LifespanContext) -> None:
            assert context.lease is not None
            numbers.append(context.lease.number)
            raise OSError("no network")

        async with lifespan.run("app"):
            await asyncio.sleep(4)
            assert len(board.claims) == 1
        return numbers

    assert run_virtually(main) == [1, 1, 1]


def test_lease_that_is_lost_in_a_pause_is_claimed_anew() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[int]:
        board = with_board(lifespan, at_once=True)
        numbers: list[int] = []

        @lifespan.background(once="cluster", every=60, jitter=0)
        @written_in("shop.lifespan")
        def poll(context: LifespanContext) -> None:
            assert context.lease is not None
            numbers.append(context.lease.number)

        async with lifespan.run("app"):
            await asyncio.sleep(70)
            board.last.claimant.loses_lease("could not be renewed")
            await asyncio.sleep(1)
        return numbers

    assert run_virtually(main) == [1, 1, 2]


def test_job_that_ignores_its_cancellation_claims_nothing_before_it_has_ended() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> int:
        board = with_board(lifespan, at_once=True)
        ends = asyncio.Event()

        @lifespan.background(once="cluster")
        @written_in("shop.lifespan")
        async def poll() -> None:
            while not ends.is_set():
                try:
                    await ends.wait()
                except asyncio.CancelledError:
                    continue

        async with lifespan.run("app"):
            await asyncio.sleep(1)
            board.last.claimant.loses_lease("could not be renewed")
            await asyncio.sleep(100)
            before = len(board.claims)
            ends.set()
            await asyncio.sleep(1)
            assert len(board.claims) == before + 1
        return before

    assert run_virtually(main) == 1


def test_old_claim_has_no_say_any_more() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[tuple[float, str]]:
        board = with_board(lifespan, at_once=True)
        done = leading(lifespan)
        async with lifespan.run("app"):
            await asyncio.sleep(1)
            old = board.last
            old.claimant.loses_lease("could not be renewed")
            await asyncio.sleep(1)
            old.claimant.loses_lease("could not be renewed")
            old.claimant.has_turn(Lease("shop.poll", 9))
            await asyncio.sleep(1)
        return done

    assert [what for _, what in run_virtually(main)] == ["leads 1", "stops", "leads 2", "stops"]


# What can't be.


def test_problem_names_the_line_of_the_hook() -> None:
    lifespan = Lifespan()
    board = with_board(lifespan)
    board.refused = {"release": Refusal("this process knows no release", "Set RELEASE.")}
    migrating(lifespan)

    [problem] = problems_of(lifespan)

    assert problem.message == (
        "'shop.lifespan.migrate' has once='release', and this process knows no release."
    )
    assert problem.hint == "Set RELEASE."
    assert problem.file == __file__
    assert problem.line > 0


def test_program_without_leases_can_run_nothing_once() -> None:
    lifespan = Lifespan()
    leading(lifespan)

    [problem] = problems_of(lifespan)

    assert "nothing gives leases to this program" in problem.message


@pytest.mark.parametrize(
    ("decorator", "once", "words"),
    [("on_start", "cluster", "release, launch"), ("background", "release", "cluster, host")],
)
def test_other_words_are_refused_where_they_are_written(
    decorator: str, once: str, words: str
) -> None:
    lifespan = Lifespan()

    with pytest.raises(ValueError, match=f"is one of {words}, not '{once}'"):
        getattr(lifespan, decorator)(once=once)(asyncio.sleep)


def test_resource_is_one_of_each_process() -> None:
    with pytest.raises(TypeError, match="takes no once="):
        Lifespan().resource(once="cluster")  # type: ignore[call-overload]


def test_hooks_of_a_check_run_without_a_lease() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Any]:
        calls = migrating(lifespan)
        run = lifespan.prepare("app", mode="check")
        await run.start()
        await run.stop()
        return calls

    assert run_virtually(main) == [(0, None)]


def test_settings_of_the_run_are_part_of_the_claim() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        board = with_board(lifespan, at_once=True)
        migrating(lifespan)
        async with lifespan.run(LifespanContext("app", "staging")):
            wanted = board.last.wanted
            assert (wanted.environment, wanted.release) == ("staging", "1.4")

    run_virtually(main, settings=Settings(release="1.4"))
