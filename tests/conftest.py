"""Fixtures that any test may ask for."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import pytest

from tests.projects import JOURNAL_VARIABLE, Project


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


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what has been imported: many tests call it."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line each why tests were skipped, however many there are."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.items():
        terminalreporter.write_line(f"SKIPPED [{count}] {reason}")
