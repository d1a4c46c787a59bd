"""One hook in one run: its state, and its steps. No other module writes its fields."""

from __future__ import annotations

import asyncio
import math
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.error_text import add_note, is_a, one_line
from lifespan_app.engine.errors import HookError
from lifespan_app.engine.hooks.hook import BACKGROUND, IN_THREAD, ONLY_AT_END, SYNC_GENERATOR
from lifespan_app.engine.planning.plan import Node
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.reporting.journal import HAS_STARTUP, NOT_TRIED, Entry
from lifespan_app.engine.reporting.report import (
    IN_SERVICE,
    IN_SHUTDOWN,
    IN_STARTUP,
    OK,
    Outcome,
    Phase,
)

if TYPE_CHECKING:
    from typing import Protocol

    from lifespan_app.engine.lease import Lease
    from lifespan_app.engine.reporting.log_capture import LogSink

    from .job import Job

    # A protocol is expensive to create, and only type checkers read it.
    class Reached(Protocol):
        """The part of the run that a hook's code reaches."""

        @property
        def run(self) -> Any:
            """The run itself."""

        def sink_of(self, hook_run: HookRun) -> LogSink | None:
            """Return the sink for log lines of the hook's running step."""


IN_THREADS = (SYNC_GENERATOR, IN_THREAD)
"""The forms of hooks that are called in a thread."""


class State(StrEnum):
    """The state of one hook in its run."""

    PENDING = "pending"
    STARTING = "starting"
    RETRYING = "retrying"
    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


# Module constants, as attributes of an Enum are slow to look up.
PENDING, STARTING, RETRYING, UP, STOPPING, DOWN = State

UNWELL = (Outcome.CRASHED, Outcome.STALLED)

START_TURN, STOP_TURN = 0, 1
"""The turns of a hook. A start that is given up goes on while others stop, so each is kept."""


class ImpossibleTransition(Exception):
    """An impossible change of a hook's state: a fault of the engine itself."""


class Transition(dict[State, State]):
    """The allowed changes of state for one event."""

    def __missing__(self, state: State) -> State:
        raise ImpossibleTransition(state, dict(self))


# The transitions.
BEGAN = Transition({PENDING: STARTING, RETRYING: STARTING})
ARMED = Transition({PENDING: UP})
SKIPPED = Transition({PENDING: DOWN, RETRYING: DOWN})
CAME_UP = Transition({STARTING: UP})
TRIED_AGAIN = Transition({STARTING: RETRYING})
FAILED_TO_START = Transition({STARTING: DOWN, RETRYING: DOWN})
ASKED_TO_STOP = Transition({UP: STOPPING})
NOTHING_TO_STOP = Transition({UP: DOWN})
STOPPED = Transition({STOPPING: DOWN})
ENDED_BY_ITSELF = Transition({UP: DOWN})
RESTARTED = Transition({UP: UP, DOWN: UP})
ROUND_ENDED = Transition({UP: UP})
JOB_STOPPED = Transition({STOPPING: DOWN, UP: DOWN})
ALL_OVER = Transition({UP: DOWN, STOPPING: DOWN, DOWN: DOWN})
ABANDONED = Transition({STARTING: DOWN, STOPPING: DOWN})


class HookRun:
    """One hook in one run; or, without a hook, a barrier.

    Args:
        run: the run.
        node: the hook in the run's plan.
    """

    __slots__ = (
        "after",
        "at_end",
        "attempts",
        "begun",
        "cancel_attempts",
        "deadline",
        "dependencies",
        "dependents",
        "execution",
        "hook",
        "job",
        "lives",
        "node",
        "on_loop",
        "once",
        "pending",
        "released",
        "run",
        "serving",
        "settled",
        "shutdown",
        "startup",
        "state",
        "value",
        "waiting_at",
    )

    def __init__(self, run: Reached, node: Node) -> None:
        hook = node.hook
        kind = None if hook is None else hook.kind
        self.run: Any = run
        self.node = node
        self.hook: Any = hook
        self.job: Any = None
        """Its rounds and crashes as a background job; None for any other hook."""
        self.at_end = kind in ONLY_AT_END
        """True if it does nothing at startup, and is called at the end."""
        self.on_loop = hook is not None and hook.form not in IN_THREADS
        """True if it lives in a task, False if in a thread."""
        self.attempts: Any = None
        """The attempts of its start; None where there is only one."""
        self.once: Any = None
        """Its lease, if only one process runs it; None for any other hook."""
        self.dependencies: list[HookRun] = []
        self.dependents: list[HookRun] = []
        self.state: State = PENDING
        self.pending = 0
        """The number of hooks that its turn still waits for."""
        self.after = [-1, -1]
        """The indexes of the nodes that gave it its turns: to start, and to stop."""
        self.settled = False
        """True once its dependents need not wait for it at startup."""
        self.released = False
        """True once its turn to stop has come."""
        self.lives = False
        """True while a task or thread works for it, or holds it."""
        self.cancel_attempts = 0
        self.begun = 0.0
        """When its last step began."""
        self.deadline = math.inf
        self.waiting_at = ""
        """The location where its last step waited when that was looked up."""
        self.value: Any = None
        self.execution: Any = None
        """The executor's task or thread for it."""
        self.startup: Entry | None = None
        self.serving: Entry | None = None
        self.shutdown: Entry | None = None
        """The ended steps; of a job, also the running one."""
        # What few hooks have is imported for them.
        if kind is BACKGROUND:
            from .job import Job

            self.job = Job(node.options)
        if node.options.retry is not None:
            from .attempts import Attempts

            self.attempts = Attempts(node.options.retry)
        if node.options.once is not None:
            from .once import Once

            self.once = Once()

    # Properties.

    @property
    def is_job(self) -> bool:
        """True if it is a background job."""
        return self.job is not None

    @property
    def non_blocking(self) -> bool:
        """True if the startup does not wait for it: the process may serve before it is up."""
        return not self.node.options.wait

    @property
    def waits_for_turn(self) -> bool:
        """True while its start waits for its lease; one that has lost its lease may still run."""
        waits = self.once is not None and self.once.lease is None
        return waits and self.state is STARTING and self.execution is None

    @property
    def lease(self) -> Lease | None:
        """The lease that it runs with, if only one process runs it."""
        lease: Lease | None = None if self.once is None else self.once.lease
        return lease

    @property
    def running_now(self) -> bool:
        """True if one of the hook's own steps is running; service does not count."""
        return self.state is STARTING or self.state is STOPPING

    @property
    def abandoned(self) -> bool:
        """True if nobody waits for its task or thread any more, which may still run."""
        steps = (self.startup, self.serving, self.shutdown)
        return any(step is not None and step.outcome is Outcome.ABANDONED for step in steps)

    @property
    def stop_asked(self) -> bool:
        """True if it has to exit its context, also if it has entered it too late."""
        return self.state is STOPPING or self.state is DOWN

    @property
    def phase(self) -> Phase | None:
        """The phase of the running step, or None."""
        if self.is_job:
            return IN_SERVICE if self.lives else None
        if self.state is STARTING or self.state is RETRYING:
            return IN_STARTUP
        return IN_SHUTDOWN if self.state is STOPPING else None

    @property
    def step(self) -> Entry | None:
        """The running step, or None."""
        if self.is_job:
            return self.serving if self.lives else None
        if self.state is STARTING or self.state is RETRYING:
            return self.startup or self._entry(IN_STARTUP, self.begun)
        if self.state is STOPPING:
            return self.shutdown or self._entry(IN_SHUTDOWN, self.begun)
        return None

    def _entry(self, phase: Phase, ended: float, outcome: Outcome | None = None) -> Entry:
        """Return its step of the startup or the shutdown, in its state at a time."""
        after = self.after[START_TURN if phase is IN_STARTUP else STOP_TURN]
        # Three times as fast as Entry(...), of which each hook has one or two.
        where = self.waiting_at
        number, tried = 1, NOT_TRIED
        if self.attempts is not None and phase is IN_STARTUP:
            number, tried = max(1, self.attempts.number), self.attempts.facts()
        return tuple.__new__(
            Entry,
            (
                self.node,
                phase,
                self.begun,
                ended,
                after,
                outcome,
                number,
                "",
                None,
                where,
                (),
                tried,
            ),
        )

    @property
    def failed_to_start(self) -> bool:
        """True if it has failed to start, or was skipped."""
        return self.startup is not None and self.startup.outcome is not OK

    @property
    def crashed(self) -> bool:
        """True if it has ended with an error while the process served."""
        return self.serving is not None and self.serving.outcome is Outcome.CRASHED

    @property
    def is_unwell(self) -> bool:
        """True if it has crashed while the process served, or is stalled."""
        return self.serving is not None and self.serving.outcome in UNWELL

    @property
    def failed(self) -> bool:
        """True if it has failed, was skipped, has crashed, or is stalled."""
        served = None if self.serving is None else self.serving.outcome
        return self.failed_to_start or (
            served is not None and served is not OK and served is not Outcome.FINISHED
        )

    @property
    def error(self) -> BaseException | None:
        """The error that its start has failed with."""
        return None if self.startup is None else self.startup.error

    @property
    def serving_error(self) -> BaseException | None:
        """The error that it has crashed with, or that its job has ended with."""
        return None if self.serving is None else self.serving.error

    @property
    def stop_error(self) -> BaseException | None:
        """The error that its stop has failed with."""
        return None if self.shutdown is None else self.shutdown.error

    def hangs_on(self, dependency: HookRun) -> bool:
        """Return True if it can't start when another hook has failed."""
        index = dependency.node.index
        return any(wait.node == index and wait.hard for wait in self.node.waits)

    def sink(self) -> LogSink | None:
        """Return the sink for log lines of the running step, or None."""
        sink: LogSink | None = self.run.sink_of(self)
        return sink

    def log_fields(self) -> dict[str, str]:
        """Return the ``extra`` of a log record about it, without the run's fields."""
        phase = self.phase
        fields: dict[str, str] = self.run.log_fields()
        return {**fields, "hook": self.node.key, "phase": "" if phase is None else str(phase)}

    def __str__(self) -> str:
        if self.hook is None:
            return self.node.key
        return f"'{self.node.key}' ({short(self.hook.file)}:{self.hook.line})"

    # The graph.

    def depends_on(self, dependencies: list[HookRun]) -> None:
        """Set its dependencies: it waits for them at startup, and they for it at shutdown."""
        self.dependencies += dependencies
        self.pending += len(dependencies)
        for dependency in dependencies:
            dependency.dependents.append(self)

    def waits_for(self, count: int) -> None:
        """Begin to count down anew: its turn waits for so many others."""
        self.pending = count

    def counts_down(self, by: HookRun, turn: int) -> bool:
        """Count a settled dependency, or an ended dependent. Returns True for the last one."""
        self.pending -= 1
        if self.pending:
            return False
        self.comes_after(by, turn)
        return True

    def comes_after(self, by: HookRun, turn: int) -> None:
        """Store the hook that gave it a turn; a node without a step passes on its own."""
        self.after[turn] = by.node.index if by.has_step else by.after[turn]

    @property
    def has_step(self) -> bool:
        """True if it has a step of its own in the phase that counts down."""
        if self.is_job or self.released:
            return self.shutdown is not None
        return self.hook is not None and self.hook.kind in HAS_STARTUP

    # Events. Each returns the entry for the journal, if there is one.

    def armed(self, *, at_end: bool = False) -> None:
        """Be up: nothing is done at startup, or it was made only now, to be called at the end."""
        self.state = ARMED[self.state]
        if at_end:
            self.at_end = self.settled = True

    def began(self, now: float, deadline: float) -> None:
        """Start: its turn in the startup has come."""
        is_first = self.state is PENDING
        self.state = BEGAN[self.state]
        self.lives = True
        if is_first:
            self.begun = now
        self.deadline = deadline
        if self.once is not None and self.once.lease is None:
            # No thread is taken before its turn, so that the wait can be cancelled.
            self.on_loop = True

    def waits_behind(self, who: str) -> None:
        """Wait for its lease, which another process has."""
        if self.job is not None:
            self.job.stands_by(who)
        else:
            self.once.waits(who)

    def has_turn(self, lease: Lease, deadline: float) -> None:
        """Have its lease, as a start function: its function is called now."""
        self.once.has(lease)
        self.waiting_at = ""
        self.on_loop = self.hook.form not in IN_THREADS
        self.deadline = deadline

    def leads(self, lease: Lease) -> None:
        """Have its lease, as a job that has stood by."""
        self.once.has(lease)
        self.job.stands_by("")

    def has_no_lease(self) -> None:
        """Have no lease any more: it is given back, or lost."""
        self.once.has(None)

    def stands_by(self, now: float, why: str) -> Entry | None:
        """Wait for its lease, as a job; for the first time, or again after it was lost."""
        self.once.has(None)
        self.job.ends()
        self.job.stands_by(why)
        self.job.recovers()
        if self.serving is not None and self.serving.outcome in (None, Outcome.STALLED):
            self.serving = self.serving.ends(OK, now, reason=why)
            return self.serving
        return None

    def is_tried_again(self, at: float) -> None:
        """Wait for the next attempt: this one has failed, and its task or thread has ended."""
        self.state = TRIED_AGAIN[self.state]
        self.attempts.wait_until(at)
        self.lives = False
        self.execution = None
        self.cancel_attempts = 0
        self.on_loop = self.hook.form not in IN_THREADS
        self.waiting_at = ""
        self.deadline = at

    def skipped(self, reason: str, now: float) -> Entry | None:
        """Be down: it can't start, or need not any more."""
        had_begun = self.state is not PENDING
        self.state = SKIPPED[self.state]
        if self.hook is None:
            return None
        if not had_begun:
            self.begun = now
        self.startup = self._entry(IN_STARTUP, now, Outcome.SKIPPED)._replace(reason=reason)
        return self.startup

    def came_up(self, value: Any, at: float, *, entered: bool) -> Entry | None:
        """Record that it is up. Returns None if it had passed its limit before.

        Args:
            value: its value.
            at: when.
            entered: whether its task or thread holds it.
        """
        self.state = CAME_UP[self.state]
        self.value = value
        self.cancel_attempts = 0
        entry = None
        if self.startup is None:
            self.startup = entry = self._entry(IN_STARTUP, at, OK)
            if self.once is not None:
                self.startup = entry = entry._replace(reason=self.once.waits_behind)
        self.lives = entered
        if not entered:
            self.execution = None
        return entry

    def ran_elsewhere(self, who: str) -> None:
        """Note which process has run its function."""
        self.once.waits(f"{who} has run it")

    def settle(self) -> None:
        """Record that its dependents need no longer wait for it at startup."""
        self.settled = True

    def start_over(self) -> None:
        """Be down: the task or thread of its start has ended, and it is not up."""
        self._goes_down(FAILED_TO_START)

    def is_given_up(self, now: float) -> Entry:
        """Be down: the startup was given up while its next attempt was waited for."""
        entry = self.fails(IN_STARTUP, Outcome.CANCELLED, now, reason="the startup was given up")
        self._goes_down(FAILED_TO_START)
        return entry

    def serves(self, now: float, chance: float) -> Entry:
        """Begin its job, for the first time or again, or a round of it.

        A round that follows on a crash leaves the entry as it is: the job has crashed until one succeeds.
        """
        self.state = RESTARTED[self.state]
        self.job.begins(now, chance)
        self.lives = True
        self.cancel_attempts = 0
        limit = self.node.options.timeout if self.job.is_periodic else None
        self.deadline = math.inf if limit is None else now + limit
        if not (self.is_unwell and self.job.is_periodic) or self.serving is None:
            self.serving = Entry(self.node, IN_SERVICE, now, now, attempt=self.job.rounds)
        return self.serving

    def round_succeeds(self, now: float) -> Entry:
        """End a round of its job as it should."""
        self.job.succeeds(now)
        self.serving = self._round_ends(OK, now, None)
        return self.serving

    def round_crashes(self, now: float, error: BaseException) -> Entry:
        """Have a round of its job crash; its task or thread may still be on its way out."""
        self.job.has_crashed(now, error)
        self.serving = self._round_ends(Outcome.CRASHED, now, error)
        return self.serving

    def _round_ends(self, outcome: Outcome, now: float, error: BaseException | None) -> Entry:
        self.job.recovers()
        self.job.lives(now)
        entry = Entry(self.node, IN_SERVICE, self.job.begun, now, attempt=self.job.rounds)
        where = "" if error is None else self.waiting_at
        return entry.ends(outcome, now, error)._replace(waiting_at=where)

    def round_is_over(self) -> None:
        """Live no more: the task or thread of a round has ended."""
        self.state = ROUND_ENDED[self.state]
        self.lives = False
        self.execution = None
        self.deadline = math.inf
        self.waiting_at = ""

    def stalls(self, now: float) -> Entry:
        """Be stalled, as a job that has given no sign of life for too long."""
        self.job.stalls()
        assert self.serving is not None
        self.serving = self.serving.ends(Outcome.STALLED, now, reason=self.job.stalled)
        return self.serving

    def recovers(self) -> Entry:
        """Be stalled no more, as a job that has given a sign of life."""
        self.job.recovers()
        assert self.serving is not None
        self.serving = self.serving._replace(outcome=None, reason="", waiting_at="")
        return self.serving

    def ended_by_itself(
        self, outcome: Outcome, now: float, error: BaseException | None = None
    ) -> Entry:
        """Record that its job, or its resource's work, has ended without a request."""
        self._goes_down(ENDED_BY_ITSELF)
        if self.job is not None:
            self.job.recovers()
            self.job.ends()
            if error is None:
                self.job.finishes(now)
            else:
                self.job.has_crashed(now, error)
        begun = now if self.startup is None else self.startup.ended
        serving = self.serving or Entry(self.node, IN_SERVICE, begun, now)
        self.serving = serving._replace(reason="").ends(outcome, now, error)
        return self.serving

    def not_restarted(self, reason: str, now: float) -> Entry:
        """Store the reason that its job does not begin, or does not begin again."""
        serving = self.serving or Entry(self.node, IN_SERVICE, now, now)
        if not self.crashed:
            serving = serving._replace(outcome=Outcome.SKIPPED)
        self.job.ends()
        self.serving = serving._replace(reason=reason)
        return self.serving

    def release(self) -> None:
        """Record that its turn in the shutdown has come."""
        self.released = True

    def asked_to_stop(self, now: float, deadline: float) -> None:
        """Record that it has to exit its context, or is called if its work is done at the end."""
        self.state = ASKED_TO_STOP[self.state]
        self.lives = True
        self.begun = now
        self.waiting_at = ""
        self.cancel_attempts = 0
        self.deadline = deadline

    def job_asked_to_stop(self, now: float, deadline: float, after: int) -> None:
        """Stop, as a job: it is cancelled."""
        self.asked_to_stop(now, deadline)
        self.job.ends()
        assert self.serving is not None
        self.serving = self.serving._replace(after=after)
        # A job has no step of its own in the shutdown: this entry stays out of the journal.
        self.shutdown = Entry(self.node, IN_SHUTDOWN, now, now)

    def place_stops(self) -> None:
        """Record that background jobs are being stopped at this node."""
        self.state = ASKED_TO_STOP[self.state]

    def nothing_to_stop(self, outcome: Outcome, now: float, reason: str = "") -> Entry:
        """Record that it is down: it holds nothing, or its dependency is missing.

        Since when it can't be read, or why it was not called, is worth an entry.
        """
        self._goes_down(NOTHING_TO_STOP)
        after = self.after[STOP_TURN]
        self.shutdown = Entry(self.node, IN_SHUTDOWN, now, now, after, outcome, reason=reason)
        return self.shutdown

    def goes_down(self) -> None:
        """Be down: nothing was to be stopped, or it has stopped."""
        self._goes_down(ALL_OVER)

    def _goes_down(self, row: Transition) -> None:
        self.state = row[self.state]
        self.lives = False
        self.value = self.execution = None

    def stopped(self, outcome: Outcome, at: float) -> Entry:
        """Be down: the task or thread of its stop has ended."""
        entry = self.shutdown
        if entry is None:
            entry = self._entry(IN_SHUTDOWN, at, outcome)
        else:
            entry = entry.ends(outcome, at)
        self._goes_down(STOPPED)
        self.shutdown = entry
        return entry

    def job_stopped(self, at: float) -> Entry:
        """Record that its job has ended, on request or because the loop ends."""
        self._goes_down(JOB_STOPPED)
        self.job.ends()
        assert self.serving is not None
        self.serving = self.serving.ends(self.serving.outcome or OK, at)
        return self.serving

    def fails(
        self,
        phase: Phase,
        outcome: Outcome,
        at: float,
        error: BaseException | None = None,
        reason: str = "",
    ) -> Entry:
        """Fail in a phase; its task or thread may still be on its way out."""
        step = self.serving if phase is IN_SERVICE else None
        step = (step or self._entry(phase, at)).ends(outcome, at, error, reason)
        self._keep(step)
        return step

    def give_up(self, now: float, error: BaseException) -> Entry:
        """Record that it was abandoned: it ignores its cancellations, or hangs in its thread.

        Args:
            now: when.
            error: the error of its start, if that has none yet.
        """
        starts, step = self.state is STARTING, self.step
        assert step is not None
        self.state = ABANDONED[self.state]
        self.lives = False
        is_news = starts and step.failure is None
        step = step.ends(Outcome.ABANDONED, now, error if is_news else None)
        self._keep(step)
        return step

    def renewed(self) -> Entry | None:
        """Keep the text of the error that it has failed with anew: it has got notes since."""
        for step in (self.startup, self.serving):
            if step is not None and step.failure is not None:
                renewed = step._replace(failure=step.failure.renewed())
                self._keep(renewed)
                return renewed
        return None

    def located(self, where: str) -> None:
        """Store the location where its step waits."""
        self.waiting_at = where
        for step in (self.startup, self.serving, self.shutdown):
            if step is not None and step is self.step:
                self._keep(step._replace(waiting_at=where))

    def _keep(self, step: Entry) -> None:
        if step.phase is IN_STARTUP:
            self.startup = step
        elif step.phase is IN_SERVICE:
            self.serving = step
        else:
            self.shutdown = step

    @property
    def looks_at(self) -> float:
        """The next time of its job: it is due, its round passes its limit, or it stalls."""
        job: Job = self.job
        if not self.lives:
            return job.due
        return min(job.stalls_at, self.deadline) if self.state is UP else math.inf

    # Limits, and the executor's side.

    def due_at(self, deadline: float) -> None:
        """Set its deadline; infinity is none."""
        self.deadline = deadline

    def cancelled(self) -> int:
        """Count a cancellation, or a passed limit. Returns the number of them."""
        self.cancel_attempts += 1
        return self.cancel_attempts

    def cancel_begins(self) -> None:
        """Count as cancelled once, since a thread can't be cancelled."""
        self.cancel_attempts = 1

    def lives_in(self, execution: Any) -> None:
        """Store the executor's task or thread for it."""
        self.execution = execution

    def moved_to_loop(self) -> None:
        """Record that it lives in a task from now on, like its thread's return value."""
        self.on_loop = True


def what_happened(hook_run: HookRun) -> str:
    """Return the failure of a hook, as the end of a sentence."""
    entry = hook_run.startup
    if entry is not None and entry.outcome is Outcome.SKIPPED:
        return "was skipped"
    if hook_run.error is not None:
        return f"failed: {one_line(hook_run.error)}"
    if hook_run.serving_error is not None:
        return f"crashed: {one_line(hook_run.serving_error)}"
    is_up = entry is not None and entry.outcome is OK
    return "is closing or closed" if is_up else "did not come up"


def first_attempt(hook_run: HookRun) -> str:
    """Return, of a start that was tried again, which attempt was the last and how the first failed."""
    attempts = hook_run.attempts
    if attempts is None or attempts.number < 2:
        return ""
    return f"It was attempt {attempts.number}; the first one had failed with {attempts.errors[0]}"


def is_cancellation(error: BaseException | None) -> bool:
    """Return True if an error is asyncio's cancellation."""
    return error is not None and is_a(error, asyncio.CancelledError)


def named(hook_run: HookRun, error: BaseException, when: str) -> BaseException:
    """Return a hook's error with a note that names the hook."""
    if is_cancellation(error):
        # Raised again, it would look like a cancellation of the caller.
        cause = error
        error = HookError(f"{hook_run} was cancelled by its own code.")
        error.__cause__ = cause
    add_note(error, f"Raised by lifespan hook {hook_run} {when}.")
    return error
