"""Programs that some tests need and that the package index can't bring.

    @needs_postgresql
    def test_...(): ...

Such a test is skipped where the program is missing, with a line that says how to get it. With
LIFESPAN_TEST_REQUIRE=1, as in CI, it fails instead: nothing is left out unnoticed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

REQUIRE_VARIABLE = "LIFESPAN_TEST_REQUIRE"
MERMAID_VARIABLE = "LIFESPAN_TEST_MERMAID"


class ProgramMissing(AssertionError):
    """A program that every test run has to have here is missing."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that has to be on this machine, under one of several names."""

    name: str
    """What people call it."""
    commands: tuple[str, ...]
    """Its file names, the likeliest first."""
    package: str
    """Debian's package that holds it."""
    folders: tuple[str, ...] = ()
    """Where it may be beside PATH, as patterns below the root."""

    @property
    def missing(self) -> str:
        """One line that says what is missing and how to get it."""
        looked_for = " or ".join(self.commands)
        return f"{self.name} is not here ({looked_for}): apt-get install {self.package}"

    def find(self) -> Path | None:
        """Return where the program is, or None."""
        newest_first = [
            str(folder)
            for pattern in self.folders
            for folder in sorted(Path("/").glob(pattern), reverse=True)
        ]
        path = os.pathsep.join([os.environ.get("PATH", ""), *newest_first])
        for command in self.commands:
            if found := shutil.which(command, path=path):
                return Path(found)
        return None

    def path(self) -> Path:
        """
        Return where the program is.

        Skips the running test when it is nowhere, or raises ProgramMissing where it is required.
        """
        if (found := self.find()) is None:
            if is_required():
                raise ProgramMissing(self.missing)
            pytest.skip(self.missing)
        return found


class Namespaces(Program):
    """`unshare`, where it may make namespaces: that takes rights that few users have."""

    @property
    def missing(self) -> str:
        """One line that says what is missing and how to get it."""
        if Program.find(self) is None:
            return super().missing
        return f"{self.name} is not allowed here: run the tests as root; in Docker, --privileged"

    def find(self) -> Path | None:
        """Return where the program is, or None where it is of no use."""
        found = super().find()
        return found if found is not None and _may_unshare(found) else None


@cache
def _may_unshare(unshare: Path) -> bool:
    command = [str(unshare), "--pid", "--fork", "--mount-proc", "true"]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


@dataclass(frozen=True, kw_only=True)
class MermaidsParser(Program):
    """What Mermaid itself reads a diagram with: packages of npm, in a folder that is named."""

    @property
    def missing(self) -> str:
        """One line that says what is missing and how to get it."""
        return (
            f"{self.name} is not here ({MERMAID_VARIABLE}): npm install --prefix DIR mermaid@11 "
            f"jsdom@26, and {MERMAID_VARIABLE}=DIR"
        )

    def find(self) -> Path | None:
        """Return the folder, or None where it, or Node.js, is missing."""
        folder = Path(os.environ.get(MERMAID_VARIABLE) or os.devnull) / "node_modules"
        found = all((folder / name).is_dir() for name in ("mermaid", "jsdom"))
        return folder.parent if found and shutil.which("node") else None


class _IsMissing:
    # pytest asks for the truth of a condition when the test's turn comes, and fails the test
    # with whatever asking raises.
    def __init__(self, program: Program) -> None:
        self.program = program

    def __bool__(self) -> bool:
        if self.program.find() is not None:
            return False
        if is_required():
            raise ProgramMissing(self.program.missing)
        return True


def is_required() -> bool:
    """Say whether a missing program fails the tests that need it."""
    return os.environ.get(REQUIRE_VARIABLE, "") not in {"", "0"}


def needs(program: Program) -> pytest.MarkDecorator:
    """Return the mark of tests that need this program."""
    # pytest's annotation names bool; what it does is to ask bool().
    return pytest.mark.skipif(_IsMissing(program), reason=program.missing)  # type: ignore[arg-type]


CHROMIUM = Program(
    name="Chromium",
    commands=("chromium", "chromium-browser", "google-chrome"),
    package="chromium",
)
POSTGRESQL = Program(
    name="PostgreSQL's server",
    commands=("pg_ctl",),
    package="postgresql",
    folders=("usr/lib/postgresql/*/bin",),
)
MARIADB = Program(
    name="MariaDB's server",
    commands=("mariadbd", "mysqld"),
    package="mariadb-server",
    folders=("usr/sbin",),
)
REDIS = Program(name="Redis's server", commands=("redis-server",), package="redis-server")
NAMESPACES = Namespaces(name="unshare", commands=("unshare",), package="util-linux")
GETTEXT = Program(name="gettext", commands=("msgfmt",), package="gettext")
GRAPHVIZ = Program(name="Graphviz", commands=("dot",), package="graphviz")
MERMAID = MermaidsParser(name="Mermaid's parser", commands=("node",), package="nodejs")

needs_chromium = needs(CHROMIUM)
needs_gettext = needs(GETTEXT)
needs_graphviz = needs(GRAPHVIZ)
needs_mariadb = needs(MARIADB)
needs_namespaces = needs(NAMESPACES)
needs_mermaid = needs(MERMAID)
needs_postgresql = needs(POSTGRESQL)
needs_redis = needs(REDIS)
