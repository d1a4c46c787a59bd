"""The scheduler by itself, without a loop: what it is told, and what it answers.

The tests stand in the order of the table "what happens when it goes wrong" of the design: each row as
events in, and commands out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.journal import Entry, Journal
from lifespan_app.engine.reporting.report import IN_SHUTDOWN, IN_STARTUP, Phase, Readiness
from lifespan_app.engine.running.deadlines import Limits
from lifespan_app.engine.running.graph import Graph
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.running.scheduler import Do, Scheduler
from tests.engine.apps import HostWithApps, written_in

LIMITS = Limits(startup=30.0, stop=5.0, shutdown=8.0)
SILENT = (Do.STATUS, Do.FAILED, Do.CLOSED, Do.OPENED, Do.WARM, Do.ROUND)
"""Commands that only tell somebody something."""


class Plot:
    """A scheduler with the hooks of a ``Lifespan``, told what happens, second by second.

    Args:
        declare: declares the hooks.
        limits: what the run is allowed.
    """

    def __init__(self, declare: Callable[[Lifespan], object], limits: Limits = LIMITS) -> None:
        lifespan = Lifespan(HostWithApps())
        declare(lifespan)
        plan = lifespan.plan("app")
        self.now = 0.0
        self.journal = Journal(plan.nodes, lambda: self.now)
        self.graph = Graph(self, plan, label_of=lifespan.adapter.app_label)  # type: ignore[arg-type]
        self.scheduler = Scheduler(self.graph, self.journal, limits)

    def hook(self, name: str) -> HookRun:
        """Return a hook by its name."""
        return next(one for one in self.graph.hook_runs if one.hook and one.hook.name == name)

    def entry(self, name: str, phase: Phase = IN_STARTUP) -> Entry:
        """Return the last entry of a hook's step."""
        hook = self.hook(name)
        entry = {IN_STARTUP: hook.startup, IN_SHUTDOWN: hook.shutdown}.get(phase, hook.serving)
        assert entry is not None
        return entry

    def commands(self) -> list[str]:
        """Return what the scheduler wants done, and take it for done."""
        told = [told_of(command) for command in self.scheduler.commands if command[0] not in SILENT]
        self.scheduler.commands.clear()
        return told

    # Events.

    def begin(self) -> list[str]:
        self.scheduler.begin(self.now, tells_steps=False)
        return self.commands()

    def up(self, name: str) -> list[str]:
        self.scheduler.came_up(self.now, self.hook(name), name)
        return self.commands()

    def ends(self, name: str, error: BaseException | None = None) -> list[str]:
        self.scheduler.ended(self.now, self.hook(name), error)
        return self.commands()

    def serves(self) -> list[str]:
        self.scheduler.service_begins(self.now, tells_steps=False)
        return self.commands()

    def stops(self, *, quick: bool = False) -> list[str]:
        self.scheduler.stop(self.now, quick=quick, ended_by="the test")
        assert "stop begins" in self.commands()
        return self.stop_begins()

    def stop_begins(self) -> list[str]:
        self.scheduler.shutdown_begins(self.now, tells_steps=False)
        return self.commands()

    def at(self, seconds: float) -> list[str]:
        """Let the time pass; the scheduler is asked whenever it wants to be."""
        told = []
        while (wake_at := self.scheduler.wake_at) <= seconds:
            self.now = max(self.now, wake_at)
            self.scheduler.time_passed(self.now)
            told += [command for command in self.commands() if not command.startswith("look")]
        self.now = seconds
        return told

    def looks_until(self, seconds: float) -> dict[float, list[str]]:
        """Let the time pass; return when it was looked where hooks wait, and where which ones."""
        looked = {}
        while (wake_at := self.scheduler.wake_at) <= seconds:
            self.now = wake_at
            self.scheduler.time_passed(self.now)
            for command in self.scheduler.commands:
                if command[0] is Do.LOOK:
                    looked[self.now] = [one.hook.name for one in command[1]]
            self.scheduler.commands.clear()
        return looked

    def readiness(self) -> Readiness:
        """Return whether requests may come."""
        return self.scheduler.readiness(stop_is_known=False, failing=())


def told_of(command: tuple[Any, ...]) -> str:
    words = {Do.STOP: "stop begins"}.get(command[0], str(command[0]))
    names = [one.hook.name for one in command[1:] if isinstance(one, HookRun)]
    return " ".join([words, *names])


async def nothing() -> None: ...


async def opened() -> Any:
    yield


def opened_in_thread() -> Any:
    yield


def resource(lifespan: Lifespan, name: str, *needs: str, **options: Any) -> None:
    in_thread = options.pop("in_thread", False)

    async def on_loop() -> Any:
        yield

    def threaded() -> Any:
        yield

    function = written_in("shop.lifespan")(threaded if in_thread else on_loop)
    lifespan.resource(name=name, depends_on=[f"shop.{one}" for one in needs], **options)(function)


def job(lifespan: Lifespan, name: str, **options: Any) -> None:
    async def work() -> None: ...

    lifespan.background(name=name, **options)(written_in("shop.lifespan")(work))


def chain(lifespan: Lifespan, **options: Any) -> None:
    """Declare a database, a cache that needs it, and a client that needs nothing."""
    resource(lifespan, "db")
    resource(lifespan, "cache", "db", **options)
    resource(lifespan, "client")


# All goes well.


def test_hooks_start_along_the_graph_and_stop_against_it() -> None:
    plot = Plot(chain)
    assert plot.begin() == ["start db", "start client"]
    assert plot.up("db") == ["start cache"]
    assert plot.up("client") == []
    assert plot.up("cache") == ["serve"]
    assert plot.serves() == []
    assert plot.stops() == ["release cache", "release client"]
    assert plot.ends("cache") == ["release db"]
    assert plot.ends("client") == []
    assert plot.ends("db") == ["finish"]
    assert plot.scheduler.status == "stopped"


def test_plan_without_hooks_serves_at_once_and_is_over_at_once() -> None:
    plot = Plot(lambda lifespan: None)
    assert plot.begin() == ["serve"]
    assert plot.serves() == []
    assert plot.stops() == ["finish"]


# A start is tried again.


def flaky(lifespan: Lifespan, **options: Any) -> None:
    """Declare a database that is tried again for 60 seconds, and a client that needs nothing."""
    resource(lifespan, "db", **{"retry": 60, **options})
    resource(lifespan, "client")


def test_start_that_fails_begins_again_after_a_pause() -> None:
    plot = Plot(flaky, Limits(startup=300.0, stop=5.0, shutdown=8.0))
    assert plot.begin() == ["start db", "start client"]
    plot.up("client")
    for due in (0.5, 1.5, 3.5):
        assert plot.ends("db", OSError("nobody there")) == ["try again db"]
        assert plot.at(due - 0.1) == []
        assert plot.at(due) == ["start db"]
    assert plot.up("db") == ["serve"]
    assert (plot.entry("db").attempt, plot.entry("db").outcome) == (4, "ok")


def test_attempt_that_passes_its_limit_begins_again_once_it_has_ended() -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, timeout=5))
    plot.begin()
    assert plot.at(5.0) == ["cancel db"]
    assert plot.ends("db", asyncio.CancelledError()) == ["try again db"]
    assert plot.at(5.5) == ["start db"]


def test_attempt_that_would_begin_too_late_is_none() -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, retry=2))
    plot.begin()
    plot.up("client")
    plot.at(1.8)
    error = OSError("nobody there")
    assert plot.ends("db", error) == ["stop begins"]
    assert plot.scheduler.first_error is error


def test_stop_waits_for_no_attempt() -> None:
    plot = Plot(flaky)
    plot.begin()
    plot.up("client")
    plot.ends("db", OSError("nobody there"))
    assert plot.stops() == ["release client"]
    assert plot.ends("client") == ["finish"]
    assert plot.entry("db").outcome == "cancelled"
    assert plot.at(3600.0) == []


# A required hook raises, or a limit passes.


def test_required_hook_that_raises_fails_the_startup_and_closes_what_is_open() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.up("client")
    error = OSError("nobody there")
    assert plot.ends("db", error) == ["stop begins"]
    assert plot.entry("cache").outcome == "skipped"
    assert plot.stop_begins() == ["release client"]
    assert plot.ends("client") == ["finish"]
    assert plot.scheduler.first_error is error
    assert plot.scheduler.status == "startup_failed"


def test_required_hook_that_raises_cancels_hooks_that_are_starting() -> None:
    plot = Plot(chain)
    plot.begin()
    assert plot.ends("db", OSError()) == ["cancel client", "stop begins"]
    assert plot.stop_begins() == []
    assert plot.ends("client", asyncio.CancelledError()) == ["finish"]
    assert plot.entry("client").outcome == "cancelled"


def test_required_hook_that_passes_its_timeout_fails_the_startup() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db", timeout=2.0))
    assert plot.begin() == ["start db"]
    assert plot.scheduler.wake_at == 2.0
    assert plot.at(2.0) == ["cancel db", "stop begins"]
    assert "within its limit of 2 s" in str(plot.scheduler.first_error)
    assert plot.stop_begins() == []
    assert plot.ends("db", asyncio.CancelledError()) == ["finish"]
    assert plot.entry("db").outcome == "timed_out"


def test_startup_that_passes_its_deadline_has_four_seconds_for_the_rollback() -> None:
    plot = Plot(chain, LIMITS._replace(startup=3.0))
    plot.begin()
    plot.up("client")
    assert plot.at(3.0) == ["cancel db", "stop begins"]
    assert "the startup's deadline of 3 s" in str(plot.scheduler.first_error)
    # The rollback ends at most four seconds after it.
    plot.stop_begins()
    assert plot.scheduler.deadlines.deadline == 7.0


def test_optional_hook_fails_first_at_the_deadline_and_the_rest_serves() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "client")
        resource(lifespan, "feed", required=False, timeout=60.0)

    plot = Plot(declare, LIMITS._replace(startup=3.0))
    plot.begin()
    plot.up("client")
    # An explicit timeout lifts the deadline to it.
    assert plot.at(59.0) == []
    assert plot.at(60.0) == ["cancel feed", "serve"]
    plot.serves()
    assert plot.scheduler.status == "degraded"


def test_all_dependents_of_an_optional_hook_are_skipped_with_it_at_the_deadline() -> None:
    """Else the startup would fail, since what is required could not begin."""

    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "feed", required=False)
        resource(lifespan, "index", "feed")
        resource(lifespan, "pages", "index")

    plot = Plot(declare, LIMITS._replace(startup=3.0))
    plot.begin()
    assert plot.at(3.0) == ["cancel feed", "serve"]
    assert plot.entry("pages").outcome == "skipped"


# An optional hook fails, or passes its limit.


def test_dependents_of_a_failed_optional_hook_are_skipped() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "feed", required=False)
        resource(lifespan, "index", "feed", required=False)
        resource(lifespan, "client")

    plot = Plot(declare)
    plot.begin()
    plot.up("client")
    assert plot.ends("feed", OSError("down")) == ["serve"]
    plot.serves()
    assert plot.scheduler.status == "degraded"
    assert plot.entry("index").outcome == "skipped"
    assert "it needs 'shop.feed'" in plot.entry("index").reason
    assert plot.readiness() is Readiness.DEGRADED


def test_optional_hook_has_ten_seconds() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "feed", required=False))
    plot.begin()
    assert plot.at(9.9) == []
    assert plot.at(10.0) == ["cancel feed", "serve"]


def test_dependent_with_a_default_starts_without_a_failed_optional_hook() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "feed", required=False)

        @lifespan.on_start
        @written_in("shop.lifespan")
        async def announce(feed: object = None) -> None: ...

    plot = Plot(declare)
    assert plot.begin() == ["start feed"]
    plot.scheduler.ended(plot.now, plot.hook("feed"), OSError("down"))
    [(_, hook_run, given)] = [one for one in plot.scheduler.commands if one[0] is Do.START]
    assert hook_run is plot.hook("announce")
    assert given == {}


def test_optional_hook_that_has_failed_is_not_stopped() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "feed", required=False))
    plot.begin()
    plot.ends("feed", OSError("down"))
    plot.serves()
    assert plot.stops() == ["finish"]


# The startup does not wait for a hook.


def test_process_serves_and_is_not_ready_before_a_hook_is_up_that_it_did_not_wait_for() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "model", wait=False))
    assert plot.begin() == ["serve", "start model"]
    plot.serves()
    assert plot.readiness() is Readiness.WARMING_UP
    plot.up("model")
    assert plot.readiness() is Readiness.OK


def test_process_is_not_ready_when_a_hook_fails_that_it_did_not_wait_for() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "model", wait=False))
    plot.begin()
    plot.serves()
    assert plot.ends("model", OSError("no such file")) == []
    assert plot.readiness() is Readiness.WARM_UP_FAILED


# A stop fails.


def served(declare: Callable[[Lifespan], object], *names: str, limits: Limits = LIMITS) -> Plot:
    """Return a plot in which some resources are up and the process serves."""
    plot = Plot(declare, limits)
    plot.begin()
    for name in names:
        plot.up(name)
    plot.serves()
    return plot


def test_stop_raises_and_every_other_hook_still_stops() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    error = OSError("not closed")
    assert plot.ends("cache", error) == ["release db"]
    plot.ends("client")
    assert plot.ends("db") == ["finish"]
    assert plot.scheduler.stop_errors == [error]
    assert plot.scheduler.status == "shutdown_failed"


def test_stop_that_passes_its_limit_is_cancelled() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db", shutdown_timeout=2.0), "db")
    assert plot.stops() == ["release db"]
    assert plot.at(2.0) == ["cancel db"]
    assert plot.ends("db", asyncio.CancelledError()) == ["finish"]
    assert plot.entry("db", IN_SHUTDOWN).outcome == "timed_out"


def test_all_errors_of_a_shutdown_are_kept() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    first, second = OSError("first"), OSError("second")
    plot.ends("cache", first)
    plot.ends("client", second)
    plot.ends("db")
    assert plot.scheduler.stop_errors == [first, second]


def test_second_stop_joins_the_first() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    plot.scheduler.stop(plot.now, quick=False, ended_by="another")
    assert plot.commands() == []
    assert plot.scheduler.ended_by == "the test"


# The shutdown nears its deadline.


def test_order_is_given_up_one_second_before_the_deadline_of_the_shutdown() -> None:
    slow = Limits(startup=30.0, stop=60.0, shutdown=8.0)
    plot = served(chain, "db", "client", "cache", limits=slow)
    plot.stops()
    plot.ends("client")
    assert plot.at(7.0) == ["cancel cache", "release db"]


def test_hook_that_ignores_the_deadline_is_abandoned() -> None:
    slow = Limits(startup=30.0, stop=60.0, shutdown=8.0)
    plot = served(chain, "db", "client", "cache", limits=slow)
    plot.stops()
    plot.ends("client")
    plot.at(7.0)
    assert plot.at(8.0) == ["abandon db", "abandon cache", "finish"]
    assert plot.entry("db", IN_SHUTDOWN).outcome == "abandoned"


def test_startup_that_fails_with_no_time_left_stops_every_hook_at_once() -> None:
    """A hook has blocked the loop until the time of the rollback was used up, too."""
    plot = Plot(chain, LIMITS._replace(startup=3.0))
    plot.begin()
    plot.up("db")
    plot.up("client")
    plot.scheduler.time_passed(8.0)
    assert plot.commands() == ["cancel cache", "stop begins"]
    assert plot.stop_begins() == ["release client", "release db"]


# A hook ignores its cancellation.


def test_hook_is_cancelled_once_more_after_a_second_and_then_abandoned() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db", shutdown_timeout=2.0), "db")
    plot.stops()
    assert plot.at(2.0) == ["cancel db"]
    assert plot.at(3.0) == ["cancel db"]
    assert plot.at(4.0) == ["abandon db", "finish"]


def test_hook_that_comes_up_after_its_cancellation_exits_at_once() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "feed", required=False, timeout=2.0))
    plot.begin()
    assert plot.at(2.0) == ["cancel feed", "serve"]
    plot.serves()
    assert plot.up("feed") == ["release feed"]
    assert plot.ends("feed") == []


def test_thread_is_abandoned_at_once() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db", timeout=2.0, in_thread=True))
    plot.begin()
    assert plot.at(2.0) == ["stop begins", "abandon db"]
    assert plot.stop_begins() == ["finish"]


# Cancelled.


def test_cancelled_startup_stops_open_hooks_quickly() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.up("client")
    plot.scheduler.stop(plot.now, quick=True, ended_by="cancelled")
    assert plot.commands() == ["cancel db", "stop begins"]
    assert plot.stop_begins() == ["release client"]
    assert plot.at(1.0) == ["cancel db", "cancel client"]
    assert plot.scheduler.deadlines.deadline == 3.0


def test_hook_that_fails_during_the_rollback_of_a_cancelled_startup_is_reported() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db", in_thread=True))
    plot.begin()
    plot.stops(quick=True)
    assert plot.ends("db", OSError("nobody there")) == ["finish"]
    assert plot.entry("db").outcome == "failed"
    assert plot.scheduler.first_error is None


def test_second_cancellation_cuts_nothing_short() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db"), "db")
    plot.stops(quick=True)
    plot.now = 0.5
    plot.scheduler.hurry(plot.now)
    assert plot.commands() == []
    assert plot.scheduler.deadlines.deadline == 3.0
    assert plot.at(0.9) == []


def test_cancellation_makes_a_stop_that_is_under_way_a_quick_one() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db"), "db")
    plot.stops()
    plot.now = 2.0
    plot.scheduler.hurry(plot.now)
    assert plot.at(3.0) == ["cancel db"]


def test_end_of_the_loop_is_no_failure_of_a_hook() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.scheduler.loop_ends(plot.now)
    plot.ends("db", asyncio.CancelledError())
    assert plot.entry("db").outcome == "cancelled"
    assert plot.scheduler.first_error is None


# Errors of other kinds.


def test_cancelled_error_of_a_hooks_own_is_its_failure() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.ends("db", asyncio.CancelledError())
    assert plot.entry("db").outcome == "failed"
    assert "was cancelled by its own code" in str(plot.scheduler.first_error)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "Ctrl+C"])
def test_base_exception_is_unwound_like_any_other(error: BaseException) -> None:
    plot = Plot(chain)
    plot.begin()
    plot.up("client")
    assert plot.ends("db", error) == ["stop begins"]
    assert plot.stop_begins() == ["release client"]
    assert plot.scheduler.first_error is error


def test_of_several_errors_the_first_is_kept_and_noted() -> None:
    plot = Plot(chain)
    plot.begin()
    first, second = OSError("first"), OSError("second")
    plot.ends("db", first)
    plot.stop_begins()
    plot.ends("client", second)
    assert plot.scheduler.first_error is first
    assert any("Then 'shop.client'" in note for note in first.__notes__)


# The stop is known before it begins.


def test_drain_function_runs_as_soon_as_the_stop_is_known_and_everything_else_stays_up() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        lifespan.on_drain(name="leave")(written_in("shop.lifespan")(nothing))

    plot = served(declare, "db")
    plot.scheduler.notice(plot.now)
    assert plot.commands() == ["start leave"]
    assert plot.stops() == []
    assert plot.ends("leave") == ["release db"]


# While serving.


def test_job_that_crashes_is_not_begun_again() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh"))
    assert plot.begin() == ["serve"]
    assert plot.serves() == ["start refresh"]
    assert plot.ends("refresh", OSError("lost")) == []
    assert plot.readiness() is Readiness.CRASHED
    assert plot.at(3600.0) == []


def test_job_that_crashes_is_begun_again_after_longer_and_longer_pauses() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", on_crash="restart"))
    plot.begin()
    plot.serves()
    for due in (1.0, 3.0, 7.0):
        plot.ends("refresh", OSError("lost"))
        assert plot.at(due - 0.1) == []
        assert plot.at(due) == ["start refresh"]
    assert plot.hook("refresh").serving is not None
    assert plot.entry("refresh", Phase.SERVING).attempt == 4


def test_job_is_begun_once_where_its_turn_comes_in_the_moment_in_which_all_is_settled() -> None:
    """What it would use, and the startup does not wait for, is skipped with the last hook."""

    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db", required=False)
        resource(lifespan, "index", "db", required=False, wait=False)

        async def refresh(index: object = None) -> None: ...

        lifespan.background(written_in("shop.lifespan")(refresh))

    plot = Plot(declare)
    assert plot.begin() == ["start db"]
    assert plot.ends("db", OSError("nobody there")) == ["serve"]
    assert plot.serves() == ["start refresh"]


def test_after_good_service_the_pauses_begin_anew() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", on_crash="restart"))
    plot.begin()
    plot.serves()
    plot.ends("refresh", OSError("lost"))
    assert plot.at(1.0) == ["start refresh"]
    plot.at(61.5)
    plot.ends("refresh", OSError("lost"))
    assert plot.at(62.4) == []
    assert plot.at(62.5) == ["start refresh"]


def test_crashed_job_is_not_restarted_without_its_dependencies() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "refresh", depends_on=["shop.db"], on_crash="restart")

    plot = Plot(declare)
    plot.begin()
    plot.up("db")
    plot.serves()
    plot.ends("db", OSError("lost"))
    plot.ends("refresh", OSError("lost"))
    assert plot.at(60.0) == []
    assert "it needs 'shop.db'" in plot.entry("refresh", Phase.SERVING).reason


def test_optional_job_that_crashes_leaves_the_process_degraded() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", required=False))
    plot.begin()
    plot.serves()
    plot.ends("refresh", OSError("lost"))
    assert plot.readiness() is Readiness.DEGRADED


def test_job_that_crashes_has_the_server_asked_to_stop() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", on_crash="stop"))
    plot.begin()
    plot.serves()
    assert plot.ends("refresh", OSError("lost")) == ["ask to stop refresh"]


@pytest.mark.parametrize(
    ("on_give_up", "answer"),
    [("log", ["given up refresh"]), ("stop", ["given up refresh", "ask to stop refresh"])],
)
def test_job_that_crashes_too_often_is_given_up(on_give_up: str, answer: list[str]) -> None:
    plot = Plot(
        lambda lifespan: job(
            lifespan, "refresh", on_crash="restart", give_up=(3, 10), on_give_up=on_give_up
        )
    )
    plot.begin()
    plot.serves()
    for due in (1.0, 3.0):
        assert plot.ends("refresh", OSError("lost")) == []
        assert plot.at(due) == ["start refresh"]
    assert plot.ends("refresh", OSError("lost")) == answer
    assert plot.at(3600.0) == []
    assert plot.readiness() is Readiness.CRASHED
    reason = "it is given up: 3 crashes within 10 s"
    assert plot.entry("refresh", Phase.SERVING).reason == reason


def test_crashes_that_are_long_ago_do_not_count() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", on_crash="restart", give_up=(2, 10)))
    plot.begin()
    plot.serves()
    for crash in range(100):
        plot.now += 10.1
        assert plot.ends("refresh", OSError("lost")) == []
        assert plot.at(plot.hook("refresh").job.due) == ["start refresh"], crash


def test_next_round_is_due_a_minute_after_the_begin_of_the_last_one() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=60))
    plot.begin()
    assert plot.serves() == ["start refresh"]
    plot.at(10.0)
    assert plot.ends("refresh") == []
    assert plot.at(59.9) == []
    assert plot.at(60.0) == ["start refresh"]
    assert plot.at(3600.0) == []
    assert plot.ends("refresh") == []
    assert plot.at(3600.0) == ["start refresh"]


def test_round_that_crashes_leaves_the_job_crashed_until_one_succeeds() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=60, on_crash="restart"))
    plot.begin()
    plot.serves()
    plot.ends("refresh", OSError("lost"))
    assert plot.readiness() is Readiness.CRASHED
    assert plot.at(1.0) == ["start refresh"]
    assert plot.readiness() is Readiness.CRASHED
    plot.ends("refresh")
    assert plot.readiness() is Readiness.OK


def test_round_that_passes_its_limit_is_cancelled_twice_and_then_waited_for() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=60, timeout=5))
    plot.begin()
    plot.serves()
    assert plot.at(5.0) == ["cancel refresh"]
    assert plot.readiness() is Readiness.CRASHED
    assert plot.at(6.0) == ["cancel refresh"]
    assert plot.at(3600.0) == ["hangs refresh"]
    plot.ends("refresh", asyncio.CancelledError())
    assert plot.at(3600.0) == ["start refresh"]


def test_job_that_gives_no_sign_of_life_is_stalled() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", stall_after=30))
    plot.begin()
    plot.serves()
    assert plot.at(30.0) == ["stalled refresh"]
    assert plot.readiness() is Readiness.CRASHED
    plot.hook("refresh").job.lives(plot.now)
    plot.scheduler.recovers(plot.now, plot.hook("refresh"))
    assert plot.readiness() is Readiness.OK
    assert plot.at(60.0) == ["stalled refresh"]


def test_job_does_not_stall_between_two_rounds() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=60, jitter=0, stall_after=70))
    plot.begin()
    plot.serves()
    plot.ends("refresh")
    # The loop was blocked, so that nothing was looked at in time.
    plot.now = 200.0
    plot.scheduler.time_passed(plot.now)
    assert plot.commands() == ["start refresh"]
    assert plot.at(269.0) == []
    assert plot.at(270.0) == ["stalled refresh"]


def test_stop_in_the_last_second_ends_as_soon_as_the_job_is_down_too() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "refresh")
        lifespan.on_drain(name="drain", timeout=30)(written_in("shop.lifespan")(nothing))

    plot = Plot(declare, Limits(startup=300.0, stop=5.0, shutdown=8.0))
    plot.begin()
    plot.up("db")
    plot.serves()
    assert plot.stops() == ["start drain"]
    assert plot.at(7.0) == ["cancel drain", "cancel refresh", "release db"]
    assert plot.ends("refresh", asyncio.CancelledError()) == []
    assert plot.ends("db") == []
    assert plot.ends("drain", asyncio.CancelledError()) == ["finish"]


def test_required_start_that_waits_for_its_next_attempt_at_the_deadline_names_the_last_one() -> (
    None
):
    plot = Plot(flaky, Limits(startup=30.0, stop=5.0, shutdown=8.0))
    plot.begin()
    plot.up("client")
    plot.ends("db", OSError("nobody there"))
    # The loop was blocked, so that the next attempt did not begin in time.
    plot.now = 30.0
    plot.scheduler.time_passed(plot.now)
    error = plot.scheduler.first_error
    assert "did not start within the startup's deadline of 30 s: attempt 1 had failed with" in str(
        error
    )
    assert "nobody there" in str(error)


def test_optional_start_that_waits_for_its_next_attempt_at_the_deadline_is_skipped_with_it() -> (
    None
):
    plot = Plot(
        lambda lifespan: flaky(lifespan, required=False),
        Limits(startup=30.0, stop=5.0, shutdown=8.0),
    )
    plot.begin()
    plot.up("client")
    plot.ends("db", OSError("nobody there"))
    plot.now = 30.0
    plot.scheduler.time_passed(plot.now)
    entry = plot.entry("db")
    assert entry.outcome == "skipped"
    assert entry.reason == (
        "attempt 1 had failed with OSError: nobody there, and the startup passed its deadline"
    )
    assert (entry.begun, entry.ended) == (0.0, 30.0)


def test_job_that_waits_for_its_next_round_is_down_with_the_hooks() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=60))
    plot.begin()
    plot.serves()
    plot.ends("refresh")
    assert plot.stops() == ["finish"]


def test_job_that_returns_is_finished() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh"))
    plot.begin()
    plot.serves()
    assert plot.ends("refresh") == []
    assert plot.entry("refresh", Phase.SERVING).outcome == "finished"
    assert plot.readiness() is Readiness.OK


def test_resource_whose_own_tasks_crash_is_down() -> None:
    plot = served(chain, "db", "client", "cache")
    assert plot.ends("client", OSError("lost")) == []
    assert plot.hook("client").crashed
    assert plot.stops() == ["release cache"]


def test_jobs_stop_before_the_first_hook_those_of_the_highest_priority_first() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "low")
        job(lifespan, "high", priority=1)

    plot = Plot(declare)
    plot.begin()
    plot.up("db")
    assert plot.serves() == ["start low", "start high"]
    assert plot.stops() == ["cancel high"]
    assert plot.ends("high", asyncio.CancelledError()) == ["cancel low"]
    assert plot.ends("low", asyncio.CancelledError()) == ["release db"]


# A slow hook.


def test_lines_of_slow_hooks_are_looked_for_four_times_in_a_startup() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db"), LIMITS._replace(startup=60.0))
    plot.begin()
    assert plot.looks_until(50.0) == {5.0: ["db"], 10.0: ["db"], 20.0: ["db"], 40.0: ["db"]}


def test_lines_of_hooks_that_are_slow_to_stop_are_looked_for() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db"), "db")
    plot.stops()
    assert plot.looks_until(4.5) == {2.0: ["db"], 4.0: ["db"]}


def test_step_that_begins_to_stop_waits_where_its_start_has_waited_no_longer() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db"))
    plot.begin()
    plot.hook("db").located("shop/db.py:7")
    plot.up("db")
    assert plot.entry("db").waiting_at == "shop/db.py:7"
    plot.serves()
    plot.stops()
    step = plot.hook("db").step
    assert step is not None
    assert step.waiting_at == ""


# The engine's own faults.


def test_fault_of_the_engine_stops_open_hooks_in_order() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.up("db")
    fault = RuntimeError("a fault")
    plot.scheduler.fault(plot.now, fault)
    assert plot.commands() == ["cancel cache", "cancel client", "stop begins"]
    assert plot.scheduler.first_error is fault


def test_where_nothing_can_be_relied_on_the_run_ends_at_once() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.scheduler.end_at_once(RuntimeError("a fault"))
    assert plot.commands() == ["cancel db", "cancel client", "finish", "finish"]
