"""The messages for a server, which prints them, when a startup or a shutdown has failed."""

from __future__ import annotations

from lifespan_app.engine.error_text import class_path, in_full, is_a, one_line, text_of
from lifespan_app.engine.errors import LifespanError, LimitPassed
from lifespan_app.engine.reporting.failure import Failure
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
                return f"lifespan_app: hook {limit_text(start.failure, error)}{tried}"
            what, after = WHAT_FAILED[Phase.STARTUP], time_taken(start.ended - start.begun)
            return (
                f"lifespan_app: hook {hook_run} {what} after {after}: "
                f"{explained(start.failure, error)}{tried}"
            )
        if hook_run.serving_error is error:
            failure = None if hook_run.serving is None else hook_run.serving.failure
            return (
                f"lifespan_app: hook {hook_run} crashed before the process served: "
                f"{explained(failure, error)}"
            )
    return f"lifespan_app: {text_of(error) if is_a(error, LifespanError) else in_full(error)}"


def explained(failure: Failure | None, error: BaseException) -> str:
    """Return an error, behind the sentences about its cause and what to do, if these are known."""
    if failure is None or not failure.cause:
        return in_full(error)
    if is_a(error, LimitPassed):
        # Its text is these sentences.
        return f"{class_path(error)}: {limit_text(failure, error)}"
    name = failure.exception.rpartition(".")[2]
    return f"{name}: {failure.cause}\nWhat to do: {failure.action}\nThe error: {in_full(error)}"


def limit_text(failure: Failure | None, error: BaseException) -> str:
    """Return the text of an error about a limit, with what an analyzer has added."""
    if failure is None or not failure.cause:
        return text_of(error)
    return f"{failure.cause} {failure.action}".strip()


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
            failure = None if hook_run.shutdown is None else hook_run.shutdown.failure
            lines.append(f"{hook_run}: {explained(failure, error)}")
    return "\n".join(lines)
