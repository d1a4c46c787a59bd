"""What has to hold in every cell, whatever is kept: writing the cells anew can't hide it."""

from __future__ import annotations

from collections.abc import Sequence

from lifespan_app.models import Status
from tests.matrix.situations import DEAF
from tests.matrix.trial import Trial, Worker
from tests.servers import ServerFailed


def assert_all_closed(situation: str, trial: Trial, workers: Sequence[Worker]) -> None:
    """
    Each worker has a run, has closed all that it had opened, and is recorded so, all steps ok.

    A run is lost only where the server tells the application nothing, and nowhere else.
    """
    column = trial.column
    if len(workers) != (column.workers if column.kind.has_lifespan else 0):
        raise ServerFailed(f"{len(workers)} workers are recorded", trial.server)
    for worker in workers:
        if not worker.told and (situation, column.name) not in DEAF:
            raise ServerFailed(f"{worker.pid} was told of no end", trial.server)
        outcomes = set(worker.run.steps.values_list("outcome", flat=True))
        status = Status.STOPPED if worker.told else Status.LOST
        whole = worker.closed and outcomes == {"ok"}
        if whole != worker.told or worker.run.status != status:
            raise ServerFailed(f"{worker} is {worker.run.status}, {outcomes}", trial.server)
