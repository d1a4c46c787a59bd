"""The repository's sandbox under a real server, with a database of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.projects import Project
from tests.servers import HOST, UVICORN, Kind, Server

FOLDER = Path(__file__).resolve().parent.parent / "sandbox"

DEVELOPMENT = Kind(
    name="runserver of the sandbox",
    command=(str(FOLDER / "manage.py"), "runserver", HOST + ":{port}"),
    needs=("django",),
    has_lifespan=False,
)
OPTIONS = {DEVELOPMENT.name: ("--noreload",), UVICORN.name: ("--lifespan", "on")}


def database_of(project: Project) -> Path:
    """Return where the sandbox's database is."""
    return project.folder / "sandbox.sqlite3"


def make_tables(project: Project) -> None:
    """Make the sandbox's tables, with what `migrate` left once."""
    database_of(project).write_bytes(_migrated())


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        project = Project(Path(folder))
        done = manage_sandbox(project, "migrate", "--verbosity", "0")
        assert done.returncode == 0, done.stderr
        return database_of(project).read_bytes()


def sandbox_environment(project: Project, **variables: str) -> dict[str, str]:
    """Return the variables that put the sandbox's database into the folder of a test."""
    return {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": f"sqlite:///{database_of(project)}",
        **variables,
    }


def manage_sandbox(
    project: Project, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the sandbox's management commands; the exit code is the caller's to look at."""
    variables = sandbox_environment(project, **environment)
    return project.run(str(FOLDER / "manage.py"), *arguments, environment=variables)


def in_sandbox(
    project: Project, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one of its commands in the sandbox's own folder, where paths are short."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=FOLDER,
        env={**project.environment, **sandbox_environment(project, **environment)},
        capture_output=True,
        text=True,
        check=False,
    )


class Sandbox(Server):
    """
    Serve the sandbox over a database that is migrated already, as `make demo` does.

    Further `environment` variables are given by name.
    """

    def __init__(
        self,
        project: Project,
        kind: Kind = UVICORN,
        *,
        environment: dict[str, str] | None = None,
    ) -> None:
        if not database_of(project).exists():
            make_tables(project)
        super().__init__(
            project, kind, application="config.asgi:application", options=OPTIONS.get(kind.name, ())
        )
        self.url = f"http://{HOST}:{self.port}"
        self._environment = sandbox_environment(
            project,
            HOST=HOST,
            PORT=str(self.port),
            PYTHONPATH=os.pathsep.join([str(FOLDER), project.environment["PYTHONPATH"]]),
            **(environment or {}),
        )

    def wait_for_refresh(self) -> None:
        """Wait until the index holds what the catalogue has."""
        self.wait_for_output("Index refreshed")

    def kept_isbns(self) -> list[str]:
        """Return the ISBNs that stand in the database."""
        listed = manage_sandbox(
            self.project,
            *("shell", "--verbosity", "0", "--command"),
            "from library.models import Book; print(*Book.objects.values_list('isbn', flat=True))",
        )
        assert listed.returncode == 0, listed.stderr
        return listed.stdout.split()
