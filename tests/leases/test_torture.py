"""Servers and their database are killed, paused and restarted: never two leaders at once.

`make torture` does the same for ten minutes.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.clusters import PostgreSQL
from tests.leases.torture import Beat, Torture, second_holders, tortured
from tests.needs import needs_postgresql
from tests.projects import Project

SECONDS = 25


@pytest.mark.slow
@pytest.mark.server
@needs_postgresql
def test_there_are_never_two_leaders(tmp_path: Path) -> None:
    torture, beats = tortured(tmp_path, "postgresql", SECONDS)

    assert second_holders(torture, beats) == []
    assert len({beat.number for beat in beats}) > 1


@pytest.fixture
def torture(tmp_path: Path) -> Torture:
    """Return a torture of nobody, in which process 2 was paused from 20 to 26."""
    nobody = Torture(Project(tmp_path), PostgreSQL.__new__(PostgreSQL), random.Random())
    nobody.pauses.append((2, 20.0, 26.0))
    return nobody


def test_second_leader_is_found(torture: Torture) -> None:
    beats = [Beat(1, 1, False, 10), Beat(2, 2, False, 11), Beat(1, 1, True, 12)]

    assert second_holders(torture, beats) == [beats[2]]


def test_leader_that_was_paused_is_forgiven(torture: Torture) -> None:
    beats = [Beat(2, 1, False, 19), Beat(1, 2, False, 25), Beat(2, 1, True, 26.1)]

    assert second_holders(torture, beats) == []
