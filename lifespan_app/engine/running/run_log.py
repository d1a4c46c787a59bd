"""The log lines of a run that don't come from an observer."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from lifespan_app.engine.context import LifespanContext, ServiceType
from lifespan_app.engine.hooks.hook import Hook
from lifespan_app.engine.logger import logger

from .hook_run import HookRun

AROUND = "LIFESPAN_AROUND"
"""The environment variable with the service type of the plan that is open around this process."""


def say_abandoned(hook_run: HookRun, how: str) -> None:
    """Log that a hook was abandoned, and may have left something behind."""
    logger.error("%s %s. It is abandoned: what it holds may stay open.", hook_run, how)


def say_stop_is_known(by: str) -> None:
    """Log that the shutdown was announced, and the process is not ready any more."""
    logger.info("%s: the process is about to stop. It is not ready any more.", by)


def say_stops_server(hook_run: HookRun) -> None:
    """Log the reason to stop the server."""
    logger.error("%s crashed and has on_crash='stop': the server is asked to stop.", hook_run)


def warn_of_server_hooks(hooks: Iterable[Hook], context: LifespanContext, adapter: Any) -> None:
    """Log the hooks that run once per server if nothing has opened their plan."""
    if ServiceType.SERVER in (context.service_type, os.environ.get(AROUND)):
        return
    names = [
        f"'{adapter.app_label(hook.module) or hook.module}.{hook.name}'"
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
