"""What a command or a start needs is imported, and not what only a page or a failure needs."""

from __future__ import annotations

import pytest

from tests.admin.project import APPS, MIDDLEWARE, TEMPLATES
from tests.projects import Project

CHECK = """
import sys

import django
from django.core.management import call_command

django.setup()
call_command("check")
print(*sys.modules)
"""


@pytest.fixture
def project(project: Project) -> Project:
    """Return a project with the admin, and a hook."""
    return project.settings(
        INSTALLED_APPS=["lifespan_app", *APPS, "books"],
        MIDDLEWARE=[name for name in MIDDLEWARE if not name.startswith("policy.")],
        TEMPLATES=TEMPLATES,
    ).app(
        "books",
        installed=False,
        lifespan="""
        from lifespan_app import lifespan

        @lifespan.resource
        async def shelf():
            yield 1
        """,
    )


@pytest.mark.parametrize(
    "module",
    [
        "lifespan_app.engine.running.hook_run",
        "lifespan_app.engine.analysis",
        "lifespan_app.engine.hooks.retry",
        "lifespan_app.admin.run_page",
        "lifespan_app.admin.waterfall",
        "lifespan_app.history.reading.as_json",
        "lifespan_app.history.reading.overview",
        "lifespan_app.leases.listing",
    ],
)
def test_check_imports_neither_what_runs_hooks_nor_the_page_of_a_run(
    project: Project, module: str
) -> None:
    checked = project.run("-c", CHECK)

    assert checked.returncode == 0, checked.stderr
    imported = checked.stdout.split()
    assert "lifespan_app.admin.runs" in imported
    assert module not in imported


START = """
import asyncio
import sys

from lifespan_app.asgi import get_asgi_application

application = get_asgi_application()
messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
imported = []

async def receive():
    return next(messages)

async def send(message):
    imported.append([message["type"], *sys.modules])

asyncio.run(application({"type": "lifespan", "state": {}}, receive, send))
print(*imported[0])
"""


def test_start_that_goes_well_imports_neither_errors_nor_what_no_hook_asks_for(
    project: Project,
) -> None:
    started = project.settings(LIFESPAN={"HISTORY": False}).run("-c", START)

    assert started.returncode == 0, started.stderr
    message, *imported = started.stdout.split()
    assert message == "lifespan.startup.complete"
    assert "lifespan_app.engine.running.run" in imported
    needless = {
        "lifespan_app.engine.analysis",
        "lifespan_app.engine.hooks.retry",
        "lifespan_app.engine.running.attempts",
        "lifespan_app.engine.running.health_check",
        "lifespan_app.engine.running.job",
        "lifespan_app.engine.running.job_reports",
        "lifespan_app.engine.running.messages",
        "lifespan_app.engine.running.none_value",
        "lifespan_app.engine.running.once",
        "lifespan_app.engine.running.read_errors",
        "lifespan_app.engine.running.spawned",
        "lifespan_app.engine.running.turns",
        "lifespan_app.engine.stacks.stacks",
        "lifespan_app.integration.analyzers",
        "lifespan_app.serving.startup_report",
        "lifespan_app.serving.wsgi_handler",
    }
    assert needless.isdisjoint(imported)
