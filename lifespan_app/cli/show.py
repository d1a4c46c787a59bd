"""The work of ``manage.py showlifespan``: read the runs that are asked for, and print them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import product
from string import hexdigits
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from lifespan_app.engine.error_text import one_line
from lifespan_app.history.reading.against_last_good import Comparison, against_last_good
from lifespan_app.history.reading.as_json import document
from lifespan_app.history.reading.describe import BROKEN
from lifespan_app.history.reading.queries import tables_exist
from lifespan_app.history.reading.spooled import Recorded, spooled_runs
from lifespan_app.history.reading.states import MOST_LIVE
from lifespan_app.history.reading.statistics import UNCOUNTED
from lifespan_app.models import SHORT_ID, LifespanRun, LifespanStep, Status

from .command import FAILED, CommandWithExitCodes, refuse_pairs
from .run_text import RunText
from .terminal import width_of_page

HAVE_FAILED = (Status.STARTUP_FAILED, Status.SHUTDOWN_FAILED, Status.LOST)
LATELY = 5_000
"""The number of newest runs among which the beginning of a UUID is searched."""


def refuse(options: Mapping[str, Any]) -> None:
    """Raise ``CommandError`` for options that can't be combined."""
    times, judging = ("--blame", "--longest-chain"), ("--expect", "--fail-on")
    given = {
        "--now": options["now"],
        "--leases": options["leases"],
        "--release": options["release"] is not None,
        "--blame": options["blame"],
        "--longest-chain": options["longest_chain"] is not None,
        "--expect": options["expect"],
        "--fail-on": options["fail_on"],
        "--format json": options["format"] == "json",
    }
    refuse_pairs(
        given,
        [
            times,
            ("--release", "--format json"),
            *product(("--leases", "--release"), (*times, *judging)),
            *product(times, ("--now", "--format json", *judging)),
        ],
    )


def show(command: CommandWithExitCodes, options: Mapping[str, Any]) -> None:
    """Read and print the runs that are asked for. Raises ``CommandError`` where there are none."""
    runs, is_known = read(command, options)
    if not runs:
        raise CommandError(nothing(options, is_known=is_known), returncode=FAILED)
    now = timezone.now()
    against = None if options["now"] else compared(*runs[0], now)
    if options["format"] == "json":
        documents = [document(run, steps, now, against) for run, steps in runs]
        command.stdout.write(json.dumps(documents if options["now"] else documents[0], indent=2))
        return
    text = RunText(command.style, width_of_page(), now)
    lines = text.list(runs) if options["now"] else text.run(*runs[0], against)
    for line in lines:
        command.stdout.write(line)


def compared(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Comparison | None:
    """Return the comparison with the last good run; None of a run that is only in a file."""
    if run._state.adding:
        return None
    try:
        return against_last_good(run, steps, now)
    # The database may have gone away since the run was read.
    except DatabaseError:
        return None


def read(command: CommandWithExitCodes, options: Mapping[str, Any]) -> tuple[list[Recorded], bool]:
    """Return the runs that are asked for, and whether the database could be read."""
    try:
        if tables_exist():
            return from_database(options) or from_files(options), True
        why = "The history has no tables yet: run 'manage.py migrate lifespan_app'."
        is_known = True
    except DatabaseError as error:
        is_known = False
        why = f"The database of the history does not respond: {one_line(error)}"
    command.stderr.write(f"{why}\nShowing the runs that are stored in files on this host.")
    return from_files(options), is_known


def nothing(options: Mapping[str, Any], *, is_known: bool) -> str:
    """Return the reason that no run is shown.

    Args:
        options: the options of the command.
        is_known: whether the database could be read.
    """
    if not is_known:
        return "Not known: the database can't be read, and no such run is in a file on this host."
    if options["uuid"]:
        return f"No recorded run has a UUID that begins with '{options['uuid']}'."
    if options["last_failed"]:
        return "No recorded run has failed."
    if options["now"]:
        return "No process is recorded as running."
    return "No run has been recorded yet."


def from_database(options: Mapping[str, Any]) -> list[Recorded]:
    """Return the runs that are asked for."""
    if options["now"]:
        live = list(LifespanRun.objects.live().exclude(mode__in=UNCOUNTED)[:MOST_LIVE])
        # The JSON of running processes has no steps.
        failed = failed_steps(live) if options["format"] == "text" else {}
        return [(run, failed.get(run.pk, [])) for run in live]
    runs = LifespanRun.objects.all()
    if options["uuid"]:
        runs = runs.filter(pk__in=keys_of(options["uuid"]))
    elif options["last_failed"]:
        newest = [
            some.values_list("pk", flat=True).first()
            for some in (runs.failed(), runs.filter(status=Status.LOST), runs.silent())
        ]
        runs = runs.filter(pk__in=[key for key in newest if key is not None])
    run = runs.first()
    return [] if run is None else [(run, list(run.steps.order_by("pk")))]


def failed_steps(runs: Sequence[LifespanRun]) -> dict[int, list[LifespanStep]]:
    """Return the failed steps of the degraded ones of some runs, by the primary key of the run."""
    degraded = {run.pk: run for run in runs if run.status == Status.DEGRADED}
    steps = LifespanStep.objects.filter(run__in=list(degraded), outcome__in=BROKEN)
    found: dict[int, list[LifespanStep]] = defaultdict(list)
    for step in steps.defer("traceback", "log").order_by("pk") if degraded else ():
        step.run = degraded[step.run_id]
        found[step.run_id].append(step)
    return found


def keys_of(beginning: str) -> list[int]:
    """Return the primary keys of the newest runs whose UUID begins so."""
    wanted = beginning.replace("-", "").lower()
    runs = LifespanRun.objects.all()
    if not set(wanted) <= set(hexdigits):
        return []  # not every text can be in a query
    if len(wanted) >= SHORT_ID:
        # Version 0.1 leaves it empty.
        runs = runs.filter(short_id__in=(wanted[:SHORT_ID], ""))
    newest = runs.values_list("pk", "uuid")[:LATELY]
    return [key for key, uuid in newest if uuid.hex.startswith(wanted)]


def from_files(options: Mapping[str, Any]) -> list[Recorded]:
    """Return the runs that are asked for, as far as they wait in files."""
    now = timezone.now()
    runs = list(spooled_runs())
    if options["now"]:
        return [(run, steps) for run, steps in runs if not run.is_over and not run.is_lost(now)]
    if options["uuid"]:
        wanted = options["uuid"].replace("-", "").lower()
        runs = [one for one in runs if str(one[0].uuid).replace("-", "").startswith(wanted)]
    elif options["last_failed"]:
        runs = [one for one in runs if one[0].status_at(now) in HAVE_FAILED]
    return runs[:1]
