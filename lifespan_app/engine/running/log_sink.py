"""Which step the log lines of the running code belong to."""

from __future__ import annotations

import logging

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.log_capture import LogCapture, LogSink

from .hook_run import HookRun


def sink_here() -> LogSink | None:
    """Return where the log lines of the running code go: to the step of the hook it is part of."""
    inside = current_hook.get()
    if inside is None:
        return None
    sink: LogSink | None = inside.sink()
    return sink


def keep_line(hook_run: HookRun, level: int, text: str, *values: object) -> None:
    """Keep a line with the step of a hook that is running now, if one is."""
    sink = hook_run.sink()
    if sink is not None:
        sink.add(logging.LogRecord(logger.name, level, "", 0, text, values, None))


log_capture = LogCapture(sink_here)
