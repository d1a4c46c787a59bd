"""``manage.py showlifespan``: a recorded run in a terminal, as the admin shows it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError
from django.utils import timezone

from lifespan_app.console.command import CommandWithExitCodes
from lifespan_app.console.page import width_of_page
from lifespan_app.console.recorded import RunText
from lifespan_app.history.document import document
from lifespan_app.history.masking import masked
from lifespan_app.history.newest import tables_are_there
from lifespan_app.history.spooled import Recorded, spooled_runs
from lifespan_app.history.statistics import UNCOUNTED
from lifespan_app.models import LifespanRun, Status

FAILED = (Status.STARTUP_FAILED, Status.SHUTDOWN_FAILED, Status.LOST)
LATELY = 5_000
"""Among how many of the newest runs the beginning of a UUID is looked for."""
MOST_LIVE = 200
NOTHING = 1
"""The exit code where there is no such run."""

EXIT_CODES = """\
exit codes:
  0  it is shown
  1  there is no such run
  2  an argument, or a setting, that can't be used
"""


class Command(CommandWithExitCodes):
    """Shows a recorded run."""

    help = (
        "Shows a recorded run: what happened, what failed and where it hung, its hooks and their "
        "log lines. Reads the database, or where that is down the files that wait on this host."
    )
    exit_codes = EXIT_CODES

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what can be shown."""
        which = parser.add_mutually_exclusive_group()
        which.add_argument("uuid", nargs="?", help="A run, by its UUID or the beginning of it.")
        which.add_argument("--last", action="store_true", help="The newest run. The default.")
        which.add_argument(
            "--last-failed",
            action="store_true",
            help="The newest run whose startup or shutdown failed, or that is lost.",
        )
        which.add_argument("--now", action="store_true", help="What is there now, a line a run.")
        parser.add_argument(
            "--format", choices=["text", "json"], default="text", help="Default: %(default)s."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Read and print."""
        self.refuse_wrong_settings()
        runs = self.read(options)
        if not runs:
            raise CommandError(self.nothing(options), returncode=NOTHING)
        now = timezone.now()
        if options["format"] == "json":
            documents = [document(run, steps, now) for run, steps in runs]
            self.stdout.write(json.dumps(documents if options["now"] else documents[0], indent=2))
            return
        text = RunText(self.style, width_of_page(), now)
        if options["now"]:
            lines: Iterable[str] = text.list([run for run, _ in runs])
        else:
            lines = text.run(*runs[0])
        for line in lines:
            self.stdout.write(line)

    def read(self, options: dict[str, Any]) -> list[Recorded]:
        """Return the runs that are asked for, from the database or from files."""
        try:
            if tables_are_there():
                return from_database(options) or from_files(options)
            why = "The tables of the history are not there: run 'manage.py migrate lifespan_app'."
        except DatabaseError as error:
            why = f"The database of the history does not answer: {masked(str(error)).strip()}"
        self.stderr.write(f"{why}\nShown is what waits in files on this host.")
        return from_files(options)

    def nothing(self, options: dict[str, Any]) -> str:
        """Return why there is nothing to show."""
        if options["uuid"]:
            return f"No recorded run has a UUID that begins with '{options['uuid']}'."
        if options["last_failed"]:
            return "No recorded run has failed."
        if options["now"]:
            return "No process is there, as far as was recorded."
        return "No run has been recorded yet."


def from_database(options: dict[str, Any]) -> list[Recorded]:
    """Return the runs that are asked for."""
    if options["now"]:
        live = LifespanRun.objects.live().exclude(mode__in=UNCOUNTED)
        return [(run, []) for run in live.order_by("-pk")[:MOST_LIVE]]
    runs = LifespanRun.objects.all()
    if options["uuid"]:
        runs = runs.filter(pk__in=keys_of(options["uuid"]))
    elif options["last_failed"]:
        newest = [
            some.order_by("-pk").values_list("pk", flat=True).first()
            for some in (runs.failed(), runs.filter(status=Status.LOST), runs.silent())
        ]
        runs = runs.filter(pk__in=[key for key in newest if key is not None])
    run = runs.order_by("-pk").first()
    return [] if run is None else [(run, list(run.steps.order_by("pk")))]


def keys_of(beginning: str) -> list[int]:
    """Return the primary keys of the newest runs whose UUID begins so."""
    wanted = beginning.replace("-", "").lower()
    newest = LifespanRun.objects.order_by("-pk").values_list("pk", "uuid")[:LATELY]
    return [key for key, uuid in newest if uuid.hex.startswith(wanted)]


def from_files(options: dict[str, Any]) -> list[Recorded]:
    """Return the runs that are asked for, as far as they wait in files."""
    now = timezone.now()
    runs = list(spooled_runs())
    if options["now"]:
        return [(run, steps) for run, steps in runs if not run.is_over and not run.is_lost(now)]
    if options["uuid"]:
        wanted = options["uuid"].replace("-", "").lower()
        runs = [one for one in runs if str(one[0].uuid).replace("-", "").startswith(wanted)]
    elif options["last_failed"]:
        runs = [one for one in runs if one[0].status_at(now) in FAILED]
    return runs[:1]
