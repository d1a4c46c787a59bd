"""Chains of any length are walked by a loop: nothing recurses along them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from tests.engine.apps import written_in
from tests.engine.virtual_clock import VirtualLoop, run_virtually

LENGTH = 1_500
"""More than Python's own limit of recursion."""


@pytest.mark.parametrize("kind", ["resource", "on_start"])
def test_chain_is_skipped_if_its_first_hook_fails(kind: str) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> list[Any]:
        @lifespan.resource(required=False)
        @written_in("shop.lifespan")
        async def first() -> AsyncIterator[None]:
            raise OSError("nobody there")
            yield

        before: Any = first
        for number in range(LENGTH):

            @written_in(f"app_{number}.lifespan")
            async def hook() -> str:
                return "never"

            declare = getattr(lifespan, kind)
            name = f"hook_{number}"
            made = declare(name=name, depends_on=[before], required=False)(hook)
            before = made if kind == "resource" else f"app_{number}.{name}"
        async with lifespan.run("app"):
            report = lifespan.report()
        assert report is not None
        return [step.outcome for step in report.steps]

    outcomes = run_virtually(main)
    assert outcomes == ["failed"] + ["skipped"] * LENGTH


def test_chain_of_hooks_that_do_nothing_starts_and_stops() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        for number in range(LENGTH):

            @lifespan.on_shutdown(name=f"hook_{number}")
            @written_in("shop.lifespan")
            async def hook() -> None: ...

        async with lifespan.run("app"):
            pass
        report = lifespan.report()
        assert report is not None
        assert len(report.longest_stop) == LENGTH

    run_virtually(main)
