"""mypy and pyright see through the decorators, for a user of the installed package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "typing"

pytestmark = [pytest.mark.slow, pytest.mark.once]


@dataclass(frozen=True)
class Findings:
    """What a type checker said of the cases, by file and line."""

    errors: dict[tuple[str, int], str]
    revealed: dict[tuple[str, int], str]

    def errors_of(self, file: str) -> dict[int, str]:
        """Return the errors of one file by line."""
        return {line: said for (name, line), said in self.errors.items() if name == file}


def mypy(folder: Path) -> Findings:
    """Check a folder as mypy does for a user without any configuration but `strict`."""
    config = folder / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = True\n[mypy-unannotated]\ndisallow_untyped_defs = False\n"
        "disallow_untyped_calls = False\ndisallow_untyped_decorators = False\n"
    )
    run = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--output", "json", "--config-file", str(config)),
            *("--cache-dir", str(folder / "cache"), "."),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in {0, 1}, run.stdout + run.stderr
    errors: dict[tuple[str, int], str] = {}
    revealed: dict[tuple[str, int], str] = {}
    for found in map(json.loads, run.stdout.splitlines()):
        place = Path(found["file"]).name, found["line"]
        if match := re.match(r'Revealed type is "(.*)"', found["message"]):
            revealed[place] = match[1]
        elif found["severity"] == "error":
            errors[place] = found["message"]
    return Findings(errors, revealed)


def pyright(folder: Path) -> Findings:
    """Check a folder as pyright does for a user without any configuration."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pyright", "--outputjson"),
            *("--pythonpath", sys.executable, "."),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode in {0, 1}, run.stdout + run.stderr
    errors: dict[tuple[str, int], str] = {}
    revealed: dict[tuple[str, int], str] = {}
    for found in json.loads(run.stdout)["generalDiagnostics"]:
        place = Path(found["file"]).name, found["range"]["start"]["line"] + 1
        if match := re.match(r'Type of ".*" is "(.*)"', found["message"], re.DOTALL):
            revealed[place] = match[1]
        elif found["severity"] == "error":
            errors[place] = found["message"]
    return Findings(errors, revealed)


@pytest.fixture(scope="module", params=[mypy, pyright], ids=["mypy", "pyright"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Return what one checker says of all cases, in a folder away from the project."""
    folder = tmp_path_factory.mktemp("typing") / "cases"
    shutil.copytree(CASES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    found: Findings = request.param(folder)
    return found


def lines_marked(file: str, mark: str) -> list[int]:
    lines = (CASES / file).read_text().splitlines()
    return [number for number, line in enumerate(lines, start=1) if line.endswith(f"# {mark}")]


@pytest.mark.parametrize("file", ["mounts.py", "resources.py", "unannotated.py", "unchanged.py"])
def test_every_type_is_as_the_case_states(findings: Findings, file: str) -> None:
    assert findings.errors_of(file) == {}


def test_decorated_functions_keep_their_exact_type(findings: Findings) -> None:
    revealed = {
        line: said for (file, line), said in findings.revealed.items() if file == "unchanged.py"
    }
    same = lines_marked("unchanged.py", "the same")
    assert same

    changed = {line: revealed[line] for line in same if revealed[line] != revealed[line - 1]}

    assert changed == {}


def test_every_mistake_is_found_and_nothing_else(findings: Findings) -> None:
    assert list(findings.errors_of("mistakes.py")) == lines_marked("mistakes.py", "error")
