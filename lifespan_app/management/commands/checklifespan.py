"""``manage.py checklifespan``: the plan and its problems, before anything runs; and a trial run."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from lifespan_app.cli import boot, check, trial_run_command
from lifespan_app.cli.command import CommandWithExitCodes
from lifespan_app.cli.problems import FAIL_LEVEL, LEVELS


class Command(CommandWithExitCodes):
    """Show the plan of a service type and its problems."""

    help = (
        "Shows the plan of a service type: which hooks open in which order and why, which are "
        "left out; then everything that is wrong with it. Runs nothing, unless --run is given: "
        "then it starts the plan for real, stops it, and shows what that took and left behind."
    )
    exit_codes = """\
exit codes:
  0  nothing is wrong
  1  a problem at or over --fail-level
     with --boot: over the budget, or the project can't be imported
  2  an argument that can't be used
with --run also, the highest one where there are several:
  3  over the budget, or slower than before
  4  something was left behind
  5  a required hook failed, or the shutdown; or it took longer than --timeout
"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--service-type",
            metavar="TYPE",
            help="Whose plan to show; 'all' for each one that a hook names. Default: that of the "
            "setting LIFESPAN.",
        )
        parser.add_argument(
            "--format",
            choices=("text", "json", "mermaid", "dot"),
            default="text",
            help="How to show it. Mermaid and dot draw the plan, and leave the problems out. "
            "Default: %(default)s.",
        )
        parser.add_argument(
            "--fail-level",
            choices=LEVELS,
            default=FAIL_LEVEL,
            help="From which level on a problem makes the exit code 1. Default: %(default)s.",
        )
        parser.add_argument(
            "--asgi",
            metavar="PATH",
            help="The ASGI application that is asked whether it answers lifespan, as "
            "'module:name'. Default: ASGI_APPLICATION, else 'application' in the asgi.py beside "
            "the URLconf.",
        )
        parser.add_argument(
            "--boot",
            action="store_true",
            help="Start a fresh process up to its hooks, and show what took how long: the import and "
            "the ready() of each app, and the imports of each package.",
        )
        trial_run_command.add_options(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Show the plan and its problems, with ``--run`` a trial run, and fail for problems."""
        if options["boot"]:
            boot.refuse(options)
            boot.run(self, options)
            return
        trial_run_command.refuse(options)
        found = check.check_for(self, options["service_type"], options["asgi"])
        if options["run"] and found.can_run:
            trial_run_command.run(self, found, options)
        else:
            check.show(self, found, options["format"], options["verbosity"])
            check.fail_for_problems(found, options["fail_level"])
