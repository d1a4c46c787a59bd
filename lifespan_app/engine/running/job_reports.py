"""Background jobs for the report of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from lifespan_app.engine.reporting.report import JobReport, JobState, Outcome

from .hook_run import DOWN, HookRun

if TYPE_CHECKING:

    class Clocks(Protocol):
        """The two clocks of an adapter."""

        def clock(self) -> float:
            """Return seconds of a clock that never goes back."""

        def time(self) -> float:
            """Return the time of day, as seconds since the epoch."""


CLOCK_WAS_SET = 0.1
"""The seconds by which the two clocks have to differ anew if the time of day was set."""
AFTER_OUTCOME = {
    Outcome.CRASHED: JobState.CRASHED,
    Outcome.STALLED: JobState.STALLED,
    Outcome.FINISHED: JobState.FINISHED,
    Outcome.SKIPPED: JobState.SKIPPED,
}
"""The states that a job keeps until it begins again, also after the process has stopped."""


class JobReports:
    """The background jobs of one run.

    Args:
        jobs: their hooks.
        adapter: has the run's clock, and the time of day.
    """

    def __init__(self, jobs: Sequence[HookRun], adapter: Clocks) -> None:
        self._jobs = jobs
        self._adapter = adapter
        self._epoch = math.inf

    def __call__(self) -> tuple[JobReport, ...]:
        """Return the jobs as they are now, in the order of the plan."""
        epoch = self._adapter.time() - self._adapter.clock()
        # The two clocks are not read at once. Reports of the same moment have the same times.
        if abs(epoch - self._epoch) > CLOCK_WAS_SET:
            self._epoch = epoch
        return tuple(job_report(job, self._epoch) for job in self._jobs)


def job_report(hook_run: HookRun, epoch: float) -> JobReport:
    """Return a background job as the report shows it.

    Args:
        hook_run: the job's hook.
        epoch: the time of day at which the run's clock was 0.
    """
    job = hook_run.job
    step = hook_run.serving or hook_run.startup
    state = state_of(hook_run)
    reason = "" if step is None else step.reason
    return JobReport(
        hook_run.node.key,
        state,
        job.standing_by if state is JobState.STANDING_BY else reason,
        job.options.every,
        job.rounds,
        job.crashes_in_all,
        job.last_crash,
        time_of_day(job.crashed_at, epoch),
        time_of_day(job.succeeded_at, epoch),
        time_of_day(job.due, epoch),
        hook_run.lease is not None,
    )


def state_of(hook_run: HookRun) -> JobState:
    """Return the state of a background job."""
    job = hook_run.job
    if job.given_up:
        return JobState.GIVEN_UP
    if hook_run.failed_to_start:
        return JobState.SKIPPED
    if job.standing_by and hook_run.state is not DOWN:
        return JobState.STANDING_BY
    if hook_run.serving is not None and hook_run.serving.outcome in AFTER_OUTCOME:
        return AFTER_OUTCOME[hook_run.serving.outcome]
    if hook_run.lives:
        return JobState.RUNNING
    return JobState.STOPPED if hook_run.state is DOWN else JobState.WAITING


def time_of_day(at: float | None, epoch: float) -> float | None:
    """Return a time of the run's clock as seconds since the epoch; None if there is none."""
    return None if at is None or at == math.inf else epoch + at
