"""Texts about runs and steps, for the admin's pages and the terminal.

The functions take rows and send no query, so the rows may also come from a spool file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from lifespan_app.engine.error_text import line_of
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Readiness, Status

from .jobs import Job, JobGroup, job_of
from .statistics import Spread
from .time_text import clock, duration, elapsed

BROKEN = frozenset(
    {Outcome.FAILED, Outcome.TIMED_OUT, Outcome.ABANDONED, Outcome.CRASHED, Outcome.STALLED}
)
"""The outcomes of a failed step; skipped and cancelled ones are consequences."""

MOST_NAMES = 3
"""The most hooks that one sentence names."""


# Names


def hooks(count: int) -> str:
    """Return a number of hooks in words."""
    return ngettext("%d hook", "%d hooks", count) % count


def named(keys: Sequence[str], most: int = MOST_NAMES) -> str:
    """Return the first names of hooks, and the number of the others."""
    shown = gettext(", ").join(keys[:most])
    if len(keys) <= most:
        return shown
    return gettext("%(names)s and %(rest)s") % {
        "names": shown,
        "rest": ngettext("%d more", "%d more", len(keys) - most) % (len(keys) - most),
    }


# Steps


def in_phase(steps: Iterable[LifespanStep], phase: str) -> list[LifespanStep]:
    """Return the steps of one phase."""
    return [step for step in steps if step.phase == phase]


def broken(steps: Iterable[LifespanStep]) -> list[LifespanStep]:
    """Return the failed steps in the order of their ends."""
    order = list(Phase)
    found = [step for step in steps if step.outcome in BROKEN]
    return sorted(found, key=lambda step: (order.index(Phase(step.phase)), ended(step)))


def ended(step: LifespanStep) -> timedelta:
    """Return the end of a step, measured from the start of its phase."""
    return step.offset + step.duration


def weight(step: LifespanStep) -> tuple[bool, bool, bool, timedelta]:
    """Return the sort key for a choice of many steps: failed, running, of the longest chain, slow."""
    return (
        step.outcome not in BROKEN,
        bool(step.outcome),
        not step.on_critical_chain,
        -step.duration,
    )


def skipped(steps: Iterable[LifespanStep]) -> list[LifespanStep]:
    """Return the skipped steps."""
    return [step for step in steps if step.outcome == Outcome.SKIPPED]


def unfinished(steps: Iterable[LifespanStep], phase: str) -> list[LifespanStep]:
    """Return the steps of a phase without a recorded end."""
    return [step for step in in_phase(steps, phase) if not step.outcome]


def first_broken(run: LifespanRun, steps: Iterable[LifespanStep]) -> LifespanStep | None:
    """Return the step that made a run fail: the one with its fingerprint, else the first failed one."""
    found = broken(steps)
    own = (step for step in found if run.fingerprint and step.fingerprint == run.fingerprint)
    return next(own, found[0] if found else None)


def outcomes(steps: Iterable[LifespanStep]) -> dict[str, int]:
    """Return the numbers of hooks that failed, were skipped and were cancelled before the shutdown."""
    found = [step for step in steps if step.phase != Phase.SHUTDOWN]
    return {
        "failed": len({step.key for step in broken(found)}),
        "skipped": len(skipped(found)),
        "cancelled": sum(step.outcome == Outcome.CANCELLED for step in found),
    }


def usually(sample: Spread) -> str:
    """Return the usual duration of a hook, with the size of the sample."""
    words = {"median": duration(sample.median), "spread": upper(sample), "n": sample.count}
    return (
        ngettext(
            "usually %(median)s (%(spread)s, %(n)d run)",
            "usually %(median)s (%(spread)s, %(n)d runs)",
            sample.count,
        )
        % words
    )


def upper(sample: Spread) -> str:
    """Return the longest durations of a sample: the 95th percentile if there are enough values."""
    worst = gettext("slowest %(time)s") % {"time": duration(sample.worst)}
    if sample.tail is None:
        return worst
    return gettext("p95 %(p95)s, %(worst)s") % {"p95": duration(sample.tail), "worst": worst}


def edge(reason: str) -> str:
    """Return the reason for which a hook waited for another one."""
    words = {
        "needs": gettext("dependency"),
        "declared": gettext("declared"),
        "priority": gettext("priority"),
        "written": gettext("order in file"),
    }
    return words.get(reason, reason)


def kind(step: LifespanStep) -> str:
    """Return the kind of the hook of a step, in words."""
    words = {
        "resource": gettext("resource"),
        "start": gettext("start function"),
        "shutdown": gettext("shutdown function"),
        "background": gettext("background job"),
        "drain": gettext("drain function"),
        "manager": gettext("lifespan manager"),
        "stage": gettext("stage"),
    }
    return words.get(step.kind, step.kind)


def outcome(step: LifespanStep) -> str:
    """Return the outcome of a step, in a word."""
    if step.outcome:
        return str(Outcome(step.outcome).label)
    if step.run.is_over or step.run.is_lost():
        return gettext("not known")
    if step.phase == Phase.SERVING:
        return gettext("running")
    return gettext("stopping") if step.phase == Phase.SHUTDOWN else gettext("starting")


def failure_text(step: LifespanStep) -> str:
    """Return a sentence about a failed step: the hook, its failure, and the time until then."""
    words = {"hook": step.key, "time": duration(step.duration)}
    if step.outcome == Outcome.STALLED:
        if step.run.is_over or step.run.is_lost():
            return gettext("%(hook)s was stalled") % words
        return gettext("%(hook)s is stalled") % words
    if step.phase == Phase.SERVING:
        job = job_of(step.run, step.key)
        if job is not None and job.is_well:
            return gettext("%(hook)s had crashed, and runs again") % words
        if job is None or job.crashes < 2:
            return gettext("%(hook)s crashed after it had run for %(time)s") % words
        words["count"] = str(job.crashes)
        if job.state == "given_up":
            return gettext("%(hook)s has crashed %(count)s times and is given up") % words
        return gettext("%(hook)s has crashed %(count)s times") % words
    if step.phase == Phase.SHUTDOWN:
        if step.outcome == Outcome.FAILED:
            return gettext("%(hook)s failed to stop after %(time)s") % words
        return gettext("%(hook)s did not stop within %(time)s") % words
    if step.outcome == Outcome.FAILED:
        return gettext("%(hook)s failed after %(time)s") % words
    return gettext("%(hook)s did not start within %(time)s") % words


def error_line(step: LifespanStep) -> str:
    """Return the error of a step in one line: class and message."""
    return line_of(step.exception, step.error)


def place(step: LifespanStep) -> str:
    """Return the file and line of a hook; empty if unknown."""
    return f"{step.file}:{step.line}" if step.file else ""


# Runs


def status(run: LifespanRun, now: datetime | None = None) -> str:
    """Return the status of a run, in a word; of a process that is not ready, with the reason in a word."""
    found = run.status_at(now)
    if found == Status.NOT_READY and run.readiness:
        words = {"status": found.label, "readiness": Readiness(run.readiness).label}
        return gettext("%(status)s: %(readiness)s") % words
    return str(found.label)


def why(run: LifespanRun, now: datetime | None = None) -> str:
    """Return the result of a run, or its present state, in a line, from its row alone."""
    now = now or timezone.now()
    status = run.status_at(now)
    if status == Status.LOST:
        text = gettext("No heartbeat since %(time)s") % {"time": clock(run.last_seen_at)}
        return (
            text
            if run.ready_at
            else gettext("%(text)s; it had not finished starting") % {"text": text}
        )
    if status == Status.NOT_READY:
        reasons = filter(None, (readiness(run), run.readiness_reason.partition("\n")[0]))
        return gettext("Not ready: %(why)s") % {"why": gettext(": ").join(reasons)}
    if run.error:
        return run.error.strip().partition("\n")[0]
    if status == Status.STARTING:
        return next(starting(run, (), now))
    if status == Status.STOPPING:
        return next(stopping(run, (), now))
    if status in (Status.SERVING, Status.DEGRADED):
        return gettext("Serving for %(time)s") % {"time": duration(served_for(run, now))}
    return has_served(run, now)


def headline(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime | None = None) -> str:
    """Return a summary of a run, in one sentence."""
    now = now or timezone.now()
    parts = {
        Status.STARTING: starting,
        Status.SERVING: serving,
        Status.DEGRADED: degraded,
        Status.NOT_READY: not_ready,
        Status.STOPPING: stopping,
        Status.STOPPED: stopped,
        Status.STARTUP_FAILED: startup_failed,
        Status.SHUTDOWN_FAILED: shutdown_failed,
        Status.LOST: lost,
    }[run.status_at(now)](run, steps, now)
    sentence = gettext("; ").join(parts)
    return gettext("%(sentence)s.") % {"sentence": sentence}


def startup_failed(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield the first failure and the number of hooks rolled back."""
    in_startup = [step for step in steps if step.phase != Phase.SHUTDOWN]
    first = first_broken(run, in_startup)
    if first is not None:
        yield failure_text(first)
        if more := len(broken(in_startup)) - 1:
            yield ngettext("%d more hook failed", "%d more hooks failed", more) % more
    elif run.error:
        yield gettext("The startup failed: %(error)s") % {"error": run.error.partition("\n")[0]}
    elif run.ended_by:
        yield gettext("The startup was stopped: %(why)s") % {"why": run.ended_by}
    else:
        yield gettext("The startup failed")
    if count := len(in_phase(steps, Phase.SHUTDOWN)):
        yield ngettext("%d hook was rolled back", "%d hooks were rolled back", count) % count
    yield gettext("nothing was served")


def starting(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield the time since the start, and the hooks that are starting."""
    yield gettext("Starting for %(time)s") % {"time": duration(elapsed(run.started_at, now))}
    if waits := unfinished(steps, Phase.STARTUP):
        yield gettext("it waits for %(hooks)s") % {"hooks": named([step.key for step in waits])}


def serving(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield the serving time and the startup time."""
    yield gettext("Serving for %(time)s") % {"time": duration(served_for(run, now))}
    yield up_in(run)


def degraded(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield the failed hooks and the serving time."""
    words = {"time": duration(served_for(run, now))}
    found = broken(steps)
    if not found:
        yield gettext("Serving for %(time)s, degraded") % words
    yield from degraded_by(run, steps)
    if any(step.phase == Phase.SERVING and begins_again(run, step.key) for step in found):
        yield gettext("serving for %(time)s, degraded") % words
    elif len(found) == 1:
        yield gettext("serving without it for %(time)s") % words
    elif found:
        yield gettext("serving without them for %(time)s") % words
    if count := len(skipped(steps)):
        yield ngettext("%d hook was skipped", "%d hooks were skipped", count) % count


def degraded_by(run: LifespanRun, steps: Sequence[LifespanStep]) -> list[str]:
    """Return the reasons for which a process is degraded, a clause each."""
    found = broken(steps)
    if not found:
        return run.readiness_reason.splitlines()[:MOST_NAMES]
    reasons = [failure_text(step) for step in found[:MOST_NAMES]]
    if (more := len(found) - MOST_NAMES) > 0:
        reasons.append(ngettext("%d more hook failed", "%d more hooks failed", more) % more)
    return reasons


def not_ready(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield since when the process is not ready, why, and the serving time."""
    since = run.readiness_since or run.last_seen_at
    words = {"time": duration(elapsed(since, now)), "readiness": readiness(run)}
    yield gettext("Not ready for %(time)s (%(readiness)s)") % words
    reasons = run.readiness_reason.splitlines()
    yield from reasons[:MOST_NAMES]
    if (more := len(reasons) - MOST_NAMES) > 0:
        yield ngettext("%d more hook failed", "%d more hooks failed", more) % more
    yield gettext("started %(time)s ago") % {"time": duration(served_for(run, now))}


def readiness(run: LifespanRun) -> str:
    """Return the readiness of a run in words; empty for one that was recorded without."""
    return str(Readiness(run.readiness).label) if run.readiness in Readiness else ""


def begins_again(run: LifespanRun, key: str) -> bool:
    """Return True if a job that has crashed begins again by itself."""
    job = None if run.is_over else job_of(run, key)
    return job is not None and job.next_at is not None


def next_begin(job: Job | JobGroup, now: datetime) -> str:
    """Return the time of the next begin of a job, as the end of a sentence; empty without one."""
    if job.next_at is None:
        return ""
    left = elapsed(now, job.next_at)
    if left <= timedelta():
        # It has begun since the last heartbeat, or is about to.
        return gettext("next attempt now") if job.every is None else gettext("next round now")
    words = {"time": duration(left)}
    if job.every is None:
        return gettext("next attempt in %(time)s") % words
    return gettext("next round in %(time)s") % words


def stopping(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield the stopping time, and the hooks that are stopping."""
    since = run.stopping_at or run.last_seen_at
    yield gettext("Stopping for %(time)s") % {"time": duration(elapsed(since, now))}
    if waits := unfinished(steps, Phase.SHUTDOWN):
        yield gettext("it waits for %(hooks)s") % {"hooks": named([step.key for step in waits])}
    if run.ready_at is not None:
        yield gettext("it had served for %(time)s") % {"time": duration(served_for(run, now))}


def stopped(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield the serving time, the cause of the end, and the shutdown time."""
    yield has_served(run, now)
    if found := broken(steps):
        yield failure_text(found[0])
    yield gettext("all hooks stopped in %(time)s") % {"time": duration(run.shutdown_duration)}


def shutdown_failed(
    run: LifespanRun, steps: Sequence[LifespanStep], now: datetime
) -> Iterator[str]:
    """Yield the serving time, and the hooks that did not stop."""
    yield has_served(run, now)
    in_shutdown = in_phase(steps, Phase.SHUTDOWN)
    found = broken(in_shutdown)
    for step in found[:MOST_NAMES]:
        yield failure_text(step)
    if (more := len(found) - MOST_NAMES) > 0:
        yield ngettext("%d more hook failed", "%d more hooks failed", more) % more
    if not found and run.error:
        yield gettext("the shutdown failed: %(error)s") % {"error": run.error.partition("\n")[0]}
    if well := len(in_shutdown) - len(found):
        yield ngettext("%d hook stopped", "%d hooks stopped", well) % well


def lost(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Iterator[str]:
    """Yield the last heartbeat, and the state of the run at that time."""
    words = {"time": clock(run.last_seen_at)}
    yield gettext("No heartbeat since %(time)s") % words
    if run.ready_at is None:
        if waits := unfinished(steps, Phase.STARTUP):
            names = named([step.key for step in waits])
            yield gettext("it was starting %(hooks)s") % {"hooks": names}
        else:
            yield gettext("it had not finished starting")
    else:
        yield gettext("it had served for %(time)s") % {"time": duration(served_for(run, now))}


def up_in(run: LifespanRun) -> str:
    """Return the number of hooks and the startup time."""
    words = {"count": run.hooks_total, "time": duration(run.startup_duration)}
    return (
        ngettext(
            "%(count)d hook started in %(time)s",
            "%(count)d hooks started in %(time)s",
            run.hooks_total,
        )
        % words
    )


def has_served(run: LifespanRun, now: datetime) -> str:
    """Return the serving time of an ended run, and the cause of its end."""
    words = {"time": duration(served_for(run, now)), "why": run.ended_by}
    if run.ready_at is None:
        return gettext("Stopped before it had started")
    if run.ended_by == "lifespan.shutdown":
        return gettext("Served for %(time)s; stopped by the server") % words
    if run.ended_by:
        return gettext("Served for %(time)s; stopped by %(why)s") % words
    return gettext("Served for %(time)s") % words


def served_for(run: LifespanRun, now: datetime) -> timedelta | None:
    """Return the serving time of a run; None if it never served."""
    if run.ready_at is None:
        return None
    if run.is_lost(now):
        until = run.last_seen_at
    else:
        until = run.stopping_at or run.stopped_at or (run.last_seen_at if run.is_over else now)
    return max(elapsed(run.ready_at, until), timedelta())
