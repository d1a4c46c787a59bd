"""MCP servers beside Django, as the page has them, with a real client of theirs."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.documents import SETTINGS, example, paste
from tests.projects import Project
from tests.servers import GRANIAN, GUNICORN, HYPERCORN, UVICORN, Kind, Server

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.once]

# A client that keeps its stream open, as those of older versions of the protocol do.
STREAMING_CLIENT = """
import asyncio
import sys

from mcp import Client


async def main(address):
    async with Client(address, mode="legacy") as client:
        result = await client.call_tool("price", {"title": "Emma"})
        print(result.content[0].text, flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize(
    "kind", [UVICORN, HYPERCORN, GRANIAN, GUNICORN], ids=lambda kind: str(kind.name)
)
def test_client_is_answered_by_both_packages_under_each_server(
    project: Project, kind: Kind
) -> None:
    paste(example("howto/mcp", "MCP"), project)

    with Server(
        project, kind, application="mysite.asgi:application", environment=SETTINGS
    ) as server:
        for prefix in ("/mcp", "/sdk/"):
            address = f"http://127.0.0.1:{server.port}{prefix}"
            asked = project.run("client.py", address)
            assert asked.stdout == "9.99\n", asked.stderr + server.output
        server.signal(signal.SIGTERM)
        server.wait()

    assert "prices are closed" in server.output
    assert "Task group is not initialized" not in server.output


def test_stream_of_an_older_client_does_not_delay_the_stop(project: Project) -> None:
    """granian would wait for it until the client leaves."""
    paste(example("howto/mcp", "streams of MCP"), project)
    project.file("client.py", STREAMING_CLIENT)
    with Server(
        project, GRANIAN, application="mysite.asgi:application", environment=SETTINGS
    ) as server:
        address = f"http://127.0.0.1:{server.port}/mcp/"
        with subprocess.Popen(
            [sys.executable, "client.py", address],
            cwd=project.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as client:
            try:
                assert client.stdout is not None
                assert client.stdout.readline() == b"9.99\n", server.output
                server.signal(signal.SIGTERM)
                server.wait()
            finally:
                client.kill()
