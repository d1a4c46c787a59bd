"""A recorded traceback keeps every line; frames of libraries are told from own ones."""

from __future__ import annotations

import asyncio
import json
import traceback

import pytest

from lifespan_app.history.reading.tracebacks import innermost, library_of, parts_of
from tests.records import NO_NOTICES


def raised_in_a_group() -> str:
    async def fail() -> None:
        json.loads("{")

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())

    try:
        asyncio.run(main())
    except ExceptionGroup as error:
        return "".join(traceback.format_exception(error))
    raise AssertionError


@pytest.mark.parametrize(
    "text", [NO_NOTICES, raised_in_a_group(), "", "no traceback"], ids=range(4)
)
def test_no_line_of_a_traceback_is_lost(text: str) -> None:
    assert "\n".join(part.text for part in parts_of(text)) == text.rstrip()


def test_frames_of_libraries_that_follow_each_other_are_one_part() -> None:
    folded = [(part.names, part.frames) for part in parts_of(NO_NOTICES) if part.libraries]

    assert folded == [("httpx, httpcore", 2), ("lifespan_app", 1), ("httpx", 2)]
    shown = [part.text for part in parts_of(NO_NOTICES) if not part.libraries]
    assert shown[-1] == "httpx.ConnectError: No notice service at http://127.0.0.1:9/notices.txt"


def test_innermost_own_frame_is_found_also_within_a_group() -> None:
    assert innermost(NO_NOTICES) == "/srv/shop/notices/board.py:21 in notices"
    assert innermost(raised_in_a_group()).endswith("test_tracebacks.py:17 in fail")
    assert innermost("") == ""


@pytest.mark.parametrize(
    ("file", "library"),
    [
        ("/srv/shop/notices/board.py", ""),
        ("/usr/lib/python3.13/asyncio/tasks.py", "Python"),
        ("/srv/shop/.venv/lib/python3.13/site-packages/httpx/_client.py", "httpx"),
        ("/usr/lib/python3/dist-packages/six.py", "six"),
        ("<frozen importlib._bootstrap>", "Python"),
        ("/home/me/lifespan_app/engine/life.py", "lifespan_app"),
        ("C:\\shop\\notices\\board.py", ""),
        ("<string>", ""),
    ],
)
def test_file_is_known_as_own_or_library_code(file: str, library: str) -> None:
    assert library_of(file) == library


def deep(levels: int, lines: list[str]) -> str:
    """Return a traceback of many different lines of the project's own."""
    frames = [
        f'  File "/srv/shop/step.py", line {line}, in step\n    work()' for line in range(levels)
    ]
    return "\n".join(["Traceback (most recent call last):", *frames, *lines])


def test_middle_of_many_own_frames_is_folded() -> None:
    parts = parts_of(deep(100, ["ValueError: no"]))

    assert [part.summary for part in parts if part.libraries] == ["80 frames of your code"]
    assert sum(part.frames for part in parts) == 100
    assert "\n".join(part.text for part in parts) == deep(100, ["ValueError: no"])
    assert parts[-1].lines[-1] == "ValueError: no"


def test_some_own_frames_are_all_shown() -> None:
    assert not [part for part in parts_of(deep(21, [])) if part.libraries]


def test_recursion_of_an_earlier_version_is_folded() -> None:
    cycle = """\
  File "/srv/shop/a.py", line 1, in even
    odd()
  File "/srv/shop/a.py", line 2, in odd
    even()
"""
    [part] = parts_of(f"Traceback:\n{cycle * 400}RecursionError: too deep")
    assert len(part.lines) == 11
    assert part.lines[-2] == "  [The last 2 frames repeated 398 more times]"
