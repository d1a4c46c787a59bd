"""``manage.py showlifespan``: a recorded run in a terminal, as the admin shows it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser, no_translations

from lifespan_app.cli import leases, monitor, show, timing
from lifespan_app.cli.command import CommandWithExitCodes


class Command(CommandWithExitCodes):
    """Show a recorded run, or the leases of hooks."""

    help = (
        "Shows a recorded run: a summary, its failed hooks and the lines at which they waited, all hooks "
        "and their log lines. Reads the database, or the files on this host while it is down. Shows and "
        "releases leases, too."
    )
    exit_codes = """\
exit codes:
  0  the run is shown, or the lease is released; with --expect or --fail-on: all is as expected
  1  there is no such run, or no such lease
  2  not as expected (CRITICAL for Nagios); an argument or a setting is invalid
  3  with --expect or --fail-on: the database can't be read (UNKNOWN for Nagios)
"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options that select runs."""
        which = parser.add_mutually_exclusive_group()
        which.add_argument("uuid", nargs="?", help="A run, by its UUID or the beginning of it.")
        which.add_argument("--last", action="store_true", help="The newest run. The default.")
        which.add_argument(
            "--last-failed",
            action="store_true",
            help="The newest run whose startup or shutdown failed, or that is lost.",
        )
        which.add_argument(
            "--now", action="store_true", help="The running processes, one per line."
        )
        which.add_argument(
            "--leases",
            action="store_true",
            help="The leases of hooks that run once: who has them, and which starts have succeeded.",
        )
        which.add_argument(
            "--release",
            metavar="ID",
            help="Release a lease by hand, by the beginning of its id: its holder loses it, and a success "
            "counts no more.",
        )
        parser.add_argument(
            "--blame",
            action="store_true",
            help="Of the run's startup: each hook with its time, the slowest first.",
        )
        parser.add_argument(
            "--longest-chain",
            nargs="?",
            const="",
            metavar="HOOK",
            help="Of the run's startup: a hook, by default the last one, and what it waited for.",
        )
        parser.add_argument(
            "--expect",
            metavar="TYPE=N",
            type=monitor.expectation,
            action="append",
            default=[],
            help="With --now: fail unless at least N processes of a service type are serving. May be "
            "repeated.",
        )
        parser.add_argument(
            "--fail-on",
            metavar="WHAT",
            type=monitor.states,
            default=[],
            help="With --now: fail if there are such runs: lost, failed, not-ready, separated by "
            "commas. A failed or lost run counts for 24 hours, or until a later start has succeeded.",
        )
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="Default: %(default)s."
        )

    # Of what is printed, only some texts are those of the pages, which have translations.
    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        """Print the selected runs."""
        show.refuse(options)
        self.refuse_wrong_settings()
        if options["leases"]:
            leases.show(self, options)
        elif options["release"] is not None:
            leases.release(self, options["release"])
        elif options["expect"] or options["fail_on"]:
            monitor.judge(self, options)
        elif options["blame"] or options["longest_chain"] is not None:
            timing.show(self, options)
        else:
            show.show(self, options)
