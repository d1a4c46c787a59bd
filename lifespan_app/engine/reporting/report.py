"""The report of a run, as plain data; and the base class of observers."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

from collections.abc import Awaitable
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from lifespan_app.engine.error_text import line_of
from lifespan_app.engine.planning.plan import Excluded


class Mode(StrEnum):
    """The way in which a run was opened."""

    SERVER = "server"
    RELOAD = "reload"
    COMMAND = "command"
    CHECK = "check"
    THREAD = "thread"
    TEST = "test"


class Status(StrEnum):
    """The status of a run."""

    STARTING = "starting"
    SERVING = "serving"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STARTUP_FAILED = "startup_failed"
    SHUTDOWN_FAILED = "shutdown_failed"


class Readiness(StrEnum):
    """Readiness for requests, or the reason against it."""

    OK = "ok"
    DEGRADED = "degraded"
    """Requests may come, although an optional hook has failed."""
    STARTING = "starting"
    WARMING_UP = "warming_up"
    """It serves, and a required hook that the startup did not wait for is not up yet."""
    WARM_UP_FAILED = "warm_up_failed"
    """A required hook that the startup did not wait for has failed."""
    CRASHED = "crashed"
    """A required job or resource has crashed while the process serves, or a required job is stalled."""
    CHECK_FAILED = "check_failed"
    """The check of a required resource fails."""
    STOPPING = "stopping"
    STOPPED = "stopped"


READY = frozenset({Readiness.OK, Readiness.DEGRADED})
NOT_STARTED = frozenset({Readiness.STARTING, Readiness.WARMING_UP, Readiness.WARM_UP_FAILED})
"""A required hook is not up yet."""


class JobState(StrEnum):
    """The state of a background job."""

    WAITING = "waiting"
    """It begins later: when the process serves, or at the time of its next round."""
    RUNNING = "running"
    CRASHED = "crashed"
    """It has crashed, and no later round has succeeded; it may begin again."""
    STALLED = "stalled"
    """It runs, and has given no sign of life for too long."""
    GIVEN_UP = "given_up"
    """It has crashed too often, and does not begin again."""
    STANDING_BY = "standing_by"
    """Another process leads: it begins here when that one has ended."""
    FINISHED = "finished"
    """It has returned."""
    SKIPPED = "skipped"
    """It does not begin, since it needs a resource that is missing."""
    STOPPED = "stopped"
    """The process stops, or has stopped."""


class Phase(StrEnum):
    """The part of a run that a step belongs to."""

    STARTUP = "startup"
    SERVING = "serving"
    SHUTDOWN = "shutdown"


class Outcome(StrEnum):
    """The outcome of a step."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    CRASHED = "crashed"
    STALLED = "stalled"
    """A background job goes on, and has given no sign of life for too long."""
    ABANDONED = "abandoned"
    FINISHED = "finished"


# Module constants, as attributes of an Enum are slow to look up.
IN_STARTUP, IN_SERVICE, IN_SHUTDOWN = Phase
OK = Outcome.OK
WELL = frozenset({OK, Outcome.FINISHED})


class Step(NamedTuple):
    """One hook in one phase of one run."""

    app_label: str
    name: str
    kind: str
    phase: Phase
    outcome: Outcome | None
    """The outcome; None while the step runs."""
    priority: int = 0
    attempt: int = 1
    offset: float = 0.0
    """Seconds from the phase's begin to the step's."""
    duration: float = 0.0
    """Seconds that it took, or has taken so far."""
    reason: str = ""
    """The reason that it was skipped."""
    needs: tuple[tuple[str, str], ...] = ()
    """The hook's edges, as pairs of key and reason."""
    on_critical_chain: bool = False
    file: str = ""
    line: int = 0
    exception: str = ""
    """The class path of its error."""
    error: str = ""
    traceback: str = ""
    waiting_at: str = ""
    """The location where a slow or stuck hook waited."""
    log: tuple[Any, ...] = ()
    """Its log lines: offset in milliseconds, level, logger, text."""
    errors: tuple[str, ...] = ()
    """The errors of the attempts that have failed, of a start that is tried again."""
    required: bool = True
    """True if the process is not ready without it."""
    cause: str = ""
    """A sentence about the cause of its error, by an analyzer of ``lifespan_app.failures``."""
    action: str = ""
    """A sentence about what to do."""
    timeout: float | None = None
    """The hook's own time limit in this phase, in seconds; None: it has none."""

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{self.app_label}.{self.name}"


class Pending(NamedTuple):
    """A hook that has not come up yet, and that the process is not ready without."""

    key: str
    seconds: float = 0.0
    """Seconds since its start; 0.0 before its turn."""
    progress: float | None = None
    """Its last progress, from 0 to 1; None without one."""
    doing: str = ""
    """Its last report of the current work."""


class JobReport(NamedTuple):
    """A background job of one run; times of day are since the epoch."""

    key: str
    state: JobState
    reason: str = ""
    """Why it is stalled, is given up or does not begin."""
    every: float | None = None
    """Seconds from round to round; None if its function is no round."""
    rounds: int = 0
    """How often it has begun: its rounds, or else its attempts."""
    crashes: int = 0
    """How often it has crashed."""
    last_crash: str = ""
    """The error of the last crash, in one line."""
    last_crash_at: float | None = None
    last_success_at: float | None = None
    """When a round has succeeded last, or when it has returned."""
    next_at: float | None = None
    """When it begins next; None if it runs, or does not begin again by itself."""
    leads: bool = False
    """True if this process leads, of a job that runs once for several processes."""

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object, with its times as ISO 8601 in UTC."""
        from datetime import UTC, datetime  # not paid for where nobody asks

        return {
            name: datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")
            if value is not None and name.endswith("_at")
            else value
            for name, value in self._asdict().items()
        }


class Unwell(NamedTuple):
    """A hook that is not as it should be while the process starts or serves."""

    hook: str
    what: str
    """The outcome of its step, or ``check_failed``."""
    error: str
    required: bool = True
    """True if the process is not ready without it."""


class Details(Protocol):
    """Details that take a walk over all steps of a run: made on demand."""

    @property
    def jobs(self) -> tuple[JobReport, ...]:
        """The background jobs, in the order of the plan."""

    def steps(self) -> tuple[Step, ...]:
        """Return the steps there are."""

    def longest_chain(self, phase: Phase) -> tuple[str, ...]:
        """Return the keys of the hooks that a phase has waited for."""

    def pending(self) -> tuple[Pending, ...]:
        """Return the hooks that have not come up yet."""

    def hooks_failed(self) -> int:
        """Return the number of hooks that have failed."""

    def hooks_skipped(self) -> int:
        """Return the number of hooks that were skipped."""

    def slowest_hook(self) -> str:
        """Return the key of the hook that took longest to start."""


class Facts(NamedTuple):
    """The facts of a run, without the steps; times of day are since the epoch."""

    uuid: str
    service_type: str
    environment: str
    release: str
    mode: str
    pid: int
    server: str
    started_at: float
    excluded: tuple[Excluded, ...]
    """The hooks that the run's plan leaves out, with the reasons."""
    hooks_total: int = 0
    status: Status = Status.STARTING
    readiness: Readiness = Readiness.STARTING
    failing: tuple[Unwell, ...] = ()
    """The resources whose checks fail."""
    ended_by: str = ""
    error: str = ""
    ready_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    startup_duration: float | None = None
    shutdown_duration: float | None = None
    loop_blocks: int = 0
    """How often the event loop was blocked while the process served."""
    longest_block: float = 0.0
    """The longest of these times, in seconds."""

    def log_fields(self) -> dict[str, str]:
        """Return the ``extra`` of a log record about the run."""
        return {"run": self.uuid, "service_type": self.service_type, "release": self.release}


class Report:
    """The report of a run up to a moment: an immutable value for any thread.

    Args:
        facts: the facts of the run.
        details: the details of the run's steps.
    """

    def __init__(self, facts: Facts, details: Details) -> None:
        self._facts = facts
        self._details = details

    if TYPE_CHECKING:
        # The attributes of Facts are those of the report, too.
        uuid: str
        service_type: str
        environment: str
        release: str
        mode: str
        pid: int
        server: str
        status: Status
        readiness: Readiness
        failing: tuple[Unwell, ...]
        ended_by: str
        error: str
        started_at: float
        ready_at: float | None
        stopping_at: float | None
        stopped_at: float | None
        startup_duration: float | None
        shutdown_duration: float | None
        loop_blocks: int
        longest_block: float
        hooks_total: int
        excluded: tuple[Excluded, ...]
    else:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            return getattr(self._facts, name)

    def log_fields(self, step: Step | None = None) -> dict[str, str]:
        """Return the ``extra`` of a log record about the run, or about one of its steps."""
        fields = self._facts.log_fields()
        return fields if step is None else {**fields, "hook": step.key, "phase": str(step.phase)}

    @property
    def ready(self) -> bool:
        """True if requests may come."""
        return self._facts.readiness in READY

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in the order of the plan, phase by phase."""
        return self._details.steps()

    @property
    def jobs(self) -> tuple[JobReport, ...]:
        """The background jobs, in the order of the plan."""
        return self._details.jobs

    @cached_property
    def unwell(self) -> tuple[Unwell, ...]:
        """The hooks that are not as they should be while the process starts or serves."""
        failed = (
            Unwell(step.key, step.outcome, why(step), step.required)
            for step in self.steps
            if step.phase is not IN_SHUTDOWN and step.outcome and step.outcome not in WELL
        )
        return (*failed, *self._facts.failing)

    @cached_property
    def longest_chain(self) -> tuple[str, ...]:
        """The keys of the hooks that the startup has waited for, first to last."""
        return self._details.longest_chain(IN_STARTUP)

    @cached_property
    def longest_stop(self) -> tuple[str, ...]:
        """The keys of the hooks that the shutdown has waited for, first to last."""
        return self._details.longest_chain(IN_SHUTDOWN)

    @cached_property
    def pending(self) -> tuple[Pending, ...]:
        """The hooks that have not come up yet, in the order of the plan."""
        return self._details.pending()

    @cached_property
    def hooks_failed(self) -> int:
        """The number of hooks that have failed, in any phase."""
        return self._details.hooks_failed()

    @cached_property
    def hooks_skipped(self) -> int:
        """The number of hooks that were skipped, since another one has failed."""
        return self._details.hooks_skipped()

    @cached_property
    def slowest_hook(self) -> str:
        """The key of the hook that took longest to start, or an empty string."""
        return self._details.slowest_hook()

    def complete(self) -> "Report":
        """Read everything now, and return the report: later it costs nothing."""
        _ = self.steps, self.longest_chain, self.longest_stop
        _ = self.hooks_failed, self.hooks_skipped, self.slowest_hook
        return self

    def step(self, key: str, phase: str = Phase.STARTUP) -> Step:
        """Return the step of one hook in one phase. Raises ``LookupError`` when there is none."""
        for step in self.steps:
            if step.key == key and step.phase == phase:
                return step
        raise LookupError(f"The report holds no {phase} step of '{key}'.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Report):
            return NotImplemented
        return (
            self._facts == other._facts
            and self.steps == other.steps
            and self.pending == other.pending
            and self.jobs == other.jobs
        )

    def __hash__(self) -> int:
        return hash((self._facts.uuid, self._facts.status))

    def __repr__(self) -> str:
        return f"<report of {self.service_type}: {self.status}, {self.hooks_total} hooks>"


class Observer:
    """The base class of observers: override the methods that you need.

    An observer is called on the run's event loop, in a context that is part of no hook, so it must
    not block. Its arguments are values: any thread may keep and read them. One that raises is logged
    and dropped; the run goes on.
    """

    @property
    def every(self) -> float:
        """Seconds between two calls of ``beat``; 0 for none. Asked once for each run."""
        return 0.0

    def watches_steps(self, phase: Phase) -> bool:
        """Return True to get ``step_changed`` in the phase that begins."""
        return True

    def run_changed(self, report: Report) -> None:
        """Receive a change of the run's status."""

    def step_changed(self, report: Report, step: Step) -> None:
        """Receive the begin of a step (its outcome is None) or its end."""

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        """Receive the failure of a hook, with the exception itself."""

    def progressed(self, report: Report) -> None:
        """Receive the progress of a hook: it is in ``report.pending``."""

    def beat(self, report: Report) -> None:
        """Receive the state of the run, every so many seconds from its begin to its end.

        The checks of resources are asked at the same time; ``run_changed`` tells of a new result.
        """

    def is_slow(self, report: Report) -> None:
        """Receive the steps so far, of a startup or a shutdown that takes long.

        It is called with each log line about slow hooks. Their steps have ``waiting_at``. While a hook
        blocks the event loop, it is called in another thread.
        """

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        """Receive the end of the run, for the last write.

        Args:
            report: the run's last report.
            seconds_left: how long a returned awaitable is waited for.
        """
        return None


def degraded_by(report: Report) -> str:
    """Return the numbers of failed and skipped hooks: "1 failed, 2 skipped"."""
    skipped = f", {report.hooks_skipped} skipped" if report.hooks_skipped else ""
    return f"{report.hooks_failed} failed{skipped}"


def explained(step: Step) -> str:
    """Return the failure of a step in one line: cause and action, if they are known, and the error."""
    line = line_of(step.exception, step.error)
    if not step.cause:
        return line
    return f"{step.cause} {step.action} ({line})"


def why(step: Step) -> str:
    """Return the reason of a step's failure in one line: its error, or the reason to skip it."""
    return line_of(step.exception, step.error) or step.reason
