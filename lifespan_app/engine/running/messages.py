"""The messages for a server, which prints them, when a startup or a shutdown has failed."""

from __future__ import annotations

from lifespan_app.engine.error_text import in_full, one_line, text_of
from lifespan_app.engine.reporting.log import WHAT_FAILED
from lifespan_app.engine.reporting.report import Outcome, Phase
from lifespan_app.engine.wording import count, time_taken

from .hook_run import HookRun, first_attempt
from .run import Run


def startup_message(run: Run | None, error: BaseException) -> str:
    """Return the startup's failure: the hook, its file and line, the error, the rollback.

    Args:
        run: the run; None when its plan could not be made.
        error: the error.
    """
    if run is None or run.first_error is None:
        return f"lifespan_app: {in_full(error)}"
    lines = [first_line(run, error)]
    for hook_run in failed(run):
        own = hook_run.error or hook_run.serving_error
        if own is not None and own is not error:
            lines.append(f"Failed too: {hook_run}: {one_line(own)}")
    stopped = [str(hook_run) for hook_run in run.hook_runs if hook_run.shutdown is not None]
    if stopped:
        lines.append(f"Rolled back: {', '.join(stopped)}.")
    for stop_error in run.stop_errors:
        lines.append(f"While rolling back: {one_line(stop_error)}")
    lines.append("Nothing is served. The traceback is in the log (logger lifespan_app).")
    return "\n".join(lines)


def first_line(run: Run, error: BaseException) -> str:
    """Return the first failure as a sentence."""
    for hook_run in failed(run):
        start = hook_run.startup
        if start is not None and start.error is error:
            first = first_attempt(hook_run)
            tried = f"\n{first}" if first else ""
            if start.outcome in (Outcome.TIMED_OUT, Outcome.ABANDONED):
                return f"lifespan_app: hook {text_of(error)}{tried}"
            what, after = WHAT_FAILED[Phase.STARTUP], time_taken(start.ended - start.begun)
            return f"lifespan_app: hook {hook_run} {what} after {after}: {in_full(error)}{tried}"
        if hook_run.serving_error is error:
            return (
                f"lifespan_app: hook {hook_run} crashed before the process served: {in_full(error)}"
            )
    return f"lifespan_app: {text_of(error)}"


def service_message(run: Run) -> str:
    """Return the reason that a started process can't serve, or ""."""
    lines = []
    for hook_run in run.hook_runs:
        options = hook_run.node.options
        if hook_run.crashed and hook_run.serving_error is not None:
            if options.required or (hook_run.is_job and hook_run.job.stop_option):
                lines.append(
                    f"lifespan_app: hook {hook_run} crashed while the process served: "
                    f"{one_line(hook_run.serving_error)}"
                )
        elif hook_run.non_blocking and options.required and hook_run.error is not None:
            lines.append(first_line(run, hook_run.error))
            lines.append(
                "The startup does not wait for it: a process would serve, and never be ready."
            )
    return "\n".join(lines)


def failed(run: Run) -> list[HookRun]:
    """Return the hooks that failed to start, or crashed before the process served."""
    return [one for one in run.hook_runs if one.error is not None or one.serving_error is not None]


def shutdown_message(run: Run) -> str:
    """Return the hooks that failed to stop, each with its error."""
    failed_to_stop = count(len(run.stop_errors), "hook")
    lines = [f"lifespan_app: {failed_to_stop} failed to stop; all others are down."]
    for hook_run in run.hook_runs:
        error = hook_run.stop_error
        if error is not None:
            lines.append(f"{hook_run}: {in_full(error)}")
    return "\n".join(lines)
