"""The log, as an observer: one line when a run is up, one when it is down, one for each failure."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lifespan_app.engine.error_text import text_of, was_raised
from lifespan_app.engine.logger import logger
from lifespan_app.engine.wording import count, time_taken

from .report import Observer, Phase, Report, Status, Step, degraded_by, explained

ENDS = 4
"""The number of hooks that a line names at each end of a long chain."""


class Log(Observer):
    """The observer that logs a run to the logger ``lifespan_app``.

    INFO says that the run is up or down, DEBUG adds a line a hook, and a hook that fails is
    logged once, with its traceback: no ASGI server prints one.
    """

    def __init__(self) -> None:
        self._logged_status: dict[str, Status] = {}
        """The status that was last logged for each run."""

    def watches_steps(self, phase: Phase) -> bool:
        """Return True if DEBUG is on."""
        return logger.isEnabledFor(logging.DEBUG)

    def run_changed(self, report: Report) -> None:
        """Log that the run is up, that it is degraded or whole again, or over."""
        if report.stopped_at is not None:
            self._logged_status.pop(report.uuid, None)
            self._over(report)
        elif report.status in (Status.SERVING, Status.DEGRADED):
            before = self._logged_status.get(report.uuid)
            self._logged_status[report.uuid] = report.status
            if before is None:
                self._up(report)
            elif before is not report.status:
                self._turned(report)

    def _up(self, report: Report) -> None:
        is_whole = report.status is Status.SERVING
        if not logger.isEnabledFor(logging.INFO if is_whole else logging.WARNING):
            return
        chain = shown(report.longest_chain)
        degraded = ""
        if report.status is Status.DEGRADED:
            degraded = f", degraded: {degraded_by(report)}"
        log = logger.info if is_whole else logger.warning
        log(
            "Lifespan '%s' started: %s in %s%s%s.",
            report.service_type,
            count(report.hooks_total, "hook"),
            time_taken(report.startup_duration or 0.0),
            degraded,
            f"; longest chain: {chain}" if chain else "",
        )

    def _turned(self, report: Report) -> None:
        if report.status is Status.SERVING:
            logger.info(
                "Lifespan '%s' is serving again: no hook has failed.",
                report.service_type,
            )
        else:
            logger.warning(
                "Lifespan '%s' is degraded: %d of %s failed.",
                report.service_type,
                report.hooks_failed,
                count(report.hooks_total, "hook"),
            )

    def _over(self, report: Report) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        chain = shown(report.longest_stop)
        hooks = count(sum(step.phase is Phase.SHUTDOWN for step in report.steps), "hook")
        if report.status is Status.STARTUP_FAILED:
            what = f"failed to start; {hooks} rolled back"
        else:
            stopped = "stopped" if report.status is Status.STOPPED else "failed to stop"
            what = f"{stopped} ({report.ended_by or 'shutdown'}): {hooks} closed"
        logger.info(
            "Lifespan '%s' %s in %s%s.",
            report.service_type,
            what,
            time_taken(report.shutdown_duration or 0.0),
            f"; longest chain: {chain}" if chain else "",
        )

    def step_changed(self, report: Report, step: Step) -> None:
        """Log one step, at DEBUG."""
        if step.outcome is None:
            logger.debug("%s %s: begins.", step.key, step.phase, about=report.log_fields(step))
        else:
            reason = f" ({step.reason})" if step.reason else ""
            logger.debug(
                "%s %s: %s after %s%s.",
                step.key,
                step.phase,
                step.outcome,
                time_taken(step.duration),
                reason,
                about=report.log_fields(step),
            )

    def hook_failed(self, report: Report, step: Step, error: BaseException) -> None:
        """Log a failure with its traceback."""
        if not was_raised(error):
            # The engine's own error: its text is complete, and its traceback of no use.
            text = f"{step.cause} {step.action}".strip() or text_of(error)
            logger.error("Lifespan hook %s", text, about=report.log_fields(step))
            return
        logger.error(
            "Lifespan hook '%s' (%s:%d) %s after %s: %s",
            step.key,
            step.file,
            step.line,
            WHAT_FAILED[step.phase],
            time_taken(step.duration),
            explained(step),
            error=error,
            about=report.log_fields(step),
        )


WHAT_FAILED = {
    Phase.STARTUP: "failed to start",
    Phase.SERVING: "crashed while serving",
    Phase.SHUTDOWN: "failed to stop",
}


def shown(chain: Sequence[str]) -> str:
    """Return the keys of a chain in one line; of a long one, its begin and its end."""
    if len(chain) > 2 * ENDS + 1:
        excluded = f"... {len(chain) - 2 * ENDS} more ..."
        chain = [*chain[:ENDS], excluded, *chain[-ENDS:]]
    return " -> ".join(chain)
