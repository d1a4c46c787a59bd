"""Errors that can't be printed, at the edges of a server's run, and in a real server with its record."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from lifespan_app import Lifespan, LifespanMiddleware
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.signals import asgi_shutdown, asgi_startup
from tests.compat.conftest import no_receivers
from tests.engine.odd_errors import AttributesRaise, TextIsNone
from tests.projects import Project
from tests.scopes import STARTED, ServerSide
from tests.servers import Server

__all__ = ["no_receivers"]

odd = pytest.mark.parametrize("kind", [TextIsNone, AttributesRaise])


@odd
@pytest.mark.parametrize("at", ["startup", "shutdown"])
@pytest.mark.usefixtures("no_receivers")
async def test_receiver_that_raises_an_odd_error_is_answered_for(
    lifespan: Lifespan, kind: type[Exception], at: str
) -> None:
    error = kind("nobody there")

    async def receiver(**kwargs: Any) -> None:
        raise error

    (asgi_startup if at == "startup" else asgi_shutdown).connect(receiver)
    server = ServerSide(LifespanASGIHandler())
    answer = await server.startup()
    if at == "shutdown":
        assert answer == STARTED
        answer = await server.shutdown()
    assert answer["type"] == f"lifespan.{at}.failed"
    assert "receiver" in answer["message"]
    raised = await server.end()
    assert raised is error or (isinstance(raised, ExceptionGroup) and error in raised.exceptions)


@odd
async def test_on_shutdown_function_that_raises_an_odd_error_is_answered_for(
    lifespan: Lifespan, kind: type[Exception]
) -> None:
    def close() -> None:
        raise kind("not closed")

    application = LifespanASGIHandler()
    application.on_shutdown.append(close)
    server = ServerSide(application)
    assert await server.startup() == STARTED
    answer = await server.shutdown()
    assert answer["type"] == "lifespan.shutdown.failed"
    assert "close" in answer["message"]
    assert isinstance(await server.end(), ExceptionGroup)


@odd
@pytest.mark.parametrize("at", ["startup", "shutdown"])
async def test_inner_lifespan_that_raises_an_odd_error_is_answered_for(
    lifespan: Lifespan, kind: type[Exception], at: str
) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if at == "startup":
            raise kind("nobody there")
        await send(STARTED)
        await receive()
        raise kind("not closed")

    server = ServerSide(LifespanMiddleware(inner))
    answer = await server.startup()
    if at == "shutdown":
        assert answer == STARTED
        answer = await server.shutdown()
    assert answer["type"] == f"lifespan.{at}.failed"
    assert "lifespan" in answer["message"]
    await server.end()


LIFESPAN = """
import asyncio

from journal import write
from lifespan_app import lifespan


class ServiceError(Exception):
    def __str__(self):
        return None


@lifespan.on_start(required=False)
async def warm_up():
    raise ServiceError


@lifespan.background(on_crash="restart")
async def refresh():
    write("refresh begins")
    raise ServiceError


@lifespan.resource
async def client():
    yield "client"
    raise ServiceError
"""


def steps_of(project: Project) -> set[tuple[str, ...]]:
    """Return name, phase, outcome and error of each step in the record, and the status of the run."""
    with closing(sqlite3.connect(project.folder / "db.sqlite3")) as database:
        rows = database.execute("SELECT name, phase, outcome, error FROM lifespan_app_lifespanstep")
        return {tuple(row) for row in rows}


@pytest.mark.server
def test_server_stops_in_time_whatever_its_hooks_raise(project: Project) -> None:
    project.app("shop", lifespan=LIFESPAN)
    with Server(project.with_tables()) as server:
        server.wait_for_event("refresh begins", count=2)
        server.signal(signal.SIGTERM)
        server.wait()
    assert "A fault in lifespan_app" not in server.output
    assert steps_of(project) == {
        ("warm_up", "startup", "failed", "<unprintable ServiceError object>"),
        ("client", "startup", "ok", ""),
        ("refresh", "serving", "crashed", "<unprintable ServiceError object>"),
        ("client", "shutdown", "failed", "<unprintable ServiceError object>"),
    }


def test_module_that_raises_an_odd_error_is_found_by_the_check(
    project: Project,
) -> None:
    project.app("shop", lifespan=LIFESPAN + "\nraise ServiceError\n")
    checked = project.manage("check")
    assert "(lifespan_app.E001) 'shop.lifespan' of app 'shop' can't be imported" in checked.stderr
    assert "ServiceError: <unprintable ServiceError object>" in checked.stderr


@pytest.mark.server
def test_server_ends_if_a_required_hook_raises_an_odd_error(project: Project) -> None:
    project.app("shop", lifespan=LIFESPAN.replace("required=False", "required=True"))
    with Server(project, ready=False) as server:
        assert server.wait_unanswered() == 3
    assert "'shop.warm_up' (shop/lifespan.py" in server.output
    assert "shop.lifespan.ServiceError: <unprintable ServiceError object>" in server.output
