"""What a registry says of its run, of its report and of what is wrong with its plan."""

from __future__ import annotations

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.report import Report
from lifespan_app.engine.running.run import Run
from lifespan_app.errors import PlanError, Problem


def run_of(lifespan: Lifespan) -> Run:
    """Return the only run."""
    [run] = lifespan.runs
    return run


def report_of(lifespan: Lifespan) -> Report:
    """Return the report of the run, which there has to be."""
    report = lifespan.report()
    assert report is not None
    return report


def problems_of(lifespan: Lifespan) -> list[Problem]:
    """Return what is wrong with the plan of the app, which can't be made."""
    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")
    return list(caught.value.problems)
