"""What only a failure needs is imported then, which a process can't that has no file left to open."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import asyncio, os, resource
    from lifespan_app import lifespan

    opened = []

    @lifespan.resource
    async def client():
        yield
        print("closed")

    @lifespan.on_start
    async def leak(client):
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        while True:
            opened.append(open(os.devnull))

    async def main():
        async with lifespan.run("app"):
            pass

    try:
        asyncio.run(main())
    except OSError as error:
        print(error.strerror, *error.__notes__)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such limit")
def test_start_that_fails_without_a_file_left_to_open_names_the_hook_and_its_error() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    closed, error = ended.stdout.splitlines()
    assert closed == "closed"
    assert error.startswith("Too many open files Raised by lifespan hook '__main__.leak'")
