"""Plans and problems as JSON, for programs: its schema is in ``docs/commands``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from lifespan_app.checks.places import Location
from lifespan_app.engine.reporting.failure import short

from .plans import ShownHook, ShownPlan
from .problems import Found

if TYPE_CHECKING:
    from .check import Checked
    from .trial_run_text import Result

VERSION = 1
"""Increased for an incompatible change of the document; new keys are compatible."""


def document(checked: Checked, result: Result | None = None) -> str:
    """Return plans and problems as JSON.

    Args:
        checked: plans and problems.
        result: the results of a trial run, or None.
    """
    found: dict[str, Any] = {
        "version": VERSION,
        "plans": [of_plan(plan) for plan in checked.plans],
        "excluded_apps": list(checked.excluded),
        "problems": [of_problem(problem) for problem in checked.problems],
    }
    if result is not None:
        found["run"] = of_trial_run(result)
    return json.dumps(found, indent=2)


def of_plan(plan: ShownPlan) -> dict[str, Any]:
    """Return one plan as a JSON object."""
    return {
        "service_type": plan.service_type,
        "complete": plan.complete,
        "apps": plan.apps,
        "waves": plan.layers,
        "hooks": [of_hook(hook) for hook in plan.hooks],
        "left_out": [hook._asdict() for hook in plan.excluded],
    }


def of_hook(hook: ShownHook) -> dict[str, Any]:
    """Return one hook as a JSON object."""
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
    """Return one problem as a JSON object."""
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


def of_trial_run(result: Result) -> dict[str, Any]:
    """Return the results of a trial run as a JSON object."""
    trial = result.trial
    recorded = result.recorded or {}
    return {
        "uuids": [report.uuid for report in trial.reports],
        "failure": trial.failure or None,
        "status": str(trial.last.status),
        "startup": {"median": median(trial.startup()), "worst": max(trial.startup())},
        "shutdown": {"median": median(trial.shutdown()), "worst": max(trial.shutdown())},
        "longest_chain": list(trial.last.longest_chain),
        "longest_stop": list(trial.last.longest_stop),
        "hooks": [
            {
                "key": hook.key,
                "wait": hook.wait,
                "start": spread(hook.starts),
                "stop": spread(hook.stops),
                "recorded_start": recorded.get(hook.key),
            }
            for hook in trial.measured()
        ],
        "left_behind": [
            {**leak._asdict(), "hook": leak.hook or None, "where": leak.where or None}
            for leak in trial.left_behind
        ],
        "over": [over._asdict() for over in result.over],
    }


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Return the median and the maximum of times, or None without times."""
    return {"median": median(values), "worst": max(values)} if values else None
