"""The command ``prunelifespan``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from lifespan_app import conf
from lifespan_app.cli.command import CommandWithExitCodes, whole_number
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.wording import count
from lifespan_app.history.recording.pruning import BATCH, prune


class Command(CommandWithExitCodes):
    """Delete old runs from the history."""

    help = (
        "Deletes runs without a heartbeat for many days from the history, with their steps."
        " Running ones are kept, and the last runs of each service type."
    )
    exit_codes = """\
exit codes:
  0  the old runs are deleted
  1  the database refused or failed
  2  an argument or a setting is invalid
"""

    def add_arguments(self, parser: CommandParser) -> None:
        """Add days, keep-last, batch and dry-run."""
        parser.add_argument(
            "--days",
            type=whole_number(0),
            help="Delete what is older. Default: HISTORY_DAYS.",
        )
        parser.add_argument(
            "--keep-last",
            type=whole_number(0),
            default=1,
            metavar="RUNS",
            help="Keep so many runs of each service type, however old. Default: %(default)s.",
        )
        parser.add_argument(
            "--batch",
            type=whole_number(1),
            default=BATCH,
            metavar="RUNS",
            help="Delete so many runs together. Default: %(default)s.",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Only print how many runs would be deleted."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Delete old runs, with a progress line on a terminal, and print their number."""
        self.refuse_wrong_settings()
        days, dry_run = options["days"], options["dry_run"]
        if days is None:
            days = conf.get("HISTORY_DAYS")
        shows_progress = options["verbosity"] > 0 and self.stdout.isatty()
        pruned = None
        try:
            for pruned in prune(
                days, keep_last=options["keep_last"], batch=options["batch"], dry_run=dry_run
            ):
                if shows_progress:
                    line = f"{count(pruned.runs, 'run')}, up to {pruned.until:%Y-%m-%d}"
                    self.stdout.write(f"\r{line}", ending="")
                    self.stdout.flush()
        except DatabaseError as error:
            alias = conf.get("HISTORY_DATABASE")
            raise CommandError(
                f"The history in database '{alias}' can't be pruned: {one_line(error)}\n"
                f"Has 'manage.py migrate --database {alias}' made its tables?"
            ) from error
        if shows_progress and pruned:
            self.stdout.write("")
        if options["verbosity"] > 0:
            runs = count(pruned.runs if pruned else 0, "run")
            steps = count(pruned.steps if pruned else 0, "step")
            age = count(days, "day")
            if dry_run:
                said = f"{runs} would be deleted: no heartbeat for {age}."
            else:
                said = f"Deleted {runs} and {steps}: no heartbeat for {age}."
            self.stdout.write(said)
