"""The progress of slow hooks, as they report it."""

from __future__ import annotations

import logging

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.journal import Progress

from .hook_run import HookRun
from .log_sink import keep_line


def tell_progress(fraction: float, doing: str) -> None:
    """Store a hook's progress, for ``Lifespan.progress``."""
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)):
        raise TypeError(f"progress is a number from 0 to 1, such as 0.6, not {fraction!r}.")
    if not 0 <= fraction <= 1:
        raise ValueError(f"progress is a number from 0 to 1, such as 0.6, not {fraction!r}.")
    hook_run = current_hook.get()
    if not isinstance(hook_run, HookRun) or hook_run.phase is None:
        return
    run = hook_run.run
    now = Progress(fraction, str(doing))
    before = run.journal.keep_progress(hook_run.node.index, now)
    if before is not None and str(before) == str(now):
        # A loop over a million rows reports the same value ten thousand times.
        return
    log(hook_run, now)
    run.on_its_loop(run.progressed)


def log(hook_run: HookRun, progress: Progress) -> None:
    """Log a hook's progress; keep it in the step even if the project's logging drops it."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s: %s.", hook_run, progress)
        return
    keep_line(hook_run, logging.INFO, "%s: %s.", hook_run, progress)
