"""What a server is told, and prints, when a startup or a shutdown has failed."""

from __future__ import annotations

from .error_text import in_full, one_line, text_of
from .log import hooks
from .report import Outcome
from .runner import Run
from .unit import Unit


def startup_message(run: Run | None, error: BaseException) -> str:
    """Return why nothing is served: the hook, its file and line, the error, what was rolled back.

    Args:
        run: the run; None when its plan could not be made.
        error: what is raised.
    """
    if run is None or run.first_error is None:
        return f"lifespan_app: {in_full(error)}"
    lines = [first_line(run, error)]
    for unit in failed(run):
        own = unit.error or unit.serving_error
        if own is not None and own is not error:
            lines.append(f"Failed too: {unit}: {one_line(own)}")
    stopped = [str(unit) for unit in run.units if unit.stop_begun]
    if stopped:
        lines.append(f"Rolled back: {', '.join(stopped)}.")
    for stop_error in run.stop_errors:
        lines.append(f"While rolling back: {one_line(stop_error)}")
    lines.append("Nothing is served. The traceback is in the log (logger lifespan_app).")
    return "\n".join(lines)


def first_line(run: Run, error: BaseException) -> str:
    """Return what failed first, as a sentence."""
    for unit in failed(run):
        if unit.error is error:
            after = unit.ended - unit.begun
            if unit.outcome in (Outcome.TIMED_OUT, Outcome.ABANDONED):
                return f"lifespan_app: hook {text_of(error)}"
            return f"lifespan_app: hook {unit} failed after {after:.2f} s: {in_full(error)}"
        if unit.serving_error is error:
            return f"lifespan_app: hook {unit} crashed before the process served: {in_full(error)}"
    return f"lifespan_app: {text_of(error)}"


def service_message(run: Run) -> str:
    """Return why a process whose startup went well is of no use; "" where nothing speaks against it."""
    lines = []
    for unit in run.units:
        if unit.serving_outcome is Outcome.CRASHED and unit.serving_error is not None:
            if unit.node.required or unit.hook.on_crash == "stop":
                lines.append(
                    f"lifespan_app: hook {unit} crashed while the process served: "
                    f"{one_line(unit.serving_error)}"
                )
        elif unit.aside and unit.node.required and unit.error is not None:
            lines.append(first_line(run, unit.error))
            lines.append(
                "The startup does not wait for it: a process would serve, and never be ready."
            )
    return "\n".join(lines)


def failed(run: Run) -> list[Unit]:
    """Return the hooks that failed to start, or crashed before the process served."""
    return [unit for unit in run.units if unit.error is not None or unit.serving_error is not None]


def shutdown_message(run: Run) -> str:
    """Return which hooks failed to stop, and how; every other one has stopped."""
    count = hooks(len(run.stop_errors))
    lines = [f"lifespan_app: {count} failed to stop; all others are down."]
    for unit in run.units:
        if unit.stop_error is not None:
            lines.append(f"{unit}: {in_full(unit.stop_error)}")
    return "\n".join(lines)
