"""Checks ask no database that Django itself was not told to ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import Project

DEFAULT = "django.db.backends.sqlite3"


@pytest.fixture
def project(project: Project) -> Project:
    """Return a project whose database is not there yet, as in the build of an image."""
    apps = ["lifespan_app", "django.contrib.contenttypes", "django.contrib.auth"]
    return project.settings(INSTALLED_APPS=[*apps, "books"]).app(
        "books",
        installed=False,
        lifespan="""
        from lifespan_app import lifespan

        @lifespan.on_start
        def look():
            pass
        """,
    )


def database(project: Project) -> Path:
    return project.folder / "db.sqlite3"


@pytest.mark.parametrize(
    "options",
    [[], ["--deploy"], ["--tag", "lifespan"], ["--tag", "lifespan", "--deploy"], ["lifespan_app"]],
    ids=" ".join,
)
def test_check_that_names_no_database_touches_none(project: Project, options: list[str]) -> None:
    checked = project.manage("check", *options)

    assert checked.returncode == 0, checked.stderr
    assert not database(project).exists()


def test_check_that_names_the_database_asks_it(project: Project) -> None:
    checked = project.manage("check", "--deploy", "--database", "default")

    assert "lifespan_app.W008" in checked.stderr
    assert database(project).exists()


def test_check_of_another_database_leaves_the_historys_alone(
    project: Project,
) -> None:
    other = {"ENGINE": DEFAULT, "NAME": str(project.folder / "other.sqlite3")}
    default = {"ENGINE": DEFAULT, "NAME": str(database(project))}
    project.settings(DATABASES={"default": default, "other": other})

    checked = project.manage("check", "--deploy", "--database", "other")

    assert "lifespan_app.W008" not in checked.stderr
    assert not database(project).exists()


def test_checklifespan_asks_the_database(project: Project) -> None:
    checked = project.manage("checklifespan")

    assert "lifespan_app.W008" in checked.stdout
