"""What to do about a failed, lost or degraded run: sentences for the admin, the terminal and alerts.

The functions take rows and send no query, as those of ``describe`` do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext

from lifespan_app.engine.planning.plan import HARD
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Readiness, Status

from . import describe
from .jobs import job_of
from .time_text import clock


def for_run(
    run: LifespanRun, steps: Sequence[LifespanStep], now: datetime | None = None
) -> list[str]:
    """Return the advice for a run, one sentence each."""
    now = now or timezone.now()
    sentences = [
        sentence
        for step in describe.broken(steps)[: describe.MOST_NAMES]
        for sentence in for_step(run, step, now, dependents(step.key, steps))
    ]
    if run.status_at(now) == Status.NOT_READY and run.readiness == Readiness.CHECK_FAILED:
        sentences.append(
            gettext(
                "Check whether the service behind the resource responds. The process is ready again as "
                "soon as the check passes."
            )
        )
    if run.status_at(now) == Status.LOST:
        sentences.append(
            gettext(
                "It was killed (kill -9, out of memory), or its host went down, or it can't reach the "
                "database of the history: look at the log of %(host)s around %(time)s, and whether a "
                "newer run has taken its place. If the process goes on, its next heartbeat shows it again."
            )
            % {"host": run.host or gettext("its host"), "time": clock(run.last_seen_at)}
        )
    return list(dict.fromkeys(sentences))


def dependents(key: str, steps: Iterable[LifespanStep]) -> list[str]:
    """Return the keys of the hooks that need a hook, directly or by another one."""
    needed: dict[str, list[str]] = defaultdict(list)
    for step in steps:
        for target, reason in step.needs:
            if step.phase != Phase.SHUTDOWN and reason in HARD:
                needed[target].append(step.key)
    found: dict[str, None] = {}
    waiting = [key]
    while waiting:
        for one in needed[waiting.pop()]:
            if one not in found:
                found[one] = None
                waiting.append(one)
    return list(found)


def for_step(
    run: LifespanRun, step: LifespanStep, now: datetime, dependents: Sequence[str]
) -> Iterator[str]:
    """Yield the advice for a failed step: to repair it, and to go on without it.

    Args:
        run: the run.
        step: the step.
        now: the time of the advice.
        dependents: the keys of the hooks that can't start without it.
    """
    place = describe.place(step)
    where = f"{step.key} ({place})" if place else step.key
    place = place or step.key
    words = {
        "hook": step.key,
        "place": place,
        "where": where,
        "waiting": step.waiting_at or place,
        "setting": f"LIFESPAN['HOOKS']['{step.key}']",
    }
    if has_timed_out(step) and step.waiting_at and step.phase != Phase.SHUTDOWN:
        yield (
            gettext("It hung at %(waiting)s: check whether the service it calls there responds.")
            % words
        )
    # An analyzer that has found the cause knows more than the texts here.
    yield step.action or repair(run, step, now, words)
    if run.status == Status.STARTUP_FAILED and step.phase != Phase.SHUTDOWN:
        words["skipped"] = describe.named(dependents) or gettext("no other hook")
        yield (
            gettext(
                "To start without it now, set LIFESPAN_SKIP=%(hook)s in the environment; to let it "
                "fail from now on, %(setting)s = {'required': False}. These are then skipped: "
                "%(skipped)s."
            )
            % words
        )
    elif run.status == Status.DEGRADED and step.phase == Phase.STARTUP:
        yield gettext("The process serves without it: restart it once %(hook)s can start.") % words


def has_timed_out(step: LifespanStep) -> bool:
    """Return True if a step has passed its limit."""
    return step.outcome in (Outcome.TIMED_OUT, Outcome.ABANDONED)


def repair(run: LifespanRun, step: LifespanStep, now: datetime, words: dict[str, str]) -> str:
    """Return the way to repair a failed step whose cause is unknown.

    Args:
        run, step, now: as for ``for_step``.
        words: the words of the texts.
    """
    if step.phase == Phase.SHUTDOWN:
        text = gettext(
            "Look at %(place)s, after its yield: it may not have released what it holds. If it "
            "only needs longer, raise %(setting)s['shutdown_timeout']."
        )
    elif has_timed_out(step):
        text = gettext("If it only needs longer, raise %(setting)s['timeout'].")
    elif step.outcome == Outcome.STALLED:
        text = gettext(
            "It waits at %(waiting)s: check whether the service it calls there responds."
        )
    elif step.phase == Phase.STARTUP:
        text = gettext(
            "Look at %(place)s, and check whether the service it connects to is reachable."
        )
    else:
        job = None if run.is_over else job_of(run, step.key)
        if job is not None and job.next_at is not None:
            words["next"] = describe.next_begin(job, now)
            text = gettext("Fix the error in %(where)s. It begins again by itself, %(next)s.")
        elif job is not None and job.is_well:
            text = gettext("Fix the error in %(where)s, so that it does not crash again.")
        else:
            text = gettext("Fix the error in %(where)s, then restart the process.")
    return text % words
