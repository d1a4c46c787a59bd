"""The project's LOGGING under a real server: handlers that raise or block, a logger that is disabled."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest

from tests.projects import Project
from tests.servers import HYPERCORN, UVICORN, Kind, Server

pytestmark = [pytest.mark.once, pytest.mark.server]

LIFESPAN = """
from journal import write
from lifespan_app import lifespan


@lifespan.on_start(required=False)
async def warm_up():
    raise OSError("nobody there")


@lifespan.background(on_crash="restart")
async def refresh():
    write("refresh begins")
    raise OSError("connection lost")


@lifespan.resource
async def client():
    yield "client"
    write("client closes")
    raise OSError("not closed")
"""

# Writes a row, as django-db-logger does.
DATABASE_HANDLER = """
import logging
import urllib.request


class DatabaseHandler(logging.Handler):
    def emit(self, record):
        from .models import LogRow

        LogRow.objects.create(text=record.getMessage())


class WebHandler(logging.Handler):
    def emit(self, record):
        urllib.request.urlopen("http://127.0.0.1:9/", timeout=1)


class BlockingHandler(logging.Handler):
    def emit(self, record):
        if "failed to start" in record.getMessage():
            import time

            time.sleep(60)
"""

MODELS = """
from django.db import models


class LogRow(models.Model):
    text = models.TextField()
"""

STOPS_WITHIN = 8.0
"""Seconds from SIGTERM to the end of the process: the shutdown's deadline."""


def shop(project: Project, handler: str, level: str) -> Project:
    """Have a project log to a handler of its own, on the root logger."""
    logging = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"own": {"class": f"shop.logs.{handler}"}},
        "root": {"handlers": ["own"], "level": level},
    }
    return project.app("shop", lifespan=LIFESPAN, models=MODELS, logs=DATABASE_HANDLER).settings(
        LOGGING=logging, DEFAULT_AUTO_FIELD="django.db.models.AutoField"
    )


@pytest.mark.parametrize("level", ["INFO", "ERROR"])
@pytest.mark.parametrize("handler", ["DatabaseHandler", "WebHandler"])
def test_handler_that_raises_lets_a_server_start_and_stop(
    project: Project, handler: str, level: str
) -> None:
    with Server(shop(project, handler, level)) as server:
        server.wait_for_event("refresh begins", count=2)
        server.signal(signal.SIGTERM)
        begun = time.monotonic()
        server.wait()
        assert time.monotonic() - begun < STOPS_WITHIN
    assert "client closes" in project.events()
    assert f"Log handler shop.logs.{handler} failed with " in server.output
    assert "'shop.warm_up' (shop/lifespan.py" in server.output


def test_failed_start_is_answered_though_a_handler_raises(project: Project) -> None:
    shop(project, "DatabaseHandler", "INFO").app("bakery", lifespan=REQUIRED)
    with Server(project, ready=False) as server:
        assert server.wait_unanswered() == 3
    assert "failed with SynchronousOnlyOperation: You cannot call this from" in server.output
    assert "hook 'bakery.bake' (bakery/lifespan.py" in server.output
    assert 'bakery/lifespan.py", line' in server.output


def test_handler_that_blocks_the_loop_is_named(project: Project) -> None:
    with Server(shop(project, "BlockingHandler", "INFO"), ready=False) as server:
        server.wait_for_output(r"The event loop has been blocked for [\d.]+ s.*shop/logs.py:\d+")


REQUIRED = """
from lifespan_app import lifespan


@lifespan.on_start
async def bake():
    raise OSError("no flour")
"""

# As many projects have it: nothing is said of existing loggers.
DISABLING: dict[str, Any] = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"]},
}

# A logger that exists before Django reads LOGGING, as one of which somebody has asked the level.
LOGGER_THAT_EXISTS = """
import logging

logging.getLogger("lifespan_app")
"""


class TestALoggerThatLoggingDisables:
    """A failure is heard on every server, whether or not our logger was there before."""

    @pytest.fixture(params=["made later", "made before"])
    def project(self, request: pytest.FixtureRequest, project: Project) -> Project:
        project.settings(LOGGING=DISABLING)
        if request.param == "made before":
            project.settings(LOGGER_THAT_EXISTS)
        return project

    @pytest.mark.parametrize("kind", [UVICORN, HYPERCORN], ids=lambda kind: kind.name)
    def test_disabled_logger_writes_a_failed_start_to_stderr(
        self, project: Project, kind: Kind
    ) -> None:
        project.app("bakery", lifespan=REQUIRED)
        with Server(project, kind, ready=False) as server:
            server.wait_unanswered()
        assert "Lifespan hook 'bakery.bake' (bakery/lifespan.py:4) failed to start" in server.output
        assert "OSError: no flour" in server.output

    def test_disabled_logger_writes_a_crashed_job_and_a_failed_stop_to_stderr(
        self, project: Project
    ) -> None:
        project.app("shop", lifespan=LIFESPAN)
        with Server(project) as server:
            server.wait_for_event("refresh begins", count=2)
            server.signal(signal.SIGTERM)
            server.wait()
        assert "'shop.refresh' (shop/lifespan.py:10) crashed while serving" in server.output
        assert "'shop.client' (shop/lifespan.py:16) failed to stop" in server.output


@pytest.mark.parametrize(
    "loggers",
    [
        {"lifespan_app": {"level": "CRITICAL"}},
        {"lifespan_app": {"handlers": ["none"], "propagate": False}},
    ],
    ids=["a level", "a handler that takes nothing"],
)
def test_logger_that_is_silenced_on_purpose_stays_silent(
    project: Project, loggers: dict[str, object]
) -> None:
    project.app("shop", lifespan=LIFESPAN).settings(
        LOGGING={
            **DISABLING,
            "handlers": {**DISABLING["handlers"], "none": {"class": "logging.NullHandler"}},
            "loggers": loggers,
        }
    )
    with Server(project) as server:
        server.wait_for_event("refresh begins", count=2)
        server.signal(signal.SIGTERM)
        server.wait()
    assert "crashed while serving" not in server.output
