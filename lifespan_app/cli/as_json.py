"""Plans and problems as JSON, for programs: its schema is in ``docs/commands``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lifespan_app.checks.places import Location
from lifespan_app.engine.reporting.failure import short

from .plans import ShownHook, ShownPlan
from .problems import Found

if TYPE_CHECKING:
    from .check import Checked
    from .trial_run_text import Rehearsed

VERSION = 1
"""Raised when a program that reads the document would have to be changed; new keys don't raise it."""


def document(checked: Checked, rehearsed: Rehearsed | None = None) -> str:
    """Return what was found as JSON.

    Args:
        checked: plans and problems.
        rehearsed: what a rehearsal has shown; None: there was none.
    """
    found: dict[str, Any] = {
        "version": VERSION,
        "plans": [of_plan(plan) for plan in checked.plans],
        "excluded_apps": list(checked.excluded),
        "problems": [of_problem(problem) for problem in checked.problems],
    }
    if rehearsed is not None:
        from .trial_run_text import as_data

        found["run"] = as_data(rehearsed)
    return json.dumps(found, indent=2)


def of_plan(plan: ShownPlan) -> dict[str, Any]:
    """Return one plan."""
    return {
        "service_type": plan.service_type,
        "complete": plan.complete,
        "apps": plan.apps,
        "waves": plan.layers,
        "hooks": [of_hook(hook) for hook in plan.hooks],
        "left_out": [hook._asdict() for hook in plan.excluded],
    }


def of_hook(hook: ShownHook) -> dict[str, Any]:
    """Return one hook."""
    waits = [
        {
            "hook": wait.hook or None,
            "reason": wait.reason,
            "detail": wait.detail,
            "hard": wait.hard,
        }
        for wait in hook.waits_for
    ]
    fields = hook._asdict()
    fields["wave"] = fields.pop("layer")
    return {**fields, "state_name": hook.state_name or None, "waits_for": waits}


def of_problem(problem: Found) -> dict[str, Any]:
    """Return one problem."""
    place = problem.message.obj
    is_line = isinstance(place, Location)
    return {
        "level": problem.level,
        "id": problem.id or None,
        "message": problem.text,
        "hint": str(problem.message.hint or ""),
        "where": problem.where or None,
        "file": (short(place.file) or None) if is_line else None,
        "line": (place.line or None) if is_line else None,
        "service_types": list(problem.service_types),
    }
