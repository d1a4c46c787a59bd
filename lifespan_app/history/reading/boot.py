"""The part of a start before its hooks, from the boot record of a run."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, NamedTuple

from django.utils.translation import gettext

from lifespan_app.history.recording.boot import MOMENTS
from lifespan_app.models import LifespanRun

from .time_text import MINUTE, duration, rounded

PROCESS, IMPORTED = MOMENTS[:2]
STARTUP, READY = "startup", "ready"
TICK = 0.01
"""Seconds: the precision of the start of a process."""


class Part(NamedTuple):
    """A part of a start: from the moment before to this one."""

    until: str
    """The moment at its end: one of ``MOMENTS``, ``startup`` or ``ready``."""
    text: str
    seconds: float

    @property
    def took(self) -> str:
        """The time of the part, as text."""
        return tenths(self.seconds)


class Boot(NamedTuple):
    """The parts of a start, from the begin of the process until it was ready, or until the hooks."""

    begins: str
    """``process``, or ``imported`` if the start of the process is unknown."""
    forked: bool
    """True if the process was forked from one that had imported lifespan_app."""
    seconds: float
    parts: tuple[Part, ...]
    summary: str
    """A sentence."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        parts = [{"until": part.until, "seconds": part.seconds} for part in self.parts]
        found = self._asdict()
        return {**found, "parts": parts}


def boot_of(run: LifespanRun) -> Boot | None:
    """Return the parts of the start of a run; None if nothing is recorded."""
    # A spool file may hold anything.
    recorded = run.boot if isinstance(run.boot, dict) else {}
    known = {
        name: seconds
        for name in MOMENTS
        if isinstance(seconds := recorded.get(name), float | int) and seconds >= 0
    }
    begins = next((name for name in (PROCESS, IMPORTED) if name in known), None)
    if begins is None:
        return None
    before = known.pop(begins)
    forked = any(seconds > before + TICK for seconds in known.values())
    # The recorded start of a process may be a tick too early, never too late.
    earliest = before - TICK if forked else math.inf
    own = sorted(
        (-min(seconds, before), name) for name, seconds in known.items() if seconds < earliest
    )
    ends = [*own, (0.0, STARTUP)]
    if run.ready_at is not None and run.startup_duration is not None:
        ends.append((run.startup_duration.total_seconds(), READY))
    parts = []
    last = -before
    for at, name in ends:
        parts.append(Part(name, text_of(name), round(at - last, 3)))
        last = at
    summary = summary_of(begins, before, run.startup_duration if len(ends) > len(own) + 1 else None)
    if forked:
        note = gettext("It was forked from a process that had imported the project already.")
        summary = f"{summary} {note}"
    return Boot(begins, forked, round(last + before, 3), tuple(parts), summary)


def summary_of(begins: str, before: float, hooks: timedelta | None) -> str:
    """Return the duration of a start, in a sentence.

    Args:
        begins: ``process`` or ``imported``.
        before: the seconds before the hooks.
        hooks: the time of the hooks; None if the process did not become ready.
    """
    words = {"before": tenths(before)}
    if hooks is None:
        if begins == PROCESS:
            return gettext("The startup began %(before)s after the process was started.") % words
        return gettext("The startup began %(before)s after lifespan_app was imported.") % words
    taken = hooks.total_seconds()
    words |= {"hooks": tenths(taken), "total": tenths(before + taken)}
    if begins == PROCESS:
        return (
            gettext(
                "Ready %(total)s after the process began: %(before)s before the hooks, %(hooks)s of "
                "hooks."
            )
            % words
        )
    return (
        gettext(
            "Ready %(total)s after lifespan_app was imported: %(before)s before the hooks, %(hooks)s "
            "of hooks."
        )
        % words
    )


def tenths(seconds: float) -> str:
    """Return a time span, below a minute to tenths of a second, so that the reader can add them up."""
    if 1 <= seconds < MINUTE:
        return gettext("%(number)s s") % {"number": rounded(seconds, 1)}
    return duration(seconds)


def text_of(until: str) -> str:
    """Return the name of a part of a start."""
    texts = {
        "imported": gettext("until lifespan_app was imported"),
        "app_ready": gettext("until the ready() of lifespan_app had run"),
        "apps_ready": gettext("until the apps were ready"),
        "application": gettext("until the ASGI application was made"),
        STARTUP: gettext("until the startup began"),
        READY: gettext("hooks"),
    }
    return texts[until]
