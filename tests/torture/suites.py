"""Folders of the test suite as parts of ``make torture``: hostile input with many examples, and security."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from tests.bad_input.examples import FACTOR_VARIABLE
from tests.torture.results import Row

CHECKOUT = Path(__file__).resolve().parents[2]
MORE, MORE_QUICK = 10.0, 1.0
"""The factor of the numbers of examples; ``make test`` tries a quarter."""


def suite(part: str, folder: str, seed: int, factor: float) -> Row:
    """Run the tests of a folder.

    Args:
        part: the name of the part.
        folder: the folder in ``tests``.
        seed: what random examples come from.
        factor: how many times the examples that each test names.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        report = Path(temporary) / "report.xml"
        subprocess.run(
            [
                *(sys.executable, "-m", "pytest", f"tests/{folder}", "--timeout", "3600"),
                *(f"--hypothesis-seed={seed}", f"--junitxml={report}"),
            ],
            cwd=CHECKOUT,
            env={**os.environ, FACTOR_VARIABLE: str(factor)},
            check=False,
        )
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    faults = [
        f"{case.get('name')}: {failed.get('message')}"
        for case in cases
        for failed in (*case.iter("failure"), *case.iter("error"))
    ]
    if not cases:
        faults.append("no test has run")
    skipped = sum(case.find("skipped") is not None for case in cases)
    tried = f"{len(cases) - skipped} tests, {factor:g} x their examples"
    result = f"{skipped} skipped" if skipped else "every rule holds"
    return Row(part, tried, result, faults, str(seed), time.monotonic() - begun)
