"""The work of ``manage.py runlifespan``: a plan without a server, or around a command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandError

from lifespan_app.engine.context import ServiceType
from lifespan_app.integration.default import lifespan
from lifespan_app.processes.notify import Notifier
from lifespan_app.processes.run import Body, Ended, Once, PlanRunner, UntilSignal
from lifespan_app.processes.thread_run import begin_launch

from .child import CannotRun, Child
from .command import BAD_ARGUMENT, CommandWithExitCodes, refuse_pairs


def refuse(options: Mapping[str, Any]) -> None:
    """Raise ``CommandError`` for options that can't be combined."""
    given = {
        "--serve": options["serve"] is not None,
        "--once": options["once"],
        "--ready-file": options["ready_file"] is not None,
        "a command": bool(options["command"]),
    }
    refuse_pairs(
        given,
        (
            ("--serve", "--once"),
            ("--serve", "--ready-file"),
            ("--serve", "a command"),
            ("--once", "a command"),
        ),
    )
    if options["reload"] and not given["--serve"]:
        raise CommandError("--reload is for --serve.", returncode=BAD_ARGUMENT)


def run_plan(command: CommandWithExitCodes, options: Mapping[str, Any]) -> Ended:
    """Run a plan with the options of a command, with a line per hook on the terminal."""
    begin_launch()
    readiness = Notifier(options["ready_file"])
    try:
        readiness.begin()
    except OSError as error:
        text = f"--ready-file can't be written: {error}."
        raise CommandError(text, returncode=BAD_ARGUMENT) from error
    # A service may be started with its standard output closed.
    if options["verbosity"] < 1 or sys.stdout is None:
        return run_body(options, readiness, lambda text: None)
    with command.live(options).watching(lifespan) as live:
        return run_body(options, readiness, live.say)


def run_body(options: Mapping[str, Any], readiness: Notifier, say: Callable[[str], None]) -> Ended:
    """Run a plan around a child process or without one, and return the result."""
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
        body = Once() if options["once"] else UntilSignal()
    return asyncio.run(PlanRunner(lifespan, service_type, body, say, readiness).run())
