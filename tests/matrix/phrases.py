"""What a cell says: phrases made of what was observed, in reStructuredText."""

from __future__ import annotations

from collections.abc import Sequence

from tests.matrix.columns import Column
from tests.matrix.situations import RACES
from tests.matrix.trial import Trial, Worker


def ended(situation: str, column: Column, code: int) -> str:
    """Say with which code the main process has ended."""
    codes = RACES.get((situation, column.name))
    if codes is not None and code in codes:
        return f"exit code {codes[0]} (or {codes[1]})"
    # As a shell tells of a process that a signal has ended.
    return f"exit code {code if code >= 0 else 128 - code}"


def closed(workers: Sequence[Worker], busy: int | None) -> str:
    """Say what the workers have closed."""
    if len({worker.closed for worker in workers}) > 1:
        assert {worker.closed for worker in workers if worker.pid == busy} == {False}
        return "nothing closed in its worker, everything in the other one"
    if not workers[0].closed:
        return "nothing closed"
    cancelled = any(worker.cancelled for worker in workers)
    return "everything closed (on a cancellation)" if cancelled else "everything closed"


def recorded(workers: Sequence[Worker], busy: int | None) -> str:
    """Say what is recorded of the workers."""
    statuses = {worker.run.status for worker in workers}
    if len(statuses) == 1:
        return f"recorded as ``{statuses.pop()}``"
    [its] = [worker.run.status for worker in workers if worker.pid == busy]
    [others] = {worker.run.status for worker in workers if worker.pid != busy}
    return f"recorded as ``{its}``, the other one as ``{others}``"


def stop(situation: str, trial: Trial, workers: Sequence[Worker], code: int | None) -> str:
    """
    Say how a stop went for a request in flight, for resources, and for the history.

    Without a code, the server was blocked, and the test has killed it.
    """
    seen = ["request " + ("answered" if trial.answered() else "cut off")] if trial.requested else []
    if workers:
        seen.append(closed(workers, trial.busy))
    end = ["never ends"] if code is None else [ended(situation, trial.column, code)]
    if workers:
        end.append(recorded(workers, trial.busy))
    return sentence(seen, end)


def sentence(*parts: Sequence[str]) -> str:
    """Put parts together: commas inside each, semicolons between them."""
    text = "; ".join(", ".join(part) for part in parts)
    return text[0].upper() + text[1:]
