"""One hook in one run, by itself: which changes of its state are possible, and what it records of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.errors import HookError
from lifespan_app.engine.reporting.report import IN_SERVICE, IN_SHUTDOWN, OK, Outcome
from lifespan_app.engine.running import hook_run
from lifespan_app.engine.running.hook_run import (
    DOWN,
    PENDING,
    RETRYING,
    STARTING,
    STOPPING,
    UP,
    HookRun,
    ImpossibleTransition,
    State,
    first_attempt,
    named,
    what_happened,
)
from tests.engine.plot import Plot, chain, job, resource, served

ERROR = OSError("nobody there")

EVENTS: dict[str, tuple[Callable[[HookRun], object], Iterable[tuple[State, State]]]] = {
    "begins": (
        lambda one: one.began(1.0, 9.0),
        [(PENDING, STARTING), (RETRYING, STARTING)],
    ),
    "is armed": (lambda one: one.armed(), [(PENDING, UP)]),
    "is skipped": (
        lambda one: one.skipped("not needed", 1.0),
        [(PENDING, DOWN), (RETRYING, DOWN)],
    ),
    "comes up": (lambda one: one.came_up(None, 1.0, entered=True), [(STARTING, UP)]),
    "is tried again": (lambda one: one.is_tried_again(2.0), [(STARTING, RETRYING)]),
    "fails to start": (lambda one: one.start_over(), [(STARTING, DOWN), (RETRYING, DOWN)]),
    "is asked to stop": (lambda one: one.asked_to_stop(1.0, 9.0), [(UP, STOPPING)]),
    "has nothing to stop": (lambda one: one.nothing_to_stop(OK, 1.0), [(UP, DOWN)]),
    "has stopped": (lambda one: one.stopped(OK, 1.0), [(STOPPING, DOWN)]),
    "ends by itself": (
        lambda one: one.ended_by_itself(Outcome.CRASHED, 1.0, ERROR),
        [(UP, DOWN)],
    ),
    "goes down": (lambda one: one.goes_down(), [(UP, DOWN), (STOPPING, DOWN), (DOWN, DOWN)]),
    "is abandoned": (lambda one: one.give_up(1.0, ERROR), [(STARTING, DOWN), (STOPPING, DOWN)]),
}


def hook() -> HookRun:
    """Return a resource that is tried again, in a run that has not begun."""
    return Plot(lambda lifespan: resource(lifespan, "db", retry=60)).hook("db")


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("before", State)
def test_event_changes_the_state_as_the_table_says_or_is_a_fault(event: str, before: State) -> None:
    happens, changes = EVENTS[event]
    one = hook()
    one.state = before
    after = dict(changes).get(before)
    if after is not None:
        happens(one)
        assert one.state is after
    else:
        with pytest.raises((ImpossibleTransition, AssertionError)):
            happens(one)
        assert one.state is before


def test_impossible_change_names_the_state_and_what_would_be_possible() -> None:
    with pytest.raises(ImpossibleTransition) as caught:
        hook().came_up(None, 1.0, entered=True)
    assert caught.value.args == (PENDING, {STARTING: UP})


def test_transitions_are_those_of_the_architecture() -> None:
    """Each row of the table in docs/architecture.rst."""
    tables = {
        name: dict(value)
        for name, value in vars(hook_run).items()
        if isinstance(value, hook_run.Transition)
    }
    assert tables["RESTARTED"] == {UP: UP, DOWN: UP}
    assert tables["ROUND_ENDED"] == {UP: UP}
    assert tables["JOB_STOPPED"] == {STOPPING: DOWN, UP: DOWN}
    assert len(tables) == len(EVENTS) + 3


def test_hook_that_has_not_begun_holds_nothing_and_follows_no_other() -> None:
    one = hook()
    assert (one.value, one.execution, one.waiting_at, one.after) == (None, None, "", [-1, -1])


def test_only_attempt_is_the_first_one() -> None:
    plot = Plot(lambda lifespan: chain(lifespan, retry=60))
    plot.begin()
    plot.up("db")
    plot.up("cache")
    assert (plot.entry("db").attempt, plot.entry("cache").attempt) == (1, 1)
    assert (plot.entry("db").reason, first_attempt(plot.hook("cache"))) == ("", "")


def test_start_that_is_skipped_counts_as_its_first_attempt() -> None:
    entry = hook().skipped("not needed", 1.0)
    assert entry is not None
    assert entry.attempt == 1


def test_start_that_waits_for_its_next_attempt_waits_nowhere() -> None:
    one = hook()
    one.began(1.0, 9.0)
    one.located("shop/lifespan.py:3")
    one.is_tried_again(2.0)
    assert one.step is not None
    assert one.step.waiting_at == ""


def test_each_step_follows_the_hook_that_gave_it_its_turn() -> None:
    plot = served(chain, "db", "client", "cache")
    db, cache = (plot.hook(name).node.index for name in ("db", "cache"))
    plot.stops()
    for name in ("cache", "client", "db"):
        plot.ends(name)
    assert [plot.entry(name).after for name in ("db", "client", "cache")] == [-1, -1, db]
    assert [plot.entry(name, IN_SHUTDOWN).after for name in ("cache", "client", "db")] == [
        -1,
        -1,
        cache,
    ]


def test_end_of_what_holds_nothing_follows_the_hook_that_gave_it_its_turn() -> None:
    plot = Plot(chain)
    plot.begin()
    # The database is a plain value: no task or thread holds it.
    plot.ends("db")
    plot.up("cache")
    plot.up("client")
    plot.serves()
    plot.stops()
    plot.ends("cache")
    assert plot.entry("db", IN_SHUTDOWN).after == plot.hook("cache").node.index
    assert (plot.entry("db", IN_SHUTDOWN).outcome, plot.entry("db", IN_SHUTDOWN).reason) == (
        "ok",
        "",
    )


def test_location_is_one_of_the_running_step_alone() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    plot.hook("cache").located("shop/lifespan.py:3")
    plot.ends("cache")
    assert plot.entry("cache").waiting_at == ""
    assert plot.entry("cache", IN_SHUTDOWN).waiting_at == "shop/lifespan.py:3"


def test_error_that_has_got_a_note_is_renewed_in_the_step_that_it_ended() -> None:
    plot = served(chain, "db", "client", "cache")
    assert plot.hook("client").renewed() is None
    error = OSError("lost")
    plot.ends("client", error)
    error.add_note("The server was restarted.")
    renewed = plot.hook("client").renewed()
    assert renewed is not None
    assert renewed is plot.entry("client", IN_SERVICE)
    assert renewed.failure is not None
    assert "The server was restarted." in renewed.failure.traceback


def test_hook_waits_for_all_hooks_that_it_was_tied_to_one_after_the_other() -> None:
    """A drain function is tied to those of a stage only when the shutdown begins."""
    plot = Plot(chain)
    db, cache, client = (plot.hook(name) for name in ("db", "cache", "client"))
    client.depends_on([db])
    client.depends_on([cache])
    assert (client.dependencies, client.pending) == ([db, cache], 2)
    assert client in db.dependents
    assert client in cache.dependents


# The service of a job.


def test_limit_for_all_hooks_is_none_of_a_job_without_rounds() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh"))
    node = plot.hook("refresh").node
    one = HookRun(plot, node._replace(options=node.options._replace(timeout=3.0)))  # type: ignore[arg-type]
    one.armed()
    one.serves(1.0, 0.5)
    assert one.deadline == math.inf


def every_minute(lifespan: Lifespan) -> None:
    job(lifespan, "refresh", every=60)


def test_round_that_goes_on_is_an_entry_that_ends_where_it_begins() -> None:
    plot = Plot(every_minute)
    plot.begin()
    plot.now = 3.0
    plot.serves()
    entry = plot.entry("refresh", IN_SERVICE)
    assert (entry.begun, entry.ended, entry.outcome, entry.attempt) == (3.0, 3.0, None, 1)


def test_round_that_succeeds_waits_nowhere() -> None:
    plot = served(every_minute)
    plot.hook("refresh").located("shop/lifespan.py:3")
    plot.ends("refresh")
    assert (
        plot.entry("refresh", IN_SERVICE).outcome,
        plot.entry("refresh", IN_SERVICE).waiting_at,
    ) == ("ok", "")


def test_round_that_crashes_says_where_it_waited() -> None:
    plot = served(every_minute)
    plot.hook("refresh").located("shop/lifespan.py:3")
    plot.ends("refresh", ERROR)
    assert plot.entry("refresh", IN_SERVICE).waiting_at == "shop/lifespan.py:3"


def test_round_that_crashes_waits_where_it_was_found_and_not_where_the_one_before_was() -> None:
    plot = served(every_minute)
    plot.hook("refresh").located("shop/lifespan.py:3")
    plot.ends("refresh")
    plot.at(70.0)
    plot.ends("refresh", ERROR)
    assert plot.entry("refresh", IN_SERVICE).outcome == "crashed"
    assert plot.entry("refresh", IN_SERVICE).waiting_at == ""


def test_job_that_crashes_keeps_its_error_and_has_no_other_reason() -> None:
    plot = served(lambda lifespan: job(lifespan, "refresh"))
    plot.now = 7.0
    plot.ends("refresh", ERROR)
    refresh = plot.hook("refresh")
    assert (refresh.job.last_crash, refresh.job.crashed_at) == ("OSError: nobody there", 7.0)
    assert (
        plot.entry("refresh", IN_SERVICE).outcome,
        plot.entry("refresh", IN_SERVICE).reason,
    ) == ("crashed", "")


def test_job_that_fails_to_stop_has_served_since_it_began() -> None:
    plot = Plot(lambda lifespan: job(lifespan, "refresh"))
    plot.begin()
    plot.now = 3.0
    plot.serves()
    plot.now = 7.0
    plot.stops()
    plot.now = 8.0
    plot.ends("refresh", ERROR)
    entry = plot.entry("refresh", IN_SERVICE)
    assert (entry.begun, entry.ended, entry.outcome) == (3.0, 8.0, "failed")
    assert plot.entry("refresh", IN_SHUTDOWN).begun == 7.0


def test_stop_of_a_resource_follows_the_job_that_was_the_last_to_need_it() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db")
        job(lifespan, "refresh", depends_on=["shop.db"])

    plot = served(declare, "db")
    plot.stops()
    plot.ends("refresh", asyncio.CancelledError())
    plot.ends("db")
    assert plot.entry("db", IN_SHUTDOWN).after == plot.hook("refresh").node.index


def test_job_that_never_begins_is_an_entry_of_one_moment() -> None:
    def declare(lifespan: Lifespan) -> None:
        resource(lifespan, "db", required=False)
        job(lifespan, "refresh", depends_on=["shop.db"], every=60, first=10)

    plot = served(declare, "db")
    plot.at(3.0)
    plot.ends("db", ERROR)
    plot.at(10.0)
    entry = plot.entry("refresh", IN_SERVICE)
    assert (entry.node, entry.phase) == (plot.hook("refresh").node, IN_SERVICE)
    assert (entry.begun, entry.ended, entry.outcome) == (10.0, 10.0, "skipped")
    assert entry.reason.startswith("it does not begin: it needs 'shop.db'")


# What it is called, and what its log records have.


def test_log_record_has_the_phase_of_the_step_that_runs() -> None:
    plot = Plot(chain)
    plot.log_fields = dict  # type: ignore[attr-defined]
    phases = [plot.hook("db").log_fields()["phase"]]
    plot.begin()
    phases.append(plot.hook("db").log_fields()["phase"])
    for name in ("db", "client", "cache"):
        plot.up(name)
    plot.serves()
    phases.append(plot.hook("db").log_fields()["phase"])
    assert phases == ["", "startup", ""]


def test_error_of_a_hook_that_cancels_itself_has_the_cancellation_as_its_cause() -> None:
    cancellation = asyncio.CancelledError()
    error = named(hook(), cancellation, "at startup")
    assert isinstance(error, HookError)
    assert error.__cause__ is cancellation


# What happened to it, as the end of a sentence.


def test_hook_that_has_not_begun_did_not_come_up() -> None:
    assert what_happened(hook()) == "did not come up"


def test_hook_that_was_cancelled_did_not_come_up() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.stops()
    plot.ends("client", asyncio.CancelledError())
    assert what_happened(plot.hook("client")) == "did not come up"
    assert what_happened(plot.hook("cache")) == "was skipped"


def test_hook_that_has_failed_names_its_error() -> None:
    plot = Plot(chain)
    plot.begin()
    plot.ends("db", OSError("nobody there"))
    assert what_happened(plot.hook("db")) == "failed: OSError: nobody there"


def test_resource_that_has_crashed_names_its_error() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.ends("client", OSError("lost"))
    assert what_happened(plot.hook("client")) == "crashed: OSError: lost"


def test_hook_that_stops_or_has_stopped_is_closing_or_closed() -> None:
    plot = served(chain, "db", "client", "cache")
    plot.stops()
    assert what_happened(plot.hook("client")) == "is closing or closed"
    plot.ends("client")
    assert what_happened(plot.hook("client")) == "is closing or closed"
