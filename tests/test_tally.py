"""No test is lost between the runs of `make test` and `make test-all`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.once

CHECKOUT = Path(os.environ.get("LIFESPAN_TEST_CHECKOUT") or Path(__file__).resolve().parent.parent)

SUITE = """
import pytest

def test_quick():
    pass

@pytest.mark.slow
@pytest.mark.parametrize("word", ["a::b", "\\udc80"])
def test_slow(word):
    pass

@pytest.mark.skip(reason="not here")
def test_skipped():
    pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a suite of four tests, two of them slow."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    pytester.makeini("[pytest]\nmarkers = slow")
    pytester.makepyfile(SUITE)
    return pytester


def run(suite: pytest.Pytester, marks: str, *options: str) -> None:
    """Run a part of the suite, which must pass, with a report of its own."""
    # What only this project's suite uses; the plugins below find their packages from there.
    suite.syspathinsert(Path(__file__).resolve().parent.parent)
    plugins = ["no:django", "no:asyncio", "no:cacheprovider", "tests.reports", "tests.tally"]
    chosen = [word for plugin in plugins for word in ("-p", plugin)]
    result = suite.runpytest_subprocess(
        *chosen, "-m", marks, f"--junitxml=reports/{marks}.xml", *options
    )
    assert result.ret == 0


def total(suite: pytest.Pytester) -> subprocess.CompletedProcess[str]:
    """Add up the reports of the suite."""
    return subprocess.run(
        [sys.executable, str(CHECKOUT / ".ci" / "total"), str(suite.path / "reports")],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "several processes"])
def test_total_names_each_test_that_no_run_has_run(
    suite: pytest.Pytester, options: tuple[str, ...]
) -> None:
    run(suite, "not slow", *options)

    added = total(suite)

    assert added.returncode == 1
    assert added.stdout.splitlines() == [
        "not slow: 1 passed, 0 failed, 1 skipped",
        "4 different tests, 2 of them run",
        r"Never run: test_total_names_each_test_that_no_run_has_run.py::test_slow[\udc80]",
        "Never run: test_total_names_each_test_that_no_run_has_run.py::test_slow[a::b]",
        "1 passed, 0 failed, 1 skipped",
    ]


def test_total_is_content_where_the_runs_together_run_every_test(suite: pytest.Pytester) -> None:
    run(suite, "not slow")
    run(suite, "slow", "-n", "2")

    added = total(suite)

    assert added.returncode == 0
    assert added.stdout.splitlines() == [
        "not slow: 1 passed, 0 failed, 1 skipped",
        "slow: 2 passed, 0 failed, 0 skipped",
        "4 different tests, 4 of them run",
        "3 passed, 0 failed, 1 skipped",
    ]


MARKED = """
import pytest

@pytest.fixture
def project():
    pass

def test_in_this_process():
    pass

def test_with_a_project(project):
    pass

@pytest.mark.slow
def test_slow():
    pass

@pytest.mark.every_pair
@pytest.mark.slow
def test_on_every_pair(project):
    pass

@pytest.mark.once
@pytest.mark.every_pair
def test_once():
    pass
"""


def test_pairs_leave_out_what_is_costly_unless_it_is_for_every_pair(
    pytester: pytest.Pytester,
) -> None:
    pytester.makeini("[pytest]\nmarkers =\n slow\n once\n every_pair")
    pytester.makeconftest("from tests.conftest import pytest_collection_modifyitems")
    pytester.makepyfile(MARKED)

    result = pytester.runpytest_inprocess(
        *("-p", "no:django", "-p", "no:asyncio", "-v", "-m", "not once")
    )

    result.assert_outcomes(passed=2, deselected=3)
    result.stdout.fnmatch_lines(["*::test_in_this_process *", "*::test_on_every_pair *"])


@pytest.mark.parametrize(
    ("marks", "unasked", "asked"),
    [
        ("slow", "", "@pytest.mark.slow"),
        ("not slow", "pytestmark = [pytest.mark.server, pytest.mark.slow]", ""),
        ("not once", "pytestmark = pytest.mark.once", "@pytest.mark.slow"),
    ],
)
def test_file_is_not_imported_where_its_marks_show_that_no_test_is_chosen(
    pytester: pytest.Pytester, marks: str, unasked: str, asked: str
) -> None:
    pytester.makeini("[pytest]\nmarkers =\n slow\n once\n server")
    pytester.makeconftest("from tests.conftest import pytest_ignore_collect")
    pytester.makepyfile(
        test_unasked=f"import pytest\n{unasked}\nraise Exception('imported')",
        test_asked=f"import pytest\n{asked}\ndef test_it(): pass",
    )

    result = pytester.runpytest_inprocess("-p", "no:django", "-p", "no:asyncio", "-m", marks)

    result.assert_outcomes(passed=1)
