"""The scheduler: decides on the next steps of a run's hooks, without asyncio, threads or clock.

It receives events, each with its time, and returns commands; ``Driver`` runs them before it passes the
next event. Startup and shutdown are one count-down, along the edges of the graph and against them.
Hooks whose turn has come go into a queue that is emptied before an event returns, so that a chain of
any length is a loop.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.advice import GENERIC, Advice
from lifespan_app.engine.error_text import add_note, one_line
from lifespan_app.engine.errors import HookError, LimitPassed
from lifespan_app.engine.hooks.hook import RESOURCE
from lifespan_app.engine.planning.plan import Gives
from lifespan_app.engine.reporting.journal import Entry, Journal
from lifespan_app.engine.reporting.report import (
    IN_SERVICE,
    IN_SHUTDOWN,
    IN_STARTUP,
    OK,
    Outcome,
    Phase,
    Readiness,
    Status,
)

from .deadlines import EARLY, GRACE, Deadlines, Limits
from .graph import Graph
from .hook_run import (
    DOWN,
    PENDING,
    RETRYING,
    START_TURN,
    STARTING,
    STOP_TURN,
    STOPPING,
    UP,
    HookRun,
    first_attempt,
    is_cancellation,
    named,
    what_happened,
)
from .limit_texts import LimitTexts

if TYPE_CHECKING:
    from lifespan_app.engine.lease import Lease


class Do(StrEnum):
    """A command of the scheduler."""

    START = "start"
    """Start the task or thread of a hook, with its resources."""
    RELEASE = "release"
    """Make a hook exit its context."""
    CANCEL = "cancel"
    ABANDON = "abandon"
    """Wait for a hook no longer; the command has the reason."""
    STEP = "step"
    """Notify the observers of a step that has begun or ended."""
    FAILED = "failed"
    """Notify the observers of a hook that has failed."""
    STATUS = "status"
    """Notify the observers of the run's status, if that has changed, or in any case."""
    SERVE = "serve"
    """Every hook is settled: answer with ``service_begins``."""
    STOP = "stop"
    """The shutdown begins: answer with ``shutdown_begins``."""
    OPENED = "opened"
    """A resource has come up while the process serves."""
    CLOSED = "closed"
    """A resource can't be read any more."""
    WARM = "warm"
    """Nothing starts any more that the startup did not wait for."""
    TRY_AGAIN = "try again"
    """Log that a start has failed, and when it is tried again."""
    GIVEN_UP = "given up"
    """Log that a job does not begin again, since it has crashed too often."""
    STALLED = "stalled"
    """Log that a job gives no sign of life."""
    ROUND = "round"
    """A round has ended."""
    HANGS = "hangs"
    """Log that a round ignores its cancellation, and delays all others."""
    CLAIM = "claim"
    """Claim the lease of a hook that runs once; the hook waits for its turn."""
    GIVE_BACK = "give back"
    """Give the lease of a hook back, or wait for it no longer."""
    LEADS = "leads"
    """Log that a job has its lease."""
    STANDS_BY = "stands by"
    """Log who has the lease that a hook waits for."""
    LOST = "lost"
    """Log that a hook has lost its lease."""
    LOOK = "look"
    """Log the locations where slow hooks wait."""
    ASK_TO_STOP = "ask to stop"
    """Ask the server of this process to stop it."""
    FINISH = "finish"


# Module constants, as attributes of an Enum are slow to look up.
START, RELEASE, STEP = Do.START, Do.RELEASE, Do.STEP

Command = tuple[Any, ...]
"""A command, and its arguments."""


class Scheduler:
    """The decisions on the hooks of a run.

    Args:
        graph: the hooks, with their dependencies.
        journal: the record of all steps.
        limits: the limits of the run, in seconds.
        where: returns the location where a hook waits; called when its limit has passed.
        random: returns a number from 0 to 1, for the pauses of jobs that crash.
        advice: the names of settings in the texts.
    """

    def __init__(
        self,
        graph: Graph,
        journal: Journal,
        limits: Limits,
        where: Callable[[HookRun], object] = lambda hook_run: None,
        random: Callable[[], float] = lambda: 0.5,
        advice: Advice = GENERIC,
    ) -> None:
        self.graph = graph
        self.journal = journal
        self.deadlines = Deadlines(limits, graph.hook_runs)
        self.commands: deque[Command] = deque()
        """The commands to run, in this order, before the next event."""
        self.phase: Phase = IN_STARTUP
        self.status = Status.STARTING
        self.ended_by = ""
        self.first_error: BaseException | None = None
        self._first_failed: HookRun | None = None
        self.stop_errors: list[BaseException] = []
        self.over = False
        self.loop_is_ending = False
        """True if every task of the loop is being cancelled, as ``asyncio.run`` does at its end."""
        self._some_failed = False
        self._some_crashed = False
        self._where = where
        self._now = 0.0
        self._tells_steps = False
        self._turns: deque[tuple[Callable[[HookRun], object], HookRun]] = deque()
        """The hooks whose turn has come, each with the method to call."""
        self._non_blocking = [one for one in graph.hook_runs if one.non_blocking]
        self._unsettled = len(graph.hook_runs) - len(self._non_blocking)
        self._left = 0
        self._has_served = False
        self._stop_has_begun = False
        self._random = random
        self._texts = LimitTexts(self.deadlines, advice)

    # Queries.

    @property
    def now(self) -> float:
        """The time of the last event."""
        return self._now

    @property
    def wake_at(self) -> float:
        """The time of the next call of ``time_passed``, by the run's clock."""
        return self.deadlines.soonest

    @property
    def warming_up(self) -> bool:
        """True while hooks start, or are about to, that the startup does not wait for."""
        return not all(hook_run.settled for hook_run in self._non_blocking)

    def readiness(self, *, stop_is_known: bool, failing: Iterable[HookRun]) -> Readiness:
        """Return the readiness for requests. No other code decides that.

        Args:
            stop_is_known: whether the shutdown was announced.
            failing: the resources whose checks fail.
        """
        if self.over:
            return Readiness.STOPPED
        if self.phase is not IN_SERVICE:
            return Readiness.STARTING if self.phase is IN_STARTUP else Readiness.STOPPING
        if stop_is_known:
            return Readiness.STOPPING
        hook_runs = self.graph.hook_runs
        if self._some_crashed and any(
            one.is_unwell and one.node.options.required for one in hook_runs
        ):
            return Readiness.CRASHED
        required = [one for one in self._non_blocking if one.node.options.required]
        if any(one.error is not None for one in required):
            return Readiness.WARM_UP_FAILED
        if not all(one.settled for one in required):
            return Readiness.WARMING_UP
        failing = list(failing)
        if any(one.node.options.required for one in failing):
            return Readiness.CHECK_FAILED
        whole = self.status is not Status.DEGRADED and not failing
        return Readiness.OK if whole else Readiness.DEGRADED

    # Events: the phases of the run.

    def begin(self, now: float, *, tells_steps: bool) -> None:
        """Begin the run.

        Args:
            now: by the run's clock, as everywhere here.
            tells_steps: whether an observer wants each step of the phase.
        """
        self._now = now
        self._tells_steps = tells_steps
        self.journal.phase_begins(IN_STARTUP, now)
        self.deadlines.begin_startup(now)
        for hook_run in self.graph.hook_runs:
            if self._non_blocking and not hook_run.non_blocking:
                # Blocking hooks don't wait for non-blocking ones.
                hook_run.waits_for(sum(not one.non_blocking for one in hook_run.dependencies))
            if not hook_run.pending:
                self._turns.append((self._begin, hook_run))
        if not self._unsettled:
            self._serve()
        self._advance()

    def service_begins(self, now: float, *, tells_steps: bool) -> None:
        """Begin the service."""
        self._now = now
        self._tells_steps = tells_steps
        for job in self.graph.jobs:
            if job.state is UP:
                self._job_may_begin(job)
        self._judge_service()
        self._has_served = True
        self._advance()

    def shutdown_begins(self, now: float, *, tells_steps: bool) -> None:
        """Begin the shutdown; the graph holds the functions that are called in it."""
        self._now = now
        self._tells_steps = tells_steps
        self._stop_has_begun = True
        hook_runs = self.graph.hook_runs
        self._left = len(hook_runs)
        for hook_run in hook_runs:
            count = len(hook_run.dependents)
            hook_run.waits_for(count)
            if not count:
                self._turns.append((self._release, hook_run))
        if not hook_runs:
            self._finish()
        if self.deadlines.rushed or self.deadlines.last_second_has_begun(now):
            self._rush()
        self._advance()

    def notice(self, now: float) -> None:
        """Receive the announcement of the shutdown; the process serves on meanwhile."""
        self._now = now
        self._judge_service()
        for hook_run in self.graph.drains:
            if hook_run.state is UP:
                self._stop(hook_run)
        self._advance()

    def stop(self, now: float, quick: bool, ended_by: str) -> None:
        """Stop the run.

        Args:
            now: by the run's clock.
            quick: whether to stop within 3 seconds in all, 1 second a hook.
            ended_by: the cause of the end, for the report.
        """
        self._now = now
        if self.journal.began is None:
            self.phase = IN_SHUTDOWN
            self.ended_by = ended_by
            self._finish()
        elif self.phase is IN_STARTUP:
            self._roll_back(ended_by, quick=quick)
        elif self.phase is IN_SERVICE:
            self.status = Status.STOPPING
            self.ended_by = self.ended_by or ended_by
            self._enter(IN_SHUTDOWN)
            self.deadlines.begin_shutdown(now, quick=quick)
            if self.warming_up:
                self._give_up_startup("the process was already stopping")
            self.commands.append((Do.STOP,))
        elif quick:
            self._hurry()
        self._advance()

    def hurry(self, now: float) -> None:
        """Make a stop that is under way a quick one."""
        self._now = now
        self._hurry()
        self._advance()

    def loop_ends(self, now: float) -> None:
        """Record that every task of the loop is being cancelled: then hooks don't fail by it."""
        self.loop_is_ending = not self.over

    def fault(self, now: float, error: BaseException) -> None:
        """Receive an error of the engine itself: the startup or the shutdown fails, in order.

        A process that serves goes on, without the failed step.
        """
        self._now = now
        if self.phase is IN_STARTUP:
            self._fail(error)
        elif self.phase is IN_SERVICE and not self._has_served:
            # It was about to serve, and no observer has been called yet.
            self.first_error = error
            self.status = Status.STARTUP_FAILED
            self._roll_back("startup failed", quick=False)
        elif self.phase is IN_SHUTDOWN:
            self.stop_errors.append(error)
            if not (self._stop_has_begun or self.over):
                self.shutdown_begins(now, tells_steps=False)
        self._advance()

    def end_at_once(self, error: BaseException) -> None:
        """End the run without any order: the engine can't be relied on any more."""
        self.commands.clear()
        self._turns.clear()
        if self.phase is IN_STARTUP or not self._has_served:
            self.first_error = self.first_error or error
            self.status = Status.STARTUP_FAILED
        else:
            self.stop_errors.append(error)
        self.phase = IN_SHUTDOWN
        for hook_run in self.graph.hook_runs:
            if hook_run.lives and hook_run.on_loop:
                self.commands.append((Do.CANCEL, hook_run, True))
        self._finish()
        self.commands.append((Do.FINISH,))

    def steps_are_watched(self, *, watched: bool) -> None:
        """Turn the observers' calls for each step on or off."""
        self._tells_steps = watched

    # Events: hooks.

    def came_up(self, now: float, hook_run: HookRun, value: Any, at: float | None = None) -> None:
        """Receive a resource that is up, and held by its task or thread.

        Args:
            now: by the run's clock.
            hook_run: the hook.
            value: its value.
            at: when it came up; None: now. A thread may have to wait for the loop.
        """
        if hook_run.abandoned or self.over:
            return
        self._now = now
        if at is None:
            at = now
        if at + EARLY >= hook_run.deadline:
            self._fail_as_late(hook_run, at)
        self._is_up(hook_run, value, at, entered=True)
        if self._turns:
            self._advance()

    def ended(
        self,
        now: float,
        hook_run: HookRun,
        error: BaseException | None,
        value: Any = None,
        at: float | None = None,
    ) -> None:
        """Receive the end of a hook's task or thread.

        Args:
            now: by the run's clock.
            hook_run: the hook.
            error: its error, if it has one.
            value: its return value.
            at: when it has ended; None: now.
        """
        if not hook_run.lives or self.over:
            return
        self._now = now
        if at is None:
            at = now
        if hook_run.is_job:
            self._job_ended(hook_run, error)
        elif hook_run.state is STARTING:
            self._start_ended(hook_run, error, value, at)
        elif hook_run.state is STOPPING:
            self._stop_ended(hook_run, error, at)
        elif hook_run.state is UP:
            self._crashed(hook_run, error)
        if self._turns:
            self._advance()

    def begin_round(self, now: float, job: HookRun) -> None:
        """Receive the request for a round of a job."""
        self._now = now
        if self.phase is IN_SERVICE and job.state is UP and not job.lives:
            self._restart(job)
        if not job.lives:
            self.commands.append((Do.ROUND, job))

    def recovers(self, now: float, job: HookRun) -> None:
        """Receive a sign of life of a stalled job."""
        self._now = now
        if job.job.stalled and job.state is UP:
            self._write(job.recovers())
            self.deadlines.expect(job.looks_at)
            self._judge_service()

    def waits_behind(self, now: float, hook_run: HookRun, who: str) -> None:
        """Receive who has the lease that a hook waits for, or why nobody has it."""
        self._now = now
        hook_run.waits_behind(who)
        self.commands.append((Do.STANDS_BY, hook_run, who))
        if hook_run.is_job:
            self.commands.append((Do.STATUS, True))

    def has_turn(self, now: float, hook_run: HookRun, lease: Lease) -> None:
        """Receive the lease of a hook: a start function is called, a job begins."""
        self._now = now
        if hook_run.is_job and self.phase is not IN_SERVICE:
            self._give_back(hook_run)
        elif hook_run.is_job:
            hook_run.leads(lease)
            self.commands.append((Do.LEADS, hook_run))
            self._job_may_begin(hook_run)
            self._judge_service()
            self.commands.append((Do.STATUS, True))
        elif hook_run.waits_for_turn:
            hook_run.has_turn(lease, self.deadlines.of_start(hook_run, now))
            self._start(hook_run, tell=False)
        self._advance()

    def is_answered(
        self, now: float, hook_run: HookRun, who: str, error: BaseException | None
    ) -> None:
        """Receive how another process has run a start function."""
        if error is None:
            hook_run.ran_elsewhere(who)
        self.ended(now, hook_run, error)

    def loses_lease(self, now: float, hook_run: HookRun, reason: str) -> None:
        """Receive the loss of a lease: what runs with it is cancelled, as another process may have it.

        Args:
            now: by the run's clock.
            hook_run: the hook.
            reason: why, as the end of a sentence.
        """
        self._now = now
        hook_run.has_no_lease()
        self.commands.append((Do.LOST, hook_run, reason))
        if hook_run.is_job:
            self._job_loses_lease(hook_run, reason)
        elif (
            hook_run.state is STARTING
            and hook_run.startup is None
            and hook_run.on_loop
            and not hook_run.cancel_attempts
        ):
            # Cancelled first, so that a rollback does not take it for a hook within its limits.
            self._cancel(hook_run)
            error = HookError(f"{hook_run} was cancelled: its lease {reason}.")
            self._fail_to_start(hook_run, error, Outcome.FAILED, now)
        self._advance()

    def moved_to_loop(self, now: float, hook_run: HookRun) -> None:
        """Record that the return value from a hook's thread lives on in a task."""
        hook_run.moved_to_loop()

    def time_passed(self, now: float) -> None:
        """Act on the time that ``wake_at`` has given."""
        if self.over:
            return
        self._now = now
        stopping = self.phase is IN_SHUTDOWN
        if self.phase is IN_STARTUP and self.deadlines.deadline_has_passed(now):
            self._pass_startup_deadline()
        elif stopping and self.deadlines.deadline_has_passed(now):
            if self.deadlines.rushed:
                self._end_everything()
                return
            # The loop was blocked until now: what it kept waiting has the last second from now on.
            self.deadlines.begin_last_second(now)
            self._stop_the_rest()
        due = self.deadlines.due(now)
        self._pass_limits([one for one in due if one.state is not RETRYING])
        for hook_run in due:
            if hook_run.state is RETRYING:
                self._begin(hook_run)
        if self.phase is IN_SHUTDOWN and self.deadlines.last_second_has_begun(now):
            self._rush()
        if self.deadlines.takes_look(now):
            slow = [
                one for one in self.deadlines.watched() if one.lives and not one.cancel_attempts
            ]
            self.commands.append((Do.LOOK, slow))
        for job in self.deadlines.due_jobs(now):
            self._look_at_job(job)
        self._advance()
        self.deadlines.look_ahead()

    # Startup.

    def _begin(self, hook_run: HookRun) -> None:
        if hook_run.settled or not (self.phase is IN_STARTUP or self._may_start_late(hook_run)):
            return
        if hook_run.hook is None or hook_run.at_end or hook_run.is_job:
            hook_run.armed()
            self._settle(hook_run)
            return
        if self._some_crashed and (missing := self._missing_dependency(hook_run)) is not None:
            self._skip(hook_run, f"it needs {missing}, which {what_happened(missing)}")
            self._give_back(hook_run)
            self._settle(hook_run)
            return
        attempts = hook_run.attempts
        if attempts is not None:
            waited_for = self.phase is IN_STARTUP and not hook_run.non_blocking
            attempts.begins(self._now, self.deadlines.of_startup if waited_for else math.inf)
        hook_run.began(self._now, self.deadlines.of_start(hook_run, self._now))
        tell = attempts is None or attempts.number == 1
        if hook_run.once is None or hook_run.lease is not None:
            self._start(hook_run, tell=tell)
            return
        if tell and self._tells_steps:
            self.commands.append((STEP, hook_run.step))
        self.commands.append((Do.CLAIM, hook_run))

    def _give_back(self, hook_run: HookRun, *, still_runs: bool = False) -> None:
        """Give the lease of a hook that runs once back, or wait for it no longer."""
        if hook_run.once is not None:
            hook_run.has_no_lease()
            self.commands.append((Do.GIVE_BACK, hook_run, still_runs))

    def _may_start_late(self, hook_run: HookRun) -> bool:
        """Return True if a hook may start, or come up, while the process serves."""
        return self.phase is IN_SERVICE and hook_run.non_blocking

    def _start_ended(
        self, hook_run: HookRun, error: BaseException | None, value: Any, at: float
    ) -> None:
        if at + EARLY >= hook_run.deadline:
            self._fail_as_late(hook_run, at)
        if error is None and hook_run.startup is None:
            self._is_up(hook_run, value, at, entered=False)
            self._give_back(hook_run)
            return
        if self._tries_again(hook_run, error):
            return
        if hook_run.startup is None and hook_run.attempts is not None and hook_run.attempts.passed:
            error = hook_run.attempts.passed
            self._fail_to_start(hook_run, error, Outcome.TIMED_OUT, at)
        hook_run.start_over()
        if hook_run.startup is None:
            assert error is not None
            self._fail_to_start(hook_run, error, Outcome.FAILED, at)
        else:
            # It had failed by its limit; now its last log lines are in.
            self.journal.write(hook_run.startup)
        self._give_back(hook_run)
        if hook_run.released:
            self._down(hook_run)

    def _tries_again(self, hook_run: HookRun, error: BaseException | None) -> bool:
        """Return True if a start that has failed is tried again, after a pause."""
        attempts = hook_run.attempts
        if attempts is None or hook_run.startup is not None or error is None:
            return False
        if not (self.phase is IN_STARTUP or self._may_start_late(hook_run)) or self.loop_is_ending:
            return False
        if attempts.passed is not None:
            error, is_for = attempts.passed, attempts.retry.is_for(TimeoutError())
        else:
            is_for = attempts.retry.is_for(error)
        attempts.fails(error)
        due = self._now + attempts.pause(self._random())
        if not is_for or due >= attempts.until:
            return False
        if hook_run.lease is None:
            # The wait for it has passed a limit: the next attempt claims it anew.
            self._give_back(hook_run)
        hook_run.is_tried_again(due)
        self.deadlines.expect(due)
        self.commands.append((Do.TRY_AGAIN, hook_run))
        return True

    def _is_up(self, hook_run: HookRun, value: Any, at: float, *, entered: bool) -> None:
        entry = hook_run.came_up(value, at, entered=entered)
        if entry is None:
            # It had already failed by its limit, so it has to exit at once.
            self._stop(hook_run)
            return
        self._write(entry)
        if self.phase is IN_STARTUP or self._may_start_late(hook_run):
            self._settle(hook_run)
        elif hook_run.released:
            self._stop(hook_run)

    def _fail_to_start(
        self, hook_run: HookRun, error: BaseException, outcome: Outcome, at: float
    ) -> None:
        self._some_failed = True
        cancelled = hook_run.cancel_attempts or self.loop_is_ending
        if cancelled and outcome is Outcome.FAILED and is_cancellation(error):
            reason = "the startup was given up"
            self._write(hook_run.fails(IN_STARTUP, Outcome.CANCELLED, at, reason=reason))
            return
        error = named(hook_run, error, "at startup")
        attempts = hook_run.attempts
        if attempts is not None and attempts.number > 1:
            add_note(error, first_attempt(hook_run))
        entry = hook_run.fails(IN_STARTUP, outcome, at, error)
        self._write(entry)
        self.commands.append((Do.FAILED, entry))
        if hook_run.non_blocking and self.phase is not IN_SHUTDOWN:
            self._settle(hook_run)
        elif self.phase is not IN_STARTUP:
            self._note(f"Then {hook_run} failed too: {one_line(error)}", of=error)
        elif hook_run.node.options.required:
            self._fail(error, hook_run)
        else:
            self._settle(hook_run)

    def _settle(self, settled: HookRun) -> None:
        """Let a hook's dependents go on: it is up, has failed, or is skipped."""
        found = [settled]
        while found:
            hook_run = found.pop()
            hook_run.settle()
            non_blocking = hook_run.non_blocking
            failed = self._some_failed and hook_run.failed_to_start
            skipped: list[HookRun] = []
            for dependent in hook_run.dependents:
                # Blocking hooks have not counted non-blocking ones.
                if dependent.settled or (non_blocking and not dependent.non_blocking):
                    continue
                if failed and dependent.hangs_on(hook_run):
                    dependent.comes_after(hook_run, START_TURN)
                    self._skip(dependent, f"it needs {hook_run}, which {what_happened(hook_run)}")
                    dependent.settle()
                    skipped.append(dependent)
                elif dependent.counts_down(hook_run, START_TURN):
                    self._turns.append((self._begin, dependent))
            if skipped:
                found += reversed(skipped)
            if non_blocking:
                self._settled_late(hook_run)
            else:
                self._unsettled -= 1
                if not self._unsettled and self.phase is IN_STARTUP:
                    self._turns.append((self._all_settled, hook_run))

    def _settled_late(self, hook_run: HookRun) -> None:
        warming_up = self.warming_up
        if self.phase is IN_SERVICE:
            if hook_run.state is UP:
                if hook_run.is_job:
                    # Before that, ``service_begins`` will.
                    if self._has_served:
                        self._job_may_begin(hook_run)
                elif hook_run.hook is not None and hook_run.hook.kind is RESOURCE:
                    self.commands.append((Do.OPENED, hook_run))
            if not warming_up:
                self.deadlines.end_startup(warming_up=False)
            self._judge_service()
        if not warming_up:
            self.commands.append((Do.WARM,))

    def _all_settled(self, _: HookRun) -> None:
        if self.phase is IN_STARTUP:
            self._serve()

    def _serve(self) -> None:
        self._enter(IN_SERVICE)
        self.deadlines.end_startup(warming_up=self.warming_up)
        self.commands.append((Do.SERVE,))

    def _skip(self, hook_run: HookRun, reason: str) -> None:
        self._some_failed = True
        entry = hook_run.skipped(reason, self._now)
        if entry is not None:
            self._write(entry)

    def _fail(self, error: BaseException, hook_run: HookRun | None = None) -> None:
        """Make the startup fail with an error, and stop the open hooks in reverse."""
        if self.phase is IN_STARTUP:
            self.first_error = error
            self._first_failed = hook_run
            self.status = Status.STARTUP_FAILED
            self._roll_back("startup failed", quick=False)

    def _roll_back(self, ended_by: str, *, quick: bool) -> None:
        self.ended_by = ended_by
        if self.first_error is None:
            self.status = Status.STOPPING
        self._enter(IN_SHUTDOWN)
        self.deadlines.begin_rollback(self._now, quick=quick)
        failed = self.first_error is not None
        self._give_up_startup(f"the startup {'had already failed' if failed else 'was stopped'}")
        self.commands.append((Do.STOP,))

    def _give_up_startup(self, reason: str) -> None:
        """Cancel the starting hooks, and skip those whose turn has not come."""
        for hook_run in self.graph.hook_runs:
            if hook_run.state is STARTING:
                self._give_up_start(hook_run)
            elif hook_run.state is PENDING:
                self._skip(hook_run, reason)
            elif hook_run.state is RETRYING:
                self._write(hook_run.is_given_up(self._now))
                self._give_back(hook_run)
        if self._non_blocking:
            self.commands.append((Do.WARM,))

    def _give_up_start(self, hook_run: HookRun) -> None:
        if hook_run.cancel_attempts:
            return
        if hook_run.on_loop:
            self._cancel(hook_run)
        else:
            # A thread can't be cancelled, but gets the same grace, as it may be about to return.
            hook_run.cancel_begins()
            self.deadlines.grant(hook_run, min(hook_run.deadline, self._now + GRACE))

    # While serving.

    def _judge_service(self) -> None:
        """Notify the observers if the process serves degraded now, or whole again."""
        if self.phase is IN_SERVICE:
            failed = self._some_failed and any(one.failed for one in self.graph.hook_runs)
            status = Status.DEGRADED if failed else Status.SERVING
            changed = status is not self.status
            self.status = status
            self.commands.append((Do.STATUS, changed))

    def _crashed(self, hook_run: HookRun, error: BaseException | None) -> None:
        """Handle a job, or a resource's own tasks, that have ended by themselves."""
        if error is None:
            error = HookError(f"{hook_run} ended by itself while the process was serving.")
        error = named(hook_run, error, "while serving")
        entry = hook_run.ended_by_itself(Outcome.CRASHED, self._now, error)
        self.commands.append((Do.CLOSED, hook_run))
        self._write(entry)
        self.commands.append((Do.FAILED, entry))
        self._some_failed = self._some_crashed = True
        if hook_run.node.options.required and not hook_run.non_blocking:
            self._fail(error, hook_run)
        self._judge_service()

    # Background jobs: begun when everything is up, stopped before the first hook stops.

    def _job_may_begin(self, job: HookRun) -> None:
        """Begin a job, or have it begin later, as the process serves; one that runs once needs its lease."""
        if job.job.on_request:
            return
        if job.once is not None and job.lease is None:
            self._stand_by(job, "it waits for its lease")
            return
        if job.node.options.first:
            job.job.is_due_at(self._now + job.node.options.first)
            self.deadlines.expect(job.looks_at)
        else:
            self._begin_job(job)

    def _begin_job(self, job: HookRun) -> None:
        self.journal.begin_lines(job.node.index, IN_SERVICE)
        entry = job.serves(self._now, self._random())
        self.deadlines.expect(job.looks_at)
        self.journal.write(entry)
        # One after the other, rounds that go well are no news.
        self._start(job, tell=not job.job.is_periodic or job.job.rounds == 1)

    def _look_at_job(self, job: HookRun) -> None:
        """Act on a time of a job's that has come."""
        now = self._now + EARLY
        if job.state is UP and now >= job.deadline:
            if job.job.standing_by:
                self._interrupt(job)
            else:
                self._round_is_late(job)
        if job.state is UP and job.lives and now >= job.job.stalls_at:
            self._where(job)
            self._write(job.stalls(self._now))
            self.commands.append((Do.STALLED, job))
            self._some_failed = self._some_crashed = True
            self._judge_service()
        if now >= job.job.due and not job.lives:
            self._restart(job)

    def _job_ended(self, job: HookRun, error: BaseException | None) -> None:
        cancelled = is_cancellation(error)
        if job.state is STOPPING or (cancelled and self.loop_is_ending):
            if error is not None and not cancelled:
                self._job_fails_to_stop(job, error, Outcome.FAILED)
            self._write(job.job_stopped(self._now))
            self.commands.append((Do.ROUND, job))
            self._stop_next_jobs(job)
            if job.released:
                self._down(job)
        elif job.job.standing_by:
            job.round_is_over()
            self.commands.append((Do.ROUND, job))
            then = "" if error is None or cancelled else f"; then it raised {one_line(error)}"
            self._stand_by(job, f"{job.job.standing_by}{then}")
            return
        elif job.job.is_periodic:
            self._round_ended(job, error)
        elif error is None:
            self._write(job.ended_by_itself(Outcome.FINISHED, self._now))
            self._judge_service()
        else:
            self._crashed(job, error)
            self._after_crash(job)
        if not job.lives and job.job.due == math.inf:
            self._give_back(job)

    # Jobs that run once: one process leads, the others stand by.

    def _stand_by(self, job: HookRun, why: str) -> None:
        """Claim the lease of a job, which begins once it has it."""
        entry = job.stands_by(self._now, why)
        if entry is not None:
            self._write(entry)
        self.commands.append((Do.CLAIM, job))
        self._judge_service()

    def _job_loses_lease(self, job: HookRun, reason: str) -> None:
        if job.job.given_up:
            return
        if self.phase is not IN_SERVICE:
            if job.lives:
                # Its turn to stop may not have come yet.
                self._stop_job(job)
        elif not job.lives:
            self._stand_by(job, f"its lease {reason}")
        elif job.state is UP:
            job.waits_behind(f"its lease {reason}")
            self._interrupt(job)

    def _round_ended(self, job: HookRun, error: BaseException | None) -> None:
        if not job.cancel_attempts:
            if self._now + EARLY >= job.deadline:
                self._round_crashes(job, self._texts.of_round(job))
            elif error is not None:
                self._round_crashes(job, error)
            else:
                was_unwell = job.is_unwell
                entry = job.round_succeeds(self._now)
                if was_unwell:
                    self._write(entry)
                    self._judge_service()
                else:
                    self.journal.write(entry)
        job.round_is_over()
        self.commands.append((Do.ROUND, job))
        self.deadlines.expect(job.looks_at)

    def _round_is_late(self, job: HookRun) -> None:
        """Cancel a round that has passed its limit; a thread is left, and no round begins before it ends."""
        if not job.cancel_attempts:
            self._where(job)
            self._round_crashes(job, self._texts.of_round(job))
        self._interrupt(job)

    def _interrupt(self, job: HookRun) -> None:
        """Cancel a job that serves; a third time there is none, as with a thread: it is waited for."""
        if job.on_loop and job.cancelled() <= 2:
            self.commands.append((Do.CANCEL, job, True))
            self.deadlines.grant(job, self._now + GRACE)
            return
        if job.on_loop:
            self.commands.append((Do.HANGS, job))
        else:
            job.cancel_begins()
        job.due_at(math.inf)

    def _round_crashes(self, job: HookRun, error: BaseException) -> None:
        error = named(job, error, "while serving")
        self._some_failed = self._some_crashed = True
        entry = job.round_crashes(self._now, error)
        self._write(entry)
        self.commands.append((Do.FAILED, entry))
        self._judge_service()
        self._after_crash(job)

    def _after_crash(self, job: HookRun) -> None:
        if self.phase is not IN_SERVICE:
            return
        job.job.goes_on_after_crash(self._now, self._random())
        if job.job.given_up:
            self._write(job.not_restarted(f"it is given up: {job.job.given_up}", self._now))
            self.commands.append((Do.GIVEN_UP, job))
        if job.job.stop_option and not self.ended_by:
            # Once: the next crash may come while the server waits for its requests, and a second signal
            # makes it, or a drain, wait no longer.
            self.ended_by = f"the crash of '{job.node.key}'"
            self.commands.append((Do.ASK_TO_STOP, job))
        self.deadlines.expect(job.looks_at)

    def _restart(self, job: HookRun) -> None:
        """Begin a job that is due, if it may."""
        if self.phase is not IN_SERVICE:
            job.job.ends()
            return
        missing = self._missing_dependency(job)
        if missing is not None:
            reason = f"it does not begin: it needs {missing}, which {what_happened(missing)}"
            self._write(job.not_restarted(reason, self._now))
            self._give_back(job)
            return
        self._begin_job(job)
        self._judge_service()

    def _living_jobs(self) -> list[HookRun]:
        return [job for job in self.graph.jobs if job.lives]

    def _stop_next_jobs(self, ended: HookRun | None = None) -> None:
        """Stop the running jobs of the highest priority; without any, continue the shutdown.

        Args:
            ended: the job that has just ended, if one has.
        """
        place = self.graph.jobs_place
        if place is None or place.state is not STOPPING:
            return
        living = self._living_jobs()
        if not living:
            if ended is not None:
                place.comes_after(ended, STOP_TURN)
            self._down(place)
            return
        highest = max(job.node.options.priority for job in living)
        for job in living:
            if job.node.options.priority == highest:
                self._stop_job(job)

    def _stop_job(self, job: HookRun) -> None:
        if job.state is not UP:
            return
        place = self.graph.jobs_place
        assert place is not None
        due = self.deadlines.of_stop(job, self._now)
        job.job_asked_to_stop(self._now, due, place.after[STOP_TURN])
        if job.on_loop:
            # The ending loop has cancelled the job already; a second time would interrupt its clean-up.
            self.commands.append((Do.CANCEL, job, False))

    def _job_fails_to_stop(self, job: HookRun, error: BaseException, outcome: Outcome) -> None:
        """Handle an error, or a passed limit, of a job that is being stopped."""
        assert job.serving is not None
        outcome = job.serving.outcome or outcome
        self._fail_to_stop(job, error, outcome)
        assert job.stop_error is not None
        job.fails(IN_SERVICE, outcome, self._now, job.stop_error)

    # Shutdown.

    def _release(self, hook_run: HookRun) -> None:
        """Let a hook stop: its dependents are down, or the order was given up."""
        if hook_run.released:
            return
        hook_run.release()
        if hook_run is self.graph.jobs_place and hook_run.state is UP:
            hook_run.place_stops()
            self.deadlines.end_jobs()
            for job in self.graph.jobs:
                if not job.lives:
                    self._give_back(job)
            self._stop_next_jobs()
        elif hook_run.state is UP:
            self._stop(hook_run)
        elif hook_run.state is DOWN:
            self._down(hook_run)

    def _stop(self, hook_run: HookRun) -> None:
        """Make an open hook exit its context, or call it if its work is done at the end."""
        if hook_run.at_end:
            if (missing := self._missing_dependency(hook_run)) is not None:
                reason = f"it needs {missing}, which {what_happened(missing)}"
                self.journal.write(hook_run.nothing_to_stop(Outcome.SKIPPED, self._now, reason))
                self._down(hook_run)
                return
        elif not hook_run.lives:
            if hook_run.hook is not None and hook_run.hook.kind is RESOURCE:
                self.journal.write(hook_run.nothing_to_stop(OK, self._now))
            self._down(hook_run)
            return
        hook_run.asked_to_stop(self._now, self.deadlines.of_stop(hook_run, self._now))
        if hook_run.at_end:
            self._start(hook_run)
            return
        if self._tells_steps:
            self.commands.append((STEP, hook_run.step))
        self.commands.append((RELEASE, hook_run))

    def _stop_ended(self, hook_run: HookRun, error: BaseException | None, at: float) -> None:
        if at + EARLY >= hook_run.deadline:
            self._fail_as_late(hook_run, at)
        outcome = None if hook_run.shutdown is None else hook_run.shutdown.outcome
        cancelled = hook_run.cancel_attempts or self.loop_is_ending
        if error is not None and not (cancelled and is_cancellation(error)):
            outcome = outcome or Outcome.FAILED
            self._fail_to_stop(hook_run, error, outcome)
        elif outcome is None:
            outcome = OK if error is None else Outcome.CANCELLED
        self._write(hook_run.stopped(outcome, at))
        if hook_run.released:
            self._down(hook_run)

    def _fail_to_stop(self, hook_run: HookRun, error: BaseException, outcome: Outcome) -> None:
        """Record that a hook has failed to stop; its task may still run."""
        before = hook_run.stop_error
        if before is not None:
            add_note(before, f"Then it raised {one_line(error)}")
            hook_run.fails(IN_SHUTDOWN, outcome, self._now, before)
            return
        told = named(hook_run, error, "at shutdown")
        self.stop_errors.append(told)
        self._note(f"While rolling back, {hook_run} failed to stop: {one_line(error)}")
        entry = hook_run.fails(IN_SHUTDOWN, outcome, self._now, told)
        if not hook_run.is_job:
            self.journal.write(entry)
        self.commands.append((Do.FAILED, entry))

    def _down(self, hook_run: HookRun) -> None:
        """Record that a hook is down, and count it for its dependencies."""
        if hook_run.state is not DOWN:
            hook_run.goes_down()
        if not hook_run.released:
            return
        self._left -= 1
        for dependency in hook_run.dependencies:
            if dependency.counts_down(hook_run, STOP_TURN):
                self._turns.append((self._release, dependency))
        if not self._left:
            self._turns.append((self._all_down, hook_run))

    def _all_down(self, _: HookRun) -> None:
        self._finish()

    def _finish(self) -> None:
        if self.over:
            return
        self.over = True
        self.journal.run_ends(self._now)
        self.deadlines.close()
        if self.first_error is None:
            self.status = Status.SHUTDOWN_FAILED if self.stop_errors else Status.STOPPED
        elif self._first_failed is not None:
            # Notes may have been added to the error since it failed.
            renewed = self._first_failed.renewed()
            if renewed is not None:
                self.journal.write(renewed)
        self.commands.append((Do.FINISH,))

    # Limits.

    def _fail_as_late(self, hook_run: HookRun, at: float) -> None:
        """Fail a hook that reports after its limit, before the timer has acted on that."""
        if not hook_run.cancel_attempts:
            hook_run.cancel_begins()
            self._fail_by_limit(hook_run, self._texts.passed(hook_run, at), at)

    def _fail_by_limit(self, hook_run: HookRun, error: LimitPassed, at: float) -> None:
        """Fail the step of a hook that has passed its limit; an attempt of a start may be repeated."""
        attempts = hook_run.attempts
        if attempts is not None and hook_run.state is STARTING and hook_run.on_loop:
            goes_on = self.phase is IN_STARTUP or self._may_start_late(hook_run)
            if goes_on and at + EARLY < attempts.until and hook_run.startup is None:
                # It fails once its task has ended, or is tried again.
                attempts.passes_limit(error)
                return
        if hook_run.is_job:
            self._job_fails_to_stop(hook_run, error, Outcome.TIMED_OUT)
        elif hook_run.state is STARTING and hook_run.startup is None:
            self._fail_to_start(hook_run, error, Outcome.TIMED_OUT, at)
        elif hook_run.state is STOPPING and hook_run.shutdown is None:
            self._fail_to_stop(hook_run, error, Outcome.TIMED_OUT)

    def _cancel(self, hook_run: HookRun) -> None:
        """Cancel a hook; the third time, or if it lives in a thread, abandon it."""
        if hook_run.cancelled() > 2 or not hook_run.on_loop:
            self._abandon(hook_run)
            return
        self.commands.append((Do.CANCEL, hook_run, True))
        self.deadlines.grant(hook_run, self._now + GRACE)

    def _abandon(self, hook_run: HookRun) -> None:
        if not hook_run.on_loop:
            how = "hangs in its thread, which can't be cancelled"
        elif hook_run.cancel_attempts or hook_run.is_job:
            how = "ignores its cancellation"
        else:
            # The loop was blocked for so long that it was not cancelled. A job was, by the stop.
            how = "had not ended at the shutdown's deadline"
        error = HookError(f"{hook_run} {how}, and was abandoned.")
        self.commands.append((Do.ABANDON, hook_run, how))
        self._fail_last_attempt(hook_run)
        if hook_run.state is STOPPING and hook_run.stop_error is None:
            if hook_run.is_job:
                self._job_fails_to_stop(hook_run, error, Outcome.ABANDONED)
            else:
                self._fail_to_stop(hook_run, error, Outcome.ABANDONED)
        self._write(hook_run.give_up(self._now, error))
        self._give_back(hook_run, still_runs=True)
        if hook_run.is_job:
            self._stop_next_jobs(hook_run)
        if hook_run.released:
            self._down(hook_run)

    def _fail_last_attempt(self, hook_run: HookRun) -> None:
        """Fail a start whose attempt has passed its limit and goes on: there is no other attempt."""
        passed = None if hook_run.attempts is None else hook_run.attempts.passed
        if passed is not None and hook_run.state is STARTING and hook_run.startup is None:
            hook_run.attempts.fails(passed)
            self._fail_to_start(hook_run, passed, Outcome.TIMED_OUT, self._now)

    def _pass_limits(self, hook_runs: Iterable[HookRun]) -> None:
        """Act on the passed limits of hooks."""
        passed: list[tuple[HookRun, LimitPassed]] = []
        for hook_run in hook_runs:
            if hook_run.cancel_attempts:
                self._cancel(hook_run)
            else:
                self._where(hook_run)
                passed.append((hook_run, self._texts.passed(hook_run, self._now)))
        # All are cancelled before one is reported: a rollback that follows must not take one of
        # them for a hook that was still within its limit.
        for hook_run, _ in passed:
            if hook_run.on_loop:
                self._cancel(hook_run)
            else:
                hook_run.cancel_begins()
        for hook_run, error in passed:
            self._fail_by_limit(hook_run, error, self._now)
            if not (hook_run.on_loop or hook_run.abandoned):
                self._cancel(hook_run)

    def _pass_startup_deadline(self) -> None:
        starting = [
            one
            for one in self.deadlines.watched()
            if one.state is STARTING and not one.non_blocking
        ]
        late = [one for one in starting if not one.cancel_attempts]
        for hook_run in starting:
            if not hook_run.node.options.required:
                self._fail_last_attempt(hook_run)
        self._pass_limits([one for one in late if not one.node.options.required])
        for hook_run in self.graph.hook_runs:
            if hook_run.hook is None or hook_run.node.options.required or hook_run.non_blocking:
                continue
            if hook_run.state is PENDING or hook_run.state is RETRYING:
                self._skip(hook_run, self._texts.too_late(hook_run))
                self._give_back(hook_run)
                self._settle(hook_run)
        self._pass_limits([one for one in late if one.node.options.required])
        for hook_run in starting:
            if self.phase is IN_STARTUP:
                self._fail_last_attempt(hook_run)
        if self.phase is not IN_STARTUP:
            return
        for hook_run in self.graph.hook_runs:
            is_required = hook_run.hook is not None and hook_run.node.options.required
            if is_required and not hook_run.settled and not hook_run.non_blocking:
                self._fail(self._texts.never_began(hook_run))
                return
        self.deadlines.end_startup(warming_up=True)

    def _hurry(self) -> None:
        if not (self.deadlines.quick or self.over):
            self.deadlines.hurry(self._now)

    def _rush(self) -> None:
        """Give up the order: cancel the stopping hooks, and stop all others."""
        self.deadlines.rush()
        if not self._stop_has_begun:
            # The startup has just failed by a limit, and the count-down has not begun.
            return
        for hook_run in self.deadlines.watched():
            stops = hook_run.state is STOPPING and not hook_run.is_job
            if stops and not hook_run.cancel_attempts:
                if hook_run.shutdown is None:
                    self._where(hook_run)
                    error = self._texts.last_second(hook_run)
                    self._fail_to_stop(hook_run, error, Outcome.TIMED_OUT)
                if hook_run.on_loop:
                    self._cancel(hook_run)
        self._stop_the_rest()

    def _stop_the_rest(self) -> None:
        """Stop all hooks that have not been told to, without any order."""
        for job in self._living_jobs():
            self._stop_job(job)
        for hook_run in reversed(self.graph.hook_runs):
            self._release(hook_run)

    def _end_everything(self) -> None:
        for hook_run in self.deadlines.watched():
            if hook_run.running_now:
                self._abandon(hook_run)
        self._advance()
        self._finish()

    # Helpers.

    def _advance(self) -> None:
        turns = self._turns
        while turns:
            action, hook_run = turns.popleft()
            action(hook_run)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.journal.phase_begins(phase, self._now)

    def _start(self, hook_run: HookRun, *, tell: bool = True) -> None:
        """Start a hook with the resources that are up now."""
        if tell and self._tells_steps:
            self.commands.append((STEP, hook_run.step))
        self.commands.append((START, hook_run, self._resources_of(hook_run)))

    def _resources_of(self, hook_run: HookRun) -> dict[str, Any]:
        hook_runs = self.graph.hook_runs
        return {
            argument.name: hook_runs[argument.node].value
            for argument in hook_run.node.arguments
            if argument.gives is Gives.RESOURCE and hook_runs[argument.node].state is UP
        }

    def _missing_dependency(self, hook_run: HookRun) -> HookRun | None:
        """Return a dependency of a hook that is no longer up, or None."""
        for wait in hook_run.node.waits:
            if wait.hard and self.graph.hook_runs[wait.node].state is not UP:
                return self.graph.hook_runs[wait.node]
        return None

    def _write(self, entry: Entry) -> None:
        entry = self.journal.write(entry)
        if self._tells_steps:
            self.commands.append((STEP, entry))

    def _note(self, text: str, of: BaseException | None = None) -> None:
        """Add a note to the first error, if there is one, about a later one."""
        if self.first_error is not None and self.first_error is not of:
            add_note(self.first_error, text)
