"""What is said of a hook whose limit has passed."""

from __future__ import annotations

from lifespan_app.engine.hooks import MANAGER, STAGE

from .deadlines import OPTIONAL_TIMEOUT, Deadlines
from .hook_run import STARTING, HookRun


def limit_text(hook_run: HookRun, deadlines: Deadlines, at: float) -> str:
    """Return which limit a hook has passed, where it waits, and what raises the limit."""
    if hook_run.hook.kind is STAGE:
        return of_stage(hook_run, deadlines)
    if hook_run.state is STARTING:
        return of_start(hook_run, deadlines, at)
    key, where = hook_run.node.key, waits_at(hook_run)
    limit = deadlines.stop_limit(hook_run)
    if hook_run.is_job:
        return (
            f"{hook_run} did not stop within its limit of {limit:g} s after it was cancelled.{where} "
            "Let CancelledError through, or raise shutdown_timeout= of the job."
        )
    option = "timeout" if hook_run.at_end else "shutdown_timeout"
    return (
        f"{hook_run} did not stop within its limit of {limit:g} s.{where} Raise "
        f"{own(hook_run, f'{option}= of the hook, ')}LIFESPAN['HOOKS']['{key}']['{option}'], or "
        "LIFESPAN['SHUTDOWN_TIMEOUT'] for all."
    )


def own(hook_run: HookRun, option: str) -> str:
    """Return an option of the hook's own; a lifespan manager is registered without any."""
    return "" if hook_run.hook.kind is MANAGER else option


def of_stage(hook_run: HookRun, deadlines: Deadlines) -> str:
    """Return it of what no app has declared: no option and no HOOKS entry could raise its limit."""
    if hook_run.state is STARTING:
        what, limit, setting = "start", deadlines.allowed, "STARTUP_DEADLINE"
    else:
        what, limit, setting = "stop", deadlines.stop_limit(hook_run), "SHUTDOWN_TIMEOUT"
    return (
        f"{hook_run} did not {what} within its limit of {limit:g} s.{waits_at(hook_run)} Raise "
        f"LIFESPAN['{setting}']."
    )


def of_start(hook_run: HookRun, deadlines: Deadlines, at: float) -> str:
    """Return it of a hook that has not started in time: in its own, or in the startup's."""
    where = waits_at(hook_run)
    if hook_run.deadline >= deadlines.of_startup and not hook_run.non_blocking:
        return (
            f"{hook_run} did not start within the startup's deadline of {deadlines.allowed:g} s; it "
            f"has had {at - hook_run.begun:.3g} s of them.{where} Raise "
            "LIFESPAN['STARTUP_DEADLINE'], or make the hook optional with required=False."
        )
    limit = hook_run.node.options.timeout or OPTIONAL_TIMEOUT
    return (
        f"{hook_run} did not start within its limit of {limit:g} s.{where} Raise "
        f"{own(hook_run, 'timeout= of the hook, or ')}"
        f"LIFESPAN['HOOKS']['{hook_run.node.key}']['timeout']."
    )


def last_second_text(hook_run: HookRun, deadlines: Deadlines) -> str:
    """Return what is said of a hook that has not stopped when the shutdown's time is used up."""
    return (
        f"{hook_run} did not stop before the last second of the shutdown's deadline of "
        f"{deadlines.allowed:g} s.{waits_at(hook_run)} Raise LIFESPAN['SHUTDOWN_DEADLINE'], and the "
        "limits of the server and the platform with it."
    )


def waits_at(hook_run: HookRun) -> str:
    """Return where a hook was last seen to wait, as a sentence, or an empty string."""
    step = hook_run.step
    return f" It waits at {step.waiting_at}." if step is not None and step.waiting_at else ""
