"""The median of recorded times is one number, wherever it is shown."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lifespan_app.cli.trial_run import Measured
from lifespan_app.history.reading.hook_history import hook_history
from lifespan_app.history.reading.statistics import recorded_starts, spread, usual_in
from lifespan_app.models import Phase
from tests.history.records import a_run, a_step

pytestmark = pytest.mark.django_db


def runs_that_took(*seconds: float) -> list[int]:
    """Write a run for each time that a hook took to start, and return their primary keys."""
    runs = [a_run() for _ in seconds]
    for run, taken in zip(runs, seconds, strict=True):
        a_step(run, duration=timedelta(seconds=taken))
    return [run.pk for run in runs]


@pytest.mark.parametrize(
    ("seconds", "median"),
    [([1], 1.0), ([1, 2], 1.5), ([2, 1, 9], 2.0), ([1, 2, 4, 9], 3.0)],
    ids=["one", "two", "three", "four"],
)
def test_admin_compare_and_trial_run_have_the_same_median(
    seconds: list[float], median: float
) -> None:
    runs = runs_that_took(*seconds)

    assert recorded_starts("app") == {"books.shelf": median}
    assert usual_in(runs, Phase.STARTUP)["books.shelf", "startup"].median == median
    history = hook_history("books.shelf")
    assert history is not None
    usually = usual_in(runs[::-1], Phase.STARTUP)["books.shelf", "startup"]
    assert history.whole.startup == usually
    assert Measured("books.shelf", seconds, [], set(), wait=True).start == median


def test_95th_percentile_is_a_time_that_was_taken() -> None:
    found = spread([1.0, 2.0])

    assert found is not None
    assert found.p95 == 2.0
