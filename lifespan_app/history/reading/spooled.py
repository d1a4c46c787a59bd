"""Runs in spool files as unsaved rows, for commands that run while the database is down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lifespan_app.history.recording import spool
from lifespan_app.history.recording.store import fitted
from lifespan_app.models import LifespanRun, LifespanStep

Recorded = tuple[LifespanRun, list[LifespanStep]]


def spooled_runs() -> Iterator[Recorded]:
    """Yield the runs in this host's spool files with their steps, newest first."""
    runs = []
    for _, entries in spool.entries_of(spool.folder_if_any()):
        # A file may hold anything: an unreadable one must not hide the others.
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            if (one := run_from_entries(entries)) is not None:
                runs.append(one)
    yield from sorted(runs, key=lambda one: one[0].started_at, reverse=True)


def run_from_entries(entries: list[dict[str, Any]]) -> Recorded | None:
    """Return the run that the entries describe; None if they have no row of it.

    Steps that the database already has are not in the file.
    """
    row: dict[str, Any] = {}
    steps: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in entries:
        row |= entry.get("run", {})
        for phase in entry.get("phases", ()):
            steps = {key: step for key, step in steps.items() if key[2] != phase}
        for step in entry.get("steps", ()):
            steps[step["app_label"], step["name"], step["phase"]] = step
    if row.get("started_at") is None:
        return None
    run = LifespanRun(**fitted(LifespanRun, row))
    return run, [LifespanStep(run=run, **fitted(LifespanStep, step)) for step in steps.values()]
