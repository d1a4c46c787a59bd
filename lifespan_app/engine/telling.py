"""Telling the observers of a run what it does. One that raises is logged and dropped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .context import ServiceType
from .current import here
from .error_text import path_of
from .logger import logger
from .loglines import LogCapture, LogSink
from .report import Observer, Phase
from .steps import report_of, step_of
from .unit import Unit

if TYPE_CHECKING:
    from .runner import Run

AROUND = "LIFESPAN_AROUND"
"""The environment variable that says whose plan is open around a process, in the one that has
started it: ``runlifespan -- COMMAND`` sets it."""


class Telling:
    """The observers of one run.

    Args:
        run: what is told of.
        observers: who is told.
    """

    def __init__(self, run: Run, observers: Iterable[Observer]) -> None:
        self._run = run
        self._observers = list(observers)
        self.of_steps: list[Observer] = []
        """Who wants to know of each step of the phase."""
        self.phase_begins()
        self._captures = False

    def capture(self, wanted: bool) -> None:
        """Begin, or end, to keep the log lines of hooks with their steps."""
        if wanted is not self._captures:
            self._captures = wanted
            if wanted:
                log_capture.capture()
            else:
                log_capture.release()

    def end(self) -> None:
        """Keep no log lines any more."""
        self.capture(False)

    def phase_begins(self) -> None:
        """Ask, once a phase, who wants to know of each step."""
        self.of_steps = []
        for observer in list(self._observers):
            if self._tell(observer, observer.watches_steps, self._run.phase):
                self.of_steps.append(observer)

    def status_changed(self) -> None:
        """Tell that the run's status has changed."""
        if self._observers:
            report = report_of(self._run)
            for observer in list(self._observers):
                self._tell(observer, observer.run_changed, report)

    def step(self, unit: Unit, phase: Phase) -> None:
        """Tell that a step has begun or has ended. Ask ``of_steps`` first: it costs a report."""
        report, step = report_of(self._run), step_of(unit, phase)
        for observer in list(self.of_steps):
            self._tell(observer, observer.step_changed, report, step)

    def hook_failed(self, unit: Unit, phase: Phase, error: BaseException) -> None:
        """Tell that a hook has failed, with the error itself."""
        if self._observers:
            report, step = report_of(self._run), step_of(unit, phase)
            for observer in list(self._observers):
                self._tell(observer, observer.hook_failed, report, step, error)

    def progressed(self) -> None:
        """Tell that a hook has said how far it is."""
        if self._observers and not self._run.over:
            report = report_of(self._run)
            for observer in list(self._observers):
                self._tell(observer, observer.progressed, report)

    def run_ended(self, seconds_left: float) -> Coroutine[Any, Any, None] | None:
        """Tell that the run is over; return what waits for the last writes, if there are any."""
        self.status_changed()
        report = report_of(self._run)
        writes = [
            write
            for observer in list(self._observers)
            if (write := self._tell(observer, observer.run_ended, report, seconds_left)) is not None
        ]
        return wait_for_writes(writes, seconds_left) if writes else None

    # What is said to people only.

    def abandoned(self, unit: Unit, how: str) -> None:
        """Say that a hook was given up, and that something of it may be left behind."""
        logger.error("%s %s. It is abandoned: what it holds may stay open.", unit, how)

    def warn_of_server_hooks(self) -> None:
        """Say which hooks run once per server, where nothing has opened their plan."""
        run = self._run
        if run.server is None or run.context.service_type == ServiceType.SERVER:
            return
        if os.environ.get(AROUND) == ServiceType.SERVER:
            return
        names = [
            f"'{run.host.app_label(hook.module) or hook.module}.{hook.name}'"
            for hook in run.lifespan.hooks
            if hook.service_types is not None and ServiceType.SERVER in hook.service_types
        ]
        if names:
            logger.warning(
                "These hooks are for service type 'server', whose plan nothing has opened, so they "
                "do not run: %s. Open it once per server, around its workers: "
                "'manage.py runlifespan -- COMMAND', with the server's command.",
                ", ".join(names),
            )

    def stop_is_known(self, by: str) -> None:
        """Say that the process will be stopped, and is not ready any more."""
        logger.info("%s: the process is about to stop. It is not ready any more.", by)

    def stops_server(self, unit: Unit) -> None:
        """Say why the server is asked to stop."""
        logger.error("%s crashed and has on_crash='stop': the server is asked to stop.", unit)

    def _tell(self, observer: Observer, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        # Not even a SystemExit of an observer may get into the task of a hook.
        except BaseException as error:
            name = path_of(type(observer))
            logger.error("Observer %s failed. It is told no more of this run.", name, error=error)
            self._observers = [other for other in self._observers if other is not observer]
            self.of_steps = [other for other in self.of_steps if other is not observer]
            return None


def sink_here() -> LogSink | None:
    """Return where the log lines of the running code go: to the step that it is part of."""
    inside = here.get()
    return inside.sink() if isinstance(inside, Unit) else None


log_capture = LogCapture(sink_here)


async def wait_for_writes(writes: Sequence[Awaitable[None]], seconds: float) -> None:
    """Wait for the last writes of observers, for so many seconds at most."""
    tasks = [asyncio.ensure_future(finished(write)) for write in writes]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
        logger.warning("An observer's last write took more than %.1f s and was given up.", seconds)


async def finished(write: Awaitable[None]) -> None:
    """Wait for the last write of an observer, whatever it raises."""
    try:
        await write
    except asyncio.CancelledError:
        return
    # A SystemExit would end the event loop.
    except BaseException as error:
        logger.error("An observer's last write failed.", error=error)
