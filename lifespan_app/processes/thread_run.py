"""A plan on an event loop in a background thread."""

from __future__ import annotations

import contextvars
import os
import uuid
from collections.abc import Callable
from concurrent import futures

from lifespan_app.conf import LAUNCH
from lifespan_app.engine.error_text import class_name
from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.reporting.report import Mode
from lifespan_app.engine.running.messages import startup_message
from lifespan_app.engine.running.portal import result_of
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.running.shutdown_event import Echo
from lifespan_app.engine.running.threads import LoopThread

from .run import judged

LOOK = 0.05
"""Seconds between two tests for the end of the wait for a startup."""


class ThreadRun:
    """Open the plan of a service type beside other code, and close it.

    Args:
        lifespan: the registry of the hooks.
        service_type: the service type of the plan.
        echo: the signals that interrupt it; another one may do so while it is closed.
    """

    def __init__(self, lifespan: Lifespan, service_type: str, echo: Echo | None = None) -> None:
        self.run: Run | None = None
        """The run; None before its beginning, or if its plan can't be built."""
        self.is_left_behind = False
        """True if its loop was blocked until the end, so that nothing could be closed."""
        self._lifespan = lifespan
        self._service_type = service_type
        self._echo = echo or Echo()
        self._closing = False
        self._thread: LoopThread | None = None

    def begin(self) -> futures.Future[None]:
        """Begin to open the plan, and return a future, which has the error of a failed startup.

        Raises:
            LifespanError: threads are greenlets here, beside which no event loop can run.
        """
        self._thread = LoopThread("lifespan loop", self._lifespan.adapter.advice)
        # Nothing of the caller's context is for the process.
        return contextvars.Context().run(self._thread.submit, self._open())

    def open(self, check: Callable[[], None] | None = None) -> None:
        """Open the plan, and wait. An exception during the wait aborts the startup.

        Args:
            check: called repeatedly meanwhile; an exception of it aborts the startup.

        Raises:
            LifespanError, ImproperlyConfigured: the plan can't be made, or not be opened here.
            BaseException: the first error of a hook that failed to start, or the exception that ended
                the wait; open hooks have been stopped.
        """
        try:
            opened = self.begin()
            while check is not None and not opened.done():
                check()
                futures.wait([opened], LOOK)
            result_of(opened)
        except BaseException as error:
            self.close(why(error))
            raise

    def failure(self, error: BaseException) -> str | None:
        """Return the reason of a failed startup as text; None after an interrupted wait.

        Args:
            error: what was raised.
        """
        run = self.run
        interrupted = isinstance(error, (KeyboardInterrupt, SystemExit))
        if interrupted and (run is None or run.first_error is not error):
            return None
        if run is not None and run.first_error is None:
            # A job that has crashed at once, and asks for the end of the process.
            if message := judged(run, 0).message:
                return message
        return startup_message(run, error)

    def close(self, ended_by: str) -> None:
        """Close the plan, and wait. An exception during the wait limits the rest to three seconds.

        A fork of the process that has opened it closes nothing.

        Args:
            ended_by: what has ended it, for the report.
        """
        quick, self._closing = False, True
        # A signal handler may ask for it once more, and after a failed start it is closed already.
        thread, self._thread = self._thread, None
        if thread is None:
            return
        while (run := self.run) is not None and not run.inherited:
            try:
                self._echo.end()
                # Waits for the last write of the history, too.
                if not thread.stop(run, quick=quick, ended_by=ended_by):
                    self.is_left_behind = True
                    return
                break
            except (KeyboardInterrupt, SystemExit):
                quick = True
        thread.close()

    async def _open(self) -> None:
        self.run = self._lifespan.prepare(self._service_type, mode=Mode.COMMAND)
        await self.run.start()


def begin_launch() -> None:
    """Put all runs of this process and its children into one launch, unless they have one."""
    if not os.environ.get(LAUNCH):
        os.environ[LAUNCH] = uuid.uuid4().hex


def why(error: BaseException) -> str:
    """Return the reason for the end of a run, for its report, after an exception."""
    if isinstance(error, KeyboardInterrupt):
        return "SIGINT"
    usual = "the end of the process" if isinstance(error, SystemExit) else class_name(error)
    return str(getattr(error, "ended_by", usual))
