"""Limits of hooks, compared with the patience of servers and platforms."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage, Warning

from lifespan_app import conf
from lifespan_app.engine.wording import time_limit

from .places import place_of

if TYPE_CHECKING:
    from lifespan_app.engine.planning.plan import Node, Plan
    from lifespan_app.engine.settings import Settings

SERVER_LIMITS = {"gunicorn": ("gunicorn's own asgi worker", 30), "hypercorn": ("hypercorn", 60)}
WORKER_LIMITS = {"celery": ("a process of Celery's pool", 4)}
"""Workers with a startup limit of their own, by the distribution's module: name and seconds."""
OPENS_IN_CELERY = "lifespan_app.contrib.celery"
"""Once a project has imported it, a process of Celery's pool does not wait for the startup."""

MANY = 5
"""Hooks of a chain above which not all of them are named."""


def startup_limit_messages(settings: Settings, plan: Plan) -> Iterator[CheckMessage]:
    """W005: the startup may take longer than the server or the platform waits for it."""
    seconds, chain = longest(plan, lambda node: start_limit(node) if node.options.wait else None)
    deadline = settings.startup_deadline or 0
    for name, patience, place in startup_limits(plan.service_type):
        if deadline > patience:
            yield Warning(
                f"{conf.SETTING}['STARTUP_DEADLINE'] is {time_limit(deadline)}, and {name} gives a startup "
                f"up after {time_limit(patience)}.",
                hint="Lower it: a message names the slow hook only if this limit passes first. "
                f"If the platform waits longer, set {place}.",
                obj=plan.service_type,
                id="lifespan_app.W005",
            )
        if seconds > patience:
            yield Warning(
                f"Limits of hooks that start one after the other add up to {time_limit(seconds)}, and "
                f"{name} gives a startup up after {time_limit(patience)}: {' -> '.join(few(chain))}.",
                hint="Lower them, so that a message names the slow hook before that. If the platform "
                f"waits longer, set {place}.",
                obj=plan.service_type,
                id="lifespan_app.W005",
            )
    yield from of_retries(settings, plan)


def of_retries(settings: Settings, plan: Plan) -> Iterator[CheckMessage]:
    """W005: a start is tried again for longer than the startup may take."""
    from lifespan_app.engine.adapter import PATIENT

    deadline = PATIENT if settings.startup_deadline is None else settings.startup_deadline
    for node in plan.hooks:
        retry = node.options.retry
        if retry is not None and node.options.wait and retry.for_ > deadline:
            yield Warning(
                f"'{node.key}' is tried again for {time_limit(retry.for_)}, and the whole startup has "
                f"{time_limit(deadline)}.",
                hint=f"Lower its retry, or raise {conf.SETTING}['STARTUP_DEADLINE'] and the limits of "
                "the server and the platform.",
                obj=place_of(node),
                id="lifespan_app.W005",
            )


def shutdown_limit_messages(settings: Settings, plan: Plan) -> Iterator[CheckMessage]:
    """W006: a stop may take longer than the platform, or the whole shutdown, waits for it."""
    deadline = settings.shutdown_deadline
    for node in plan.hooks:
        limit = explicit_stop_limit(node)
        if limit is not None and limit > deadline:
            yield Warning(
                f"'{node.key}' has {time_limit(limit)} to stop, and the whole shutdown {time_limit(deadline)}.",
                hint=f"Lower its limit, or raise {conf.SETTING}['SHUTDOWN_DEADLINE'] and the "
                "platform's.",
                obj=place_of(node),
                id="lifespan_app.W006",
            )
    # Without the last write of the history, of which no hook has a part: see docs/checks.rst.
    grace = conf.get("PLATFORM").get("termination_grace")
    chain = longest(plan, lambda node: stop_limit(node, settings))[0]
    total = min(chain, deadline) + (settings.drain_seconds if settings.shutdown_notice else 0.0)
    if grace is not None and total > grace:
        yield Warning(
            f"The shutdown of service type '{plan.service_type}' may take "
            f"{time_limit(total)}, and the platform kills after {time_limit(grace)}, by "
            f"{conf.SETTING}['PLATFORM']['termination_grace'].",
            hint=f"Lower {conf.SETTING}['SHUTDOWN_DEADLINE'], or raise the platform's limit. "
            "Requests that are being answered count too: they end before the lifespan does.",
            obj=plan.service_type,
            id="lifespan_app.W006",
        )


def startup_limits(service_type: str) -> Iterator[tuple[str, float, str]]:
    """Yield the limits on a startup: the server's or platform's name, seconds, the source."""
    platform = conf.get("PLATFORM").get("startup")
    place = f"{conf.SETTING}['PLATFORM']['startup']"
    if platform is not None:
        yield "the platform", platform, place
        return
    known = WORKER_LIMITS if service_type == "worker" else SERVER_LIMITS
    for module, (name, seconds) in known.items():
        if module == "celery":
            # Many environments have it; a project that uses it imports its Celery app.
            if module in sys.modules and OPENS_IN_CELERY not in sys.modules:
                yield name, seconds, place
        elif is_installed(module):
            yield name, seconds, place


def is_installed(module: str) -> bool:
    """Return True if a module could be imported."""
    return module in sys.modules or find_spec(module) is not None


def few(keys: Sequence[str]) -> list[str]:
    """Return the first and the last of many, each in quotation marks."""
    quoted = [f"'{key}'" for key in keys]
    if len(quoted) <= MANY:
        return quoted
    return [*quoted[:2], f"{len(quoted) - 3} more", quoted[-1]]


def start_limit(node: Node) -> float | None:
    """Return the seconds that a hook has to start; None: as many as the whole startup."""
    if node.hook is None or node.hook.kind in ("shutdown", "background", "drain"):
        return None
    if node.options.retry is not None:
        return node.options.retry.for_
    if node.options.timeout is None and not node.options.required and node.options.wait:
        # It brings what runs hooks, which no check needs otherwise.
        from lifespan_app.engine.running.deadlines import OPTIONAL_TIMEOUT

        return OPTIONAL_TIMEOUT
    return node.options.timeout


def stop_limit(node: Node, settings: Settings) -> float | None:
    """Return the seconds that a hook has to stop, or None if there is nothing to stop."""
    if node.hook is None or node.hook.kind == "start":
        return None
    limit = explicit_stop_limit(node)
    return settings.shutdown_timeout if limit is None else limit


def explicit_stop_limit(node: Node) -> float | None:
    """Return the seconds that a hook has to stop, if they are set for it."""
    only_at_end = node.hook is not None and node.hook.kind in ("shutdown", "drain")
    return node.options.timeout if only_at_end else node.options.shutdown_timeout


def longest(plan: Plan, limit: Callable[[Node], float | None]) -> tuple[float, list[str]]:
    """Return the chain of a plan with the largest sum of limits: the seconds, and the hooks' keys.

    Hooks without a limit add nothing, and are not named.
    """
    sums: list[float] = []
    before: list[int | None] = []
    for node in plan.nodes:
        leader = max((wait.node for wait in node.waits), key=sums.__getitem__, default=None)
        sums.append((limit(node) or 0.0) + (0.0 if leader is None else sums[leader]))
        before.append(leader)
    if not sums:
        return 0.0, []
    at: int | None = max(range(len(sums)), key=sums.__getitem__)
    total, chain = sums[at or 0], []
    while at is not None:
        if limit(plan.nodes[at]):
            chain.append(plan.nodes[at].key)
        at = before[at]
    return total, chain[::-1]
