"""What has to hold in every cell, whatever is kept: writing the cells anew can't hide it."""

from __future__ import annotations

from collections.abc import Sequence

from lifespan_app.models import Status
from tests.matrix.columns import Column
from tests.matrix.situations import DEAF
from tests.matrix.trial import Worker


def assert_all_closed(situation: str, column: Column, workers: Sequence[Worker]) -> None:
    """
    Each worker has a run, has closed all that it had opened, and is recorded as stopped, all steps ok.

    A run is lost only where the server tells the application nothing, and nowhere else.
    """
    assert len(workers) == (column.workers if column.kind.has_lifespan else 0)
    for worker in workers:
        assert worker.told or (situation, column.name) in DEAF
        assert worker.told == worker.closed
        assert worker.run.status == (Status.STOPPED if worker.told else Status.LOST)
        if worker.told:
            assert set(worker.run.steps.values_list("outcome", flat=True)) == {"ok"}
