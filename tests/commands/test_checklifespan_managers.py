"""``manage.py checklifespan`` shows and runs lifespan managers, as it does other hooks."""

from __future__ import annotations

import json

import pytest

from tests.commands.schemas import errors_of
from tests.projects import Project

MANAGERS = """
import journal
from contextlib import asynccontextmanager

@asynccontextmanager
async def client():
    journal.write("client opens")
    yield {"client": 1}
    journal.write("client closes")

@asynccontextmanager
async def broken():
    raise OSError("no route")
    yield {}
"""

REGISTERED = """
from django.apps import AppConfig
from lifespan_app.register import register_lifespan_manager

class BooksConfig(AppConfig):
    name = "books"

    def ready(self):
        from books import managers
        for name in NAMES:
            register_lifespan_manager(getattr(managers, name))
"""


def registered(project: Project, *names: str, lifespan: str | None = None) -> Project:
    """Return a project whose app `books` has registered these managers."""
    apps = REGISTERED.replace("NAMES", repr(names))
    return project.app("books", apps=apps, managers=MANAGERS, lifespan=lifespan)


def test_checklifespan_shows_a_manager(project: Project) -> None:
    done = registered(project, "client").manage("checklifespan", "--format", "json")
    assert errors_of(done.stdout) == []
    [hook] = json.loads(done.stdout)["plans"][0]["hooks"]
    assert (hook["key"], hook["kind"]) == ("books.client", "manager")
    assert (hook["file"], hook["line"]) == (
        "books/managers.py",
        project.line_of("books/managers.py", "@asynccontextmanager"),
    )


def test_hooks_setting_knows_a_managers_key(project: Project) -> None:
    registered(project, "client").settings(LIFESPAN={"HOOKS": {"books.clent": {}}})
    done = project.manage("checklifespan")
    assert "Did you mean 'books.client'?" in done.stdout
    project.settings(LIFESPAN={"HOOKS": {"books.client": {}}})
    assert "No problems." in project.manage("checklifespan").stdout


@pytest.mark.parametrize("form", ["mermaid", "dot"])
def test_formats_draw_a_manager(project: Project, form: str) -> None:
    done = registered(project, "client").manage("checklifespan", "--format", form)
    assert "books.client" in done.stdout


def test_run_opens_and_closes_managers(project: Project) -> None:
    done = registered(project, "client").manage("checklifespan", "--run")
    assert done.returncode == 0, done.stderr
    assert project.events() == ["client opens", "client closes"]


def test_run_fails_by_a_manager_unless_it_is_optional(project: Project) -> None:
    registered(project, "broken", "client")
    done = project.manage("checklifespan", "--run")
    assert done.returncode == 5
    assert "'books.broken' (books/managers.py:" in done.stderr
    project.settings(LIFESPAN={"HOOKS": {"books.broken": {"required": False, "timeout": 1}}})
    assert project.manage("checklifespan", "--run").returncode == 0


def test_manager_is_shown_beside_hooks_of_its_app(project: Project) -> None:
    source = "from lifespan_app import lifespan\n\n@lifespan.on_start\ndef count(): ...\n"
    done = registered(project, "client", lifespan=source).manage("checklifespan", "--run")
    assert done.returncode == 0, done.stderr
    assert "Starting 'app': 2 hooks" in done.stdout
