"""Files of anything in the place of records that wait: they are shown, imported or refused, and stop nothing."""

from __future__ import annotations

import json
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from hypothesis import example, given
from hypothesis import strategies as some

from lifespan_app.models import LifespanRun, LifespanStep
from tests.bad_input.examples import HOSTILE, any_text, examples
from tests.history.conftest import history_database, prepared, sqlite_history
from tests.history.test_importing import STEP, a_row, folder, left, maintained

__all__ = ["folder", "history_database", "prepared", "sqlite_history"]

pytestmark = pytest.mark.once

words = some.sampled_from([text for text in HOSTILE if len(text) < 100]) | any_text
junk = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | words,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
columns_of_run = some.sampled_from([field.name for field in LifespanRun._meta.concrete_fields])
columns_of_step = some.sampled_from([field.name for field in LifespanStep._meta.concrete_fields])
runs = some.dictionaries(columns_of_run, junk, max_size=3).map(
    lambda odd: {"run": {**a_row(), **odd}}
)
steps = some.lists(
    some.dictionaries(columns_of_step, junk, max_size=3).map(lambda odd: {**STEP, **odd}) | junk,
    max_size=2,
).flatmap(
    lambda rows: some.sampled_from([["startup"], []]).map(
        lambda phases: {"steps": rows, "phases": phases}
    )
)
entries = some.lists(runs | steps | junk, min_size=1, max_size=3)

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"now": True},
    {"last_failed": True},
    {"uuid": "0"},
    {"format": "json"},
    {"blame": True},
    {"longest_chain": ""},
)


def spooled(folder: Path, content: bytes) -> None:
    """Leave a file of a run whose process is gone."""
    name = left(folder, {"run": {}})
    (folder / name).write_bytes(content)


def lines_of(*entries: Any) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def emptied(folder: Path) -> None:
    for file in folder.glob("*"):
        file.unlink()


def shown(options: dict[str, Any]) -> str:
    said = StringIO()
    with suppress(CommandError):
        call_command("showlifespan", stdout=said, stderr=said, **options)
    return said.getvalue()


@pytest.fixture(autouse=True)
def _database(sqlite_history: Any) -> None:
    """Have a database for each test here."""


@examples(60)
@given(entries=entries, options=some.sampled_from(OPTIONS))
def test_file_of_anything_is_shown_or_passed_over(
    folder: Path, entries: list[Any], options: dict[str, Any]
) -> None:
    emptied(folder)
    spooled(folder, lines_of(*entries))

    shown(options)


@examples(60)
@given(entries=entries)
def test_file_of_anything_does_not_keep_others_from_being_imported(
    folder: Path, entries: list[Any]
) -> None:
    emptied(folder)
    LifespanRun.objects.all().delete()
    spooled(folder, lines_of(*entries))
    uuid = str(uuid4())
    left(folder, {"run": a_row(uuid=uuid)})

    maintained()

    assert LifespanRun.objects.filter(uuid=uuid).exists()
    assert not [file for file in folder.iterdir() if file.suffix == ".jsonl"]


@examples(30)
@given(content=some.binary(max_size=300), cut=some.integers(0, 400))
@example(content=b"[" * 100_000 + b"\n", cut=0)
@example(content=b'{"run": {"pid": ' + b"9" * 10_000 + b"}}\n", cut=0)
def test_torn_or_binary_file_stops_nothing(folder: Path, content: bytes, cut: int) -> None:
    emptied(folder)
    spooled(folder, lines_of({"run": a_row()}, {"steps": [STEP], "phases": []})[:cut] + content)

    shown({})
    maintained()
