"""The output of ``manage.py showlifespan --leases``, and the release of a lease by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError
from django.db import DatabaseError
from django.utils import timezone

from lifespan_app.history.reading import time_text
from lifespan_app.integration.redaction import masked
from lifespan_app.leases import listing, rows
from lifespan_app.leases.listing import State
from lifespan_app.models import LifespanLease

from .command import BAD_ARGUMENT, FAILED, CommandWithExitCodes
from .tables import Table
from .terminal import folded, printable, width_of_page

HEADS = ("Lease", "State", "Process", "Number", "Since", "Id")
SHOWN_OF_ID = 8


def show(command: CommandWithExitCodes, options: Mapping[str, Any]) -> None:
    """Print all leases. Raises ``CommandError`` if there are none, or they can't be read."""
    leases = read()
    if not leases:
        raise CommandError("No hook has had a lease yet.", returncode=FAILED)
    if options["format"] == "json":
        command.stdout.write(json.dumps([listing.document(one) for one in leases], indent=2))
        return
    width, now = width_of_page(), timezone.now()
    cells = [
        [
            printable(str(one)),
            str(listing.state(one)),
            printable(listing.process(one)),
            str(one.number),
            "" if (at := listing.since(one)) is None else time_text.ago(at, now),
            one.pk[:SHOWN_OF_ID],
        ]
        for one in leases
    ]
    table = Table(cells, width, HEADS)
    command.stdout.write(table.head())
    for one, row in zip(leases, cells, strict=True):
        failed = listing.state(one) is State.FAILED
        for line in table.row(row, style=command.style.ERROR if failed else str):
            command.stdout.write(line)
        if failed:
            for line in folded(printable(one.error), width, "    "):
                command.stdout.write(line)


def release(command: CommandWithExitCodes, beginning: str) -> None:
    """Release the lease whose id begins so. Raises ``CommandError`` if that is not exactly one."""
    if not beginning:
        raise CommandError(
            "--release needs the beginning of an id, which --leases shows.", returncode=BAD_ARGUMENT
        )
    found = [one for one in read() if one.pk.startswith(beginning.lower())]
    if len(found) != 1:
        number = "No lease has" if not found else f"{len(found)} leases have"
        raise CommandError(f"{number} an id that begins with '{beginning}'.", returncode=FAILED)
    [lease] = found
    rows.release([lease.pk])
    command.stdout.write(f"'{lease}' is released. It was {listing.state(lease)}.")


def read() -> list[LifespanLease]:
    """Return all leases. Raises ``CommandError`` if they can't be read."""
    try:
        return list(listing.all_leases())
    except DatabaseError as error:
        text = f"The leases can't be read: {masked(str(error)).strip()}"
        raise CommandError(text, returncode=FAILED) from error
