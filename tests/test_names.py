"""The list of all tests reads as the specification."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

TESTS = Path(__file__).resolve().parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NO_SUBJECT = ("a", "an", "the", "it", "its", "they", "their", "does", "is", "has")
"""First words that an article wastes, or that name their subject only beside their class."""


def names(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the file and the name of each test that pytest collects."""
    for path in sorted(folder.rglob("test_*.py")):
        body = ast.parse(path.read_text()).body
        classes = [node for node in body if isinstance(node, ast.ClassDef)]
        for node in [*body, *(inner for one in classes for inner in one.body)]:
            if isinstance(node, FUNCTIONS) and node.name.startswith("test_"):
                yield path.relative_to(folder).as_posix(), node.name


def test_name_of_a_test_begins_with_its_subject() -> None:
    found = [*names(TESTS)]

    assert len(found) > 3000
    assert [(file, name) for file, name in found if name.split("_")[1] in NO_SUBJECT] == []
