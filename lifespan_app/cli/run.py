"""A plan that a command opens, keeps open while something lives in it, and closes."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from signal import Signals
from typing import Any, NamedTuple, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError

from lifespan_app.conf import LAUNCH
from lifespan_app.engine.context import ServiceType
from lifespan_app.engine.errors import PlanError
from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.reporting.report import Mode, Status
from lifespan_app.engine.running.messages import shutdown_message, startup_message
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.wording import count, time_taken
from lifespan_app.integration.default import lifespan

from .capture_signals import ENDING, HANGUP, CapturedSignals
from .child import CannotRun, Child
from .command import BAD_ARGUMENT, CommandWithExitCodes
from .notify import Notifier

STARTUP_FAILED, SHUTDOWN_FAILED = 1, 5
"""Exit codes, beside 0 and those of a child."""
UP = (Status.SERVING, Status.DEGRADED)


class Ended(NamedTuple):
    """How it ended: the exit code, and what there is to say about it."""

    code: int
    message: str = ""


class Body(Protocol):
    """What lives in an open plan."""

    signals: tuple[Signals, ...]
    """What it wants to hear of, beside SIGINT, SIGTERM and SIGHUP."""
    ended_by: str
    """Why the plan is closed."""
    message: str
    """What there is to say about its exit code."""

    async def live(self, ready: Callable[[], None]) -> int:
        """Live, call ``ready`` when it has begun, and return an exit code."""

    def heard(self, number: Signals) -> bool:
        """Take note of a signal; tell whether it asks for the end."""


class Stay:
    """Nothing but the plan itself, until a signal asks for its end."""

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

    def heard(self, number: Signals) -> bool:
        """Take the signal for the end."""
        self.ended_by = number.name
        self._asked.set()
        return True


class Once:
    """Nothing: what has come up is stopped."""

    signals: tuple[Signals, ...] = ()
    ended_by = "--once"
    message = ""

    async def live(self, ready: Callable[[], None]) -> int:
        """Return at once."""
        ready()
        return 0

    def heard(self, number: Signals) -> bool:
        """Leave it at that: the end is near."""
        return True


class Opened:
    """Open a plan, let something live in it, and close it.

    The first signal during the startup gives it up and stops what is up; another one hurries what
    stops: a second at most for each hook, three in all.

    Args:
        lifespan: where the hooks were declared.
        service_type: whose plan it is; None: as the settings say.
        body: what lives in it.
        say: writes a line for people.
        readiness: told when the body has begun, and when the end begins.
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
        """Do it, and return how it ended."""
        observers = self._lifespan.adapter.observers
        observers.append(self._readiness)
        try:
            run = self._run = self._lifespan.prepare(self._service_type, mode=Mode.COMMAND)
            with CapturedSignals(self._heard, self._body.signals):
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
            # Ctrl+C, where the hook has blocked the loop.
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
            # A SystemExit of a hook would end the loop, were it the error of a task.
            try:
                await run.start()
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                return error
            return None

        # In a task of its own: a background job that asks for the end cancels nothing of ours.
        return await asyncio.create_task(start())

    def _up(self, run: Run) -> str:
        report = run.report()
        degraded = ""
        if report.status is Status.DEGRADED:
            degraded = (
                f", degraded: {report.hooks_failed} of {count(report.hooks_total, 'hook')} failed or were "
                "skipped"
            )
        return f"Ready after {time_taken(report.startup_duration or 0.0)}{degraded}."

    def _begun(self) -> None:
        self._readiness.ready(self._run.report())

    # Signals.

    def _heard(self, number: Signals) -> None:
        if self._run.status in UP and not self._closing:
            # It may not live yet: it has come up this very moment.
            if self._body.heard(number):
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
    """Return how a run ended that had come up, where what lived in it returned an exit code."""
    messages = [message]
    for hook_run in run.hook_runs if run is not None else ():
        if hook_run.is_job and hook_run.crashed and hook_run.job.stop_option:
            code = code or STARTUP_FAILED
            messages.append(f"{hook_run} crashed, and has {hook_run.job.stop_option}.")
    if run is not None and run.stop_errors:
        code = code or SHUTDOWN_FAILED
        messages.append(shutdown_message(run))
    return Ended(code, "\n".join(filter(None, messages)))


# For the command.


def refuse(options: Mapping[str, Any]) -> None:
    """Raise ``CommandError`` for options that don't go together."""
    given = {
        "--serve": options["serve"] is not None,
        "--once": options["once"],
        "--ready-file": options["ready_file"] is not None,
        "a command": bool(options["command"]),
    }
    for one, other in (
        ("--serve", "--once"),
        ("--serve", "--ready-file"),
        ("--serve", "a command"),
        ("--once", "a command"),
    ):
        if given[one] and given[other]:
            raise CommandError(f"{one} and {other} don't go together.", returncode=BAD_ARGUMENT)
    if options["reload"] and not given["--serve"]:
        raise CommandError("--reload is for --serve.", returncode=BAD_ARGUMENT)


def run_plan(command: CommandWithExitCodes, options: Mapping[str, Any]) -> Ended:
    """Open the plan for what a command's options say, with a line a hook for people."""
    if not os.environ.get(LAUNCH):
        os.environ[LAUNCH] = uuid.uuid4().hex
    readiness = Notifier(options["ready_file"])
    try:
        readiness.begin()
    except OSError as error:
        text = f"--ready-file can't be written: {error}."
        raise CommandError(text, returncode=BAD_ARGUMENT) from error
    # A service may be started with its standard output closed.
    if options["verbosity"] < 1 or sys.stdout is None:
        return live_in_plan(options, readiness, lambda text: None)
    with command.live(options).watching(lifespan) as live:
        return live_in_plan(options, readiness, live.say)


def live_in_plan(
    options: Mapping[str, Any], readiness: Notifier, say: Callable[[str], None]
) -> Ended:
    """Open the plan around what is to live in it, and return how it ended."""
    service_type, arguments = options["service_type"], options["command"]
    body: Body
    if arguments:
        service_type = service_type or ServiceType.SERVER
        body = Child(arguments, service_type, say)
        try:
            body.check()
        except CannotRun as error:
            return Ended(error.code, str(error))
        say(f"The plan of '{service_type}' around: {body}. The command opens its own.")
    else:
        body = Once() if options["once"] else Stay()
    return asyncio.run(Opened(lifespan, service_type, body, say, readiness).run())
