"""The differences of a failed or slow run from the last good one, as far as they are recorded.

A good run has started without a failed hook and not slowly, and was stopped in order or still serves.
It has the same service type, environment and mode. Durations are compared with those of the same server
only, and only if there are enough of them to say what is usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from lifespan_app.engine.planning.plan import HARD
from lifespan_app.models import (
    LifespanRun,
    LifespanStep,
    Outcome,
    Phase,
    Readiness,
    Status,
)

from . import describe, time_text
from .queries import before
from .states import is_warming_up, kind_of, started_well
from .statistics import Spread, Usual, is_slow, slow_from, usual_before

SEARCHED = 2_000
"""The number of earlier runs, by each of three indexes, among which the last good one is searched."""
MOST_NAMES = 10
"""The most hooks that one difference names."""
MOST_HOOKS = 10
"""The most hooks with other durations, and the most with other options."""


TEXTS = {
    "release": _("Release: %(now)s, was %(was)s"),
    "python_version": _("Python: %(now)s, was %(was)s"),
    "django_version": _("Django: %(now)s, was %(was)s"),
    "server": _("Server: %(now)s, was %(was)s"),
    "left_out": _("Left out by LIFESPAN_SKIP: %(now)s, was %(was)s"),
    "hooks_added": _("Hooks added: %(now)s"),
    "hooks_removed": _("Hooks removed: %(was)s"),
    "priority": _("Priority of %(hook)s: %(now)s, was %(was)s"),
    "required": _("%(hook)s is required: %(now)s, was %(was)s"),
    "timeout": _("Time limit of %(hook)s: %(now)s, was %(was)s"),
    "needs": _("%(hook)s depends on: %(now)s; was: %(was)s"),
    "startup": _("Startup: %(now)s, %(was)s"),
    "shutdown": _("Shutdown: %(now)s, %(was)s"),
    "hook_startup": _("Startup of %(hook)s: %(now)s, %(was)s"),
    "hook_shutdown": _("Shutdown of %(hook)s: %(now)s, %(was)s"),
}
"""The text of each kind of difference."""
COLUMNS = ("release", "python_version", "django_version", "server")


class Difference(NamedTuple):
    """One thing in which two runs differ."""

    what: str
    """A key of ``TEXTS``."""
    was: Any
    """The value in the last good run; of a duration, the median in seconds."""
    now: Any
    """The value in this run; of a duration, seconds."""
    hook: str = ""
    """The key of the hook; empty if it is about the run."""
    usually: Spread | None = None
    """The usual durations, if it is about a duration."""

    @property
    def text(self) -> str:
        """The difference in a line."""
        if self.usually is not None:
            was, now = describe.usually(self.usually), time_text.duration(self.now)
        else:
            was, now = self.text_of(self.was), self.text_of(self.now)
        return str(TEXTS[self.what]) % {"hook": self.hook, "was": was, "now": now}

    def text_of(self, value: Any) -> str:
        """Return a value as text: the first keys of a list, and a dash for nothing."""
        if isinstance(value, list):
            value = describe.named(value, MOST_NAMES)
        elif self.what == "required":
            return gettext("yes") if value else gettext("no")
        elif self.what == "timeout" and value is not None:
            return time_text.duration(value)
        return "–" if value in ("", None) else str(value)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"what": self.what, "hook": self.hook or None, "was": self.was, "now": self.now}


@dataclass(frozen=True)
class Comparison:
    """A failed or slow run, compared with the last good one."""

    run: LifespanRun
    good: LifespanRun | None
    """The last good run; None if none is found."""
    differences: Sequence[Difference] = ()

    @property
    def headline(self) -> str:
        """The run with which it is compared, or the note that there is none, in a sentence."""
        where = self.run.environment or gettext("no environment")
        words = {
            "type": self.run.service_type,
            "environment": where,
            "mode": self.run.get_mode_display(),
        }
        if self.good is None:
            return (
                gettext("No earlier good run of %(type)s (%(environment)s, %(mode)s) is found.")
                % words
            )
        words |= {
            "id": self.good.shown_id,
            "time": time_text.clock(self.good.started_at),
        }
        if self.differences:
            return gettext("The last good run is %(id)s, started %(time)s.") % words
        return (
            gettext(
                "The last good run is %(id)s, started %(time)s. Release, versions and hooks are the "
                "same, and no duration is out of its range."
            )
            % words
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "last_good": None if self.good is None else str(self.good.uuid),
            "differences": [one.as_json() for one in self.differences],
        }


def against_last_good(
    run: LifespanRun, steps: Sequence[LifespanStep], now: datetime, usual: Usual | None = None
) -> Comparison | None:
    """Compare a run with the last good one; None for a run that is neither failed nor slow.

    The number of queries is limited, whatever the number of runs and hooks: two for the durations, two
    or six for the last good run, one for its steps, and two more after many failed runs.

    Args:
        run: the run, as it is in the database.
        steps: its steps.
        now: the time at which its status counts.
        usual: the durations in the runs before it, if they have been read.
    """
    if usual is None:
        usual = usual_before(run)
    status = run.status_at(now)
    startup = run.startup_duration
    if status == Status.STARTING:
        startup = time_text.elapsed(run.started_at, now)
    # The rollback of a failed start is no shutdown.
    shutdown = None if status == Status.STARTUP_FAILED else run.shutdown_duration
    kind = kind_of(run, now)
    is_as_expected = kind == "good" or (kind == "poor" and is_warming_up(run))
    is_well = is_as_expected and not run.hooks_failed
    if is_well and not is_slow(startup, usual.startup) and not is_slow(shutdown, usual.shutdown):
        return None
    good = last_good(run, usual.startup, now)
    if good is None:
        return Comparison(run, None)
    if good.pk not in usual.runs:
        # All runs since have failed, and hooks that failed have no usual duration in them.
        usual = usual_before(run, until=good)
    found = [
        Difference(name, getattr(good, name), getattr(run, name))
        for name in COLUMNS
        if getattr(good, name) != getattr(run, name)
    ]
    found += hooks_changed(run, steps, good)
    for what, taken, usually in (
        ("startup", startup, usual.startup),
        ("shutdown", shutdown, usual.shutdown),
    ):
        if taken is not None and usually is not None and is_slow(taken, usually):
            found.append(Difference(what, usually.median, taken.total_seconds(), usually=usually))
    return Comparison(run, good, [*found, *out_of_range(steps, usual)])


def last_good(run: LifespanRun, startup: Spread | None, now: datetime) -> LifespanRun | None:
    """Return the last good run before a run; None if none is found.

    It is searched among the newest 2,000 runs of the same service type, by the index
    ``lifespan_run_service_type``. A restart loop may have more failed ones: then, by
    ``lifespan_run_status``, among as many that have stopped, and as many that serve.
    """
    is_good = Q(
        started_well(now),
        service_type=run.service_type,
        environment=run.environment,
        mode=run.mode,
        hooks_failed=0,
    )
    if startup is not None:
        slow = timedelta(seconds=slow_from(startup.median))
        is_good &= Q(startup_duration__lt=slow)
    found = newest_before(run, Q(service_type=run.service_type), is_good)
    if found is not None:
        return found
    others = [
        newest_before(run, Q(status=one), is_good) for one in (Status.STOPPED, Status.SERVING)
    ]
    return max(filter(None, others), key=lambda one: one.started_at, default=None)


def newest_before(run: LifespanRun, indexed: Q, wanted: Q) -> LifespanRun | None:
    """Return the newest run before a run that is wanted, in two queries.

    Args:
        run: the run.
        indexed: a condition with an index; the newest 2,000 runs that meet it are looked at.
        wanted: the other conditions.
    """
    newest = before(run).filter(indexed)
    starts = newest.values_list("started_at", flat=True)
    oldest = starts[SEARCHED : SEARCHED + 1].first()
    within = Q() if oldest is None else Q(started_at__gt=oldest)
    found: LifespanRun | None = newest.filter(within, wanted).first()
    return found


class Hook(NamedTuple):
    """The recorded options of a hook."""

    kind: str
    priority: int
    required: bool | None
    """None: neither this nor its limit was recorded."""
    timeout: float | None
    needs: list[str]
    """The keys that it depends on, sorted."""


def hooks_changed(
    run: LifespanRun, steps: Iterable[LifespanStep], good: LifespanRun
) -> Iterator[Difference]:
    """Yield the hooks that were left out, added, removed, or have other options, with one query."""
    now, was = hooks_of(steps), hooks_of(good.steps.defer("traceback", "log", "errors"))
    left_out, left_out_before = ([key for key, *_ in one.left_out] for one in (run, good))
    if set(left_out) != set(left_out_before):
        yield Difference("left_out", left_out_before, left_out)
    kinds, kinds_before = kinds_by_key(run, now), kinds_by_key(good, was)
    # A hook that has no step need not be missing: the run may have ended before its turn.
    known, known_before = kinds_recorded(run), kinds_recorded(good)
    new = [key for key, kind in kinds.items() if key not in kinds_before and kind in known_before]
    old = [key for key, kind in kinds_before.items() if key not in kinds and kind in known]
    if added := [key for key in new if key not in left_out_before]:
        yield Difference("hooks_added", [], added)
    if removed := [key for key in old if key not in left_out]:
        yield Difference("hooks_removed", removed, [])
    both = [key for key in now if key in was]
    recorded = [key for key in both if None not in (now[key].required, was[key].required)]
    for what, keys in {
        "priority": both,
        "required": recorded,
        "timeout": recorded,
        "needs": both,
    }.items():
        changed = [key for key in keys if getattr(now[key], what) != getattr(was[key], what)]
        for key in changed[:MOST_HOOKS]:
            yield Difference(what, getattr(was[key], what), getattr(now[key], what), key)


def hooks_of(steps: Iterable[LifespanStep]) -> dict[str, Hook]:
    """Return the hooks that steps are of, by key."""
    found: dict[str, Hook] = {}
    for step in steps:
        # The edges of a shutdown are those of the startup in reverse.
        if step.phase != Phase.SHUTDOWN or step.key not in found:
            needs = sorted(target for target, reason in step.needs if reason in HARD)
            found[step.key] = Hook(step.kind, step.priority, step.required, step.timeout, needs)
    return found


def kinds_by_key(run: LifespanRun, hooks: dict[str, Hook]) -> dict[str, str]:
    """Return the kinds of the recorded hooks; a job that has not begun yet has no step."""
    jobs = {job["key"]: "background" for job in run.jobs}
    return {**jobs, **{key: hook.kind for key, hook in hooks.items()}}


def kinds_recorded(run: LifespanRun) -> set[str]:
    """Return the kinds of hooks of which each is recorded in a run."""
    kinds = set()
    is_up = run.ready_at is not None and run.readiness != Readiness.WARMING_UP
    if is_up or run.status == Status.STARTUP_FAILED:
        kinds |= {"resource", "start"}
    if is_up or run.jobs:
        kinds.add("background")
    if run.status in (Status.STOPPED, Status.SHUTDOWN_FAILED):
        kinds.add("shutdown")
    return kinds


def out_of_range(steps: Iterable[LifespanStep], usual: Usual) -> list[Difference]:
    """Return the hooks that took longer than their range, those that took longest first.

    The range ends at the 95th percentile, of fewer than 20 values at the longest. A hook that was
    cancelled has taken at least as long.
    """
    found = []
    for step in steps:
        usually = usual.hooks.get((step.key, step.phase))
        if usually is None or step.outcome == Outcome.SKIPPED:
            continue
        taken = step.duration.total_seconds()
        if is_slow(step.duration, usually) and taken > usually.end:
            found.append(Difference(f"hook_{step.phase}", usually.median, taken, step.key, usually))
    return sorted(found, key=lambda one: one.now, reverse=True)[:MOST_HOOKS]
