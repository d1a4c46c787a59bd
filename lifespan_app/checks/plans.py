"""The checks of one plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage, Error, Info, Warning

from lifespan_app.integration.default import lifespan

from .limits import shutdown_limit_messages, startup_limit_messages
from .places import Location, place_of

if TYPE_CHECKING:
    from lifespan_app.engine.planning.plan import Plan
    from lifespan_app.engine.problem import Problem
    from lifespan_app.engine.settings import Settings

PROBLEM_IDS = {
    "broken": "E001",
    "cycle": "E006",
    "missing": "E007",
    "left out": "E008",
    "skip": "E016",
    "key": "E009",
    "imported twice": "E009",
    "state name": "E009",
    "signature": "E011",
    "annotation": "E011",
    "once": "E015",
}
"""The id of the check for each code of a problem."""


def draft(settings: Settings, service_type: str) -> tuple[Plan, list[Problem]]:
    """Return the plan as far as it can be made, and its problems.

    With a broken module there are no problems: hooks that seem to be missing may be declared in it.
    """
    from lifespan_app.engine.planning.builder import draft_plan

    adapter = lifespan.adapter
    plan, problems = draft_plan(
        lifespan.hooks,
        service_type,
        adapter.app_label,
        settings.hooks,
        skip=settings.skip,
        advice=adapter.advice,
        refusals=lifespan.refusals(settings),
    )
    return plan, [] if lifespan.broken else problems


def problem_message(problem: Problem) -> Error:
    """Return a plan's problem as a check's message."""
    return Error(
        problem.message,
        hint=problem.hint,
        obj=Location(problem.file, problem.line) if problem.file else None,
        id=f"lifespan_app.{PROBLEM_IDS[problem.code]}",
    )


def plan_messages(
    settings: Settings, plan: Plan, problems: Iterable[Problem]
) -> Iterator[CheckMessage]:
    """Yield the messages on one plan."""
    yield from map(problem_message, problems)
    yield from optional_hook_messages(plan)
    yield from startup_limit_messages(settings, plan)
    yield from shutdown_limit_messages(settings, plan)
    yield from server_hook_messages(plan)


def optional_hook_messages(plan: Plan) -> Iterator[CheckMessage]:
    """W004: a required hook needs an optional one."""
    for node in plan.hooks:
        for wait in node.waits:
            leader = plan.nodes[wait.node]
            if node.options.required and wait.hard and not leader.options.required:
                yield Warning(
                    f"'{node.key}' is required and needs '{leader.key}', which is optional.",
                    hint=f"When '{leader.key}' fails, '{node.key}' is skipped and the process "
                    "serves without it. Make both required or both optional, or give the "
                    "parameter a default.",
                    obj=place_of(node),
                    id="lifespan_app.W004",
                )


def server_hook_messages(plan: Plan) -> Iterator[CheckMessage]:
    """I001: hooks that run once per server, which no server opens by itself."""
    if plan.service_type == "server":
        return
    for hook in lifespan.hooks:
        if hook.service_types is not None and "server" in hook.service_types:
            key = hook.key_by(lifespan.adapter.app_label)
            yield Info(
                f"'{key}' is for service type 'server': it runs once per server, around its "
                "workers.",
                hint="No server opens that plan by itself: start it with "
                "'manage.py runlifespan -- COMMAND'.",
                obj=Location(hook.file, hook.line),
                id="lifespan_app.I001",
            )
