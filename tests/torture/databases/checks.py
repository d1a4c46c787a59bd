"""What must hold after a fault of the database: of the answers, and of the history."""

from __future__ import annotations

import math
import re
import signal
from collections import Counter
from collections.abc import Sequence

from tests.clusters import Cluster
from tests.torture.databases.faults import RECOVERED, dropped
from tests.torture.databases.place import SHUTDOWN
from tests.torture.databases.seen import Pair, Seen
from tests.torture.databases.trial import Trial
from tests.torture.load import failed, median, worst

LAST_WRITE = 1.5
"""Seconds that the history may take for its last write, beyond those of a stop."""
LATER = 3.0
"""Seconds that a start or a stop may take longer in a fault than before: other work runs here, too."""
SLOWER, WORST = 3.0, 1.0
"""How often the median may be that of before, and how many seconds the slowest answer may take longer."""
SOME = 0.01
"""Seconds by which a median may always differ."""
END_DIFFERS = 2.0
"""Seconds between the end that the journal has and the one that the history has, at most."""


def look_at_answers(trial: Trial) -> None:
    """Hold the answers, starts and stops in the fault against those before it."""
    seen = trial.seen
    if count := failed(trial.plain.between(trial.before, math.inf)):
        seen.faults.append(f"{count} requests without the database failed")
    if count := failed(trial.books.between(trial.recovered, math.inf)):
        seen.faults.append(f"{count} requests with the database failed after the fault")
    look_at_times(seen)
    for what, (first, *others) in (("start", seen.starts), ("stop", seen.stops)):
        if max(others) > first + LATER + (SHUTDOWN + LAST_WRITE if what == "stop" else 0):
            seen.faults.append(f"a {what} took {max(others):.1f} s")
    if set(trial.codes) - {-signal.SIGTERM, 0}:
        seen.faults.append(f"servers ended with {trial.codes}")


def look_at_times(seen: Seen) -> None:
    """Hold the times of answers in the fault against those before it, and against the control's."""
    if is_slower(seen.plain, seen.control):
        seen.faults.append("answers without the database were slower")
    else:
        seen.too_busy = is_slower(seen.plain)


def is_slower(answers: Pair, control: Pair = ([], [])) -> bool:
    """Return True if answers in the fault were slower than those before it.

    Args:
        answers: those before the fault, and in it.
        control: those of a server that the fault can't reach. What they were slower by is the
            machine's, and not counted.
    """
    before, during = answers
    calm, busy = control
    # Comparisons with the times of no answers are False.
    times = max(1.0, median(busy) / median(calm))
    longer = max(0.0, worst(busy) - worst(calm))
    return (
        median(during) > SLOWER * times * median(before) + SOME
        or worst(during) > worst(before) + longer + WORST
    )


def look_at_history(trial: Trial) -> None:
    """Hold the history, the files and the output of the servers against the journal."""
    seen, place = trial.seen, trial.place
    events = [event.split() for event in place.project.events()]
    started = Counter(int(one[1]) for one in events if one[0] == "starts")
    crashes = Counter(int(one[1]) for one in events if one[0] == "crashes")
    closed = {int(one[1]): float(one[2]) for one in events if one[0] == "closes"}
    runs = place.look()
    seen.runs, seen.late = len(runs), sum(run["late"] for run in runs)
    found = Counter(run["pid"] for run in runs)
    if seen.cell.fault is dropped:
        del started[trial.rehearsed]  # it had ended, and went with its table
    if found != started:
        seen.faults.append(f"runs lost: {started - found}, invented: {found - started}")
    for run in runs:
        for what, is_so, should in (
            ("status", run["status"], "stopped"),
            ("steps", run["steps"], _steps_left(trial, run["pid"])),
            ("crashes", run["crashes"], crashes[run["pid"]]),
        ):
            if is_so != should:
                seen.faults.append(f"{what} of {run['pid']}: {is_so}, not {should}")
        end = closed.get(run["pid"], math.inf)
        if abs((run["stopped_at"] or 0.0) - end) > END_DIFFERS:
            seen.faults.append(f"end of {run['pid']}: {run['stopped_at']}, not {end}")
    if math.isnan(seen.recovered):
        seen.faults.append(f"not everything was recorded {RECOVERED:g} s after the fault")
    if files := place.files():
        seen.faults.append(f"{len(files)} records still wait in files")
    output = "\n".join(server.output for server in trial.servers)
    seen.warnings = output.count("Can't write run history")
    *knew, after = [re.findall("Run .* is lost: .*", one.output) for one in trial.servers]
    seen.lost = len(after)
    if any(knew):
        seen.faults.append(f"runs were called lost by servers that knew of the fault: {knew}")
    for words in ("was given up", "is left out", "can't be imported", "The database refuses"):
        if count := output.count(words):
            seen.faults.append(f"{count} times '{words}' in the output")
    if isinstance(place.database, Cluster):
        place.database.wait_for_clients(0)


def _steps_left(trial: Trial, pid: int) -> Sequence[str]:
    # The steps that a run has in the end.
    if trial.seen.cell.fault is dropped and pid == trial.early:
        # Written before the fault, they went with the table, and the process ended in the fault.
        return [step for step in trial.steps if not step.startswith("startup")]
    return trial.steps
