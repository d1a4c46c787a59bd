"""The examples of asgi-lifecycle's README, in projects of their own, under real servers."""

from __future__ import annotations

import signal

import pytest

from tests.projects import Project
from tests.servers import Server

pytestmark = pytest.mark.server

# Hooks stand in the settings module, which is read before Django is set up.
HOOKS = """
import logging

import journal
from lifespan_app import LifespanContext, lifespan

logger = logging.getLogger(__name__)


@lifespan.on_start()
async def setup_logging(context: LifespanContext):
    logging.basicConfig(level=logging.INFO)
    logger.info(f"Starting {context.service_type} in {context.environment}")
    journal.write("logging", context.service_type, context.environment)


@lifespan.on_start(priority=1, service_types=["app"])
async def setup_database(context: LifespanContext):
    if context.environment == "production":
        journal.write("connected with ssl")
    else:
        journal.write("connected")
    context.set_metadata("database_connected", True)


@lifespan.on_start(service_types=["worker"])
async def setup_worker_pool():
    journal.write("pool")


@lifespan.on_shutdown(priority=1, service_types=["app"])
async def close_database(context: LifespanContext):
    if context.get_metadata("database_connected", False):
        journal.write("disconnected")
"""

DJANGO_ASGI = """
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")

import django

django.setup()

from django.core.asgi import get_asgi_application
from lifespan_app import LifespanContext, LifespanMiddleware

django_app = get_asgi_application()

application = LifespanMiddleware(django_app)
"""

VIEWS = """
from django.http import HttpResponse
from lifespan_app import lifespan


async def keys(request):
    return HttpResponse(" ".join(lifespan.plan().order))
"""

FASTAPI = """
import asyncio
from contextlib import asynccontextmanager

import journal
from fastapi import FastAPI, Request
from lifespan_app import LifespanContext, lifespan


@lifespan.resource
async def client():
    journal.write("open")
    yield asyncio.get_running_loop()
    journal.write("closed")


@lifespan.on_start(service_types=["app"])
def only_for_the_app():
    journal.write("app")


@asynccontextmanager
async def lifespan_context(app: FastAPI):
    context = LifespanContext(service_type="api")
    await lifespan.startup(context)

    yield

    await lifespan.shutdown(context)


app = FastAPI(lifespan=lifespan_context)


@app.get("/async/")
async def asynchronous(request: Request):
    here = asyncio.get_running_loop()
    return {"on its loop": client(request) is here and client.current() is here}


@app.get("/sync/")
def synchronous(request: Request):
    async def use():
        return client.current() is asyncio.get_running_loop()

    return {"on its loop": lifespan.call(use, timeout=10)}
"""


@pytest.mark.parametrize("installed", [True, False], ids=["installed", "not installed"])
def test_hooks_in_the_settings_run_around_plain_django(project: Project, installed: bool) -> None:
    project.app("library", views=VIEWS).settings(HOOKS).asgi(DJANGO_ASGI)
    if not installed:
        project.settings(INSTALLED_APPS=["library"])
    with Server(project, options=("--lifespan", "on")) as server:
        keys = server.get("/keys/").text
        server.signal(signal.SIGTERM)
        server.wait()
    assert project.events() == ["logging app production", "connected with ssl", "disconnected"]
    assert keys == (
        "site_settings.setup_logging site_settings.setup_database site_settings.close_database"
    )


def test_hooks_in_modules_that_the_settings_import_run_too(project: Project) -> None:
    project.app("library", views=VIEWS, lifecycle=HOOKS).asgi(DJANGO_ASGI)
    project.settings("import library.lifecycle", LIFESPAN={"ENVIRONMENT": "staging"})
    with Server(project, options=("--lifespan", "on")) as server:
        keys = server.get("/keys/").text
        server.signal(signal.SIGTERM)
        server.wait()
    assert project.events() == ["logging app staging", "connected", "disconnected"]
    # Keys are made with the plan, when Django knows whose module it is.
    assert keys == "library.setup_logging library.setup_database library.close_database"


def test_settings_that_declare_hooks_touch_no_setting(project: Project) -> None:
    project.settings(HOOKS)
    result = project.run(
        "-c",
        "import site_settings, sys\n"
        "from django.conf import settings\n"
        "print(settings.configured, 'django.apps' in sys.modules)",
    )
    assert result.stdout == "False False\n", result.stderr


def test_fastapi_opens_and_closes_it_in_its_own_lifespan(project: Project) -> None:
    project.file("service.py", FASTAPI)
    with Server(project, application="service:app", options=("--lifespan", "on")) as server:
        for path in ("/async/", "/sync/"):
            assert server.get(path).json() == {"on its loop": True}
        server.signal(signal.SIGTERM)
        server.wait()
    assert project.events() == ["open", "closed"]
