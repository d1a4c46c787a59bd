"""Throw-away Django projects for tests that start a process of their own.

A project writes down what happens in it by appending words to its journal, a file that the test
reads: the order of the lines is the order of the events, whatever process or thread they come from.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent, indent
from typing import Any, Self

from tests import fork_server

JOURNAL_VARIABLE = "PROJECT_JOURNAL"

SETTINGS = {
    "SECRET_KEY": "for tests only",
    "DEBUG": False,
    "ALLOWED_HOSTS": ["*"],
    "ROOT_URLCONF": "site_urls",
    "USE_TZ": True,
}

ASGI = """
from lifespan_app.asgi import get_asgi_application

application = get_asgi_application()
"""

# One write() to a file opened with O_APPEND: lines of several processes never mix.
JOURNAL_MODULE = f"""
import os


def write(*words):
    line = " ".join(str(word) for word in words) + "\\n"
    journal = os.open(
        os.environ[{JOURNAL_VARIABLE!r}], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
    )
    try:
        os.write(journal, line.encode())
    finally:
        os.close(journal)
"""

# Every function that an app's views module defines itself is served under its own name.
URLS_OF_VIEWS = """
from inspect import isfunction

from django.urls import path

from . import views

urlpatterns = [
    path(f"{name}/", view)
    for name, view in vars(views).items()
    if isfunction(view) and view.__module__ == views.__name__
]
"""

MANAGE = """
import sys

from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""


class Project:
    """
    Write a small Django project into a folder, app by app.

    Each method writes at once and returns the project, so calls can be chained. The modules see
    `journal.write(*words)`; what they wrote is in `events()`.
    """

    def __init__(self, folder: Path, *, journal: Path | None = None) -> None:
        self.folder = folder
        self.journal = journal or folder / "journal.txt"
        self._apps: list[str] = []
        self._with_urls: list[str] = []
        self._settings: dict[str, Any] = {}
        self._settings_source = ""
        folder.mkdir(parents=True, exist_ok=True)
        self.file("journal.py", JOURNAL_MODULE)
        self.file("manage.py", MANAGE)
        self.asgi(ASGI)
        self._write_site()

    def app(
        self,
        label: str,
        *,
        lifespan: str | None = None,
        views: str | None = None,
        urls: str | None = None,
        installed: bool = True,
        **modules: str,
    ) -> Self:
        """
        Add an app.

        Its `views` are served under their names (`views.book` at `/book/`) unless `urls` says
        otherwise. Further modules are given by name: `models="..."`, `apps="..."`.

        `installed=False` writes the package and leaves it out of INSTALLED_APPS.
        """
        sources = {"lifespan": lifespan, "views": views, "urls": urls, **modules}
        if views is not None and urls is None:
            sources["urls"] = URLS_OF_VIEWS
        self.file(f"{label}/__init__.py", "")
        for module, source in sources.items():
            if source is not None:
                self.file(f"{label}/{module}.py", source)
        if installed:
            self._apps.append(label)
        if sources["urls"] is not None:
            self._with_urls.append(label)
        self._write_site()
        return self

    def settings(self, source: str = "", /, **values: Any) -> Self:
        """Override settings by value, or append `source` to the settings module."""
        self._settings.update(values)
        self._settings_source += dedent(source)
        self._write_site()
        return self

    def asgi(self, source: str) -> Self:
        """Replace the module that servers import `application` from."""
        return self.file("asgi.py", source)

    def file(self, name: str, source: str) -> Self:
        """Write a file of the project; `source` may be indented."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source).lstrip("\n"))
        return self

    def with_tables(self) -> Self:
        """Make the package's tables in the project's SQLite, with what `migrate` left once."""
        (self.folder / "db.sqlite3").write_bytes(_migrated())
        return self

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that runs this project."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LIFESPAN_", "DJANGO_"))
        }
        return inherited | {
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "PYTHONPATH": os.pathsep.join(self._python_path()),
            "PYTHONUNBUFFERED": "1",
            JOURNAL_VARIABLE: str(self.journal),
        }

    def events(self) -> list[str]:
        """Return what the project wrote into its journal, line by line."""
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs in the project's database, the first one first."""
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            database.row_factory = sqlite3.Row
            rows = database.execute("SELECT * FROM lifespan_app_lifespanrun ORDER BY started_at")
            return [dict(row) for row in rows]

    def line_of(self, name: str, text: str) -> int:
        """Return the number of the first line of a file that holds `text`."""
        for number, line in enumerate((self.folder / name).read_text().splitlines(), start=1):
            if text in line:
                return number
        raise LookupError(f"{text!r} is not in {name}")

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a management command; the exit code is the caller's to look at."""
        return self.run("manage.py", *arguments, environment=environment)

    def run(
        self, *arguments: str, environment: Mapping[str, str] | None = None, limit: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments in the project, for at most `limit` seconds."""
        variables = {**self.environment, **(environment or {})}
        if fork_server.is_fit_for(arguments, self.folder, variables):
            return fork_server.run(
                arguments, folder=self.folder, environment=variables, limit=limit
            )
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )

    def _python_path(self) -> list[str]:
        # A process of the project imports the very package that this test process imports, also
        # when that is a checkout which only pytest's own path knows.
        found = importlib.util.find_spec("lifespan_app")
        package = Path(found.origin).parent.parent if found and found.origin else None
        installed = package is None or package.name in {"site-packages", "dist-packages"}
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        return [
            str(self.folder),
            *([] if installed else [str(package)]),
            *(path for path in inherited if path),
        ]

    def _write_site(self) -> None:
        databases = {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(self.folder / "db.sqlite3"),
            }
        }
        values = {
            **SETTINGS,
            "INSTALLED_APPS": ["lifespan_app", *self._apps],
            "DATABASES": databases,
            **self._settings,
        }
        lines = [f"{name} = {value!r}" for name, value in values.items()]
        self.file("site_settings.py", "\n".join([*lines, self._settings_source, ""]))
        includes = "\n".join(f'path("", include("{label}.urls")),' for label in self._with_urls)
        self.file(
            "site_urls.py",
            "from django.urls import include, path\n\n"
            f"urlpatterns = [\n{indent(includes, '    ')}\n]\n",
        )


@cache
def _migrated() -> bytes:
    # A process for each test that needs the tables takes half a second of each.
    with TemporaryDirectory() as folder:
        project = Project(Path(folder))
        done = project.manage("migrate", "--verbosity", "0")
        assert done.returncode == 0, done.stderr
        return (project.folder / "db.sqlite3").read_bytes()
