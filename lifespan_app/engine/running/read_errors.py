"""The errors of reading a resource, each with the remedy."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from typing import Any

from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.errors import (
    NotRunning,
    ReadError,
    ResourceClosed,
    ResourceNotReady,
    UndeclaredUse,
    WrongLoop,
    listed,
)
from lifespan_app.engine.hooks.hook import Hook, Kind
from lifespan_app.engine.planning.duplicates import imported_twice, twins_in
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.reporting.report import Outcome
from lifespan_app.engine.wording import did_you_mean

from .hook_run import PENDING, RETRYING, STARTING, STOPPING, HookRun


def forked(run: Any, refusal: str) -> NotRunning:
    """Return the error of using, in a forked process, the parent's resources.

    Args:
        run: the parent's run.
        refusal: the beginning of an error's sentence.
    """
    return NotRunning(
        f"{refusal} in process {os.getpid()}: the run it needs was opened by process {run.facts.pid}, "
        "which this one was forked from; its event loop and its connections have stayed there. "
        f"{run.adapter.advice.fork()}"
    )


def no_run(asked_for: str, why: str) -> NotRunning:
    """Return the error of reading without a run.

    Args:
        asked_for: the name of the value.
        why: the reason and the remedy, from ``Advice.no_run``.
    """
    return NotRunning(f"{asked_for} can't be read: {why}")


def elsewhere(runs: Iterable[Any], asked_for: str) -> NotRunning:
    """Return the error of reading on a loop without a run, while several others have one."""
    known = "; ".join(map(str, runs))
    return NotRunning(
        f"{asked_for} can't be read: no lifespan is running on this event loop, and several on "
        f"others: {known}. Read it through the request: handle(request)."
    )


def many_runs(runs: Iterable[Any], asked_for: str) -> NotRunning:
    """Return the error of reading when the run is ambiguous."""
    known = list(map(str, runs))
    return NotRunning(
        f"{asked_for} can't be read: it can't be told which of {len(known)} runs is meant: "
        f"{'; '.join(known)}. Read it through the request: handle(request)."
    )


def undeclared(inside: HookRun, hook_run: HookRun) -> UndeclaredUse:
    """Return the error of a hook that reads a resource without declaring the dependency."""
    name = hook_run.hook.name
    return UndeclaredUse(
        f"Hook {inside} reads resource {hook_run} without asking for it, so nothing makes it wait for "
        f"that resource. Add a parameter: 'def {inside.hook.name}({name})', or name it in "
        "depends_on=."
    )


def not_in_plan(run: Any, hook: Hook) -> ReadError:
    """Return the error of reading a resource that this run does not have."""
    place = f"'{hook.name}' ({short(hook.file)}:{hook.line})"
    for excluded in run.plan.excluded:
        if (excluded.file, excluded.line) == (hook.file, hook.line):
            return NotRunning(
                f"Resource {place} is not open in this run, since it is {excluded.reason}."
            )
    known = {unit.hook.module: unit for unit in run.hook_runs if unit.hook is not None}
    for name, other in twins_in([*known, hook.module], run.adapter.app_label):
        if hook.module in (name, other):
            why = imported_twice(name, other)
            return NotRunning(f"Resource {place} is not open in this run. {why}")
    return NotRunning(
        f"Resource {place} is not open in this run: it was declared after the run's plan was "
        f"made. {run.adapter.advice.declared_late(hook)}"
    )


def no_such_name(run: Any, known_names: Iterable[str], name: str) -> KeyError:
    """Return the error of an unknown name in the state."""
    for excluded in run.plan.excluded:
        if excluded.key.rpartition(".")[2] == name:
            return NotRunning(
                f"'{name}' is not open in this run, since '{excluded.key}' "
                f"({short(excluded.file)}:{excluded.line}) is {excluded.reason}."
            )
    for hook in run.lifespan.hooks:
        if hook.kind is Kind.RESOURCE and hook.options.state_name == name:
            return not_in_plan(run, hook)
    known = sorted(known_names)
    return ReadError(
        f"The state holds no '{name}'.{did_you_mean(name, known)} {listed('Resources', known)}"
    )


def not_open(run: Any, hook_run: HookRun) -> ReadError:
    """Return the error of reading a resource that is not up."""
    if run.inherited:
        return forked(run, f"Resource {hook_run} can't be read")
    if hook_run.crashed:
        when = day_time(run, hook_run.serving.ended if hook_run.serving else 0.0)
        return ResourceClosed(
            f"Resource {hook_run} crashed at {when}: {cause(hook_run.serving_error)}."
        )
    start = hook_run.startup
    outcome = None if start is None else start.outcome
    if start is not None and outcome in NOT_UP:
        when = day_time(run, start.ended)
        return ResourceClosed(
            f"Resource {hook_run} did not come up, at {when}: {cause(hook_run.error)}."
        )
    if start is not None and outcome is Outcome.SKIPPED:
        return ResourceClosed(f"Resource {hook_run} was skipped: {start.reason}.")
    if hook_run.state in (PENDING, STARTING, RETRYING):
        how = "has not been started yet" if hook_run.state is PENDING else "is starting"
        progress = run.journal.progress(hook_run.node.index)
        if progress is not None:
            how = f"{how} ({progress})"
        return ResourceNotReady(f"Resource {hook_run} {how}: it can be read once it is up.")
    stop = hook_run.shutdown or hook_run.step
    if stop is None:
        since = run.facts.stopping_at or run.adapter.time()
        when = day_time(run, since - run.facts.started_at + (run.journal.began or 0.0))
    else:
        when = day_time(run, stop.ended)
    state = "is closing" if hook_run.state is STOPPING else "is closed"
    why = "the lifespan has ended" if run.facts.ready_at else "the startup was rolled back"
    return ResourceClosed(f"Resource {hook_run} {state} since {when}: {why}.")


NOT_UP = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.ABANDONED, Outcome.CANCELLED)


def wrong_loop(run: Any, hook_run: HookRun, loop: asyncio.AbstractEventLoop) -> WrongLoop:
    """Return the error of reading on one loop a resource of another."""
    return WrongLoop(
        f"Resource {hook_run} lives on event loop {loop_name(run.loop)} and is read on "
        f"{loop_name(loop)}, where it can't be awaited. {run.adapter.advice.other_loop(run)}"
    )


def loop_name(loop: asyncio.AbstractEventLoop) -> str:
    """Return a name for an event loop."""
    return f"<{type(loop).__name__} at {id(loop):#x}>"


def cause(error: BaseException | None) -> str:
    """Return an error as a part of a sentence."""
    if error is None:
        return "the startup was given up"
    return one_line(error).rstrip(".")


def day_time(run: Any, moment: float) -> str:
    """Return the time of day of a moment by a run's clock, in this process's own time zone."""
    seconds = run.facts.started_at + moment - (run.journal.began or moment)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
