"""Write down which tests a run has found and which it has run, beside its JUnit report.

`.ci/total` adds these files up, and names a test that is found and never run. (-p tests.tally, with
--junitxml.)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


class Tally:
    """What one run of pytest has found and run, in all of its processes."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self.run: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note what there is before -m leaves any of it out."""
        self.found.update(item.nodeid for item in items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what has run; a test that was skipped has said why."""
        self.run.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a process of pytest-xdist has found."""
        self.found.update(getattr(node, "workeroutput", {}).get("found", ()))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file, or hand what was found to the process that writes it."""
        config = session.config
        if hasattr(config, "workeroutput"):
            config.workeroutput["found"] = sorted(self.found)
        elif report := config.getoption("xmlpath"):
            tally = {"found": sorted(self.found), "run": sorted(self.run)}
            file = Path(report).with_suffix(".json")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(tally))


def pytest_configure(config: pytest.Config) -> None:
    """Begin with nothing found and nothing run."""
    config.pluginmanager.register(Tally())
