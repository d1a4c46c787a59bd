"""What is observed in each cell, kept in a file: a change of it is seen in a review.

    LIFESPAN_TEST_GOLDENS=write python -m pytest tests/matrix

writes the cells anew, and the tables that docs/servers/ is built from.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from tests.matrix.columns import Column

FILE = Path(__file__).with_name("cells.json")

Cells = dict[str, dict[str, str]]


def is_written() -> bool:
    """Tell whether the files are written anew."""
    return os.environ.get("LIFESPAN_TEST_GOLDENS") == "write"


def kept() -> Cells:
    """Return what is kept, by situation and column."""
    cells: Cells = json.loads(FILE.read_text(encoding="utf-8"))
    return cells


def assert_cells(column: Column, seen: dict[str, str]) -> None:
    """Compare what was seen under a server with what is kept."""
    if is_written():
        write(column, seen)
    cells = kept()
    assert seen == {situation: cells.get(situation, {}).get(column.name) for situation in seen}


def write(column: Column, seen: dict[str, str]) -> None:
    """Write what was seen; tests that run at the same time do it one after the other."""
    with FILE.open("r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        cells = json.load(file)
        for situation, phrase in seen.items():
            cells.setdefault(situation, {})[column.name] = phrase
        file.seek(0)
        file.truncate()
        file.write(json.dumps(cells, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
