"""Which step the log lines of the running code belong to."""

from __future__ import annotations

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.reporting.log_capture import LogCapture, LogSink


def sink_here() -> LogSink | None:
    """Return where the log lines of the running code go: to the step of the hook it is part of."""
    inside = current_hook.get()
    if inside is None:
        return None
    sink: LogSink | None = inside.sink()
    return sink


log_capture = LogCapture(sink_here)
