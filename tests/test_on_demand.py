"""What a run of the suite loads before its first test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

LOADED = """
import sys
import pytest

outcome = pytest.main(["-q", *sys.argv[1:]])
print(*sorted({"django", "hypothesis", "playwright"} & set(sys.modules)))
sys.exit(outcome)
"""


def loaded_by(*paths: str) -> list[str]:
    """Run tests, which must pass; return which of the large packages they have loaded."""
    command = [sys.executable, "-c", LOADED, "-p", "no:cacheprovider", *paths]
    environment = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    run = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.splitlines()[-1].split()


@pytest.mark.once
@pytest.mark.parametrize(
    ("paths", "loaded"),
    [
        (["tests/engine/test_plan_order.py"], []),
        (["tests/engine/test_plan_errors.py::test_one_problem_is_not_called_problems"], []),
        (["tests/engine/test_plan_order.py", "tests/django/test_models.py"], ["django"]),
    ],
    ids=["a file of the engine's", "a test of the engine's", "a file beside the engine's"],
)
def test_tests_of_the_engine_alone_load_no_django(paths: list[str], loaded: list[str]) -> None:
    assert loaded_by(*paths) == loaded


@pytest.mark.once
def test_hypothesis_is_loaded_by_the_tests_that_use_it() -> None:
    assert loaded_by("tests/engine/test_plan_properties.py", "--collect-only") == ["hypothesis"]
