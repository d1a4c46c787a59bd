"""A recorded run as plain data, for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.utils import translation

from lifespan_app.models import LifespanRun, LifespanStep

from . import describe
from .against_last_good import Comparison
from .boot import boot_of

VERSION = 1
"""The document's version, increased when a key is removed or changes its meaning."""


def document(
    run: LifespanRun,
    steps: Iterable[LifespanStep],
    now: datetime | None = None,
    against: Comparison | None = None,
) -> dict[str, Any]:
    """Return a run and its steps: times as ISO 8601, durations in seconds.

    Args:
        run: the run.
        steps: its steps.
        now: the time at which its status counts; by default, the present.
        against: the comparison with the last good run, if there is one.
    """
    steps = list(steps)
    with translation.override(None):  # in English, as in the terminal
        headline = describe.headline(run, steps, now)
        boot = boot_of(run)
    return {
        "version": VERSION,
        "headline": headline,
        "is_lost": run.is_lost(now),
        "against_last_good": None if against is None else against.as_json(),
        "boot": None if boot is None else boot.as_json(),
        "run": columns(run, without=("id",)),
        "steps": [{"key": step.key, **columns(step, without=("id", "run"))} for step in steps],
    }


def columns(row: Model, without: tuple[str, ...]) -> dict[str, Any]:
    """Return the columns of a row as JSON values."""
    fields = (field for field in row._meta.concrete_fields if field.name not in without)
    return {field.name: plain(getattr(row, field.attname)) for field in fields}


def plain(value: Any) -> Any:
    """Return a value as a JSON value."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, UUID) else value
