"""``manage.py runlifespan``: open a plan without a server, around one, or in one for development."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from lifespan_app.conf import LAUNCH
from lifespan_app.console.command import CommandWithExitCodes
from lifespan_app.console.live import Live
from lifespan_app.default import lifespan
from lifespan_app.engine.context import ServiceType
from lifespan_app.running import serve
from lifespan_app.running.child import CannotRun, Child
from lifespan_app.running.opened import BAD_ARGUMENT, Body, Ended, Once, Opened, Stay
from lifespan_app.running.ready import Readiness

EXIT_CODES = """\
exit codes:
  0    it came up, was asked to end, and has stopped
  1    the startup failed, or a background job crashed that has on_crash="stop"
  2    an argument that can't be used
  5    the shutdown failed
  128 + signal: a signal ended it before it was up

With a command: the command's own exit code, or 128 + the signal that killed it, unless it is the one
that asked it to end. Where that is 0, the codes above; and 1 where the startup of its workers failed
and it returned 0 all the same.
"""


class Command(CommandWithExitCodes):
    """Opens the plan of a service type, and closes it when asked to end."""

    help = (
        "Opens the plan of a service type, without a web server: for schedulers, consumers of "
        "queues, bots. Ctrl+C or SIGTERM closes it. With '-- COMMAND ARG...' it opens the plan of "
        "'server' around a command, such as a server with workers."
    )
    exit_codes = EXIT_CODES

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "command",
            nargs="*",
            metavar="-- COMMAND ARG...",
            help="Run a command inside the plan, as a child: signals are passed on to it, and its "
            "exit code is returned.",
        )
        parser.add_argument(
            "--service-type",
            metavar="TYPE",
            help="Whose plan to open. Default: that of the setting LIFESPAN; with a command, "
            "'server'.",
        )
        parser.add_argument(
            "--once", action="store_true", help="Stop as soon as everything has started."
        )
        parser.add_argument(
            "--ready-file",
            metavar="PATH",
            type=Path,
            help="A file that is there for as long as the process is ready.",
        )

        parser.add_argument(
            "--serve",
            nargs="?",
            const=serve.USUAL,
            metavar="HOST:PORT",
            help="Serve the project for development, with uvicorn: system checks first, static "
            "files in DEBUG. Default: %(const)s.",
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="With --serve: begin anew when a file changes.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Open the plan, and return its exit code."""
        refuse(options)
        if options["serve"] is not None:
            self.finish(self.serve(options))
            return
        if not os.environ.get(LAUNCH):
            os.environ[LAUNCH] = uuid.uuid4().hex
        readiness = self.readiness(options["ready_file"])
        # A service may be started with its standard output closed.
        if options["verbosity"] < 1 or sys.stdout is None:
            ended = self.run_plan(options, readiness, lambda text: None)
        else:
            live = Live(
                self.stdout,
                no_color=options["no_color"],
                force_color=options["force_color"],
                every=options["verbosity"] > 1,
            )
            with live.watching(lifespan):
                ended = self.run_plan(options, readiness, live.say)
        self.finish(ended)

    def finish(self, ended: Ended) -> None:
        """Say what there is to say at the end, and leave with the exit code."""
        if ended.message:
            raise CommandError(ended.message, returncode=ended.code)
        if ended.code:
            sys.exit(ended.code)

    def serve(self, options: dict[str, Any]) -> Ended:
        """Serve the project, and return how it ended."""
        try:
            where = serve.address(options["serve"])
        except ValueError as error:
            raise CommandError(f"--serve: {error}", returncode=BAD_ARGUMENT) from error
        # Said in the environment, for the process that --reload starts again and again.
        if options["service_type"]:
            os.environ["LIFESPAN_SERVICE_TYPE"] = options["service_type"]
        if options["no_color"]:
            os.environ["NO_COLOR"] = "1"
        return serve.serve(where, reload=options["reload"])

    def run_plan(
        self, options: dict[str, Any], readiness: Readiness, say: Callable[[str], None]
    ) -> Ended:
        """Open the plan for what the options say, and return how it ended."""
        service_type, command = options["service_type"], options["command"]
        body: Body
        if command:
            service_type = service_type or ServiceType.SERVER
            body = Child(command, service_type, say)
            try:
                body.check()
            except CannotRun as error:
                return Ended(error.code, str(error))
            say(f"The plan of '{service_type}' around: {body}. The command opens its own.")
        else:
            body = Once() if options["once"] else Stay()
        return asyncio.run(Opened(lifespan, service_type, body, say, readiness).run())

    def readiness(self, file: Path | None) -> Readiness:
        """Return what says that the process is ready."""
        readiness = Readiness(file)
        try:
            readiness.begin()
        except OSError as error:
            raise CommandError(
                f"--ready-file can't be written: {error}.", returncode=BAD_ARGUMENT
            ) from error
        return readiness


def refuse(options: dict[str, Any]) -> None:
    """Raise an error where options don't go together."""
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
