"""The scheduler by itself, without a loop: what it is told, and what it answers.

The tests stand in the order of the table "what happens when it goes wrong" of the design: each row as
events in, and commands out.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from lifespan_app import Lifespan, Retry
from lifespan_app.engine.lease import Lease
from lifespan_app.engine.reporting.report import IN_SHUTDOWN, Phase, Readiness
from lifespan_app.engine.running.deadlines import EARLY, Limits
from lifespan_app.engine.running.scheduler import Do
from tests.engine.apps import written_in
from tests.engine.plot import LIMITS, Plot, chain, job, nothing, resource, served

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


def test_step_begins_when_its_turn_has_come_and_ends_when_it_is_up_or_down() -> None:
    plot = Plot(chain)
    plot.now = 1.0
    plot.begin()
    plot.now = 2.0
    plot.up("db")
    plot.up("client")
    plot.now = 4.5
    plot.up("cache")
    plot.serves()
    assert (plot.entry("cache").begun, plot.entry("cache").ended) == (2.0, 4.5)
    plot.now = 7.0
    plot.stops()
    plot.ends("client")
    plot.now = 8.0
    plot.ends("cache")
    plot.now = 9.5
    plot.ends("db")
    entry = plot.entry("db", IN_SHUTDOWN)
    assert (entry.begun, entry.ended) == (8.0, 9.5)


def test_all_attempts_of_a_start_are_one_step() -> None:
    plot = Plot(flaky)
    plot.now = 1.0
    plot.begin()
    plot.ends("db", OSError("nobody there"))
    plot.at(3.0)
    plot.up("db")
    assert (plot.entry("db").begun, plot.entry("db").ended) == (1.0, 3.0)


def test_every_hook_is_down_at_the_end_and_holds_nothing() -> None:
    def declare(lifespan: Lifespan) -> None:
        chain(lifespan)
        job(lifespan, "refresh")
        job(lifespan, "done")
        lifespan.on_start(name="announce")(written_in("shop.lifespan")(nothing))
        lifespan.on_shutdown(name="leave")(written_in("shop.lifespan")(nothing))

    plot = Plot(declare)
    plot.begin()
    for name in ("db", "client", "cache"):
        plot.up(name)
    plot.ends("announce")
    plot.serves()
    plot.ends("done")
    plot.stops()
    plot.ends("refresh", asyncio.CancelledError())
    for name in ("leave", "cache", "client", "db"):
        plot.ends(name)
    assert plot.scheduler.over
    for one in plot.graph.hook_runs:
        assert (one.state, one.value, one.lives) == ("down", None, False), one


def test_resource_that_holds_nothing_is_closed_at_once() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db"))
    plot.begin()
    plot.ends("db")
    plot.serves()
    plot.now = 5.0
    assert plot.stops() == ["finish"]
    entry = plot.entry("db", IN_SHUTDOWN)
    assert (entry.outcome, entry.begun, entry.ended) == ("ok", 5.0, 5.0)


def test_requests_may_come_while_the_process_serves_and_its_stop_is_not_known() -> None:
    plot = Plot(chain)
    assert plot.readiness() is Readiness.STARTING
    plot.begin()
    for name in ("db", "client", "cache"):
        assert plot.readiness() is Readiness.STARTING
        plot.up(name)
    plot.serves()
    assert plot.readiness() is Readiness.OK
    known = plot.scheduler.readiness(stop_is_known=True, failing=())
    assert known is Readiness.STOPPING
    plot.stops()
    assert plot.readiness() is Readiness.STOPPING
    assert plot.scheduler.status == "stopping"
    for name in ("cache", "client", "db"):
        plot.ends(name)
    assert plot.readiness() is Readiness.STOPPED


def test_run_that_goes_on_has_no_cause_of_its_end() -> None:
    plot = served(chain, "db", "client", "cache")
    assert plot.scheduler.ended_by == ""


def test_failing_check_of_what_is_required_keeps_requests_away() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        resource(lifespan, "feed", required=False)

    plot = served(declare, "db", "feed")
    db, feed = plot.hook("db"), plot.hook("feed")
    scheduler = plot.scheduler
    ready = scheduler.readiness(stop_is_known=False, failing=[feed, db])
    assert ready is Readiness.CHECK_FAILED
    assert scheduler.readiness(stop_is_known=False, failing=[feed]) is Readiness.DEGRADED


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


def test_error_of_the_last_attempt_says_how_the_first_one_had_failed() -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, retry=Retry(60, on=(OSError,))))
    plot.begin()
    plot.up("client")
    plot.ends("db", OSError("nobody there"))
    plot.at(0.5)
    error = ValueError("wrong password")
    assert plot.ends("db", error) == ["stop begins"]
    note = "It was attempt 2; the first one had failed with OSError: nobody there"
    assert note in error.__notes__


def test_last_attempt_that_passes_its_limit_fails_by_it() -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, timeout=5, retry=5.2))
    plot.begin()
    plot.up("client")
    assert plot.at(5.0) == ["cancel db"]
    assert plot.ends("db", asyncio.CancelledError()) == ["stop begins"]
    assert "did not start within its limit of 5 s" in str(plot.scheduler.first_error)
    assert plot.entry("db").outcome == "timed_out"


def test_attempt_that_would_begin_too_late_is_none() -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, retry=2))
    plot.begin()
    plot.up("client")
    plot.at(1.5)
    error = OSError("nobody there")
    assert plot.ends("db", error) == ["stop begins"]
    assert plot.scheduler.first_error is error


@pytest.mark.parametrize("at", [5.0, 5.0 - EARLY], ids=["in time", "when a timer fires early"])
def test_attempt_that_goes_on_at_the_end_of_the_retry_fails_at_once(at: float) -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, retry=5))
    plot.begin()
    plot.up("client")
    plot.scheduler.time_passed(at)
    assert plot.commands() == ["cancel db", "stop begins"]
    assert "did not start within the 5 s of its retry" in str(plot.scheduler.first_error)


def test_error_of_an_only_attempt_says_nothing_of_attempts() -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, retry=Retry(60, on=(OSError,))))
    plot.begin()
    error = ValueError("wrong password")
    plot.ends("db", error)
    [note] = error.__notes__
    assert note.endswith(" at startup.")


def test_stop_waits_for_no_attempt() -> None:
    plot = Plot(flaky)
    plot.begin()
    plot.up("client")
    plot.ends("db", OSError("nobody there"))
    assert plot.stops() == ["release client"]
    assert plot.ends("client") == ["finish"]
    assert plot.entry("db").outcome == "cancelled"
    assert plot.at(3600.0) == []


def test_start_that_fails_while_the_startup_is_rolled_back_is_not_tried_again() -> None:
    plot = Plot(flaky)
    plot.begin()
    plot.stops()
    assert plot.ends("db", OSError("nobody there")) == []
    assert plot.ends("client", asyncio.CancelledError()) == ["finish"]
    assert plot.entry("db").outcome == "failed"


def test_start_that_fails_while_the_loop_ends_is_not_tried_again() -> None:
    plot = Plot(flaky)
    plot.begin()
    plot.scheduler.loop_ends(plot.now)
    assert plot.ends("db", OSError("nobody there")) == ["cancel client", "stop begins"]


def test_at_the_deadline_an_optional_attempt_fails_before_what_is_required() -> None:
    """Its dependents are skipped for it, and not because the startup had failed."""

    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "feed", required=False, retry=60, timeout=2.5)
        resource(lifespan, "index", "feed")
        resource(lifespan, "db")

    plot = Plot(declare, LIMITS._replace(startup=3.0))
    plot.begin()
    assert plot.at(2.5) == ["cancel feed"]
    assert plot.at(3.0) == ["cancel db", "stop begins"]
    assert plot.entry("feed").outcome == "timed_out"
    [failed] = plot.entry("feed").tried.errors
    assert "did not start within its limit of 2.5 s" in failed
    assert plot.entry("index").reason.startswith("it needs 'shop.feed'")


def test_at_the_deadline_a_required_attempt_fails_by_the_limit_that_it_has_passed() -> None:
    plot = Plot(lambda lifespan: flaky(lifespan, timeout=2.5), LIMITS._replace(startup=3.0))
    plot.begin()
    plot.up("client")
    assert plot.at(2.5) == ["cancel db"]
    assert plot.at(3.0) == ["stop begins"]
    assert "did not start within its limit of 2.5 s" in str(plot.scheduler.first_error)
    assert plot.entry("db").outcome == "timed_out"


# A required hook raises, or a limit passes.


def test_required_hook_that_raises_fails_the_startup_and_closes_what_is_open() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.up("client")
    error = OSError("nobody there")
    assert plot.ends("db", error) == ["stop begins"]
    assert plot.entry("cache").outcome == "skipped"
    [note] = error.__notes__
    assert note.startswith("Raised by lifespan hook 'shop.db'")
    assert note.endswith(" at startup.")
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


def test_hook_that_is_up_only_after_the_deadline_has_passed_it() -> None:
    """The loop was blocked, so that nothing was looked at in time."""
    plot = Plot(chain, LIMITS._replace(startup=3.0))
    plot.begin()
    plot.up("db")
    plot.now = 3.2
    plot.up("client")
    error = str(plot.scheduler.first_error)
    assert "within the startup's deadline of 3 s; it has had 3.200 s of them" in error


@pytest.mark.parametrize("up", [True, False], ids=["came up", "returned"])
@pytest.mark.parametrize("at", [2.0, 2.0 - EARLY], ids=["at its limit", "when a timer fires early"])
def test_start_that_ends_in_the_moment_of_its_limit_has_passed_it(at: float, up: bool) -> None:
    """The timer for it may come first, or second: that is to make no difference."""
    plot = Plot(lambda lifespan: resource(lifespan, "db", timeout=2.0))
    plot.begin()
    plot.now = at
    if up:
        plot.up("db")
    else:
        plot.ends("db")
    assert "within its limit of 2 s" in str(plot.scheduler.first_error)


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


@pytest.mark.parametrize("required", [True, False])
def test_hook_does_not_begin_whose_turn_comes_with_the_end_of_the_startup(required: bool) -> None:
    """It was about to start without the hook that had not come up in time."""

    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "feed", required=False)
        resource(lifespan, "db", required=required)

        @lifespan.on_start(required=False)
        @written_in("shop.lifespan")
        async def announce(feed: object = None) -> None: ...

    plot = Plot(declare, LIMITS._replace(startup=3.0))
    plot.begin()
    ended = "stop begins" if required else "serve"
    assert plot.at(3.0) == ["cancel feed", "cancel db", ended]
    assert plot.entry("announce").outcome == "skipped"


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


def test_dependents_are_skipped_behind_one_that_was_skipped_before() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "feed", required=False)
        resource(lifespan, "rates", required=False)
        resource(lifespan, "index", "feed", "rates")
        resource(lifespan, "prices", "rates")

    plot = Plot(declare)
    plot.begin()
    plot.ends("feed", OSError("down"))
    assert plot.ends("rates", OSError("down")) == ["serve"]
    assert plot.entry("prices").outcome == "skipped"


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


def test_only_a_resource_that_comes_up_while_the_process_serves_is_told_to_be_open() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "model", wait=False)
        resource(lifespan, "index", wait=False)

        @lifespan.on_start(depends_on=["shop.model"])
        @written_in("shop.lifespan")
        async def warm_up() -> None: ...

    plot = Plot(declare)
    plot.begin()
    plot.serves()
    told: list[list[Any]] = []
    for name in ("model", "warm_up", "index"):
        plot.scheduler.came_up(plot.now, plot.hook(name), name)
        commands = plot.scheduler.commands
        told.append([one[0] for one in commands if one[0] in (Do.OPENED, Do.WARM)])
        commands.clear()
    assert told == [[Do.OPENED], [], [Do.OPENED, Do.WARM]]


def test_lines_of_slow_hooks_are_looked_for_until_the_last_hook_is_up_that_nobody_waited_for() -> (
    None
):
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "model", wait=False)
        resource(lifespan, "index", wait=False)

    plot = Plot(declare)
    plot.begin()
    plot.serves()
    plot.up("model")
    assert plot.looks_until(6.0) == {5.0: ["index"]}
    plot.up("index")
    assert plot.looks_until(60.0) == {}


def test_start_that_the_startup_does_not_wait_for_is_tried_again_after_its_deadline() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "model", wait=False, retry=100))
    plot.begin()
    plot.serves()
    plot.at(60.0)
    assert plot.ends("model", OSError("nobody there")) == ["try again model"]
    assert plot.at(60.5) == ["start model"]


def test_start_that_begins_in_the_startup_is_tried_again_after_its_deadline() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        resource(lifespan, "model", wait=False, retry=100)

    plot = Plot(declare)
    plot.begin()
    plot.up("db")
    plot.serves()
    plot.at(60.0)
    assert plot.ends("model", OSError("nobody there")) == ["try again model"]
    assert plot.at(60.5) == ["start model"]


def test_late_attempt_that_passes_its_limit_begins_again_once_it_has_ended() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "model", wait=False, retry=100, timeout=5))
    plot.begin()
    plot.serves()
    assert plot.at(5.0) == ["cancel model"]
    assert plot.ends("model", asyncio.CancelledError()) == ["try again model"]
    assert plot.at(5.5) == ["start model"]


def test_lines_of_late_hooks_are_looked_for_after_the_deadline_of_the_startup() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "model", wait=False)
        resource(lifespan, "feed", required=False)

    plot = Plot(declare, LIMITS._replace(startup=3.0))
    plot.begin()
    assert plot.at(3.0) == ["cancel feed", "serve"]
    plot.serves()
    plot.ends("feed", asyncio.CancelledError())
    assert plot.looks_until(6.0) == {5.0: ["model"]}


# A stop fails.


def test_stop_raises_and_every_other_hook_still_stops() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    error = OSError("not closed")
    assert plot.ends("cache", error) == ["release db"]
    assert plot.entry("cache", IN_SHUTDOWN).outcome == "failed"
    [note] = error.__notes__
    assert note.startswith("Raised by lifespan hook 'shop.cache'")
    assert note.endswith(" at shutdown.")
    plot.ends("client")
    assert plot.ends("db") == ["finish"]
    assert plot.scheduler.stop_errors == [error]
    assert plot.scheduler.status == "shutdown_failed"


def test_observers_hear_of_a_stop_that_raises_as_failed() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    plot.scheduler.ended(plot.now, plot.hook("cache"), OSError("not closed"))
    failed = [command[1] for command in plot.scheduler.commands if command[0] is Do.FAILED]
    assert [(entry.phase, entry.outcome) for entry in failed] == [(IN_SHUTDOWN, "failed")]


def test_stop_that_passes_its_limit_is_cancelled() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db", shutdown_timeout=2.0), "db")
    assert plot.stops() == ["release db"]
    assert plot.at(2.0) == ["cancel db"]
    # It is reported now: what ignores its cancellation may take its time.
    steps = plot.journal.snapshot((), lambda: (), plot.now).steps()
    assert [step.outcome for step in steps if step.phase is IN_SHUTDOWN] == ["timed_out"]
    assert plot.ends("db", asyncio.CancelledError()) == ["finish"]
    assert plot.entry("db", IN_SHUTDOWN).outcome == "timed_out"


@pytest.mark.parametrize("at", [2.1, 2.0, 2.0 - EARLY])
def test_stop_that_ends_after_its_limit_has_passed_it(at: float) -> None:
    """The loop was blocked, so that nothing was looked at in time."""
    plot = served(lambda lifespan: resource(lifespan, "db", shutdown_timeout=2.0), "db")
    plot.stops()
    plot.now = at
    assert plot.ends("db") == ["finish"]
    entry = plot.entry("db", IN_SHUTDOWN)
    assert (entry.outcome, entry.ended) == ("timed_out", at)
    [error] = plot.scheduler.stop_errors
    assert "did not stop within its limit of 2 s" in str(error)


def test_error_after_the_limit_of_a_stop_is_a_note_of_the_first_one() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db", shutdown_timeout=2.0), "db")
    plot.stops()
    plot.at(2.5)
    assert plot.ends("db", OSError("not closed")) == ["finish"]
    [error] = plot.scheduler.stop_errors
    assert "did not stop within its limit of 2 s" in str(error)
    assert "Then it raised OSError: not closed" in error.__notes__
    entry = plot.entry("db", IN_SHUTDOWN)
    assert (entry.outcome, entry.ended, entry.error) == ("timed_out", 2.5, error)


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


def test_job_that_raises_when_it_is_stopped_has_failed() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh"))
    plot.begin()
    plot.serves()
    plot.stops()
    plot.now = 2.0
    error = OSError("not closed")
    plot.scheduler.ended(plot.now, plot.hook("refresh"), error)
    failed = [command[1] for command in plot.scheduler.commands if command[0] is Do.FAILED]
    assert [(entry.phase, entry.outcome) for entry in failed] == [(IN_SHUTDOWN, "failed")]
    entry = plot.entry("refresh", Phase.SERVING)
    assert (entry.outcome, entry.ended, entry.error) == ("failed", 2.0, error)
    assert plot.scheduler.stop_errors == [error]
    steps = plot.journal.snapshot((), lambda: (), plot.now).steps()
    assert [step.phase for step in steps] == [Phase.SERVING]


def test_job_is_cancelled_gently_by_the_stop_and_once_more_at_its_limit() -> None:
    """The ending loop has cancelled it, too: a second time would interrupt its clean-up."""
    plot = Plot(lambda lifespan: job(lifespan, "refresh", shutdown_timeout=2))
    plot.begin()
    plot.serves()
    plot.scheduler.stop(plot.now, quick=False, ended_by="the test")
    plot.scheduler.shutdown_begins(plot.now, tells_steps=False)
    assert cancels(plot) == [False]
    plot.scheduler.time_passed(2.0)
    assert cancels(plot) == [True]
    entry = plot.entry("refresh", Phase.SERVING)
    assert (entry.outcome, entry.ended) == ("timed_out", 2.0)


def cancels(plot: Plot) -> list[bool]:
    """Return, of each cancellation, whether it is one of a task that is being cancelled already."""
    told = [command[2] for command in plot.scheduler.commands if command[0] is Do.CANCEL]
    plot.scheduler.commands.clear()
    return told


def test_round_that_passes_its_limit_is_cancelled_though_it_is_being_cancelled() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=60, timeout=5))
    plot.begin()
    plot.serves()
    plot.scheduler.time_passed(5.0)
    assert cancels(plot) == [True]
    plot.scheduler.time_passed(6.0)
    assert cancels(plot) == [True]


def test_run_that_has_not_begun_is_over_at_once() -> None:
    plot = Plot(chain)
    plot.scheduler.stop(plot.now, quick=False, ended_by="the test")
    assert plot.commands() == ["finish"]
    assert plot.scheduler.status == "stopped"
    assert plot.scheduler.phase is IN_SHUTDOWN
    assert plot.scheduler.ended_by == "the test"


def test_quick_stop_makes_the_one_that_is_under_way_quick() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db"), "db")
    plot.stops()
    plot.scheduler.stop(plot.now, quick=True, ended_by="another")
    assert plot.at(1.0) == ["cancel db"]
    assert plot.scheduler.ended_by == "the test"


def test_what_has_not_come_up_yet_is_given_up_at_the_stop() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "model", wait=False)
        resource(lifespan, "index", "model", wait=False)

    plot = Plot(declare)
    plot.begin()
    plot.serves()
    plot.scheduler.stop(plot.now, quick=False, ended_by="the test")
    assert [command[0] for command in plot.scheduler.commands] == [Do.CANCEL, Do.WARM, Do.STOP]
    plot.scheduler.commands.clear()
    assert plot.stop_begins() == []
    assert plot.ends("model", asyncio.CancelledError()) == ["finish"]
    assert plot.entry("model").reason == "the startup was given up"
    assert plot.entry("index").reason == "the process was already stopping"


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


def test_thread_that_passes_its_limit_in_the_last_second_has_failed_already() -> None:
    slow = Limits(startup=30.0, stop=7.5, shutdown=8.0)
    plot = served(lambda lifespan: resource(lifespan, "db", in_thread=True), "db", limits=slow)
    plot.stops()
    assert plot.at(7.0) == []
    [error] = plot.scheduler.stop_errors
    assert plot.at(7.5) == ["abandon db", "finish"]
    [note] = error.__notes__
    assert note.endswith(" at shutdown.")


@pytest.mark.parametrize(
    ("declare", "up", "how"),
    [
        (resource, ["one"], "had not ended at the shutdown's deadline"),
        (job, [], "ignores its cancellation"),
    ],
)
def test_what_still_runs_at_the_deadline_has_failed_as_abandoned(
    declare: Callable[[Lifespan, str], None], up: list[str], how: str
) -> None:
    """The loop was blocked, so that nothing was cancelled in time, except for the job."""
    slow = Limits(startup=30.0, stop=60.0, shutdown=8.0)
    plot = served(lambda lifespan: declare(lifespan, "one"), *up, limits=slow)
    plot.stops()
    plot.scheduler.time_passed(8.0)
    plot.commands()
    plot.scheduler.time_passed(9.0)
    commands = list(plot.scheduler.commands)
    failed = [command[1] for command in commands if command[0] is Do.FAILED]
    assert [(entry.phase, entry.outcome) for entry in failed] == [(IN_SHUTDOWN, "abandoned")]
    assert [command[2] for command in commands if command[0] is Do.ABANDON] == [how]
    [error] = plot.scheduler.stop_errors
    assert str(error).endswith(f"{how}, and was abandoned.")


def test_deadline_that_passes_while_the_loop_is_blocked_leaves_a_last_second() -> None:
    """A hook has blocked the loop for longer than the shutdown may take."""
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    plot.now = 20.0
    assert plot.ends("client") == []
    assert plot.at(20.0) == ["release db", "cancel cache"]
    plot.now = 20.5
    assert plot.ends("cache") == []
    assert plot.at(20.9) == []
    assert plot.at(21.0) == ["abandon db", "finish"]


def test_startup_that_fails_with_no_time_left_stops_every_hook_at_once() -> None:
    """A hook has blocked the loop until the time of the rollback was used up, too."""
    plot = Plot(chain, LIMITS._replace(startup=3.0))
    plot.begin()
    plot.up("db")
    plot.up("client")
    plot.now = 8.0
    plot.scheduler.time_passed(8.0)
    assert plot.commands() == ["cancel cache", "stop begins"]
    assert plot.stop_begins() == ["release client", "release db"]
    assert plot.at(8.9) == []
    assert plot.at(9.0) == ["abandon db", "abandon cache", "abandon client", "finish"]


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


def abandons(plot: Plot, at: float) -> list[str]:
    """Let the time pass; return why hooks are waited for no longer."""
    why = []
    while (wake_at := plot.scheduler.wake_at) <= at:
        plot.now = max(plot.now, wake_at)
        plot.scheduler.time_passed(plot.now)
        why += [command[2] for command in plot.scheduler.commands if command[0] is Do.ABANDON]
        plot.scheduler.commands.clear()
    return why


def test_hook_that_is_abandoned_while_it_starts_keeps_its_first_error() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db", timeout=2.0, required=False))
    plot.begin()
    assert abandons(plot, 10.0) == ["ignores its cancellation"]
    entry = plot.entry("db")
    assert (entry.outcome, entry.ended) == ("abandoned", 4.0)
    assert "did not start within its limit of 2 s" in str(entry.error)


def test_hook_that_is_abandoned_while_it_is_given_up_has_that_as_its_error() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.stops()
    assert abandons(plot, 10.0) == ["ignores its cancellation"] * 2
    assert "'shop.db'" in str(plot.entry("db").error)
    assert str(plot.entry("db").error).endswith("ignores its cancellation, and was abandoned.")


def test_stop_that_is_abandoned_is_an_error_of_the_shutdown() -> None:
    plot = served(
        lambda lifespan: resource(lifespan, "db", shutdown_timeout=2.0, in_thread=True), "db"
    )
    plot.stops()
    assert abandons(plot, 10.0) == ["hangs in its thread, which can't be cancelled"]
    [error] = plot.scheduler.stop_errors
    assert "did not stop within its limit of 2 s" in str(error)
    assert plot.entry("db", IN_SHUTDOWN).outcome == "abandoned"
    assert plot.scheduler.over


def test_what_an_abandoned_hook_does_is_no_news() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db", required=False, timeout=2.0)
        resource(lifespan, "feed", required=False, timeout=2.0)
        job(lifespan, "refresh", shutdown_timeout=1.0)

    plot = Plot(declare)
    plot.begin()
    abandons(plot, 5.0)
    plot.serves()
    assert plot.up("feed") == []
    plot.stops()
    assert abandons(plot, 10.0) == ["ignores its cancellation"]
    assert plot.ends("db", OSError("too late")) == []
    assert plot.ends("refresh", OSError("too late")) == []
    assert plot.entry("db").outcome == "abandoned"
    assert plot.entry("refresh", Phase.SERVING).outcome == "abandoned"


def test_what_a_hook_does_after_the_end_of_its_run_is_no_news() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.scheduler.end_at_once(RuntimeError("a fault"))
    plot.commands()
    assert plot.up("db") == []
    assert plot.ends("client", OSError("too late")) == []
    assert plot.hook("client").startup is None
    plot.scheduler.time_passed(3600.0)
    assert plot.commands() == []


# Cancelled.


def test_cancelled_startup_stops_open_hooks_quickly() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.up("client")
    plot.scheduler.stop(plot.now, quick=True, ended_by="cancelled")
    assert plot.commands() == ["cancel db", "stop begins"]
    assert plot.scheduler.status == "stopping"
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


def test_cancellation_after_the_end_of_the_run_has_nothing_looked_at() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db"), "db")
    plot.stops()
    plot.ends("db")
    plot.scheduler.hurry(plot.now)
    assert plot.scheduler.wake_at == math.inf


def test_end_of_the_loop_is_no_failure_of_a_hook() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.scheduler.loop_ends(plot.now)
    plot.ends("db", asyncio.CancelledError())
    assert plot.entry("db").outcome == "cancelled"
    assert plot.scheduler.first_error is None


def test_job_that_ends_with_the_loop_leaves_the_other_jobs_to_the_shutdown() -> None:
    def declare(lifespan: Lifespan) -> None:
        job(lifespan, "refresh")
        job(lifespan, "clean")

    plot = served(declare)
    plot.scheduler.loop_ends(plot.now)
    assert plot.ends("refresh", asyncio.CancelledError()) == []
    assert plot.stops() == ["cancel clean"]


def test_end_of_the_loop_is_none_of_a_run_that_is_over() -> None:
    plot = served(lambda lifespan: resource(lifespan, "db"), "db")
    plot.stops()
    plot.scheduler.loop_ends(plot.now)
    assert plot.scheduler.loop_is_ending
    plot.ends("db", asyncio.CancelledError())
    assert plot.entry("db", IN_SHUTDOWN).outcome == "cancelled"
    plot.scheduler.loop_ends(plot.now)
    assert not plot.scheduler.loop_is_ending


@pytest.mark.parametrize("timeout", [0.5, 60.0])
def test_thread_that_starts_has_a_second_after_the_stop_and_not_longer_than_its_limit(
    timeout: float,
) -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db", timeout=timeout, in_thread=True))
    plot.begin()
    assert plot.stops() == []
    due = min(timeout, 1.0)
    assert plot.at(due - 0.1) == []
    assert plot.at(due) == ["abandon db", "finish"]


def test_what_was_not_begun_at_the_stop_says_so() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.stops()
    assert plot.entry("cache").reason == "the startup was stopped"


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
    assert plot.scheduler.over
    failure = plot.entry("db").failure
    assert failure is not None
    assert "Then 'shop.client'" in failure.traceback
    steps = plot.journal.snapshot((), lambda: (), plot.now).steps()
    assert "Then 'shop.client'" in next(step for step in steps if step.name == "db").traceback


def test_error_that_two_hooks_share_is_not_noted_as_its_own_successor() -> None:
    plot = Plot(chain)
    plot.begin()
    shared = OSError("nobody there")
    plot.ends("db", shared)
    plot.ends("client", shared)
    assert not any(note.startswith("Then") for note in shared.__notes__)


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


def test_drain_function_that_runs_has_one_second_from_a_quick_stop() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        lifespan.on_drain(name="leave", timeout=30)(written_in("shop.lifespan")(nothing))

    plot = served(declare, "db")
    plot.scheduler.notice(plot.now)
    assert plot.commands() == ["start leave"]
    plot.stops(quick=True)
    assert plot.at(1.0) == ["cancel leave"]


# While serving.


def test_job_that_crashes_is_not_begun_again() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh"))
    assert plot.begin() == ["serve"]
    assert plot.serves() == ["start refresh"]
    assert plot.ends("refresh", OSError("lost")) == []
    assert plot.readiness() is Readiness.CRASHED
    assert plot.at(3600.0) == []


def test_status_is_news_where_it_has_changed() -> None:
    def declare(lifespan: Lifespan) -> None:
        job(lifespan, "refresh")
        job(lifespan, "clean")

    plot = Plot(declare)
    plot.begin()
    plot.serves()
    news = []
    for name in ("refresh", "clean"):
        plot.scheduler.ended(plot.now, plot.hook(name), OSError("lost"))
        news.append([command[1] for command in plot.scheduler.commands if command[0] is Do.STATUS])
        plot.scheduler.commands.clear()
    assert news == [[True], [False]]


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


def test_job_that_begins_again_has_log_lines_of_its_own() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", on_crash="restart"))
    plot.begin()
    plot.serves()
    step = (plot.hook("refresh").node.index, Phase.SERVING, 0.0)
    before = plot.journal.sink(*step)
    plot.ends("refresh", OSError("lost"))
    assert plot.journal.sink(*step) is before
    assert plot.at(1.0) == ["start refresh"]
    assert plot.journal.sink(*step) is not before


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
    reason = plot.entry("refresh", Phase.SERVING).reason
    assert reason.startswith("it does not begin: it needs 'shop.db'")
    assert reason.endswith("which crashed: OSError: lost")


def test_job_with_a_first_pause_does_not_begin_without_its_dependencies() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "refresh", depends_on=["shop.db"], every=60, first=10)

    plot = served(declare, "db")
    plot.ends("db", OSError("lost"))
    assert plot.at(60.0) == []
    entry = plot.entry("refresh", Phase.SERVING)
    assert (entry.outcome, entry.begun) == ("skipped", 10.0)


def test_shutdown_function_is_skipped_after_the_crash_of_what_it_needs() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")

        @lifespan.on_shutdown(depends_on=["shop.db"])
        @written_in("shop.lifespan")
        async def leave() -> None: ...

    plot = served(declare, "db")
    plot.ends("db", OSError("lost"))
    assert plot.stops() == ["finish"]
    entry = plot.entry("leave", IN_SHUTDOWN)
    assert entry.outcome == "skipped"
    assert entry.reason.startswith("it needs 'shop.db'")
    assert entry.reason.endswith("which crashed: OSError: lost")


def test_late_hook_does_not_start_after_the_crash_of_what_it_needs() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        resource(lifespan, "model", wait=False)
        resource(lifespan, "index", "db", "model", wait=False)
        resource(lifespan, "pages", "model", wait=False)

    plot = Plot(declare)
    plot.begin()
    plot.up("db")
    plot.serves()
    plot.ends("db", OSError("lost"))
    assert plot.up("model") == ["start pages"]
    entry = plot.entry("index")
    assert entry.outcome == "skipped"
    assert entry.reason.startswith("it needs 'shop.db'")
    assert entry.reason.endswith("which crashed: OSError: lost")


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
    plot.scheduler.stop(plot.now, quick=False, ended_by="SIGTERM")
    assert plot.scheduler.ended_by == "the crash of 'shop.refresh'"


def test_server_is_asked_to_stop_once_by_all_jobs_that_crash() -> None:
    """While it waits for its requests, rounds go on: a second signal would make it wait no longer."""

    def two_jobs(lifespan: Lifespan) -> None:
        job(lifespan, "refresh", on_crash="stop", every=5)
        job(lifespan, "listen", on_crash="stop")

    plot = Plot(two_jobs)
    plot.begin()
    plot.serves()
    assert plot.ends("refresh", OSError("lost")) == ["ask to stop refresh"]
    assert plot.ends("listen", OSError("lost")) == []
    assert plot.at(5.0) == ["start refresh"]
    assert plot.ends("refresh", OSError("lost")) == []
    plot.scheduler.stop(plot.now, quick=False, ended_by="SIGTERM")
    assert plot.scheduler.ended_by == "the crash of 'shop.refresh'"


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
    error = OSError("lost")
    plot.ends("refresh", error)
    [note] = error.__notes__
    assert note.startswith("Raised by lifespan hook 'shop.refresh'")
    assert note.endswith(" while serving.")
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


def test_no_round_begins_beside_one_that_is_being_cancelled() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=6, jitter=0, timeout=5))
    plot.begin()
    plot.serves()
    assert plot.at(60.0) == ["cancel refresh", "cancel refresh", "hangs refresh"]


@pytest.mark.parametrize("at", [5.1, 5.0, 5.0 - EARLY])
def test_round_that_ends_after_its_limit_has_passed_it(at: float) -> None:
    """The loop was blocked, so that nothing was looked at in time."""
    plot = Plot(lambda lifespan: job(lifespan, "refresh", every=60, timeout=5))
    plot.begin()
    plot.serves()
    plot.now = at
    plot.ends("refresh")
    entry = plot.entry("refresh", Phase.SERVING)
    assert entry.outcome == "crashed"
    assert "did not end its round within its limit of 5 s" in str(entry.error)


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


def test_sign_of_life_of_a_job_that_is_not_stalled_is_no_news() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", stall_after=30))
    plot.begin()
    plot.serves()
    plot.scheduler.recovers(plot.now, plot.hook("refresh"))
    assert not plot.scheduler.commands


def test_job_that_gives_a_sign_of_life_waits_nowhere_any_more() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", stall_after=30))
    plot.begin()
    plot.serves()
    plot.at(30.0)
    plot.hook("refresh").located("shop/jobs.py:7")
    assert plot.entry("refresh", Phase.SERVING).waiting_at == "shop/jobs.py:7"
    plot.scheduler.recovers(plot.now, plot.hook("refresh"))
    assert plot.entry("refresh", Phase.SERVING).waiting_at == ""


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


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"every": 60, "timeout": 5}, ["cancel refresh"]),
        ({"stall_after": 5}, ["stalled refresh"]),
        ({"every": 60, "first": 5}, ["start refresh"]),
    ],
    ids=["limit", "stalled", "first"],
)
def test_job_is_looked_at_though_the_timer_has_fired_half_a_millisecond_early(
    options: dict[str, float], answer: list[str]
) -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", **options))
    plot.begin()
    plot.serves()
    plot.scheduler.time_passed(5.0 - EARLY)
    assert plot.commands() == answer


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
    error = OSError("lost")
    assert plot.ends("client", error) == []
    assert plot.hook("client").crashed
    [note] = error.__notes__
    assert note.startswith("Raised by lifespan hook 'shop.client'")
    assert note.endswith(" while serving.")
    assert plot.stops() == ["release cache"]


def test_resource_that_crashes_before_the_service_fails_the_startup() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.up("db")
    error = OSError("lost")
    assert plot.ends("db", error) == ["cancel cache", "cancel client", "stop begins"]
    assert plot.scheduler.first_error is error
    plot.stop_begins()
    plot.ends("client", OSError("not closed"))
    plot.ends("cache", asyncio.CancelledError())
    assert plot.scheduler.over
    steps = plot.journal.snapshot((), lambda: (), plot.now).steps()
    [crash] = [step for step in steps if step.phase is Phase.SERVING]
    assert "Then 'shop.client'" in crash.traceback


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


def test_job_is_stopped_after_the_function_that_ended_last_before_it() -> None:
    def declare(lifespan: Lifespan) -> None:
        job(lifespan, "refresh")
        lifespan.on_drain(name="leave")(written_in("shop.lifespan")(nothing))

    plot = Plot(declare)
    plot.begin()
    plot.serves()
    assert plot.stops() == ["start leave"]
    assert plot.ends("leave") == ["cancel refresh"]
    assert plot.ends("refresh", asyncio.CancelledError()) == ["finish"]
    assert plot.entry("refresh", Phase.SERVING).after == plot.hook("leave").node.index


def test_first_hook_stops_after_the_job_that_ended_last() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "refresh")
        job(lifespan, "clean")

    plot = served(declare, "db")
    plot.stops()
    plot.ends("clean", asyncio.CancelledError())
    plot.ends("refresh", asyncio.CancelledError())
    plot.ends("db")
    assert plot.entry("db", IN_SHUTDOWN).after == plot.hook("refresh").node.index


def test_first_hook_stops_after_the_job_that_was_abandoned_last() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "refresh", shutdown_timeout=2)

    plot = served(declare, "db")
    plot.stops()
    plot.at(4.0)
    plot.ends("db")
    assert plot.entry("db", IN_SHUTDOWN).after == plot.hook("refresh").node.index


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


def test_fault_before_the_service_has_begun_is_a_failure_of_the_startup() -> None:
    plot = Plot(lambda lifespan: resource(lifespan, "db"))
    plot.begin()
    plot.up("db")
    fault = RuntimeError("a fault")
    plot.scheduler.fault(plot.now, fault)
    assert plot.commands() == ["stop begins"]
    assert plot.scheduler.first_error is fault
    assert plot.scheduler.status == "startup_failed"
    assert plot.scheduler.ended_by == "startup failed"
    assert plot.scheduler.deadlines.deadline == 8.0


def test_process_that_serves_goes_on_after_a_fault() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.scheduler.fault(plot.now, RuntimeError("a fault"))
    assert plot.commands() == []
    assert plot.scheduler.first_error is None
    assert plot.readiness() is Readiness.OK


def test_fault_of_the_shutdown_is_one_of_its_errors_and_begins_it_if_it_has_not_begun() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.scheduler.stop(plot.now, quick=False, ended_by="the test")
    plot.commands()
    first, second = RuntimeError("first"), RuntimeError("second")
    plot.scheduler.fault(plot.now, first)
    assert plot.commands() == ["release cache", "release client"]
    plot.ends("client")
    plot.scheduler.fault(plot.now, second)
    assert plot.commands() == []
    assert plot.scheduler.stop_errors == [first, second]
    plot.ends("cache")
    assert plot.ends("db") == ["finish"]


def test_fault_of_a_run_that_is_over_begins_no_shutdown() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.scheduler.end_at_once(RuntimeError("a fault"))
    plot.commands()
    plot.scheduler.fault(plot.now, RuntimeError("another"))
    assert plot.commands() == []


def test_where_nothing_can_be_relied_on_the_run_ends_at_once() -> None:
    plot = Plot(chain)
    plot.begin()
    fault = RuntimeError("a fault")
    plot.scheduler.end_at_once(fault)
    cancelled = [command[2] for command in plot.scheduler.commands if command[0] is Do.CANCEL]
    assert cancelled == [True, True]
    assert plot.commands() == ["cancel db", "cancel client", "finish", "finish"]
    assert plot.scheduler.first_error is fault
    assert plot.scheduler.status == "startup_failed"
    assert plot.scheduler.phase is IN_SHUTDOWN
    assert plot.readiness() is Readiness.STOPPED


def test_end_at_once_keeps_the_error_that_came_first() -> None:
    plot = Plot(chain)
    plot.begin()
    first = OSError("nobody there")
    plot.ends("db", first)
    plot.scheduler.end_at_once(RuntimeError("a fault"))
    assert plot.scheduler.first_error is first


def test_end_at_once_before_the_service_has_begun_is_a_failure_of_the_startup() -> None:
    plot = Plot(chain)
    plot.begin()
    for name in ("db", "client", "cache"):
        plot.up(name)
    fault = RuntimeError("a fault")
    plot.scheduler.end_at_once(fault)
    assert plot.scheduler.first_error is fault
    assert plot.scheduler.stop_errors == []


def test_end_at_once_of_the_service_is_a_failure_of_the_shutdown() -> None:
    plot = served(chain, "db", "client", "cache")
    fault = RuntimeError("a fault")
    plot.scheduler.end_at_once(fault)
    assert plot.scheduler.first_error is None
    assert plot.scheduler.stop_errors == [fault]
    assert plot.scheduler.status == "shutdown_failed"


# Asked for by a test or an observer.


def on_request(**options: Any) -> Plot:
    """Return a plot with a database and a job whose rounds begin only on request."""

    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "refresh", every=60, **options)

    plot = Plot(declare)
    plot.hook("refresh").job.wait_for_requests()
    return plot


def rounds(plot: Plot) -> list[str]:
    """Ask for a round; return the commands, with the end of the round if it is told."""
    plot.scheduler.begin_round(plot.now, plot.hook("refresh"))
    words = [str(command[0]) for command in plot.scheduler.commands]
    plot.scheduler.commands.clear()
    return [word for word in words if word != "status"]


def test_round_on_request_begins_now() -> None:
    plot = on_request()
    plot.begin()
    plot.up("db")
    assert plot.serves() == []
    plot.now = 5.0
    assert rounds(plot) == ["start"]
    assert plot.entry("refresh", Phase.SERVING).begun == 5.0
    plot.ends("refresh")
    assert plot.at(3600.0) == []


def test_round_that_goes_on_is_the_one_that_was_asked_for() -> None:
    plot = on_request()
    plot.begin()
    plot.up("db")
    plot.serves()
    rounds(plot)
    assert rounds(plot) == []


def test_round_that_can_not_begin_is_over_at_once() -> None:
    plot = on_request()
    plot.begin()
    assert rounds(plot) == ["round"]
    plot.up("db")
    plot.serves()
    plot.stops()
    assert rounds(plot) == ["round"]


def test_each_step_is_told_from_the_moment_in_which_somebody_wants_to_know() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.scheduler.steps_are_watched(watched=True)
    plot.scheduler.came_up(plot.now, plot.hook("client"), None)
    assert [command[0] for command in plot.scheduler.commands] == [Do.STEP]
    plot.scheduler.commands.clear()
    plot.scheduler.steps_are_watched(watched=False)
    plot.scheduler.came_up(plot.now, plot.hook("db"), None)
    assert [command[0] for command in plot.scheduler.commands] == [Do.START]


def test_step_of_a_shutdown_function_is_told_when_it_begins() -> None:
    plot = served(
        lambda lifespan: lifespan.on_shutdown(name="leave")(written_in("shop.lifespan")(nothing))
    )
    plot.scheduler.stop(plot.now, quick=False, ended_by="the test")
    plot.commands()
    plot.scheduler.shutdown_begins(plot.now, tells_steps=True)
    step, start = plot.scheduler.commands
    assert step == (Do.STEP, plot.hook("leave").step)
    assert start[0] is Do.START


# The time.


EVENTS: dict[str, Callable[[Plot, float], None]] = {
    "notice": lambda plot, now: plot.scheduler.notice(now),
    "stop": lambda plot, now: plot.scheduler.stop(now, quick=False, ended_by="the test"),
    "hurry": lambda plot, now: plot.scheduler.hurry(now),
    "fault": lambda plot, now: plot.scheduler.fault(now, RuntimeError("a fault")),
    "ended": lambda plot, now: plot.scheduler.ended(now, plot.hook("refresh"), None),
    "begin_round": lambda plot, now: plot.scheduler.begin_round(now, plot.hook("refresh")),
    "recovers": lambda plot, now: plot.scheduler.recovers(now, plot.hook("refresh")),
    "waits_behind": lambda plot, now: plot.scheduler.waits_behind(
        now, plot.hook("refresh"), "process 5 leads"
    ),
    "loses_lease": lambda plot, now: plot.scheduler.loses_lease(
        now, plot.hook("refresh"), "has run out"
    ),
    "has_turn": lambda plot, now: plot.scheduler.has_turn(
        now, plot.hook("refresh"), Lease("shop.refresh", 1)
    ),
    "time_passed": lambda plot, now: plot.scheduler.time_passed(now),
}


@pytest.mark.parametrize("event", EVENTS)
def test_time_of_an_event_is_now(event: str) -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh", once="cluster"))
    plot.begin()
    plot.serves()
    plot.scheduler.has_turn(1.0, plot.hook("refresh"), Lease("shop.refresh", 1))
    EVENTS[event](plot, 7.0)
    assert plot.scheduler.now == 7.0
