"""Projects whose database has the tables of the history, as any that is in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.bookshop import bookshop
from tests.projects import Project
from tests.sandboxes import make_tables


@pytest.fixture
def project(tmp_path: Path, journal: Path) -> Project:
    """Return an empty project, migrated."""
    return Project(tmp_path / "project", journal=journal).with_tables()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project of thirty hooks."""
    return bookshop(Project(tmp_path_factory.mktemp("bookshop"))).with_tables()


@pytest.fixture
def sandbox(project: Project) -> Project:
    """Return a project in whose folder the sandbox finds its database."""
    make_tables(project)
    return project
