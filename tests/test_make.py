"""What a fresh clone does with make alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import Project
from tests.servers import Server

CHECKOUT = Path(os.environ.get("LIFESPAN_TEST_CHECKOUT") or Path(__file__).resolve().parent.parent)
LEFT_OUT = (".git", ".venv", ".tox", ".*_cache", "__pycache__", "*.sqlite3*", "dist", "htmlcov")


class Demo(Server):
    """`make demo` in a copy of the checkout, as one types it."""

    def __init__(self, project: Project, clone: Path) -> None:
        super().__init__(project, limit=300)
        self.command = ["make", "-C", str(clone), "demo", f"PORT={self.port}"]
        # What a make that runs these tests says to those below it is not meant for this one.
        self._environment = {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "MAKEFLAGS": "",
            "MAKELEVEL": "",
            "PYTHON": sys.executable,
            "PYTHONPATH": "",
            "VENV": ".venv",
        }


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of the checkout without anything that make made."""
    folder = tmp_path / "clone"
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return folder


def test_help_lists_every_target() -> None:
    targets = re.findall(r"^\.PHONY: (\S+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)

    run = subprocess.run(
        ["make", "-C", str(CHECKOUT), "help"], capture_output=True, text=True, check=True
    )

    assert re.findall(r"^  make (\S+) +\S", run.stdout, re.MULTILINE) == targets
    assert len(targets) > 5


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(600)
def test_demo_serves_the_sandbox_and_ends_at_ctrl_c_without_an_error(
    project: Project, clone: Path
) -> None:
    with Demo(project, clone) as demo:
        assert re.search(r"(?i)^name: +\S+$", demo.output, re.MULTILINE)
        assert re.search(r"(?i)^password: +\S+$", demo.output, re.MULTILINE)
        demo.wait_for_output("Index refreshed")
        assert "Oliver Twist" in demo.get("/?q=dickens").text
        before = len(demo.output)
        demo.interrupt()
        demo.wait()

    ending = demo.output[before:]
    assert "Application shutdown complete" in ending
    assert "***" not in ending
    assert "Traceback" not in ending
