"""A run belongs to its process: in a fork, reading is an error that says so."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")

PROGRAM = """
    import asyncio, contextvars, json, os, warnings
    from lifespan_app import lifespan

    # The children below do nothing that another thread could have locked.
    warnings.simplefilter("ignore", DeprecationWarning)

    @lifespan.resource
    async def client():
        yield "a client of " + str(os.getpid())

    @lifespan.resource
    def connection():
        yield "a connection of " + str(os.getpid())

    class Request:
        def __init__(self, scope):
            self.scope = scope

    def in_child(look):
        # What a function returns or raises in a forked child, as text.
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            try:
                text = str(look())
            except Exception as error:
                text = type(error).__name__ + ": " + str(error)
            os.write(writes, text.encode())
            os._exit(0)
        os.waitpid(child, 0)
        os.close(writes)
        with open(reads) as pipe:
            return pipe.read()

    said = {{}}

    async def main():
        async with lifespan.run("app") as state:
            scope = {{"type": "http", "lifespan_app.run": lifespan.runs[0]}}
            looks = {{
                "handle": client.current,
                "sync handle": connection.current,
                "scope": lambda: client(scope),
                "request": lambda: contextvars.Context().run(client, Request(scope)),
                "request in the body": lambda: client(Request(scope)),
                "item": lambda: state["client"],
                "attribute": lambda: state.client,
                "in": lambda: "client" in state,
                "keys": lambda: list(state),
                "is_initialized": lifespan.is_initialized,
                "run of its own": lambda: asyncio.run(own()),
            }}
            for name, look in looks.items():
                said[name] = in_child(look)
            said["parent"] = client.current()
            said["pid"] = os.getpid()
        said["after"] = in_child(client.current)

    async def own():
        async with lifespan.run("app"):
            return client.current() == "a client of " + str(os.getpid())

    {main}
    print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, object]:
    """Return what a program's forked children were told, by what they did."""
    import json

    program = textwrap.dedent(PROGRAM).format(main="asyncio.run(main())")
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    answers: dict[str, object] = json.loads(ended.stdout)
    return answers


@pytest.mark.parametrize(
    "way",
    [
        "handle",
        "sync handle",
        "scope",
        "request",
        "request in the body",
        "item",
        "attribute",
        "after",
    ],
)
def test_reading_in_a_forked_process_is_an_error_that_names_both_processes(
    said: dict[str, object], way: str
) -> None:
    text = str(said[way])
    assert text.startswith(("NotRunning: Resource '__main__.", "NotRunning: Resource 'c"))
    assert f"was opened by process {said['pid']}, which this one was forked from" in text
    assert "can't be read in process " in text
    assert f"in process {said['pid']}:" not in text
    assert "Open a run of its own after the fork: 'with lifespan.run_sync():'" in text


def test_inherited_resource_is_not_open_in_the_fork(said: dict[str, object]) -> None:
    assert said["in"] == "False"
    assert said["keys"] == "[]"
    assert said["is_initialized"] == "False"


def test_forked_process_opens_a_run_of_its_own(said: dict[str, object]) -> None:
    assert said["run of its own"] == "True"


def test_parent_goes_on_reading(said: dict[str, object]) -> None:
    assert said["parent"] == f"a client of {said['pid']}"
