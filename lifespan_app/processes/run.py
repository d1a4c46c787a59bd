"""The work of ``runlifespan``: open a plan, run a body inside it, and close the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from signal import Signals
from typing import NamedTuple, Protocol

from django.core.exceptions import ImproperlyConfigured

from lifespan_app.engine.errors import PlanError
from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.reporting.report import Mode, Status, degraded_by
from lifespan_app.engine.running.messages import shutdown_message, startup_message
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.wording import time_taken

from .capture_signals import ENDING, HANGUP, CapturedSignals
from .notify import Notifier

STARTUP_FAILED, SHUTDOWN_FAILED = 1, 5
"""Exit codes, in addition to 0 and those of a child process."""
UP = (Status.SERVING, Status.DEGRADED)


class Ended(NamedTuple):
    """A result: the exit code and its explanation."""

    code: int
    message: str = ""


class Body(Protocol):
    """A task that runs inside an open plan."""

    signals: tuple[Signals, ...]
    """The signals that it handles, beside SIGINT, SIGTERM and SIGHUP."""
    ended_by: str
    """The reason for closing the plan."""
    message: str
    """The explanation of its exit code."""

    async def live(self, ready: Callable[[], None]) -> int:
        """Run, call ``ready`` after the beginning, and return an exit code."""

    def on_signal(self, number: Signals) -> bool:
        """Handle a signal. Return True if it asks the process to stop."""


class UntilSignal:
    """A body that waits for a signal to stop."""

    signals: tuple[Signals, ...] = ()
    ended_by = ""
    message = ""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    async def live(self, ready: Callable[[], None]) -> int:
        """Wait for the signal."""
        ready()
        await self._asked.wait()
        return 0

    def on_signal(self, number: Signals) -> bool:
        """Stop waiting."""
        self.ended_by = number.name
        self._asked.set()
        return True


class Once:
    """A body that ends at once."""

    signals: tuple[Signals, ...] = ()
    ended_by = "--once"
    message = ""

    async def live(self, ready: Callable[[], None]) -> int:
        """Return at once."""
        ready()
        return 0

    def on_signal(self, number: Signals) -> bool:
        """Do nothing: the plan is closing already."""
        return True


class PlanRunner:
    """Open a plan, run a body inside it, and close the plan.

    The first signal during the startup aborts it and stops the open hooks. Another one shortens the
    stop: one second for each hook, three in total.

    Args:
        lifespan: the registry of the hooks.
        service_type: the service type of the plan; None: that of the settings.
        body: the task inside the plan.
        say: writes a line.
        readiness: notified when the body has begun, and when it is asked to stop.
    """

    def __init__(
        self,
        lifespan: Lifespan,
        service_type: str | None,
        body: Body,
        say: Callable[[str], None],
        readiness: Notifier,
    ) -> None:
        self._lifespan = lifespan
        self._service_type = service_type
        self._body = body
        self._say = say
        self._readiness = readiness
        self._closing = False
        self._interrupted: Signals | None = None
        self._stops: list[asyncio.Task[None]] = []

    async def run(self) -> Ended:
        """Open the plan, run the body, close the plan, and return the result."""
        observers = self._lifespan.adapter.observers
        observers.append(self._readiness)
        try:
            run = self._run = self._lifespan.prepare(self._service_type, mode=Mode.COMMAND)
            with CapturedSignals(self._on_signal, self._body.signals):
                ended = await self._through(run)
                await asyncio.gather(*self._stops)
                return ended
        except (PlanError, ImproperlyConfigured) as error:
            return Ended(STARTUP_FAILED, startup_message(None, error))
        finally:
            observers.remove(self._readiness)

    async def _through(self, run: Run) -> Ended:
        error = await self._start(run)
        if run.first_error is not None:
            # KeyboardInterrupt: Ctrl+C while a hook blocked the event loop.
            interrupted = isinstance(run.first_error, KeyboardInterrupt)
            code = 128 + Signals.SIGINT if interrupted else STARTUP_FAILED
            return Ended(code, startup_message(run, run.first_error))
        if self._interrupted is not None:
            code = SHUTDOWN_FAILED if run.stop_errors else 128 + self._interrupted
            return Ended(code, shutdown_message(run) if run.stop_errors else "")
        if error is not None:
            return Ended(STARTUP_FAILED, startup_message(run, error))
        self._say(self._up(run))
        try:
            code = await self._body.live(self._begun)
        finally:
            self._closing = True
            self._readiness.stopping()
            await run.stop(ended_by=self._body.ended_by)
        return judged(run, code, self._body.message)

    async def _start(self, run: Run) -> BaseException | None:
        async def start() -> BaseException | None:
            # A task that raises SystemExit stops the event loop (CPython, asyncio/tasks.py, Task.__step).
            try:
                await run.start()
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                return error
            return None

        # In another task: a background job with on_crash="stop" cancels the task that started the run.
        return await asyncio.create_task(start())

    def _up(self, run: Run) -> str:
        report = run.report()
        degraded = ""
        if report.status is Status.DEGRADED:
            degraded = f", degraded: {degraded_by(report)}"
        return f"Ready after {time_taken(report.startup_duration or 0.0)}{degraded}."

    def _begun(self) -> None:
        self._readiness.ready(self._run.report())

    # Signals.

    def _on_signal(self, number: Signals) -> None:
        if self._run.status in UP and not self._closing:
            # The run is up, though the body may not have begun yet.
            if self._body.on_signal(number):
                self._readiness.stopping()
        elif number in (*ENDING, *HANGUP):
            self._stop(number)

    def _stop(self, number: Signals) -> None:
        starting = not self._run.over and self._run.status is Status.STARTING
        if starting:
            self._interrupted = number
            self._say(f"{number.name}: the startup is given up.")
        stop = self._run.stop(quick=not starting, ended_by=number.name)
        self._stops.append(asyncio.create_task(stop))


def judged(run: Run | None, code: int, message: str = "") -> Ended:
    """Return the result of a run whose startup was successful, and whose body returned ``code``."""
    messages = [message]
    for hook_run in run.hook_runs if run is not None else ():
        if hook_run.is_job and hook_run.crashed and hook_run.job.stop_option:
            code = code or STARTUP_FAILED
            messages.append(f"{hook_run} crashed, and has {hook_run.job.stop_option}.")
    if run is not None and run.stop_errors:
        code = code or SHUTDOWN_FAILED
        messages.append(shutdown_message(run))
    return Ended(code, "\n".join(filter(None, messages)))
