"""``manage.py runlifespan``: a plan without a server, around a server, or in a development server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from lifespan_app.cli import devserver, run
from lifespan_app.cli.command import CommandWithExitCodes


class Command(CommandWithExitCodes):
    """Open the plan of a service type, and close it after a signal to stop."""

    help = (
        "Opens the plan of a service type, without a web server: for schedulers, consumers of "
        "queues, bots. Ctrl+C or SIGTERM closes it. With '-- COMMAND ARG...' it opens the plan of "
        "'server' around a command, such as a server with workers."
    )
    exit_codes = """\
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
            const=devserver.USUAL,
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
        """Run the plan, and exit with its code."""
        run.refuse(options)
        if options["serve"] is None:
            ended = run.run_plan(self, options)
        else:
            ended = devserver.serve_for(options)
        if ended.message:
            raise CommandError(ended.message, returncode=ended.code)
        if ended.code:
            sys.exit(ended.code)
