"""The lifespan of an inner application is named by the variable that holds the application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette

from lifespan_app import LifespanMiddleware
from lifespan_app.integration.default import lifespan as default
from tests.projects import Project
from tests.scopes import ServerSide, started

pytestmark = pytest.mark.usefixtures("lifespan")

NESTED = """
from starlette.applications import Starlette
from lifespan_app import LifespanMiddleware

site = Starlette()
application = LifespanMiddleware(site)
"""


def keys() -> list[str]:
    """Return the keys of the steps of the last run, each once."""
    report = default.report()
    assert report is not None
    return list(dict.fromkeys(step.key for step in report.steps))


@asynccontextmanager
async def fails(app: Any) -> AsyncIterator[None]:
    raise ZeroDivisionError("by nothing")
    yield


class TestTheKey:
    async def test_key_is_the_module_and_the_variable(self) -> None:
        site = Starlette()
        async with started(LifespanMiddleware(site)):
            pass
        assert keys() == [f"{__name__}.site"]

    async def test_key_of_an_application_without_variable_has_its_class(self) -> None:
        async with started(LifespanMiddleware(Starlette())):
            pass
        assert keys() == [f"{__name__}.Starlette"]

    async def test_keys_of_mounted_applications_have_their_variables(self) -> None:
        site, shop = Starlette(), Starlette()
        async with started(LifespanMiddleware(site, forward=[shop])):
            pass
        assert keys() == [f"{__name__}.site", f"{__name__}.shop"]

    async def test_key_is_in_the_message_of_a_failed_start(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        site = Starlette(lifespan=fails)
        with caplog.at_level(logging.CRITICAL, "lifespan_app"):
            answer = await ServerSide(LifespanMiddleware(site)).startup()
        assert f"'{__name__}.site' (tests/django/test_names" in answer["message"]


def test_key_in_an_installed_app_has_its_label(project: Project) -> None:
    project.app("shop", asgi=NESTED)

    done = project.run(
        "-c",
        "import django; django.setup()\n"
        "from shop.asgi import application\n"
        "import asyncio\n"
        "from lifespan_app import lifespan\n"
        "async def receive():\n"
        "    return messages.pop(0)\n"
        "async def send(message): ...\n"
        "messages = [{'type': 'lifespan.startup'}, {'type': 'lifespan.shutdown'}]\n"
        "asyncio.run(application({'type': 'lifespan', 'state': {}}, receive, send))\n"
        "print(lifespan.report().steps[0].key)\n",
    )

    assert done.stdout == "shop.site\n", done.stderr
