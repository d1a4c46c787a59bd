"""What a command needs is imported, and not what only a server or a page needs."""

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
        "lifespan_app.admin.run_page",
        "lifespan_app.history.reading.as_json",
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
