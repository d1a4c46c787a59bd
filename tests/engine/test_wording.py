"""Durations, numbers of things and misspelt words are written in one way."""

from __future__ import annotations

import pytest

from lifespan_app.engine.wording import count, did_you_mean, time_limit, time_taken


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5 s"), (5.0, "5 s"), (0.25, "0.25 s"), (3600, "3600 s")]
)
def test_limit_is_written_as_it_was_set(seconds: float, text: str) -> None:
    assert time_limit(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.000 s"), (0.21349, "0.213 s"), (75.5, "75.500 s")]
)
def test_measured_time_is_written_to_the_millisecond(seconds: float, text: str) -> None:
    assert time_taken(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 hooks"), (1, "1 hook"), (2, "2 hooks"), (11520, "11,520 hooks")]
)
def test_number_of_things_is_singular_for_one_alone(number: int, text: str) -> None:
    assert count(number, "hook") == text


def test_plural_that_is_not_made_with_an_s_is_given() -> None:
    texts = [count(number, "thing was", "things were") for number in (1, 2)]

    assert texts == ["1 thing was", "2 things were"]


def test_suggestion_ignores_the_case_of_a_word() -> None:
    assert did_you_mean("shutdown_timout", ["SHUTDOWN_TIMEOUT"]) == (
        " Did you mean 'SHUTDOWN_TIMEOUT'?"
    )


def test_unsimilar_word_has_no_suggestion() -> None:
    assert did_you_mean("zebra", ["till", "door"]) == ""


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("STARTUP_TIMEOUT", "'STARTUP_DEADLINE'"),
        ("START_TIMEOUT", "'STARTUP_DEADLINE'"),
        ("SHUTDWN_TIMEOUT", "'SHUTDOWN_TIMEOUT'"),
        ("DEADLINE", "'STARTUP_DEADLINE'"),
    ],
)
def test_suggestion_begins_with_the_same_word_if_one_does(word: str, meant: str) -> None:
    known = ["STARTUP_DEADLINE", "SHUTDOWN_TIMEOUT"]

    assert did_you_mean(word, known) == f" Did you mean {meant}?"


def test_both_are_suggested_where_a_part_of_the_word_is_a_name_too() -> None:
    assert did_you_mean("startup_timeout", ["shutdown_timeout", "timeout"]) == (
        " Did you mean 'timeout' or 'shutdown_timeout'?"
    )
