"""A text is stored as it is, or with words that say what is different."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lifespan_app.history.recording.sanitize import LONGEST, ascii_only, sanitize, sanitize_json


@pytest.mark.parametrize("text", ["", "plain", "<script>", "é", "\N{SNAKE}", "\u202eabc", "\x01\t"])
def test_text_that_every_database_takes_is_left_alone(text: str) -> None:
    assert sanitize(text) == text


def test_letters_that_databases_refuse_become_visible() -> None:
    assert sanitize("a\x00b\ud800c\udfffd") == r"a\x00b\ud800c\udfffd"


@given(some.text(some.characters(codec=None, exclude_categories=[])), some.integers(1, 60))
def test_any_text_can_be_stored_in_any_room(text: str, length: int) -> None:
    stored = sanitize(text, length)

    assert len(stored) <= length
    assert "\0" not in stored
    stored.encode()


@given(some.integers(0, 3_000), some.integers(1, 1_500))
def test_cut_text_says_how_much_is_missing(size: int, length: int) -> None:
    text = "x" * size
    stored = sanitize(text, length)

    assert len(stored) <= length
    missing = size - stored.count("x")
    assert stored == text or length < 20 or f"{missing:,}" in stored


def test_short_column_keeps_the_beginning() -> None:
    stored = sanitize("abc" * 100, 64)

    assert stored == "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcab... (250 more)"
    assert len(stored) == 64


def test_traceback_keeps_its_first_and_its_last_line() -> None:
    text = "Traceback (most recent call last):\n" + "  line\n" * 20_000 + "ValueError: no"

    stored = sanitize(text)

    assert len(stored) == LONGEST
    assert stored.startswith("Traceback (most recent call last):\n  line\n")
    assert stored.endswith("  line\nValueError: no")
    said = re.search(r"\n\.\.\. ([\d,]+) characters are left out here \.\.\.\n", stored)
    assert said is not None
    assert len(stored) - len(said[0]) + int(said[1].replace(",", "")) == len(text)


def test_column_that_has_no_room_for_words_gets_the_beginning() -> None:
    assert sanitize("serving" * 3, 10) == "servingser"


def test_text_with_visible_escapes_is_cut_too() -> None:
    assert len(sanitize("\x00" * 100, 64)) == 64


def test_every_text_in_a_structure_is_storable() -> None:
    value = {"a\x00": ["\ud800", ("b", {"c": "x" * 30_000})]}

    stored = sanitize_json(value)

    assert list(stored) == [r"a\x00"]
    assert stored[r"a\x00"][0] == r"\ud800"
    assert len(stored[r"a\x00"][1][1]["c"]) == LONGEST


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (0.5, 0.5),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (Path("a"), "a"),
        ({1: 2}, {"1": 2}),
        ({"x"}, ["x"]),
    ],
)
def test_value_that_json_has_no_word_for_becomes_text(value: Any, stored: Any) -> None:
    assert sanitize_json(value) == stored
    json.dumps(sanitize_json(value), allow_nan=False)


def test_old_encoding_gets_backslash_forms() -> None:
    row = {"host": "\N{SNAKE}é", "log": [[1, "\u202e"]], "pid": 1, "at": None}

    assert ascii_only(row) == {
        "host": r"\U0001f40d\xe9",
        "log": [[1, r"\u202e"]],
        "pid": 1,
        "at": None,
    }
