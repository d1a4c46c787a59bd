"""``showlifespan --blame`` and ``--longest-chain``: what a startup took its time for."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from lifespan_app.models import LifespanRun
from tests.history.records import a_run, a_step

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_files(settings: Settings, tmp_path: Path) -> None:
    settings.LIFESPAN = {"SPOOL_DIR": tmp_path / "spool"}


def hook(run: LifespanRun, name: str, at: int, took: int, *needs: str, **values: Any) -> None:
    """Write a start of a hook, with its times in milliseconds."""
    times = {"offset": timedelta(milliseconds=at), "duration": timedelta(milliseconds=took)}
    edges = [[f"books.{need}", "needs"] for need in needs]
    a_step(run, name=name, needs=edges, **{**times, **values})


@pytest.fixture
def run() -> LifespanRun:
    """Return a run in which two hooks start side by side, and the quicker one has a dependent."""
    run = a_run()
    hook(run, "client", 0, 200, on_critical_chain=True, file="books/lifespan.py", line=7)
    hook(run, "cache", 0, 100)
    hook(run, "index", 200, 500, "client", "cache", on_critical_chain=True)
    hook(run, "slow", 0, 650)
    hook(run, "left_out", 0, 0, outcome="skipped")
    hook(run, "client", 0, 900, phase="shutdown")
    return run


def shown(*arguments: str) -> list[str]:
    output = StringIO()
    call_command("showlifespan", *arguments, stdout=output, no_color=True)
    return output.getvalue().splitlines()


def test_hooks_are_blamed_the_slowest_first(run: LifespanRun) -> None:
    assert shown("--blame") == [
        "0.65 s  books.slow",
        "0.50 s  books.index",
        "0.20 s  books.client (books/lifespan.py:7)",
        "0.10 s  books.cache",
    ]


def test_chain_names_what_the_startup_waited_for_last(run: LifespanRun) -> None:
    assert shown("--longest-chain") == [
        "books.index @0.20 s +0.50 s",
        "└─books.client @0 ms +0.20 s (dependency)",
    ]


def test_chain_of_a_hook_names_what_it_waited_for(run: LifespanRun) -> None:
    assert shown(str(run.uuid)[:7], "--longest-chain", "books.slow") == ["books.slow @0 ms +0.65 s"]


def test_chain_that_is_a_cycle_in_a_damaged_record_ends() -> None:
    run = a_run()
    hook(run, "first", 0, 10, "second")
    hook(run, "second", 0, 20, "first")

    assert len(shown("--longest-chain")) == 2


def test_startup_without_hooks_prints_nothing() -> None:
    a_run()

    assert shown("--blame") == []
    assert shown("--longest-chain") == []


def test_hook_that_there_is_not_is_refused(run: LifespanRun) -> None:
    with pytest.raises(CommandError, match=r"No hook 'books.indx' has started in this run. Did"):
        shown("--longest-chain", "books.indx")


@pytest.mark.parametrize("times", ["--blame", "--longest-chain"])
@pytest.mark.parametrize("arguments", [["--now"], ["--format", "json"]], ids=str)
def test_only_one_run_is_shown_as_text(run: LifespanRun, times: str, arguments: list[str]) -> None:
    with pytest.raises(CommandError) as refused:
        shown(times, *arguments)

    assert str(refused.value) == f"{times} and {' '.join(arguments)} don't go together."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *product(
            (["--leases"], ["--release", "5be1c10a"]),
            (["--expect", "app=1"], ["--fail-on", "lost"], ["--blame"], ["--longest-chain"]),
        ),
        *product(
            (["--blame"], ["--longest-chain"]),
            (["--expect", "app=1"], ["--fail-on", "lost"]),
        ),
        (["--blame"], ["--longest-chain"]),
        (["--release", "5be1c10a"], ["--format", "json"]),
    ],
    ids=str,
)
def test_options_of_which_one_would_be_ignored_are_refused(
    one: list[str], other: list[str]
) -> None:
    with pytest.raises(CommandError) as refused:
        shown(*other, *one)

    second = " ".join(other) if other[0] == "--format" else other[0]
    assert str(refused.value) == f"{one[0]} and {second} don't go together."
    assert refused.value.returncode == 2
