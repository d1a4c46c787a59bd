"""Decorators that give back the very function: each pair of revealed types is one and the same."""

from __future__ import annotations

from typing import reveal_type

import httpx

from lifespan_app import LifespanContext, lifespan


async def async_function(http_client: httpx.AsyncClient, *, limit: int = 3) -> None: ...


def sync_function(context: LifespanContext) -> str:
    return context.service_type


reveal_type(async_function)
reveal_type(lifespan.on_start(async_function))  # the same
reveal_type(lifespan.on_shutdown(async_function))  # the same
reveal_type(lifespan.background(async_function))  # the same
reveal_type(lifespan.on_drain(async_function))  # the same
reveal_type(lifespan.on_drain(timeout=1)(async_function))  # the same
reveal_type(lifespan.on_start(priority=1)(async_function))  # the same
reveal_type(lifespan.on_start(1)(async_function))  # the same
reveal_type(lifespan.on_shutdown(timeout=1)(async_function))  # the same
reveal_type(lifespan.background(on_crash="restart")(async_function))  # the same

reveal_type(sync_function)
reveal_type(lifespan.on_start(sync_function))  # the same
reveal_type(lifespan.on_shutdown(sync_function))  # the same
reveal_type(lifespan.on_drain(sync_function))  # the same
reveal_type(lifespan.on_start(name="warm")(sync_function))  # the same
reveal_type(lifespan.on_shutdown()(sync_function))  # the same
