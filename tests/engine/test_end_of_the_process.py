"""A hook that ignores every cancellation can't keep the process alive, once its run is over."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

STUBBORN = """
    import asyncio

    from lifespan_app import Lifespan
    from lifespan_app.engine.adapter import Adapter
    from lifespan_app.engine.settings import Settings


    class Hasty(Adapter):
        def settings(self):
            return Settings(shutdown_timeout=0.2, shutdown_deadline=2)


    lifespan = Lifespan(Hasty())


    async def stay():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass


    @lifespan.resource
    async def stubborn():
        {enter}
        yield "stubborn"
        await stay()


    async def main():
        async with lifespan.run("app"):
            {body}


    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("enter", "body"),
    [("pass", "pass"), ("pass", "raise KeyError('of the body')")],
    ids=["stop", "stop after an error"],
)
def test_asyncio_run_returns(tmp_path: Path, enter: str, body: str) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(textwrap.dedent(STUBBORN).format(enter=enter, body=body))
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=60, check=False
    )
    assert time.monotonic() - began < 30
    assert ended.returncode == 1
    assert "It is abandoned: what it holds may stay open." in ended.stderr
    assert "Task was destroyed" not in ended.stderr
