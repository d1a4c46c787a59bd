"""Run benchmarks, and write the page of the documentation.

python -m benchmarks                              # all but the slow ones, as tables
python -m benchmarks hooks request                # some
python -m benchmarks --write docs/benchmarks      # and write results, plots and page
python -m benchmarks --page docs/benchmarks       # only plots and page, from stored results
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page import LARGE, NAMES, write_page
from benchmarks.results import Result, Table
from benchmarks.words import number, ratio_number


def text_of(table: Table) -> str:
    """Return a table for a terminal."""
    lines = [table.title]
    for row in table.rows:
        ratio = ratio_number(table.ratio(row)) if table.ratios(row) else ""
        remark = "; ".join(filter(None, [row.note, table.verdict(row), row.goal]))
        lines.append(
            f"  {row.name:44} {number(row.median):>8} {table.unit:10} {ratio:>7}  {remark}".rstrip()
        )
    if table.too_noisy:
        lines.append(f"  too noisy to tell: {table.noise:.3f}, at most {table.noise_at_most}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for. Return 1 if a benchmark has failed: a missed goal is no failure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*NAMES, *LARGE)))
    parser.add_argument(
        "--all", action="store_true", help=f"with the slow ones: {', '.join(LARGE)}"
    )
    parser.add_argument("--quick", action="store_true", help="one round each, to see that it runs")
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="store results, write the page"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FOLDER", help="measure nothing, write the page"
    )
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - {*NAMES, *LARGE}:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if asked.page:
        print(write_page(asked.page))
        return 0

    names = asked.names or [*NAMES, *(LARGE if asked.all else ())]
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.write or Path(temporary)
        folder.mkdir(exist_ok=True)
        for name in names:
            # In a process of its own: each has other settings of Django.
            quick = ["--quick"] if asked.quick else []
            command = [sys.executable, "-m", "benchmarks.one", name, str(folder), *quick]
            if subprocess.run(command, check=False).returncode:
                failed.append(name)
                continue
            result = Result.read(folder / f"{name}.json")
            print("\n\n".join(map(text_of, result.tables)), end="\n\n", flush=True)
            if asked.write:
                write_page(folder)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
