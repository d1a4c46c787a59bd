"""The errors of hooks that have passed their limit."""

from __future__ import annotations

from lifespan_app.engine.advice import Advice
from lifespan_app.engine.errors import LimitPassed
from lifespan_app.engine.hooks.hook import MANAGER, STAGE
from lifespan_app.engine.wording import time_limit, time_taken

from .deadlines import OPTIONAL_TIMEOUT, Deadlines
from .hook_run import RETRYING, STARTING, HookRun

NO_CANCELLATION = "A thread can't be cancelled: the next round begins when this one has returned."


class LimitTexts:
    """Errors with the limit, the location where the hook waits, and the setting that raises it.

    Args:
        deadlines: the limits of the run.
        advice: the names of settings in the texts.
    """

    def __init__(self, deadlines: Deadlines, advice: Advice) -> None:
        self._deadlines = deadlines
        self._setting = advice.setting

    def passed(self, hook_run: HookRun, at: float) -> LimitPassed:
        """Return the error of a hook that has passed its own limit, or the startup's."""
        if hook_run.hook.kind is STAGE:
            return self._of_stage(hook_run)
        if hook_run.state is STARTING:
            return self._of_start(hook_run, at)
        where, limit = waits_at(hook_run), self._deadlines.stop_limit(hook_run)
        if hook_run.is_job and not hook_run.on_loop:
            return LimitPassed(
                f"{hook_run} did not end its round within its limit of {time_limit(limit)} after the "
                f"shutdown had begun.{where}",
                "A thread can't be cancelled: have the round look at lifespan.stopping, or raise "
                "shutdown_timeout= of the job.",
            )
        if hook_run.is_job:
            return LimitPassed(
                f"{hook_run} did not stop within its limit of {time_limit(limit)} after it was "
                f"cancelled.{where}",
                "Let CancelledError through, or raise shutdown_timeout= of the job.",
            )
        option = "timeout" if hook_run.at_end else "shutdown_timeout"
        return LimitPassed(
            f"{hook_run} did not stop within its limit of {time_limit(limit)}.{where}",
            f"Raise {own(hook_run, f'{option}= of the hook, ')}"
            f"{self._setting('hooks', hook_run.node.key, option)}, or "
            f"{self._setting('shutdown_timeout')} for all.",
        )

    def _of_stage(self, hook_run: HookRun) -> LimitPassed:
        """Return the error of a stage, which has no options that could raise its limit."""
        starts = hook_run.state is STARTING
        own_limit = hook_run.node.options.timeout
        if starts and own_limit is not None:
            return LimitPassed(
                f"{hook_run} did not start within its limit of {time_limit(own_limit)}.{waits_at(hook_run)}"
            )
        if starts:
            what, limit, setting = "start", self._deadlines.allowed, "startup_deadline"
        else:
            limit = self._deadlines.stop_limit(hook_run)
            what, setting = "stop", "shutdown_timeout"
        return LimitPassed(
            f"{hook_run} did not {what} within its limit of {time_limit(limit)}.{waits_at(hook_run)}",
            f"Raise {self._setting(setting)}.",
            server_waits=starts,
        )

    def _of_start(self, hook_run: HookRun, at: float) -> LimitPassed:
        deadlines, where = self._deadlines, waits_at(hook_run)
        server_waits = not hook_run.non_blocking
        if hook_run.deadline >= deadlines.of_startup and server_waits:
            return LimitPassed(
                f"{hook_run} did not start within the startup's deadline of {time_limit(deadlines.allowed)}"
                f"; it has had {time_taken(at - hook_run.begun)} of them.{where}",
                f"Raise {self._setting('startup_deadline')}, or make the hook optional with "
                "required=False.",
                server_waits=True,
            )
        attempts = hook_run.attempts
        if attempts is not None and hook_run.deadline >= attempts.until:
            return LimitPassed(
                f"{hook_run} did not start within the {time_limit(attempts.retry.for_)} of its "
                f"retry.{where}",
                f"Raise {own(hook_run, 'retry= of the hook, or ')}"
                f"{self._setting('hooks', hook_run.node.key, 'retry')}.",
                server_waits=server_waits,
            )
        limit = hook_run.node.options.timeout or OPTIONAL_TIMEOUT
        return LimitPassed(
            f"{hook_run} did not start within its limit of {time_limit(limit)}.{where}",
            f"Raise {own(hook_run, 'timeout= of the hook, or ')}"
            f"{self._setting('hooks', hook_run.node.key, 'timeout')}.",
            server_waits=server_waits,
        )

    def of_round(self, job: HookRun) -> LimitPassed:
        """Return the error of a job whose round has passed its limit."""
        limit = job.node.options.timeout or 0.0
        thread = "" if job.on_loop else f" {NO_CANCELLATION}"
        return LimitPassed(
            f"{job} did not end its round within its limit of {time_limit(limit)}.{waits_at(job)}",
            f"Raise timeout= of the job, or {self._setting('hooks', job.node.key, 'timeout')}.{thread}",
        )

    def never_began(self, hook_run: HookRun) -> LimitPassed:
        """Return the error of a hook that had not begun its last attempt at the startup's deadline."""
        allowed = time_limit(self._deadlines.allowed)
        if hook_run.state is RETRYING:
            cause = (
                f"{hook_run} did not start within the startup's deadline of {allowed}: "
                f"{last_attempt(hook_run)}."
            )
        else:
            cause = f"The startup passed its deadline of {allowed} before {hook_run} could begin."
        raise_it = f"Raise {self._setting('startup_deadline')}."
        return LimitPassed(cause, raise_it, server_waits=True)

    def too_late(self, hook_run: HookRun) -> str:
        """Return the reason for skipping an optional hook at the startup's deadline."""
        if hook_run.state is RETRYING:
            return f"{last_attempt(hook_run)}, and the startup passed its deadline"
        return "the startup had already passed its deadline"

    def last_second(self, hook_run: HookRun) -> LimitPassed:
        """Return the error of a hook that has not stopped when the shutdown's time is used up."""
        return LimitPassed(
            f"{hook_run} did not stop before the last second of the shutdown's deadline of "
            f"{time_limit(self._deadlines.allowed)}.{waits_at(hook_run)}",
            f"Raise {self._setting('shutdown_deadline')}, and the limits of the server and the "
            "platform with it.",
        )


def own(hook_run: HookRun, option: str) -> str:
    """Return an option of the hook's own; a lifespan manager is registered without any."""
    return "" if hook_run.hook.kind is MANAGER else option


def waits_at(hook_run: HookRun) -> str:
    """Return the last known location of a hook as a sentence, or an empty string."""
    step = hook_run.step
    return f" It waits at {step.waiting_at}." if step is not None and step.waiting_at else ""


def last_attempt(hook_run: HookRun) -> str:
    """Return the last attempt of a start that is tried again, as part of a sentence."""
    attempts = hook_run.attempts
    return f"attempt {attempts.number} had failed with {attempts.errors[-1]}"
