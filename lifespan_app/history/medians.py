"""What hooks have taken to start, as far as it is recorded."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from statistics import median

from lifespan_app.models import LifespanRun, LifespanStep, Mode, Outcome, Phase

RUNS = 50
"""So many runs are looked at, the newest."""


def recorded_starts(service_type: str) -> dict[str, float]:
    """Return the median of each hook's starts, in seconds by its key, in two queries.

    Args:
        service_type: of whose runs; those of tests and of ``checklifespan`` itself don't count,
            unless there are no others.

    Raises:
        DatabaseError: the history can't be read.
    """
    of_type = LifespanRun.objects.filter(service_type=service_type).exclude(mode=Mode.TEST)
    runs = list(
        of_type.exclude(mode=Mode.CHECK).order_by("-id").values_list("id", flat=True)[:RUNS]
    )
    if not runs:
        runs = list(of_type.order_by("-id").values_list("id", flat=True)[:RUNS])
    steps = LifespanStep.objects.filter(
        run__in=runs, phase=Phase.STARTUP, outcome=Outcome.OK
    ).order_by()
    taken: dict[str, list[timedelta]] = defaultdict(list)
    for label, name, duration in steps.values_list("app_label", "name", "duration"):
        taken[f"{label}.{name}"].append(duration)
    return {key: median(one.total_seconds() for one in found) for key, found in taken.items()}
