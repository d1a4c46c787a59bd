"""Write what a process shows to others into files: run in the project of a test.

python -m tests.security.outputs warm_up
python -m tests.security.outputs serve
python -m tests.security.outputs fail
python -m tests.security.outputs pages
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.management import call_command
from django.test import AsyncClient, Client

from tests.security.crawler import crawl

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SHOWN = Path("shown")


def keep(name: str, text: str) -> None:
    """Write one output."""
    SHOWN.mkdir(exist_ok=True)
    (SHOWN / name).write_text(text)


def status() -> str:
    """Return the text of the status file."""
    return Path("status.json").read_text()


def superuser() -> User:
    """Return a user that may see everything."""
    from django.contrib.auth.models import User

    found, _ = User.objects.get_or_create(username="root", is_superuser=True, is_staff=True)
    return found


def command(*arguments: str) -> str:
    """Return the output of a management command, whatever its exit code."""
    told = StringIO()
    try:
        call_command(*arguments, stdout=told, stderr=told)
    except SystemExit as ended:
        told.write(f"\nexit code {ended.code}")
    return told.getvalue()


async def until_recorded(status: str) -> None:
    """Wait until the run is in the database with a status."""
    from lifespan_app.models import LifespanRun

    while not await LifespanRun.objects.filter(status=status).aexists():
        await asyncio.sleep(0.02)


async def fail() -> None:
    """Keep the answer to a server whose startup fails."""
    server = begun()
    keep("startup.failed", json.dumps(await server.receive_output(30)))
    await ended(server)


async def warm_up() -> None:
    """Keep what a process shows that serves while a resource is not up yet."""
    server = begun()
    await server.receive_output(30)
    await until_recorded("not_ready")
    reader = AsyncClient()
    await reader.aforce_login(await sync_to_async(superuser)())
    keep("readyz of the warm-up", (await reader.get("/health/readyz")).content.decode())
    keep("showlifespan of the warm-up", await sync_to_async(command)("showlifespan", "--now"))
    pages = await sync_to_async(pages_of)("/admin/lifespan_app/")
    keep("overview of the warm-up", pages["/admin/lifespan_app/"])
    while "loading" not in status():
        await asyncio.sleep(0.02)
    keep("status file of the warm-up", status())
    await server.send_input({"type": "lifespan.shutdown"})
    await ended(server)


async def serve() -> None:
    """Keep what a process shows that serves, and is not well."""
    from prometheus_client import generate_latest

    server = begun()
    keep("startup.complete", json.dumps(await server.receive_output(30)))
    visitor, reader = AsyncClient(), AsyncClient()
    await reader.aforce_login(await sync_to_async(superuser)())
    health = await reader.get("/health/readyz")
    while b"crashed" not in health.content:
        await asyncio.sleep(0.02)
        health = await reader.get("/health/readyz")
    keep("readyz", health.content.decode())
    for name in ("readyz", "startupz", "livez"):
        told = await reader.get(f"/health/{name}", headers={"accept": "application/json"})
        keep(f"{name}.json", told.content.decode())
        keep(f"{name} of a visitor", (await visitor.get(f"/health/{name}")).content.decode())
    await until_recorded("not_ready")
    for words in (
        ["--now"],
        ["--now", "--format", "json"],
        ["--now", "--expect", "app=2", "--fail-on", "not_ready"],
        ["--leases"],
    ):
        told_by = await sync_to_async(command)("showlifespan", *words)
        keep(f"showlifespan {' '.join(words)}", told_by)
    pages = await sync_to_async(pages_of)("/admin/lifespan_app/")
    keep("overview while it serves", pages["/admin/lifespan_app/"])
    keep("status file", status())
    keep("metrics", generate_latest().decode())
    await server.send_input({"type": "lifespan.shutdown"})
    keep("shutdown", json.dumps(await server.receive_output(30)))
    await ended(server)


def begun() -> ApplicationCommunicator:
    """Return the project's application, asked to start."""
    application: Any = importlib.import_module("asgi").application
    server = ApplicationCommunicator(application, {"type": "lifespan", "state": {}})
    server.input_queue.put_nowait({"type": "lifespan.startup"})
    return server


async def ended(server: ApplicationCommunicator) -> None:
    """Wait until the application has returned. The error that it raises is the project's, as it was."""
    with suppress(Exception):
        await server.wait(30)


def pages_of(*starts: str) -> dict[str, str]:
    """Return the text of each page of the admin that links lead to."""
    client = Client()
    client.force_login(superuser())
    visits = crawl(client, starts)
    return {
        address: visit.text
        for address, visit in visits.items()
        if visit.status == 200 and "/lifespan_app/" in address
    }


def pages() -> None:
    """Keep the pages of the admin."""
    for address, text in pages_of("/admin/", "/admin/lifespan_app/").items():
        keep(f"page {address.replace('/', ' ')}"[:200], f"{address}\n{text}")


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "pages":
        pages()
    else:
        asyncio.run({"warm_up": warm_up, "serve": serve, "fail": fail}[sys.argv[1]]())
