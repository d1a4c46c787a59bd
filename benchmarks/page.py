"""Write the page of the documentation, from stored results. No number in it is typed by hand."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import fill

from benchmarks.plot import plot
from benchmarks.results import AGAIN, Result, Row, Table, quartiles
from benchmarks.start import HISTORY
from benchmarks.systems import AIODRF, IN_ONE, LIFECYCLE, MANAGERS, OURS, PLAIN, STARLETTE
from benchmarks.words import between, listed, number, ratio_number

NAMES = ("imports", "start", "layers", "request", "recording", "hooks", "commands")
LARGE = ("first_request", "history")
PEERS = (MANAGERS, LIFECYCLE, AIODRF)
PEERS_AND_STARLETTE = (*PEERS, STARLETTE)

HEAD = """\
.. Written by ``make bench`` from the results in docs/benchmarks/: see benchmarks/README.rst.

==========
Benchmarks
==========

What the package costs, and what it saves, beside plain Django and beside what you could use instead.
Everything on this page was measured by one command in a checkout, and the page is written by it:

.. code-block:: shell

    make bench

"""

QUICK = "The numbers of {names} are those of a quick run, which only shows that everything runs: they say nothing."

HOW = """\
How to read the numbers
=======================

* The systems take turns, in another order each round, and each sample is a new process. (Requests, and pages
  of the admin, take turns inside of processes.)
* A figure is the median of all rounds. In parentheses are the quartiles: half of the samples lie between
  them.
* A ratio is formed within each round, where both systems met the same machine. Less than 1 is faster. Ratios
  hold from machine to machine, times don't.
* One system is measured twice in each table, as *again*: that is the control. If the quartiles of its ratios
  lie further apart than the bound of the table, the machine was *too noisy to tell*, and no goal of the table
  is said to be reached or missed.
* The time is the processor's where other programs would disturb, and the wall's where hooks wait. Each
  section says which.
* Each system is used as its documentation says: ``benchmarks/systems.py`` shows how.

"""


def write_page(folder: Path) -> Path:
    """Write the page and its plots from the results in a folder. Return the page's path."""
    results = read_results(folder)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, result in results.items():
        for place, table in enumerate(result.tables, start=1):
            if table.plot:
                (folder / f"{name}-{place}.svg").write_text(plot(table))
    page = folder.with_suffix(".rst")
    page.write_text(text_of(results, folder.name))
    return page


def read_results(folder: Path) -> dict[str, Result]:
    """Return the results in a folder by name, in the order of the page."""
    files = {name: folder / f"{name}.json" for name in (*NAMES, *LARGE)}
    return {name: Result.read(file) for name, file in files.items() if file.exists()}


def text_of(results: Mapping[str, Result], folder: str) -> str:
    """Return the page."""
    parts = [HEAD]
    if quick := [f"*{_title(name)}*" for name, result in results.items() if result.quick]:
        text = QUICK.format(names=listed(quick))
        parts.append(f".. warning::\n\n{_wrapped(text, '   ')}\n\n")
    parts += [_in_short(results), _goals(results), _faster(results), HOW, _where(results)]
    parts += [_section(result, folder) for result in results.values()]
    return "".join(parts).rstrip() + "\n"


# The answers


def _in_short(results: Mapping[str, Result]) -> str:
    points = [point for write in POINTS for point in write(results)]
    return (
        _headed("In short", "=") + "".join(f"{_wrapped(point, '* ')}\n" for point in points) + "\n"
    )


def _start(results: Mapping[str, Result]) -> Iterator[str]:
    if "start" in results:
        _, projects = results["start"].tables
        plain = projects.row(PLAIN)
        others = _others(projects, lambda name: _added(projects, name))
        yield (
            f"**At startup** a project with ten resources takes {_added(projects, OURS)} longer than with plain"
            f" Django, which takes {number(plain.median)} ms; with the history on"
            f" {_added(projects, HISTORY)} longer. {others}"
        )


def _added(table: Table, name: str) -> str:
    """Return the median of what a row takes longer than plain Django, in the same round."""
    plain = table.row(PLAIN).samples

    def differences(of: str) -> list[float]:
        return [own - other for own, other in zip(table.row(of).samples, plain, strict=True)]

    low, high = quartiles(differences(PLAIN + AGAIN))
    added = statistics.median(differences(name))
    is_noise = low <= added <= high or added <= 0
    return "nothing that can be measured" if is_noise else f"{number(added)} ms"


def _imports(results: Mapping[str, Result]) -> Iterator[str]:
    if "imports" in results:
        table = results["imports"].tables[0]
        others = _others(table, lambda name: f"{number(table.row(name).median)} ms")
        yield (
            f"**The import** of ``lifespan_app.asgi`` adds {number(table.row(OURS).median)} ms to that of Django's"
            f" own. {others}"
        )


def _request(results: Mapping[str, Result]) -> Iterator[str]:
    if "request" in results:
        _, of_async, of_sync = results["request"].tables
        handle = f"{OURS}, handle(request)"
        with_async, with_sync = (table.ratio(table.row(handle)) for table in (of_async, of_sync))
        itself = of_async.ratios(of_async.row(PLAIN + AGAIN))
        others = _others(
            of_async,
            lambda name: ratio_number(of_async.ratio(of_async.row(name))),
            how=", with an async view",
        )
        yield (
            f"**A request** that reads a resource takes {ratio_number(with_async)} times as long as plain Django's with"
            f" an async view, and {ratio_number(with_sync)} times with a sync one. Plain Django against itself:"
            f" {between(itself, as_ratio=True)}. {others}"
        )


def _recording(results: Mapping[str, Result]) -> Iterator[str]:
    if "recording" in results:
        usual, few = results["recording"].tables
        on, off = "HISTORY on", "HISTORY off"
        more = few.row(on).median - few.row(off).median
        yield (
            f"**With the history on** a usual startup takes {ratio_number(usual.ratio(usual.row(on)))} times as long as"
            f" without. Ten resources that do nothing start in {number(few.row(on).median)} ms, without it in"
            f" {number(few.row(off).median)} ms{' (noise)' if more < 0 else ''}. No other system has a history."
        )


def _layers(results: Mapping[str, Result]) -> Iterator[str]:
    if "layers" in results:
        start, stop = results["layers"].tables
        ours = f"{OURS}, async"

        def said(name: str) -> str:
            note = start.row(name).note
            both = f"{number(start.row(name).median)} and {number(stop.row(name).median)} ms"
            return f"{both} ({note})" if note else both

        yield (
            "**What it saves**: resources that need each other open and close side by side where they can. Twenty"
            f" resources in four layers, 50 ms each, take {number(start.row(ours).median)} ms to start and"
            f" {number(stop.row(ours).median)} ms to stop. {_others(start, said, PEERS_AND_STARLETTE)}"
        )


def _hooks(results: Mapping[str, Result]) -> Iterator[str]:
    if "hooks" in results:
        functions, resources = results["hooks"].tables[:2]
        in_one, apart = f"{OURS}, in one module", f"{OURS}, side by side"
        both = (functions, resources)
        others = _others(
            functions,
            lambda name: " and ".join(number(table.row(name).median) for table in both),
            PEERS_AND_STARLETTE,
        )
        yield (
            f"**Each of a thousand hooks** takes {number(functions.row(in_one).median)} microseconds as an async start"
            f" function, and {number(resources.row(apart).median)} as an async resource, with its start, its stop and"
            f" its report. {others}"
        )


def _better(results: Mapping[str, Result]) -> Iterator[str]:
    if any(_lighter(result) for result in results.values()):
        yield (
            "**Another system is better** if you look for the lightest: the others do less, so they start in less"
            " time. `Where another system is faster`_ lists every case."
        )


def _has(table: Table, name: str) -> bool:
    return any(row.name == name for row in table.rows)


def _others(
    table: Table, said: Callable[[str], str], names: Sequence[str] = PEERS, how: str = ""
) -> str:
    others = [f"{name} {said(name)}" for name in names if _has(table, name)]
    return f"The others{how}: {listed(others)}." if others else ""


POINTS = (_start, _request, _imports, _recording, _layers, _hooks, _better)


# The tables of all


def _goals(results: Mapping[str, Result]) -> str:
    cells = [
        (
            f"{table.title}: {row.name}",
            row.goal,
            _reached(table, row),
            _verdict(table, row),
        )
        for name, result in results.items()
        for table in result.tables
        for row in table.rows
        if row.goal and name != "history"
    ]
    if "history" in results:
        for table in results["history"].tables:
            worst = max(
                table.rows, key=lambda row: (table.verdict(row) == "missed", table.ratio(row))
            )
            words = f"{table.title}: {len(table.rows)} pages, the worst is *{worst.name}*"
            cells.append((words, worst.goal, _reached(table, worst), _verdict(table, worst)))
    head = ("What", "Goal", "Median", "")
    return _headed("Goals", "=") + _list_table(head, cells, "34 26 12 28")


def _reached(table: Table, row: Row) -> str:
    value = f"{number(row.median)} {table.unit}"
    return f"{ratio_number(table.ratio(row))} ({value})" if table.ratios(row) else value


def _verdict(table: Table, row: Row) -> str:
    verdict = table.verdict(row)
    if verdict == "missed":
        return f"**missed**: {row.why}"
    if verdict == "too noisy to tell":
        return f"{verdict}: {_noise(table)}"
    return verdict


def _noise(table: Table) -> str:
    return (
        f"the control's ratios spread by {table.noise or 0:.3f}, the bound is {table.noise_at_most}"
    )


def _faster(results: Mapping[str, Result]) -> str:
    cells = [cell for result in results.values() for cell in _lighter(result)]
    if not cells:
        return ""
    about = "Every row of ours on this page for which another system has the lower median:\n\n"
    head = ("What", "Ours", "Faster")
    title = _headed("Where another system is faster", "=")
    return title + about + _list_table(head, cells, "45 15 40")


def _lighter(result: Result) -> list[tuple[str, str, str]]:
    return [
        (
            f"{table.title}: {ours.name}",
            f"{number(ours.median)} {table.unit}",
            listed([_faster_row(row) for row in faster]),
        )
        for table in result.tables
        for ours in table.rows
        if ours.name.startswith(OURS) and not ours.name.endswith(AGAIN)
        if (faster := [row for row in _of_others(table) if row.median < ours.median])
    ]


def _of_others(table: Table) -> list[Row]:
    return [row for row in table.rows if row.name in (*PEERS_AND_STARLETTE, IN_ONE)]


def _faster_row(row: Row) -> str:
    return f"{row.name} {number(row.median)}" + (f" ({row.note})" if row.note else "")


def _where(results: Mapping[str, Result]) -> str:
    last = max(results.values(), key=lambda result: result.date)
    versions = listed([f"{name} {found}" for name, found in last.versions.items()])
    text = (
        f"Measured on {last.date} UTC with {versions}, on {last.machine}. The slow ones run with ``make bench ALL=1``"
        " only. Each section says when it was measured, and the machine's load at that time: an idle machine has"
        " about 1 while the benchmarks run."
    )
    return _headed("Versions and machine", "=") + f"{_wrapped(text)}\n\n"


# One benchmark


def _section(result: Result, folder: str) -> str:
    about = import_module(f"benchmarks.{result.name}").__doc__ or ""
    parts = [_headed(_title(result.name), "="), f"{_wrapped(about)}\n\n"]
    other = f"Measured on {result.date} UTC in {result.seconds:.0f} s, with a load of {result.load:.1f}."
    for place, table in enumerate(result.tables, start=1):
        parts.append(_headed(table.title, "-"))
        if table.text:
            parts.append(f"{_wrapped(table.text)}\n\n")
        if table.plot:
            parts.append(f".. raw:: html\n   :file: {folder}/{result.name}-{place}.svg\n\n")
        parts.append(_table(table))
    return "".join([*parts, f"{other}\n\n"])


def _table(table: Table) -> str:
    against = table.against_words or table.against
    head = ["", f"Median, {table.unit}"]
    has_ratios = any(table.ratios(row) for row in table.rows)
    if has_ratios:
        head.append(f"Ratio to {against}" if against else "Ratio")
    has_remarks = any(row.goal or row.note for row in table.rows)
    if has_remarks:
        head.append("Remark")
    cells = []
    for row in table.rows:
        line = [row.name, f"{number(row.median)} ({between(row.samples)})"]
        if has_ratios:
            ratios = table.ratios(row)
            said = (
                f"{ratio_number(table.ratio(row))} ({between(ratios, as_ratio=True)})"
                if ratios
                else ""
            )
            line.append(said)
        if has_remarks:
            verdict = table.verdict(row)
            goal = f"{verdict}: {row.goal}" if verdict else ""
            line.append("; ".join(filter(None, [row.note, goal])))
        cells.append(line)
    rounds = len(table.rows[0].samples)
    words = f"{rounds} {'round' if rounds == 1 else 'rounds'}. {_noise(table).capitalize()}"
    words += ": **too noisy to tell**" if table.too_noisy else ""
    widths = {2: "60 40", 3: "40 30 30", 4: "30 20 22 28"}[len(head)]
    return _list_table(head, cells, widths) + f"{_wrapped(f'{words}.')}\n\n"


def _title(name: str) -> str:
    title: str = import_module(f"benchmarks.{name}").TITLE
    return title


# reStructuredText


def _headed(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}\n\n"


def _wrapped(text: str, first: str = "") -> str:
    # Paragraphs of at most 110 columns; what stands before the first line indents the others.
    return "\n\n".join(
        fill(
            paragraph,
            110,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for paragraph in text.strip().split("\n\n")
    )


def _list_table(head: Sequence[str], rows: Sequence[Sequence[str]], widths: str) -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in (head, *rows):
        for place, cell in enumerate(row):
            begin = "   * - " if place == 0 else "     - "
            lines.append(_wrapped(cell, begin) or begin.rstrip())
    return "\n".join([*lines, "", ""])
