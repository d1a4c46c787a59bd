"""The part ``databases`` of ``make torture``."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.servers import ServerFailed
from tests.torture.databases.cells import Cell
from tests.torture.databases.checks import look_at_answers, look_at_history
from tests.torture.databases.faults import full
from tests.torture.databases.place import NotHere, placed
from tests.torture.databases.seen import HEAD, Seen
from tests.torture.databases.trial import Trial
from tests.torture.load import failed
from tests.torture.results import Row, table

SECONDS, SECONDS_QUICK = 8.0, 2.0
"""How long the time before a fault and the fault last at least."""


def databases(cells: Sequence[Cell], seconds: float) -> Row:
    """Try each cell, and print a table of all; those that can't be tried here are told.

    Args:
        cells: what is tried.
        seconds: how long the time before a fault, and the fault, last at least.
    """
    begun = time.monotonic()
    seen: list[Seen] = []
    for number, cell in enumerate(cells):
        try:
            with tempfile.TemporaryDirectory() as folder:
                seen.append(tried(cell, Path(folder), seconds))
            said = "  ".join(seen[-1].cells)
        except NotHere as why:
            said = f"left out: {cell}: {why}"
        sys.stderr.write(f"databases: {number + 1} of {len(cells)}: {said}\n")
    sys.stdout.write(f"\n{table(HEAD, [one.cells for one in seen])}\n")
    plain = [one for each in seen for one in each.plain[1]]
    result = (
        f"{len(plain):,} requests without the database in faults, {failed(plain)} failed; "
        f"{sum(one.runs for one in seen)} runs recorded, {sum(one.late for one in seen)} of them "
        f"late; in {sum(one.too_busy for one in seen)} faults the machine was too busy to tell "
        "whether answers were slower"
    )
    faults = [f"{one.cell}: {fault}" for one in seen for fault in one.faults]
    return Row("databases", f"{len(seen)} faults", result, faults, "", time.monotonic() - begun)


def tried(cell: Cell, folder: Path, seconds: float) -> Seen:
    """Try one cell. Raises ``NotHere``."""
    seen = Seen(cell)
    small_disk = cell.fault is full
    with placed(cell.database, folder, small_disk=small_disk) as place, ExitStack() as stack:
        trial = Trial(seen, place, stack)
        try:
            trial.run(seconds)
            look_at_answers(trial)
            look_at_history(trial)
        except (ServerFailed, TimeoutError) as error:
            seen.faults.append(f"{error!r}".splitlines()[0][:300])
            sys.stderr.write(f"{cell}: {error}\n")
        seen.done = ", ".join(f"{count} {what}" for what, count in place.done.items())
    return seen
