"""The benchmarks run, their verdicts are those of the samples, and their page is written from them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser

from benchmarks.layers import LAYERS, WIDTH, order_broken
from benchmarks.page import LARGE, NAMES, read_results, text_of, write_page
from benchmarks.plot import plot
from benchmarks.processes import CHECKOUT, race
from benchmarks.results import AGAIN, Result, Row, Table, quartiles
from benchmarks.systems import OURS, PLAIN
from tests.browsers import PHONE
from tests.documents import DOCS
from tests.needs import needs_chromium

pytestmark = pytest.mark.once

NEEDS_MINUTES = pytest.mark.timeout(600)


def a_table(*, ours: list[float], again: list[float], at_most: float = 1.5) -> Table:
    """Return a table with plain Django, its control and ours."""
    return Table(
        title="a table",
        unit="ms",
        rows=[
            Row(name=PLAIN, samples=[10.0, 20.0, 40.0]),
            Row(name=PLAIN + AGAIN, samples=again),
            Row(name=OURS, samples=ours, goal="a goal", ratio_at_most=at_most, why="it is slow"),
        ],
        against=PLAIN,
        noise_at_most=0.1,
    )


QUIET = [10.0, 20.0, 40.0]


def test_ratio_is_formed_within_each_round() -> None:
    table = a_table(ours=[11.0, 22.0, 44.0], again=QUIET)

    assert table.ratio(table.row(OURS)) == pytest.approx(1.1)


def test_goal_that_is_reached() -> None:
    table = a_table(ours=[14.0, 28.0, 56.0], again=QUIET)

    assert table.verdict(table.row(OURS)) == "reached"


def test_goal_that_is_missed() -> None:
    table = a_table(ours=[16.0, 32.0, 64.0], again=QUIET)

    assert table.verdict(table.row(OURS)) == "missed"


def test_noisy_machine_gives_no_verdict() -> None:
    table = a_table(ours=[11.0, 22.0, 44.0], again=[10.0, 30.0, 20.0])

    assert table.verdict(table.row(OURS)) == "too noisy to tell"


def test_one_round_gives_no_verdict() -> None:
    rows = [
        Row(name=name, samples=[1.0], goal="a goal", ratio_at_most=2.0)
        for name in (PLAIN, PLAIN + AGAIN)
    ]
    table = Table(title="one round", unit="ms", rows=rows, against=PLAIN)

    assert table.verdict(rows[0]) == "too noisy to tell"


def test_row_without_a_goal_has_no_verdict() -> None:
    table = a_table(ours=QUIET, again=QUIET)

    assert table.verdict(table.row(PLAIN)) == ""


def test_one_of_two_limits_is_enough() -> None:
    rows = [
        Row(name=PLAIN, samples=[1.0] * 3),
        Row(name=OURS, samples=[3.0] * 3, goal="one", ratio_at_most=2.0, value_at_most=4.0),
    ]
    table = Table(title="two limits", unit="ms", rows=rows, against=PLAIN)

    assert table.verdict(rows[1]) == "reached"


def test_goal_without_a_number_needs_no_quiet_machine() -> None:
    rows = [
        Row(name=name, samples=[1.0, 5.0, 2.0], goal="never on the loop", holds=holds)
        for name, holds in ((PLAIN, True), (OURS, False))
    ]
    table = Table(title="no number", unit="ms", rows=rows, control=[1.0, 5.0, 2.0])

    assert [table.verdict(row) for row in rows] == ["reached", "missed"]


def test_result_is_the_same_after_it_was_stored(tmp_path: Path) -> None:
    result = Result(name="imports", tables=[a_table(ours=QUIET, again=QUIET)], seconds=1.5)

    result.write(tmp_path)

    assert Result.read(tmp_path / "imports.json") == result


def test_systems_take_turns_in_changing_order() -> None:
    happened: list[str] = []
    systems = ("a", "b", "c")

    race({name: lambda name=name: happened.append(name) for name in systems}, rounds=9)  # type: ignore[misc]

    turns = [tuple(happened[at : at + 3]) for at in range(0, len(happened), 3)]
    assert len(turns) == 10
    assert {frozenset(turn) for turn in turns} == {frozenset(systems)}
    assert len(set(turns)) > 1


def layer_by_layer(what: str, layers: list[int]) -> list[str]:
    """Return what happens if each layer begins when the one before has ended."""
    return [
        f"{what} {word} {layer}"
        for layer in layers
        for word in ("begins", "ends")
        for _ in range(WIDTH)
    ]


def test_order_that_is_kept() -> None:
    layers = list(range(LAYERS))

    assert (
        order_broken(layer_by_layer("open", layers) + layer_by_layer("close", layers[::-1])) == ""
    )


def test_order_that_is_broken_is_seen_in_the_phase_of_it() -> None:
    layers = list(range(LAYERS))
    opened = layer_by_layer("open", layers)
    closed = layer_by_layer("close", layers)

    assert order_broken(opened + closed) == "shutdown"
    assert order_broken(sorted(opened)) == "startup"


@NEEDS_MINUTES
@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *LARGE])
def test_benchmark_measures_every_system_once(name: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        name,
        "--quick",
        "--write",
        str(tmp_path / "found"),
    ]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    result = read_results(tmp_path / "found")[name]
    assert result.quick
    for table in result.tables:
        assert table.noise is not None
        for row in table.rows:
            assert len(row.samples) == 1
            assert row.median > 0
    assert "quick run" in (tmp_path / "found.rst").read_text()


def test_unknown_benchmark_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks", "nothing"]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    assert run.returncode == 2
    assert "no such benchmark: nothing" in run.stderr


def test_page_is_what_the_stored_results_give(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    shutil.copytree(DOCS / "benchmarks", folder)

    page = write_page(folder)

    assert page.read_text() == (DOCS / "benchmarks.rst").read_text()
    for stored in sorted((DOCS / "benchmarks").iterdir()):
        assert (folder / stored.name).read_text() == stored.read_text()


def test_page_has_every_benchmark() -> None:
    assert set(read_results(DOCS / "benchmarks")) == {*NAMES, *LARGE}


def test_page_says_why_a_goal_is_missed() -> None:
    results = {
        "imports": Result(name="imports", tables=[a_table(ours=[90.0] * 3, again=QUIET)], seconds=1)
    }

    assert "**missed**: it is slow" in text_of(results, "benchmarks")


def test_page_says_where_the_machine_was_too_noisy() -> None:
    table = a_table(ours=QUIET, again=[10.0, 30.0, 20.0])
    results = {"imports": Result(name="imports", tables=[table], seconds=1)}

    assert "too noisy to tell" in text_of(results, "benchmarks")


@pytest.mark.parametrize(
    "path", sorted((DOCS / "benchmarks").glob("*.svg")), ids=lambda path: path.stem
)
def test_plot_stands_for_itself(path: Path) -> None:
    text = path.read_text()

    assert ElementTree.fromstring(text).get("aria-label")
    assert "href" not in text
    assert "<style" not in text  # it would be that of the whole page


def test_plot_draws_the_median_as_a_bar_and_the_quartiles_as_a_line() -> None:
    table = a_table(ours=[5.0, 10.0, 20.0], again=QUIET)
    svg = ElementTree.fromstring(plot(table))
    space = "{http://www.w3.org/2000/svg}"
    bars = [float(bar.attrib["width"]) for bar in svg.iter(f"{space}rect")]

    assert quartiles([5.0, 10.0, 20.0]) == (7.5, 15.0)
    assert bars[1] == pytest.approx(
        bars[0] / 2, abs=0.1
    )  # plain Django and ours, without the control


@pytest.mark.slow
@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_plot_has_the_colour_of_the_text_of_its_page(chromium: Browser, theme: str) -> None:
    colour = {"light": "rgb(0, 0, 0)", "dark": "rgb(207, 208, 208)"}[theme]
    page = chromium.new_page(viewport=PHONE)
    svg = plot(a_table(ours=QUIET, again=QUIET))
    page.set_content(f'<body style="color: {colour}">{svg}</body>')

    found = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    letters = page.evaluate("document.querySelector('svg text').getBoundingClientRect().height")

    assert found == colour
    assert letters >= 10
