from __future__ import annotations

from pathlib import Path

import pytest

from tests.needs import NAMESPACES, REQUIRE_VARIABLE, Program, ProgramMissing, needs

pytest_plugins = ["pytester"]

SHIPS_CAT = Program(name="The ship's cat", commands=("ships-cat",), package="ships-cats")

LINE = "The ship's cat is not here (ships-cat): apt-get install ships-cats"

MARKED = """
from tests.test_needs import SHIPS_CAT
from tests.needs import needs

@needs(SHIPS_CAT)
def test_that_needs_it():
    pass

def test_that_asks_where_it_is():
    SHIPS_CAT.path()
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Two tests that need the ship's cat: one by its mark, one by asking for its path."""
    monkeypatch.delenv(REQUIRE_VARIABLE, raising=False)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    pytester.makepyfile(MARKED)
    return pytester


def run(suite: pytest.Pytester) -> pytest.RunResult:
    return suite.runpytest_inprocess("-rs", "-p", "no:django", "-p", "no:asyncio")


def put_the_cat_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = folder / "ships-cat"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(folder))
    return program


def test_missing_program_skips_with_a_line_that_says_how_to_get_it(
    suite: pytest.Pytester,
) -> None:
    result = run(suite)

    result.assert_outcomes(skipped=2)
    assert result.stdout.str().count(LINE) == 2


def test_summary_says_once_why_tests_were_skipped(suite: pytest.Pytester) -> None:
    suite.makeconftest("from tests.conftest import pytest_terminal_summary")

    result = suite.runpytest_inprocess("-rfE", "-p", "no:django", "-p", "no:asyncio")

    result.stdout.fnmatch_lines(f"SKIPPED [[]2[]] {LINE}")
    assert result.stdout.str().count(LINE) == 1


@pytest.mark.once
def test_missing_program_fails_where_it_is_required(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")

    result = run(suite)

    outcomes = result.parseoutcomes()
    assert outcomes.get("errors", 0) + outcomes.get("failed", 0) == 2
    assert "passed" not in outcomes
    assert result.stdout.str().count(LINE) >= 2


def test_program_on_path_is_found(
    suite: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_the_cat_on_path(tmp_path, monkeypatch)

    run(suite).assert_outcomes(passed=2)


def test_program_beside_path_is_found_in_its_newest_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("14", "15"):
        folder = tmp_path / "lib" / version
        folder.mkdir(parents=True)
        newest = put_the_cat_on_path(folder, monkeypatch)
    monkeypatch.setenv("PATH", "")
    pattern = str(tmp_path.relative_to("/") / "lib" / "*")

    found = Program(
        name="The ship's cat", commands=("ships-cat",), package="", folders=(pattern,)
    ).find()

    assert found == newest


def test_mark_may_be_called_like_a_function() -> None:
    mark = needs(SHIPS_CAT)

    assert mark() == mark


def test_required_program_that_is_missing_is_named_by_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "1")

    with pytest.raises(ProgramMissing) as caught:
        SHIPS_CAT.path()

    assert str(caught.value) == LINE


def test_program_that_may_do_nothing_is_as_good_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "unshare"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert NAMESPACES.find() is None
    assert NAMESPACES.missing == (
        "unshare is not allowed here: run the tests as root; in Docker, --privileged"
    )
