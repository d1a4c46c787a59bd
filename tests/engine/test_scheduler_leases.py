"""Hooks that run once, as the scheduler sees them: what it answers when a lease comes and goes."""

from __future__ import annotations

import asyncio

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.lease import Lease
from lifespan_app.engine.reporting.report import Phase
from lifespan_app.engine.running.scheduler import Do
from tests.engine.apps import written_in
from tests.engine.plot import Plot, job, nothing, resource

LEASE = Lease("shop.poll", 1)
LOST = "has run out"


def polls(**options: object) -> Plot:
    """Return a plot that serves, in which a job that runs once waits for its lease."""
    plot = Plot(lambda lifespan: job(lifespan, "poll", once="cluster", **options))
    plot.begin()
    assert plot.serves() == ["claim poll"]
    return plot


def leads(plot: Plot) -> list[str]:
    """Give the job its lease."""
    plot.scheduler.has_turn(plot.now, plot.hook("poll"), LEASE)
    return plot.commands()


def loses(plot: Plot, name: str = "poll") -> list[str]:
    """Take the lease of a hook away."""
    plot.scheduler.loses_lease(plot.now, plot.hook(name), LOST)
    return plot.commands()


def migrates(lifespan: Lifespan) -> None:
    lifespan.on_start(name="migrate", once="release")(written_in("shop.lifespan")(nothing))


# A job.


def test_job_begins_with_its_lease_and_says_that_it_leads() -> None:
    plot = polls()
    assert leads(plot) == ["leads poll", "start poll"]
    assert plot.hook("poll").lease == LEASE
    assert plot.hook("poll").job.standing_by == ""


def test_job_that_loses_its_lease_is_cancelled_and_claims_it_anew_once_it_has_ended() -> None:
    plot = polls()
    leads(plot)
    plot.now = 5.0
    assert loses(plot) == ["lost poll", "cancel poll"]
    assert plot.hook("poll").lease is None
    plot.now = 5.5
    assert plot.ends("poll", asyncio.CancelledError()) == ["claim poll"]
    entry = plot.entry("poll", Phase.SERVING)
    assert (entry.outcome, entry.reason, entry.ended) == ("ok", "its lease has run out", 5.5)
    assert plot.hook("poll").job.standing_by == "its lease has run out"


def test_journal_has_the_end_of_a_job_that_has_lost_its_lease() -> None:
    plot = polls()
    plot.scheduler.steps_are_watched(watched=True)
    leads(plot)
    loses(plot)
    plot.scheduler.ended(plot.now, plot.hook("poll"), asyncio.CancelledError())
    told = [command[1] for command in plot.scheduler.commands if command[0] is Do.STEP]
    assert told == [plot.entry("poll", Phase.SERVING)]


def test_error_on_the_way_out_of_a_job_that_has_lost_its_lease_is_told() -> None:
    plot = polls()
    leads(plot)
    loses(plot)
    plot.ends("poll", OSError("not closed"))
    reason = "its lease has run out; then it raised OSError: not closed"
    assert plot.entry("poll", Phase.SERVING).reason == reason


def test_job_that_loses_its_lease_between_two_rounds_claims_it_at_once() -> None:
    plot = polls(every=60)
    leads(plot)
    plot.ends("poll")
    assert loses(plot) == ["lost poll", "claim poll"]
    assert plot.hook("poll").job.standing_by == "its lease has run out"
    assert plot.at(3600.0) == []


def test_round_that_has_crashed_stays_crashed_while_the_job_stands_by() -> None:
    plot = polls(every=60)
    leads(plot)
    plot.ends("poll", OSError("lost"))
    loses(plot)
    assert plot.entry("poll", Phase.SERVING).outcome == "crashed"


def test_stalled_job_that_loses_its_lease_is_stalled_no_more() -> None:
    plot = polls(stall_after=30)
    leads(plot)
    assert plot.at(30.0) == ["stalled poll"]
    loses(plot)
    assert plot.ends("poll", asyncio.CancelledError()) == ["claim poll"]
    assert plot.entry("poll", Phase.SERVING).outcome == "ok"
    assert plot.hook("poll").job.stalled == ""


def test_job_that_is_given_up_claims_no_lease() -> None:
    plot = polls(on_crash="restart", give_up=(1, 10))
    leads(plot)
    assert plot.ends("poll", OSError("lost")) == ["given up poll", "give back poll"]
    assert loses(plot) == ["lost poll"]


def test_job_that_loses_its_lease_while_it_stops_is_not_cancelled_again() -> None:
    plot = polls()
    leads(plot)
    assert plot.stops() == ["cancel poll"]
    assert loses(plot) == ["lost poll"]
    assert plot.ends("poll", asyncio.CancelledError()) == ["give back poll", "finish"]


@pytest.mark.parametrize("options", [{}, {"every": 60}])
def test_job_that_loses_its_lease_while_others_stop_is_cancelled_at_once(
    options: dict[str, float],
) -> None:
    """The shutdown has not come to the job yet, and another process may begin it now."""

    def drains(lifespan: Lifespan) -> None:
        job(lifespan, "poll", once="cluster", **options)
        lifespan.on_drain(name="leave")(written_in("shop.lifespan")(nothing))

    plot = Plot(drains)
    plot.begin()
    plot.serves()
    leads(plot)
    assert plot.stops() == ["start leave"]
    assert loses(plot) == ["lost poll", "cancel poll"]
    assert plot.ends("poll", asyncio.CancelledError()) == ["give back poll"]
    assert plot.entry("poll", Phase.SERVING).outcome == "ok"
    assert plot.ends("leave") == ["give back poll", "finish"]


def test_job_that_loses_its_lease_between_two_rounds_while_others_stop_is_left_alone() -> None:
    def drains(lifespan: Lifespan) -> None:
        job(lifespan, "poll", once="cluster", every=60)
        lifespan.on_drain(name="leave")(written_in("shop.lifespan")(nothing))

    plot = Plot(drains)
    plot.begin()
    plot.serves()
    leads(plot)
    plot.ends("poll")
    assert plot.stops() == ["start leave"]
    assert loses(plot) == ["lost poll"]
    assert plot.ends("leave") == ["give back poll", "finish"]


def test_job_without_its_lease_says_what_it_waits_for() -> None:
    plot = polls()
    assert plot.hook("poll").job.standing_by == "it waits for its lease"
    plot.scheduler.waits_behind(plot.now, plot.hook("poll"), "process 5 leads")
    assert plot.commands() == ["stands by poll"]
    assert plot.hook("poll").job.standing_by == "process 5 leads"


def test_job_that_waits_for_its_lease_gives_its_claim_back_at_the_stop() -> None:
    plot = polls()
    assert plot.stops() == ["give back poll", "finish"]


def test_lease_that_comes_when_the_process_stops_is_given_back() -> None:
    plot = polls()
    plot.scheduler.stop(plot.now, quick=False, ended_by="the test")
    plot.commands()
    assert leads(plot) == ["give back poll"]


def test_job_with_a_first_pause_begins_that_long_after_it_has_its_lease() -> None:
    plot = polls(every=60, first=10)
    plot.now = 5.0
    assert leads(plot) == ["leads poll"]
    assert plot.at(14.9) == []
    assert plot.at(15.0) == ["start poll"]


# A start function.


def test_start_function_is_called_with_its_lease_and_gives_it_back() -> None:
    plot = Plot(migrates)
    assert plot.begin() == ["claim migrate"]
    plot.scheduler.has_turn(plot.now, plot.hook("migrate"), Lease("shop.migrate", 1))
    assert plot.commands() == ["start migrate"]
    assert plot.ends("migrate") == ["give back migrate", "serve"]


def test_step_of_a_start_function_is_told_when_it_claims_its_lease_and_not_again() -> None:
    plot = Plot(migrates)
    plot.scheduler.begin(plot.now, tells_steps=True)
    claim = list(plot.scheduler.commands)
    plot.scheduler.commands.clear()
    assert [command[0] for command in claim] == [Do.STEP, Do.CLAIM]
    assert claim[0][1] == plot.hook("migrate").step
    plot.scheduler.has_turn(plot.now, plot.hook("migrate"), Lease("shop.migrate", 1))
    assert [command[0] for command in plot.scheduler.commands] == [Do.START]


def test_start_function_that_has_its_lease_waits_for_nobody_any_more() -> None:
    plot = Plot(migrates)
    plot.begin()
    plot.hook("migrate").located("behind process 5")
    plot.scheduler.has_turn(plot.now, plot.hook("migrate"), Lease("shop.migrate", 1))
    assert plot.hook("migrate").waiting_at == ""


def test_function_for_a_thread_can_be_cancelled_until_it_has_its_lease() -> None:
    def declare(lifespan: Lifespan) -> None:
        @lifespan.on_start(once="release", timeout=60)
        @written_in("shop.lifespan")
        def migrate() -> None: ...

    waits, runs = Plot(declare), Plot(declare)
    assert waits.begin() == ["claim migrate"]
    waits.scheduler.stop(waits.now, quick=False, ended_by="the test")
    assert waits.commands() == ["cancel migrate", "stop begins"]

    runs.begin()
    runs.scheduler.has_turn(runs.now, runs.hook("migrate"), Lease("shop.migrate", 1))
    assert runs.commands() == ["start migrate"]
    runs.scheduler.stop(runs.now, quick=False, ended_by="the test")
    assert runs.commands() == ["stop begins"]
    assert runs.at(1.0) == ["abandon migrate", "give back migrate"]


def test_start_function_that_loses_its_lease_fails() -> None:
    plot = Plot(migrates)
    plot.begin()
    plot.scheduler.has_turn(plot.now, plot.hook("migrate"), Lease("shop.migrate", 1))
    plot.commands()
    plot.now = 5.0
    assert loses(plot, "migrate") == ["lost migrate", "cancel migrate", "stop begins"]
    entry = plot.entry("migrate")
    assert (entry.outcome, entry.ended) == ("failed", 5.0)
    assert "was cancelled: its lease has run out." in str(plot.scheduler.first_error)


def test_start_function_that_has_lost_its_lease_is_not_tried_again() -> None:
    def declare(lifespan: Lifespan) -> None:
        once = lifespan.on_start(name="migrate", once="release", retry=60, required=False)
        once(written_in("shop.lifespan")(nothing))
        resource(lifespan, "db")

    plot = Plot(declare)
    plot.begin()
    plot.scheduler.has_turn(plot.now, plot.hook("migrate"), Lease("shop.migrate", 1))
    loses(plot, "migrate")
    assert plot.ends("migrate", OSError("not closed")) == ["give back migrate"]
    assert plot.entry("migrate").outcome == "failed"


def test_lease_is_lost_too_late_for_a_start_function_that_has_failed() -> None:
    plot = Plot(migrates)
    plot.begin()
    plot.scheduler.has_turn(plot.now, plot.hook("migrate"), Lease("shop.migrate", 1))
    plot.commands()
    error = OSError("nobody there")
    plot.ends("migrate", error)
    assert loses(plot, "migrate") == ["lost migrate"]
    assert plot.scheduler.first_error is error


@pytest.mark.parametrize("error", [None, OSError("refused")], ids=["ok", "failed"])
def test_what_another_process_has_run_counts_here(error: OSError | None) -> None:
    plot = Plot(migrates)
    plot.begin()
    plot.scheduler.is_answered(plot.now, plot.hook("migrate"), "process 5", error)
    if error is None:
        assert plot.commands() == ["give back migrate", "serve"]
        assert plot.entry("migrate").reason == "process 5 has run it"
    else:
        assert plot.commands() == ["stop begins", "give back migrate"]
        assert plot.scheduler.first_error is error
