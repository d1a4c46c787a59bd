"""Runs that wait in files, as rows that no database has: for when it is down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from lifespan_app.history.recording import spool
from lifespan_app.history.recording.store import fitted
from lifespan_app.models import LifespanRun, LifespanStep

Recorded = tuple[LifespanRun, list[LifespanStep]]


def spooled_runs() -> Iterator[Recorded]:
    """Yield the runs that wait on this host, with their steps, the one that began last first."""
    runs = []
    for _, entries in spool.entries_of(spool.folder_if_any()):
        # What a file says may be anything: one that can't be read hides no other.
        with suppress(AttributeError, KeyError, TypeError, ValueError):
            if (one := pieced_together(entries)) is not None:
                runs.append(one)
    yield from sorted(runs, key=lambda one: one[0].started_at, reverse=True)


def pieced_together(entries: list[dict[str, Any]]) -> Recorded | None:
    """Return a run as its entries tell it, in their order; None where none tells of the run.

    What the database took before is not in the file, so steps may be missing.
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
