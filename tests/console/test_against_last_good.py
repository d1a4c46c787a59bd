"""A project that started well is changed: the terminal says what differs when it then fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.once]

LIFESPAN = """
    import asyncio

    from lifespan_app import lifespan


    @lifespan.resource
    async def shelf():
        yield "ten books"


    @lifespan.background
    async def refresh(shelf):
        await asyncio.Event().wait()


    @lifespan.background(every=3_600, first=3_600)
    async def has_no_round_yet(shelf):
        pass


    @lifespan.on_shutdown
    async def bye():
        pass
"""
PRICES = """

    @lifespan.on_start
    async def prices(shelf):
        raise OSError("no prices")
"""


def test_real_failure_is_compared_with_the_last_good_start(
    project: Project, tmp_path: Path
) -> None:
    project.app("shop", lifespan=LIFESPAN)
    own = {"SPOOL_DIR": str(tmp_path / "spool"), "RELEASE": "1.8.2"}
    project.settings(LIFESPAN=own)
    with Server(project.with_tables(), options=("--lifespan", "on")) as server:
        server.interrupt()
        server.wait()
    project.file("shop/lifespan.py", LIFESPAN + PRICES)
    project.settings(LIFESPAN={**own, "RELEASE": "1.9.0"})
    with Server(project, options=("--lifespan", "on"), ready=False) as server:
        server.wait()

    text = project.manage("showlifespan")
    document = json.loads(project.manage("showlifespan", "--format", "json").stdout)

    good, failed = project.runs()
    assert (good["status"], failed["status"]) == ("stopped", "startup_failed")
    lines = text.stdout.splitlines()
    start = lines.index("Compared with the last good run")
    assert lines[start + 1].startswith(f"  The last good run is {good['short_id']}, started ")
    told = [line for line in lines[start + 2 :] if line.startswith("  - ")]
    assert told[:2] == ["  - Release: 1.9.0, was 1.8.2", "  - Hooks added: shop.prices"]
    # Whatever time the hooks took on this machine.
    assert {one["what"] for one in document["against_last_good"]["differences"]} <= {
        "release",
        "hooks_added",
        "startup",
        "shutdown",
        "hook_startup",
        "hook_shutdown",
    }
