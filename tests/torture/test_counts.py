"""What is left behind: the line through counts, and when it is a fault."""

from __future__ import annotations

from tests.torture.counts import NAMES, Slopes, left_behind, slope

MOST = {"objects": 5.0}


def found(objects: float, error: float = 0.1) -> Slopes:
    return {**dict.fromkeys(NAMES, (0.0, 0.0)), "objects": (objects, error)}


def test_slope_and_its_error_are_those_of_the_line_through_the_counts() -> None:
    assert slope([10, 12, 14, 16]) == (2, 0)
    left, error = slope([10, 11, 10, 11, 10, 11])
    assert 0 < left < 3 * error


def test_what_is_left_behind_is_a_fault_beyond_the_limit_and_three_errors() -> None:
    _, faults = left_behind("one start", found(5.4), MOST)

    assert faults == ["each start leaves 5.400 ± 0.100 behind: objects"]
    assert left_behind("one start", found(5.2), MOST)[1] == []


def test_what_the_control_leaves_behind_is_not_ours() -> None:
    text, faults = left_behind("one start", found(9.0), MOST, control=found(4.0))

    assert faults == []
    assert "objects 9.000 ± 0.100 (control 4.000 ± 0.100)" in text
    assert left_behind("one start", found(12.0), MOST, control=found(4.0))[1] != []
