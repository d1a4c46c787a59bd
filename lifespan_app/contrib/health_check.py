"""The lifespan as a check of django-health-check, version 4 and later.

::

    HealthCheckView.as_view(checks=["lifespan_app.contrib.health_check.LifespanCheck"])
"""

from __future__ import annotations

import dataclasses

from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable, ServiceWarning

from lifespan_app.engine.reporting.report import READY, Readiness
from lifespan_app.health.views import NOT_RUNNING, check, find_run


@dataclasses.dataclass
class LifespanCheck(HealthCheck):
    """A check that requests may come to this process, as ``readyz`` does.

    A degraded process gives a warning, one that is not ready an error. Both have the reason, and no
    names: the view decides on its readers.
    """

    async def run(self) -> None:
        """Check the run of this process.

        Raises:
            ServiceUnavailable: it is not ready, or there is none.
            ServiceWarning: it is degraded.
        """
        run = find_run(None)
        if run is None:
            raise ServiceUnavailable(NOT_RUNNING)
        await check(run)
        readiness = run.readiness
        if readiness not in READY:
            raise ServiceUnavailable(readiness.value)
        if readiness is not Readiness.OK:
            raise ServiceWarning(readiness.value)
