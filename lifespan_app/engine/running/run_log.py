"""The log lines of a run that don't come from an observer."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from lifespan_app.engine.context import LifespanContext, ServiceType
from lifespan_app.engine.hooks.hook import Hook
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.journal import attempt

from .hook_run import HookRun
from .log_sink import keep_line

AROUND = "LIFESPAN_AROUND"
"""The environment variable with the service type of the plan that is open around this process."""


def log_abandoned(hook_run: HookRun, how: str) -> None:
    """Log that a hook was abandoned, and may have left something behind."""
    logger.error("%s %s. It is abandoned: what it holds may stay open.", hook_run, how)


def log_stop_is_known(by: str) -> None:
    """Log that the shutdown was announced, and the process is not ready any more."""
    logger.info("%s: the process is about to stop. It is not ready any more.", by)


def log_stops_server(hook_run: HookRun) -> None:
    """Log the reason to stop the server."""
    option = hook_run.job.stop_option
    logger.error("%s crashed and has %s: the server is asked to stop.", hook_run, option)


def log_tried_again(hook_run: HookRun, now: float) -> None:
    """Log a failed attempt of a start, with the time of the next one; its step keeps the line."""
    step = hook_run.step
    if step is not None:
        text = attempt(step, now)
        logger.warning("%s failed to start: %s.", hook_run, text)
        keep_line(hook_run, logging.WARNING, "%s failed to start: %s.", hook_run, text)


def log_given_up(hook_run: HookRun) -> None:
    """Log that a job does not begin again."""
    logger.error("%s is given up: %s. It does not begin again.", hook_run, hook_run.job.given_up)


def log_stalled(hook_run: HookRun) -> None:
    """Log that a job gives no sign of life, and the line where it waits."""
    where = hook_run.waiting_at or "a place that can't be seen"
    logger.error("%s is stalled: %s. It waits at %s.", hook_run, hook_run.job.stalled, where)


def log_hangs(hook_run: HookRun) -> None:
    """Log that a job, or its round, delays all that comes after it."""
    what = "A round of %s" if hook_run.job.is_periodic else "%s"
    logger.error(
        f"{what} ignores its cancellation. It does not begin again before this has ended.", hook_run
    )


def log_leads(hook_run: HookRun) -> None:
    """Log that a job has its lease, and begins."""
    logger.info("%s leads here: lease '%s', number %d.", hook_run, *hook_run.lease or ("", 0))


def log_stands_by(hook_run: HookRun, who: str) -> None:
    """Log who has the lease that a hook waits for."""
    if hook_run.is_job:
        logger.info("%s stands by here: %s.", hook_run, who)
    else:
        logger.info("%s waits for its turn: %s.", hook_run, who)


def log_lost(hook_run: HookRun, reason: str) -> None:
    """Log that a hook has lost its lease."""
    if hook_run.on_loop:
        logger.warning("The lease of %s %s. It is cancelled.", hook_run, reason)
    else:
        logger.warning(
            "The lease of %s %s. Its thread can't be cancelled, and may run on beside another "
            "process.",
            hook_run,
            reason,
        )


def warn_of_server_hooks(hooks: Iterable[Hook], context: LifespanContext, adapter: Any) -> None:
    """Log the hooks that run once per server if nothing has opened their plan."""
    if ServiceType.SERVER in (context.service_type, os.environ.get(AROUND)):
        return
    names = [
        f"'{hook.key_by(adapter.app_label)}'"
        for hook in hooks
        if hook.service_types is not None and ServiceType.SERVER in hook.service_types
    ]
    if names:
        logger.warning(
            "These hooks are for service type 'server', whose plan nothing has opened, so they "
            "do not run: %s. Open it once per server, around its workers: %s",
            ", ".join(names),
            adapter.advice.around_server(),
        )
