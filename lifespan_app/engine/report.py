"""The report: what a run did, as plain data; and the observers it is told to."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .plan import LeftOut
    from .steps import RunDetails


class Mode(StrEnum):
    """How a run came about."""

    SERVER = "server"
    RELOAD = "reload"
    COMMAND = "command"
    CHECK = "check"
    THREAD = "thread"
    TEST = "test"


class Status(StrEnum):
    """Where a run stands."""

    STARTING = "starting"
    SERVING = "serving"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    STARTUP_FAILED = "startup_failed"
    SHUTDOWN_FAILED = "shutdown_failed"


class Readiness(StrEnum):
    """Whether requests may come to a process; if not, why."""

    OK = "ok"
    DEGRADED = "degraded"
    """They may, though something optional has failed."""
    STARTING = "starting"
    WARMING_UP = "warming_up"
    """It serves, and a required hook that the startup did not wait for is not up yet."""
    WARM_UP_FAILED = "warm_up_failed"
    """Such a hook has failed."""
    CRASHED = "crashed"
    """A required job or resource has crashed while the process serves."""
    CHECK_FAILED = "check_failed"
    """The check of a required resource fails."""
    STOPPING = "stopping"
    STOPPED = "stopped"


READY = frozenset({Readiness.OK, Readiness.DEGRADED})
NOT_STARTED = frozenset({Readiness.STARTING, Readiness.WARMING_UP, Readiness.WARM_UP_FAILED})
"""While something has not come up that has to."""


class Phase(StrEnum):
    """The part of a run that a step belongs to."""

    STARTUP = "startup"
    SERVING = "serving"
    SHUTDOWN = "shutdown"


class Outcome(StrEnum):
    """How a step ended."""

    OK = "ok"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    CRASHED = "crashed"
    ABANDONED = "abandoned"
    FINISHED = "finished"


# Quick to look up, as those in hooks.py.
IN_STARTUP, IN_SERVICE, IN_SHUTDOWN = Phase
OK = Outcome.OK


class Step(NamedTuple):
    """One hook in one phase of one run."""

    app_label: str
    name: str
    kind: str
    phase: Phase
    outcome: Outcome | None
    """How it ended; None while it runs."""
    priority: int = 0
    attempt: int = 1
    offset: float = 0.0
    """Seconds from the phase's begin to the step's."""
    duration: float = 0.0
    """Seconds that it took, or has taken so far."""
    reason: str = ""
    """Why it was skipped."""
    needs: tuple[tuple[str, str], ...] = ()
    """What the hook waits for, as pairs of key and reason."""
    on_critical_chain: bool = False
    file: str = ""
    line: int = 0
    exception: str = ""
    """The class path of its error."""
    error: str = ""
    traceback: str = ""
    waiting_at: str = ""
    """Where a slow or stuck hook waited."""
    log: tuple[Any, ...] = ()
    """Its log lines: offset in milliseconds, level, logger, text."""

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{self.app_label}.{self.name}"


class Pending(NamedTuple):
    """A hook that has not come up yet, and that the process is not ready without."""

    key: str
    seconds: float = 0.0
    """How long it has been starting; 0.0 before its turn."""
    progress: float | None = None
    """How far it has said to be, from 0 to 1; None: it has said nothing."""
    doing: str = ""
    """What it has said to be doing."""


class Report:
    """What a run did, up to the moment it was asked.

    Times of day are seconds since the epoch, durations are seconds; both are None while they
    are not known. What takes a walk over all hooks is read when it is first asked for; an observer
    reads it during the call that hands it the report.
    """

    def __init__(
        self,
        *,
        uuid: str,
        service_type: str,
        environment: str,
        release: str,
        mode: str,
        pid: int,
        server: str,
        status: Status,
        readiness: Readiness,
        ended_by: str,
        error: str,
        started_at: float,
        ready_at: float | None,
        stopping_at: float | None,
        stopped_at: float | None,
        startup_duration: float | None,
        shutdown_duration: float | None,
        hooks_total: int,
        left_out: Sequence[LeftOut],
        details: RunDetails,
    ) -> None:
        self.uuid = uuid
        self.service_type = service_type
        self.environment = environment
        self.release = release
        self.mode = mode
        self.pid = pid
        self.server = server
        self.status = status
        self.readiness = readiness
        self.ended_by = ended_by
        self.error = error
        self.started_at = started_at
        self.ready_at = ready_at
        self.stopping_at = stopping_at
        self.stopped_at = stopped_at
        self.startup_duration = startup_duration
        self.shutdown_duration = shutdown_duration
        self.hooks_total = hooks_total
        self.left_out = tuple(left_out)
        self._details = details

    @property
    def ready(self) -> bool:
        """Whether requests may come."""
        return self.readiness in READY

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in the order of the plan, phase by phase."""
        return self._details.steps()

    @cached_property
    def longest_chain(self) -> tuple[str, ...]:
        """The keys of the hooks that the startup has waited for, first to last."""
        return self._details.longest_chain()

    @cached_property
    def longest_stop(self) -> tuple[str, ...]:
        """The keys of the hooks that the shutdown has waited for, first to last."""
        return self._details.longest_stop()

    @cached_property
    def pending(self) -> tuple[Pending, ...]:
        """The hooks that have not come up yet, in the order of the plan."""
        return self._details.pending()

    @cached_property
    def hooks_failed(self) -> int:
        """How many hooks have failed, were skipped, or have failed to stop."""
        return self._details.hooks_failed()

    @cached_property
    def slowest_hook(self) -> str:
        """The key of the hook that took longest to start, or an empty string."""
        return self._details.slowest_hook()

    def complete(self) -> Report:
        """Read everything now, and return the report."""
        _ = self.steps, self.longest_chain, self.longest_stop, self.hooks_failed, self.slowest_hook
        return self

    def step(self, key: str, phase: str = Phase.STARTUP) -> Step:
        """Return the step of one hook in one phase. Raises ``LookupError`` when there is none."""
        for step in self.steps:
            if step.key == key and step.phase == phase:
                return step
        raise LookupError(f"The report holds no {phase} step of '{key}'.")

    def __repr__(self) -> str:
        return f"<report of {self.service_type}: {self.status}, {self.hooks_total} hooks>"


class Observer:
    """Somebody who is told what a run does. Inherit, and override what you want to know.

    Observers are called on the run's event loop, so they hand on what takes time. One that
    raises is logged and dropped; the run goes on.
    """

    def watches_steps(self, phase: Phase) -> bool:
        """Tell whether ``step_changed`` shall be called in the phase that begins."""
        return True

    def run_changed(self, report: Report) -> None:
        """Take note that the run's status has changed. Read ``report.steps`` during the call."""

    def step_changed(self, report: Report, step: Step) -> None:
        """Take note that a step has begun (its outcome is None) or has ended."""

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        """Take note that a hook has failed; for those that want the exception itself."""

    def progressed(self, report: Report) -> None:
        """Take note that a hook has said how far it is: ``report.pending`` has it."""

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        """Take note that the run is over, and write what is left to write.

        Args:
            report: the run's last report.
            seconds_left: how long a returned awaitable is waited for.
        """
        return None
