"""Fixtures that any test may ask for."""

from __future__ import annotations

import gc
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.projects import JOURNAL_VARIABLE, Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.sandboxes import Sandbox
    from tests.terminals import Terminal

OF_PROCESSES = {"project", "sandbox", "chromium", "terminal"}
"""Fixtures whose tests start processes: servers, commands, browsers."""
DATABASE_SERVERS = {"postgresql", "mariadb", "latin1"}
"""Parameters of tests that ask each kind of database; SQLite starts no process."""
ALIKE = {"bad_input", "commands", "console", "security", "torture"}
"""Folders whose tests are about texts, files and numbers, which no pair of Python and Django changes."""
OF_DJANGO = {"admin", "history"}
"""Folders whose tests depend on Django alone: those of the oldest one and of the main pair are enough."""
OLDEST_DJANGO = "5.2."
WHOLE_FILE = r"^pytestmark = .*\bmark\.{mark}\b"
"""What a file says that marks all of its tests, on one line."""


@pytest.fixture
def project(tmp_path: Path, journal: Path) -> Project:
    """Return an empty Django project in a folder of the test's own."""
    return Project(tmp_path / "project", journal=journal)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a journal that processes started by the test find in their environment."""
    path = tmp_path / "journal.txt"
    monkeypatch.setenv(JOURNAL_VARIABLE, str(path))
    return path


@pytest.fixture
def happened() -> list[str]:
    """Return a list of what has happened, in order."""
    return []


# What few tests need is imported for those.


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Return an open terminal."""
    from tests.terminals import Terminal

    with Terminal() as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return a browser that runs."""
    from tests.browsers import launched

    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Return the sandbox, served, with its index built."""
    from tests.sandboxes import Sandbox

    with Sandbox(Project(tmp_path_factory.mktemp("sandbox"))) as served:
        served.wait_for_refresh()
        yield served


@pytest.fixture(scope="module", autouse=True)
def only_new_objects_are_collected() -> None:
    """Have the garbage collector leave alone what earlier modules have left: many tests call it."""
    gc.collect()
    gc.freeze()


TEMPORARY = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Have a temporary folder of its own: what killed processes left in another's would be imported."""
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    config.stash[TEMPORARY] = folder = tempfile.mkdtemp(prefix="tests-")
    # Servers of databases run as users of their own.
    Path(folder).chmod(0o755)
    os.environ["TMPDIR"] = tempfile.tempdir = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove it."""
    shutil.rmtree(config.stash[TEMPORARY], ignore_errors=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file in which -m chooses no test, so that no process imports it.

    Returns None for a file that is to be collected. ``.ci/total`` names a test that is lost that way.
    """
    if not collection_path.match("test_*.py") or config.getoption("file_or_dir"):
        return None
    match config.getoption("markexpr").split():
        case ["slow"]:
            return "mark.slow" not in collection_path.read_text() or None
        case ["not", "once"] if is_alike(collection_path):
            return True
        case ["not", mark]:
            whole = re.compile(WHOLE_FILE.format(mark=mark), re.MULTILINE)
            return bool(whole.search(collection_path.read_text())) or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `once` what is alike everywhere, or costly and not marked `every_pair`."""
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        fixtures = set(getattr(item, "fixturenames", ()))
        parameters = (
            set(item.callspec.id.lower().split("-")) if hasattr(item, "callspec") else set()
        )
        costly = "slow" in marks or OF_PROCESSES & fixtures or DATABASE_SERVERS & parameters
        if is_alike(item.path) or (costly and "every_pair" not in marks):
            item.add_marker("once")


@cache
def is_alike(path: Path) -> bool:
    """Return True for a file in a folder whose tests this pair answers as others do."""
    folder = path.parent.name
    return folder in ALIKE or (
        folder in OF_DJANGO and not version("django").startswith(OLDEST_DJANGO)
    )


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Forget the language of a test's last request, which Django leaves active in its thread."""
    translation = sys.modules.get("django.utils.translation.trans_real")
    if translation is not None:
        translation.deactivate()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line each why tests were skipped, however many there are."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.items():
        terminalreporter.write_line(f"SKIPPED [{count}] {reason}")
