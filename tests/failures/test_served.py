"""A real server and a real command print cause and action first."""

from __future__ import annotations

import pytest

from tests.projects import Project
from tests.servers import _free_port

pytestmark = [pytest.mark.slow, pytest.mark.once]

REFUSED = """
import socket

from lifespan_app import lifespan


@lifespan.on_start
def feed():
    socket.create_connection(("127.0.0.1", {port}))
"""

SLOW = """
import asyncio

from lifespan_app import lifespan


@lifespan.on_start(timeout=0.2)
async def feed():
    await asyncio.sleep(3600)
"""

UVICORN = ("-m", "uvicorn", "asgi:application", "--lifespan", "on", "--port", "0")
HYPERCORN = ("-m", "hypercorn", "asgi:application", "--workers", "0", "-b", "127.0.0.1:0")


@pytest.fixture
def port() -> int:
    """Return a port at which nobody listens."""
    return _free_port()


@pytest.mark.server
def test_server_prints_cause_and_action(project: Project, port: int) -> None:
    project.app("shop", lifespan=REFUSED.format(port=port))
    project.settings(FEED=f"tcp://127.0.0.1:{port}")
    ended = project.run(*UVICORN)
    assert ended.returncode == 3
    lines = ended.stderr.splitlines()
    [first] = [number for number, line in enumerate(lines) if "lifespan_app: hook" in line]
    cause = f"Nothing listens at 127.0.0.1:{port} (FEED): the connection was refused."
    assert lines[first].endswith(f": ConnectionRefusedError: {cause}")
    assert lines[first + 1].startswith(f"What to do: Start the service at 127.0.0.1:{port}")
    assert lines[first + 2].startswith("The error: ConnectionRefusedError: [Errno 111]")
    [line] = [line for line in lines if "Lifespan hook 'shop.feed'" in line]
    assert f": {cause} Start the service" in line


def test_command_prints_cause_and_action(project: Project, port: int) -> None:
    project.app("shop", lifespan=REFUSED.format(port=port))
    ended = project.manage("checklifespan", "--run")
    assert f"ConnectionRefusedError: Nothing listens at 127.0.0.1:{port}: " in ended.stderr
    assert "\nWhat to do: Start the service" in ended.stderr


@pytest.mark.server
@pytest.mark.parametrize(
    ("server", "limit"),
    [
        (UVICORN, "uvicorn itself has no limit."),
        (
            HYPERCORN,
            "hypercorn itself gives a startup up after its startup_timeout, 60 s by default",
        ),
    ],
    ids=["uvicorn", "hypercorn"],
)
def test_limit_of_the_server_itself_is_named(
    project: Project, server: tuple[str, ...], limit: str
) -> None:
    project.app("shop", lifespan=SLOW)
    ended = project.run(*server)
    said = ended.stderr + ended.stdout
    assert "did not start within its limit of 0.2 s. It waits at shop/lifespan.py:" in said
    assert f"LIFESPAN['HOOKS']['shop.feed']['timeout']. {limit}" in said
