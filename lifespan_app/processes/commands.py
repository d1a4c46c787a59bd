"""Management commands with a plan of their own, such as workers: ``LIFESPAN["COMMANDS"]``.

The plan is open while such a command handles, if it was called from the command line. What
``call_command`` calls is a part of another process, and opens nothing.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, wraps
from signal import Signals
from types import FrameType
from typing import Any, cast

from django.conf import settings
from django.core import management
from django.core.management.base import BaseCommand, CommandError
from django.utils.autoreload import DJANGO_AUTORELOAD_ENV

from lifespan_app import conf
from lifespan_app.engine.lifespan import note_stop_errors
from lifespan_app.engine.running.shutdown_event import Echo
from lifespan_app.engine.signal_handlers import give_back, place
from lifespan_app.integration.adapter import DjangoAdapter
from lifespan_app.integration.advice import in_test
from lifespan_app.integration.default import lifespan

from .capture_signals import ENDING, HANGUP
from .run import SHUTDOWN_FAILED, STARTUP_FAILED, judged
from .thread_run import ThreadRun, begin_launch, why


class Terminated(SystemExit):
    """A command without a handler for a signal was asked to stop by that signal.

    Args:
        number: the signal.
    """

    def __init__(self, number: Signals) -> None:
        super().__init__(128 + number)
        self.number = number
        self.ended_by = number.name


# The setting.


def service_types() -> dict[str, str]:
    """Return the service types by command; an empty dictionary for an invalid setting."""
    return {} if any(conf.wrong_types()) else conf.get("COMMANDS")


def is_refused(name: str) -> bool:
    """Return True if a command belongs to Django or to lifespan_app."""
    app = management.get_commands().get(name)
    package = app if isinstance(app, str) else getattr(app, "name", "")
    # An app may have a command of its own under the name of Django's, such as runserver.
    return name in of_django() or package == "lifespan_app" or package.startswith("django.")


@cache
def of_django() -> frozenset[str]:
    """Return the names of Django's own commands."""
    return frozenset(management.find_commands(management.__path__[0]))


def service_type_of(name: str) -> str | None:
    """Return the service type of a command that opens its plan in this process, or None."""
    service_type = service_types().get(name)
    if service_type is None or is_refused(name) or in_test() or lifespan.has_open_run():
        return None
    return service_type


# The one place where Django runs a command for the command line.


def install() -> None:
    """Patch the commands of the setting, once, so that they open their plans."""
    original = BaseCommand.run_from_argv
    if not hasattr(original, "opens_plans"):
        run_from_argv = opening(original)
        run_from_argv.opens_plans = True  # type: ignore[attr-defined]
        BaseCommand.run_from_argv = run_from_argv  # type: ignore[method-assign]
    # A process that such a command spawns has the same command line.
    service_type = service_type_of(sys.argv[1]) if len(sys.argv) > 1 else None
    if service_type is not None:
        stand_in(service_type, in_children_only=True)


def opening(original: Callable[..., None]) -> Callable[..., None]:
    """Return a ``run_from_argv`` that opens the plan around the command's ``handle()``."""

    @wraps(original)
    def run_from_argv(command: BaseCommand, argv: list[str]) -> None:
        service_type = service_type_of(argv[1])
        if service_type is None:
            original(command, argv)
            return
        # Options are read and checks run before handle(): --help opens nothing.
        command.handle = Handling(command, service_type)  # type: ignore[method-assign]
        try:
            original(command, argv)
        except Terminated as terminated:
            end_by(terminated.number)
            # Linux ignores that signal for the first process of a container: pid_namespaces(7).
            raise

    return run_from_argv


class Handling:
    """The ``handle()`` of a command inside the plan of a service type.

    Args:
        command: the command.
        service_type: the service type of the plan.
    """

    def __init__(self, command: BaseCommand, service_type: str) -> None:
        self._command = command
        self._service_type = service_type
        self._handle = command.handle

    def __call__(self, *args: Any, **options: Any) -> str | None:
        """Open the plan, call the command's ``handle()``, and close the plan.

        Raises:
            CommandError: the startup or the shutdown has failed, or a background job that ends the
                process has crashed.
            BaseException: what the command has raised.
        """
        if is_only_watching(self._command, options):
            # Where it serves after all, in this process, its first use of a resource opens the plan.
            stand_in(self._service_type)
            return self._handle(*args, **options)
        begin_launch()
        stand_in(self._service_type, in_children_only=True)
        echo = Echo()
        with ended_by_signals(echo):
            thread_run = self._opened(echo)
            try:
                output = self._handle(*args, **options)
                wait_for_children()
            except BaseException as error:
                close(thread_run, why(error), echo)
                if isinstance(error, Terminated) or (
                    isinstance(error, SystemExit) and not error.code
                ):
                    refuse(thread_run)
                elif thread_run.run is not None:
                    note_stop_errors(thread_run.run, error)
                raise
            close(thread_run, "the end of the command", echo)
            refuse(thread_run)
            return output

    def _opened(self, echo: Echo) -> ThreadRun:
        """Return the open plan. Raises ``CommandError`` if it does not open."""
        thread_run = ThreadRun(lifespan, self._service_type, echo)
        try:
            thread_run.open()
        except BaseException as error:
            why_failed = thread_run.failure(error)
            if why_failed is None:
                raise
            raise CommandError(why_failed, returncode=STARTUP_FAILED) from error
        return thread_run


def close(thread_run: ThreadRun, ended_by: str, echo: Echo) -> None:
    """Close a plan."""
    # The command may have put the system's handlers back, which would cut the shutdown short.
    with ended_by_signals(echo):
        thread_run.close(ended_by)


def refuse(thread_run: ThreadRun) -> None:
    """Raise an error for a run that failed although the exit code would be 0."""
    ended = judged(thread_run.run, 0)
    if thread_run.is_left_behind:
        raise CommandError(
            "Nothing could be closed: the event loop is blocked.", returncode=SHUTDOWN_FAILED
        )
    if ended.code:
        raise CommandError(ended.message, returncode=ended.code)


def stand_in(service_type: str, *, in_children_only: bool = False) -> None:
    """Let the first use of a resource open a plan in a process without a run.

    Args:
        service_type: the service type of the plan.
        in_children_only: whether that is for processes only that this one starts.
    """
    cast(DjangoAdapter, lifespan.adapter).background.stand_in(
        service_type, in_children_only=in_children_only
    )


def wait_for_children() -> None:
    """Wait for the child processes that ``multiprocessing`` waits for at exit, as ``qcluster`` needs."""
    for child in multiprocessing.active_children():
        if not child.daemon:
            child.join()


# Django's autoreloader.


def is_only_watching(command: BaseCommand, options: dict[str, Any]) -> bool:
    """Return True if this process is an autoreloader, whose child does the work."""
    if os.environ.get(DJANGO_AUTORELOAD_ENV) == "true" or not uses_autoreloader(type(command)):
        return False
    # --no-reload may be stored as no_reload=True.
    asked = [
        bool(value) is not name.startswith("no")
        for name, value in options.items()
        if "reload" in name
    ]
    # A command without an option for it reloads in development.
    return any(asked) if asked else bool(settings.DEBUG)


def uses_autoreloader(command: type[BaseCommand]) -> bool:
    """Return True if the code of a command's module names Django's autoreloader."""
    for kind in command.__mro__[: command.__mro__.index(BaseCommand)]:
        try:
            source = inspect.getsource(sys.modules[kind.__module__])
        except (OSError, TypeError, KeyError):
            continue
        if "autoreload" in source or "run_with_reloader" in source:
            return True
    return False


# Signals.


@contextmanager
def ended_by_signals(echo: Echo) -> Iterator[None]:
    """Raise ``Terminated`` for unhandled signals to stop in a ``with`` block, once for all that come together."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = [number for number in (*ENDING, *HANGUP) if signal.getsignal(number) is signal.SIG_DFL]

    def terminate(number: int, frame: FrameType | None) -> None:
        # Two exceptions at once would leave the plan open, or a lock of the command's own code.
        if not echo.is_one():
            raise Terminated(Signals(number))

    for number in own:
        place(number, terminate)
    try:
        yield
    finally:
        for number in own:
            give_back(number, terminate)


def end_by(number: Signals) -> None:
    """End this process by a signal, with the default handler."""
    for stream in (sys.stdout, sys.stderr):
        # stderr may be missing or closed.
        with suppress(AttributeError, OSError):
            stream.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
