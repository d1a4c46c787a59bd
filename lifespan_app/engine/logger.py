"""The logger ``lifespan_app``. All of this package logs through it, and no call of it raises.

Handlers, filters and formatters are the project's. One may raise, such as one that writes a row with
Django's ORM on the event loop: raised into the engine, its error would keep the server unanswered.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from .current_hook import current_hook
from .error_text import can_be_formatted, one_line, path_of, traceback_of

FIELDS = ("run", "service_type", "release", "hook", "phase")
"""The extra attributes of each record, with the prefix ``lifespan_``."""
Fields = Mapping[str, str]

CALLER = 3
"""The stack level of ``SafeLogger.error``'s caller, from the function that looks it up."""


class SafeLogger:
    """Log to ``logging.getLogger(name)`` without raising anything.

    The logger is looked up for each line. One that existed before Django reads ``LOGGING`` would be
    disabled by it, unless that has ``"disable_existing_loggers": False``.

    Each record names its run and its hook: ``lifespan_run``, ``lifespan_service_type``,
    ``lifespan_release``, ``lifespan_hook`` and ``lifespan_phase``; without one, an empty string.

    A line that a handler fails to take goes to standard error, with the handler and its error. So
    does a line of level ERROR when the logger is disabled.

    Args:
        name: the logger's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # as in logging
        """Return True if a line of this level is logged."""
        try:
            return logging.getLogger(self.name).isEnabledFor(level)
        except BaseException:  # a class of loggers of the project's
            return True

    def debug(
        self,
        message: str,
        *args: object,
        error: BaseException | None = None,
        about: Fields | None = None,
    ) -> None:
        """Log a line at DEBUG, with the traceback of an error if one is given."""
        self._log(Line(logging.DEBUG, message, args, error, about))

    def info(self, message: str, *args: object) -> None:
        """Log a line at INFO."""
        self._log(Line(logging.INFO, message, args))

    def warning(self, message: str, *args: object) -> None:
        """Log a line at WARNING."""
        self._log(Line(logging.WARNING, message, args))

    def warn_within(
        self, seconds: float, message: str, *args: object, about: Fields | None = None
    ) -> None:
        """Log a line at WARNING, in a thread of its own; write it to standard error if that is slow.

        A handler that blocks the event loop holds its lock meanwhile, and a line about that would wait
        for the lock.
        """
        line = Line(logging.WARNING, message, args, about=about)
        thread = threading.Thread(target=self._log, args=[line], daemon=True)
        try:
            thread.start()
        except RuntimeError:  # Python 3.12 gives no new thread to a process that ends
            write(str(line))
            return
        thread.join(seconds)
        if thread.is_alive():
            write(str(line))

    def error(
        self,
        message: str,
        *args: object,
        error: BaseException | None = None,
        about: Fields | None = None,
    ) -> None:
        """Log a line at ERROR, with the traceback of an error if one is given."""
        self._log(Line(logging.ERROR, message, args, error, about))

    def _log(self, line: Line) -> None:
        logger = logging.getLogger(self.name)
        if logger.disabled and line.level >= logging.ERROR > logger.manager.disable:
            write(str(line))
            return
        # A handler's SystemExit would end the event loop, its CancelledError a hook.
        try:
            if not logger.isEnabledFor(line.level):
                return
            file, number, function, _ = logger.findCaller(stacklevel=CALLER)
            record = logger.makeRecord(
                self.name,
                line.level,
                file,
                number,
                *line.for_record(),
                func=function,
                extra=line.extra(),
            )
            logger.handle(record)
        except BaseException as failure:
            handler = handler_in(failure)
            refused(line, handler, failure)
        else:
            return
        if handler is not None:
            for other in behind(handler, logger):
                try:
                    if line.level >= other.level:
                        other.handle(record)
                except BaseException as failure:
                    refused(line, other, failure)


class Line(NamedTuple):
    """A line of the log."""

    level: int
    message: str
    args: tuple[object, ...]
    error: BaseException | None = None
    about: Fields | None = None
    """The run that it is about, and the hook; None: the ones that it names, or is written by."""

    def extra(self) -> dict[str, object]:
        """Return the ``extra`` of the record, complete each time: a formatter may ask for it."""
        fields = fields_of(self.args) if self.about is None else self.about
        return {f"lifespan_{name}": fields.get(name, "") for name in FIELDS}

    def for_record(self) -> tuple[str, tuple[object, ...], logging._SysExcInfoType | None]:
        """Return the arguments of ``Logger.makeRecord``: message, arguments and exception."""
        error = self.error
        if error is None:
            return self.message, self.args, None
        if not can_be_formatted(error):
            # Each handler would fail to format it.
            return f"{self.message}\n%s", (*self.args, traceback_of(error).rstrip()), None
        return self.message, self.args, (type(error), error, error.__traceback__)

    def __str__(self) -> str:
        try:
            text = self.message % self.args if self.args else self.message
        except BaseException:
            text = self.message
        return f"{text}\n{traceback_of(self.error)}".rstrip()


def fields_of(args: tuple[object, ...]) -> Fields:
    """Return the run and the hook among a line's arguments, or those of the running code."""
    for subject in (*args, current_hook.get()):
        if hasattr(type(subject), "log_fields"):
            fields: Fields = cast("Any", subject).log_fields()
            return fields
    return {}


def handler_in(failure: BaseException) -> logging.Handler | None:
    """Return the handler that was called when an error was raised; None if none was."""
    traceback = failure.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == logging.Logger.callHandlers.__name__:
            handler = frame.f_locals.get("hdlr")
            if isinstance(handler, logging.Handler):
                return handler
        traceback = traceback.tb_next
    return None


def behind(handler: logging.Handler, logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers of a logger that a record goes to after one of them."""
    handlers = handlers_of(logger)
    for other in handlers:
        if other is handler:
            break
    yield from handlers


def handlers_of(logger: logging.Logger | None) -> Iterator[logging.Handler]:
    """Yield the handlers that a record of a logger goes to, in their order."""
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def refused(line: Line, handler: logging.Handler | None, failure: BaseException) -> None:
    """Write a line to standard error that a handler has failed to take."""
    if line.level < logging.ERROR and not logging.raiseExceptions:
        # As in ``Handler.handleError``: https://docs.python.org/3/library/logging.html#logging.raiseExceptions
        return
    reason = one_line(failure).rstrip(".")
    if handler is None:
        write(f"The set-up of logging failed with {reason}. It did not take this line: {line}")
    else:
        name = path_of(type(handler))
        write(f"Log handler {name} failed with {reason}. It did not take this line: {line}")


def write(text: str) -> None:
    """Write a text of this package to standard error, if there is one that takes it."""
    try:
        sys.stderr.write(f"lifespan_app: {text}\n")
        sys.stderr.flush()
    except BaseException:  # closed, full, or None: there is nowhere left to say so
        pass


logger = SafeLogger("lifespan_app")
