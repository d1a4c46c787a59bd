"""Metrics for Prometheus: ``lifespan.observe(Metrics())``.

Needs ``prometheus-client``, from 0.20 on. With ``PROMETHEUS_MULTIPROC_DIR`` the metrics of all workers
are added up, as that package has it:
https://prometheus.github.io/client_python/multiprocess/
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from lifespan_app.engine.reporting.report import (
    IN_SHUTDOWN,
    IN_STARTUP,
    JobReport,
    Observer,
    Phase,
    Report,
    Status,
)

BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""The bounds of the buckets of durations, in seconds."""

EVERY = 5.0
"""Seconds between two looks at the jobs and the loop."""


class Metrics(Observer):
    """An observer that keeps metrics of the runs of this process.

    Create it once in a process, in the module that declares hooks: the registry refuses a second one.

    Args:
        registry: the registry of the metrics.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        of_type = ("service_type",)
        of_phase = ("service_type", "outcome")
        of_hook = ("service_type", "hook", "outcome")
        of_job = ("service_type", "hook")
        facts = ("service_type", "environment", "release", "server")

        def durations(name: str, text: str, labels: tuple[str, ...]) -> Histogram:
            return Histogram(name, text, labels, buckets=BUCKETS, registry=registry)

        def gauge(
            name: str, text: str, labels: tuple[str, ...], of_workers: Literal["livesum", "max"]
        ) -> Gauge:
            return Gauge(name, text, labels, registry=registry, multiprocess_mode=of_workers)

        def counter(name: str, text: str, labels: tuple[str, ...]) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._durations = {
            IN_STARTUP: durations("lifespan_startup_seconds", "Startups", of_phase),
            IN_SHUTDOWN: durations("lifespan_shutdown_seconds", "Shutdowns", of_phase),
        }
        self._of_hooks = {
            IN_STARTUP: durations("lifespan_hook_startup_seconds", "Starts of hooks", of_hook),
            IN_SHUTDOWN: durations("lifespan_hook_shutdown_seconds", "Stops of hooks", of_hook),
        }
        self._info = gauge("lifespan_run_info", "Processes with a run", facts, "livesum")
        self._ready = gauge("lifespan_ready", "Processes that are ready", of_type, "livesum")
        self._rounds = counter("lifespan_job_rounds", "Rounds of background jobs", of_job)
        self._crashes = counter("lifespan_job_crashes", "Crashes of background jobs", of_job)
        self._last_success = gauge(
            "lifespan_job_last_success_timestamp_seconds", "Last success of a job", of_job, "max"
        )
        self._blocks = counter("lifespan_loop_blocks", "Blocks of the event loop", of_type)
        self._longest_block = gauge(
            "lifespan_loop_longest_block_seconds", "Longest block of the loop", of_type, "max"
        )
        self._before: dict[str, Report] = {}
        """The last report of each run."""
        self._counted: dict[str, set[tuple[Phase, str]]] = {}
        """The steps of each run that are counted."""

    @property
    def every(self) -> float:
        """Seconds between two looks at the jobs and the loop."""
        return EVERY

    def watches_steps(self, phase: Phase) -> bool:
        """Return False: the steps are read at the end of a phase."""
        return False

    def run_changed(self, report: Report) -> None:
        """Count what has changed since the last report."""
        self.beat(report)
        if report.ready_at is not None:
            if (IN_STARTUP, "") not in self._counted[report.uuid]:
                self._phase_ended(report, IN_STARTUP, report.startup_duration, "ok")
            # Hooks that the startup does not wait for are up later.
            self._count_steps(report, IN_STARTUP)

    def beat(self, report: Report) -> None:
        """Count what the jobs and the loop have done since the last report."""
        before = self._before.get(report.uuid)
        self._before[report.uuid] = report
        ready = self._ready.labels(report.service_type)
        if before is None:
            self._counted[report.uuid] = set()
            self._info.labels(*facts_of(report)).inc()
            ready.inc(report.ready)
        else:
            ready.inc(report.ready - before.ready)
        self._count(report, before)

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        """Count the end of a run."""
        self.run_changed(report)
        rolled_back = report.ready_at is None
        if rolled_back:
            taken = (report.stopping_at or report.started_at) - report.started_at
            self._phase_ended(report, IN_STARTUP, taken, "failed")
        is_well = report.status is not Status.SHUTDOWN_FAILED
        outcome = "rollback" if rolled_back else "ok" if is_well else "failed"
        self._phase_ended(report, IN_SHUTDOWN, report.shutdown_duration, outcome)
        self._info.labels(*facts_of(report)).dec()
        del self._before[report.uuid], self._counted[report.uuid]
        return None

    def _phase_ended(
        self, report: Report, phase: Phase, duration: float | None, outcome: str
    ) -> None:
        self._counted[report.uuid].add((phase, ""))
        if duration is not None:
            self._durations[phase].labels(report.service_type, outcome).observe(duration)
        self._count_steps(report, phase)

    def _count_steps(self, report: Report, phase: Phase) -> None:
        counted = self._counted[report.uuid]
        for step in report.steps:
            if step.phase is phase and step.outcome and (phase, step.key) not in counted:
                counted.add((phase, step.key))
                words = (report.service_type, step.key, step.outcome.value)
                self._of_hooks[phase].labels(*words).observe(step.duration)

    def _count(self, report: Report, before: Report | None) -> None:
        """Add what the jobs and the loop have done since the last report."""
        jobs = {} if before is None else {job.key: job for job in before.jobs}
        for job in report.jobs:
            words = (report.service_type, job.key)
            last = jobs.get(job.key, JobReport(job.key, job.state))
            self._rounds.labels(*words).inc(job.rounds - last.rounds)
            self._crashes.labels(*words).inc(job.crashes - last.crashes)
            if job.last_success_at is not None:
                self._last_success.labels(*words).set(job.last_success_at)
        blocks = self._blocks.labels(report.service_type)
        blocks.inc(report.loop_blocks - (0 if before is None else before.loop_blocks))
        longest = self._longest_block.labels(report.service_type)
        longest.set(max(report.longest_block, 0.0 if before is None else before.longest_block))


def facts_of(report: Report) -> tuple[str, str, str, str]:
    """Return the labels of ``lifespan_run_info``."""
    return report.service_type, report.environment, report.release, report.server
