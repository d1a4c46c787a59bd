"""Projects whose database has the tables of the history, as any that is in use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands.bookshop import bookshop
from tests.projects import Project
from tests.sandboxes import manage_sandbox


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database of a project that has nothing but our own tables."""
    project = Project(tmp_path_factory.mktemp("migrated"))
    done = project.manage("migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return project.folder / "db.sqlite3"


@pytest.fixture
def project(tmp_path: Path, journal: Path, migrated: Path) -> Project:
    """Return an empty project, migrated."""
    project = Project(tmp_path / "project", journal=journal)
    shutil.copy(migrated, project.folder / "db.sqlite3")
    return project


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Project:
    """Return a project of thirty hooks."""
    shop = bookshop(Project(tmp_path_factory.mktemp("bookshop")))
    shutil.copy(migrated, shop.folder / "db.sqlite3")
    return shop


@pytest.fixture(scope="session")
def sandbox_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the database of a sandbox that is migrated."""
    project = Project(tmp_path_factory.mktemp("sandbox"))
    done = manage_sandbox(project, "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr
    return project.folder / "sandbox.sqlite3"


@pytest.fixture
def sandbox(project: Project, sandbox_database: Path) -> Project:
    """Return a project in whose folder the sandbox finds its database."""
    shutil.copy(sandbox_database, project.folder / "sandbox.sqlite3")
    return project
