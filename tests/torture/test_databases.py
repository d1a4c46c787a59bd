"""Faults of the database: a short form of two of them, and when answers are called slower."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.needs import needs_postgresql
from tests.torture.databases import place as place_module
from tests.torture.databases import trial as trial_module
from tests.torture.databases.cells import QUICK_CELLS, Cell
from tests.torture.databases.checks import is_slower, look_at_times
from tests.torture.databases.part import SECONDS_QUICK, tried
from tests.torture.databases.place import Place
from tests.torture.databases.seen import Pair, Seen
from tests.torture.load import Asked, failed


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=str(cell), marks=needs_postgresql if "postgresql" in cell else ())
        for cell in QUICK_CELLS
    ],
)
def test_fault_of_the_database_harms_no_answer_and_no_record(cell: Cell, tmp_path: Path) -> None:
    seen = tried(cell, tmp_path, SECONDS_QUICK)

    assert seen.faults == []
    assert (failed(seen.plain[1]), seen.runs, seen.late) == (0, 7, 2)
    assert len(seen.plain[1]) > 0


# When answers are slower.

VIEWS_THAT_CAN_BE_SLOW = f"""
import asyncio
import os

{place_module.VIEWS}

async def plain(request):
    if os.path.exists("slow"):
        await asyncio.sleep(1.5)
    return HttpResponse(store(request))
"""


@contextmanager
def slow(place: Place) -> Iterator[None]:
    """Have answers of the server with the history take longer."""
    file = place.project.folder / "slow"
    file.touch()
    yield
    file.unlink()


@pytest.fixture
def tried_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[str], bool]]:
    """Return a function that tries a fault; it returns what was wrong, and whether times could not be told."""
    monkeypatch.setattr(place_module, "VIEWS", VIEWS_THAT_CAN_BE_SLOW)
    monkeypatch.setattr(trial_module, "PLAIN", ("/plain/",))

    def faults_of(fault: Callable[..., object]) -> tuple[list[str], bool]:
        seen = tried(Cell("sqlite", fault), tmp_path, SECONDS_QUICK)  # type: ignore[arg-type]
        return seen.faults, seen.too_busy

    return faults_of


@pytest.mark.slow
@pytest.mark.server
def test_server_that_answers_late_in_the_fault_is_a_fault(
    tried_with: Callable[..., tuple[list[str], bool]],
) -> None:
    assert tried_with(slow) == (["answers without the database were slower"], False)


def took(before: float, *during: float) -> Pair:
    return [Asked(0, before, True)], [Asked(1, seconds, True) for seconds in during]


def seen_with(answers: Pair, control: Pair) -> Seen:
    seen = Seen(QUICK_CELLS[0], plain=answers, control=control)
    look_at_times(seen)
    return seen


def test_answers_that_are_slower_than_the_control_are_a_fault() -> None:
    seen = seen_with(took(0.02, 1.6), control=took(0.02, 0.02))

    assert (seen.faults, seen.too_busy) == (["answers without the database were slower"], False)


def test_servers_that_all_answer_late_are_no_fault_but_too_busy_to_tell() -> None:
    seen = seen_with(took(0.02, 1.6), control=took(0.02, 1.6))

    assert (seen.faults, seen.too_busy) == ([], True)


def test_answers_are_slower_with_a_median_of_more_than_three_times_that_of_before() -> None:
    assert is_slower(took(0.02, 0.08))
    assert not is_slower(took(0.02, 0.06))


def test_answers_are_slower_if_one_took_more_than_a_second_longer() -> None:
    assert is_slower(took(0.02, 0.02, 0.02, 1.1))
    assert not is_slower(took(0.02, 0.02, 0.02, 1.0))


def test_what_the_control_was_slower_by_is_not_counted() -> None:
    assert not is_slower(took(0.02, 0.08), control=took(0.01, 0.03))
    assert not is_slower(took(0.02, 0.02, 0.02, 1.1), control=took(0.01, 0.01, 0.01, 0.5))


def test_answers_that_are_slower_than_those_of_a_slow_control_are_slower() -> None:
    assert is_slower(took(0.02, 0.3), control=took(0.01, 0.03))
    assert is_slower(took(0.02, 0.02, 0.02, 1.9), control=took(0.01, 0.01, 0.01, 0.5))


def test_control_that_was_faster_in_the_fault_changes_nothing() -> None:
    assert not is_slower(took(0.02, 0.06), control=took(0.02, 0.01))
