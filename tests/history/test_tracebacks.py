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
