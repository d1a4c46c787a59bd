"""The progress of a run in a terminal: one line per hook."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOBase
from typing import IO, TYPE_CHECKING, NamedTuple, Self, cast

from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.reporting.journal import Progress
from lifespan_app.engine.reporting.report import Observer, Outcome, Phase, Report, Status, Step, why
from lifespan_app.engine.wording import count, time_taken

from .terminal import (
    Output,
    cut,
    first_line,
    folded,
    has_colour,
    painted,
    printable,
    size,
)

if TYPE_CHECKING:
    from .drawing import Drawing

MANY = 50
"""Up to so many hooks, each has a line. Of more, only failed and slow ones have one."""
SLOWEST = 10
"""The number of slowest hooks that have a line then."""
ROWS = 10
"""The maximum number of lines that are updated in place."""

MEANINGS = {
    Outcome.OK: "good",
    Outcome.FINISHED: "good",
    Outcome.FAILED: "bad",
    Outcome.TIMED_OUT: "bad",
    Outcome.CRASHED: "bad",
    Outcome.STALLED: "bad",
    Outcome.ABANDONED: "bad",
    Outcome.CANCELLED: "careful",
    Outcome.SKIPPED: "careful",
}
UP = (Status.SERVING, Status.DEGRADED)
BEGINS = {Phase.STARTUP: "starting", Phase.SERVING: "running", Phase.SHUTDOWN: "stopping"}


class Busy(NamedTuple):
    """A hook that is starting or stopping."""

    word: str
    key: str
    since: float
    progress: str = ""
    """Its own report of progress."""

    @property
    def shown(self) -> str:
        """The hook and its progress."""
        return f"{self.key}: {self.progress}" if self.progress else self.key


class Live(Observer):
    """Write a line for each hook that starts, stops, fails or crashes.

    On a terminal with rich, current hooks are updated in place at the bottom, below all other output
    of the process. Otherwise there are only plain lines. It follows one run at a time: a run inside
    another one is not shown.

    Args:
        stream: the output; also that of a management command.
        no_color: no colours, also on a terminal, like the environment variable ``NO_COLOR``.
        force_color: colours, also in a pipe or a file.
        every: a line for each hook of a large plan too.
    """

    def __init__(
        self,
        stream: IO[str] | TextIOBase,
        *,
        no_color: bool = False,
        force_color: bool = False,
        every: bool = False,
    ) -> None:
        # OutputWrapper of a command adds a line end to each write:
        # https://docs.djangoproject.com/en/stable/howto/custom-management-commands/
        self._stream: IO[str] = cast("IO[str]", getattr(stream, "_out", stream))
        self._colour = has_colour(self._stream, no_color=no_color, force_color=force_color)
        self._every = every
        self._output = Output(self._stream)
        self._drawing: Drawing | None = None
        self._following = ""
        self._many = False
        self._busy: dict[tuple[str, Phase], Busy] = {}
        self._jobs: dict[str, Busy] = {}
        self._total = 0
        self._begin_phase()

    def _begin_phase(self) -> None:
        self._done = 0
        self._quiet: list[tuple[float, str]] = []
        self._jobs_begun = 0
        self._shown = 0
        self._not_shown: Counter[str] = Counter()

    @contextmanager
    def watching(self, lifespan: Lifespan) -> Iterator[Self]:
        """Observe the runs of a ``Lifespan`` in a ``with`` block."""
        observers = lifespan.adapter.observers
        # Before the log, whose line about a startup must follow those of its hooks.
        observers.insert(0, self)
        try:
            yield self
        finally:
            self.close()
            observers.remove(self)

    def say(self, text: str) -> None:
        """Write a line of the caller above the updated lines."""
        self._write(self._fold(printable(text), ""))

    def close(self) -> None:
        """Remove the updated lines."""
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            drawing.stop()

    # Observer.

    def run_changed(self, report: Report) -> None:
        """Write the heading of a phase that begins, or the summary of one that ends."""
        if report.status is Status.STARTING and not self._following:
            self._following = report.uuid
            self._total = report.hooks_total
            self._many = report.hooks_total > MANY and not self._every
            self._begin_phase()
            self._busy.clear()
            self._jobs.clear()
            self._head(f"Starting '{report.service_type}': {count(report.hooks_total, 'hook')}")
        elif report.uuid != self._following:
            return
        elif report.stopped_at is not None:
            self._sum_up()
            self._following = ""
        elif report.stopping_at is not None:
            self._begin_stop(report)
        elif report.status in UP and self._drawing is not None:
            self._sum_up(goes_on=bool(report.pending))

    def _begin_stop(self, report: Report) -> None:
        self._sum_up()
        self._begin_phase()
        now = time.monotonic()
        for key in self._jobs:
            self._busy[key, Phase.SERVING] = Busy("stopping", key, now)
        self._jobs.clear()
        word = "Rolling back" if report.status is Status.STARTUP_FAILED else "Stopping"
        why = f" ({printable(report.ended_by)})" if report.ended_by else ""
        self._head(f"{word} '{report.service_type}'{why}")

    def step_changed(self, report: Report, step: Step) -> None:
        """Write the outcome of a step, or show a new one."""
        if report.uuid != self._following:
            return
        key = printable(step.key)
        if step.outcome is None:
            self._begins(step, key)
        else:
            self._ends(step, key)
            if report.status in UP and step.phase is Phase.STARTUP and not report.pending:
                self._sum_up()

    def progressed(self, report: Report) -> None:
        """Show the progress of starting hooks."""
        if report.uuid != self._following:
            return
        for one in report.pending:
            busy = self._busy.get((one.key, Phase.STARTUP))
            if busy is not None and (one.progress is not None or one.doing):
                doing = printable(one.doing)
                share = doing if one.progress is None else str(Progress(one.progress, doing))
                self._busy[one.key, Phase.STARTUP] = busy._replace(progress=share)

    def run_ended(self, report: Report, seconds_left: float) -> Awaitable[None] | None:
        """Remove the updated lines after the last run."""
        if not self._following:
            self.close()
        return None

    # Lines.

    def _head(self, text: str) -> None:
        if self._drawing is None:
            self._drawing = drawing_on(self._stream, self._picture)
        self._write([painted(cut(printable(text), self._columns), "heading", colour=self._colour)])

    def _begins(self, step: Step, key: str) -> None:
        busy = Busy(BEGINS[step.phase], key, time.monotonic())
        if step.phase is not Phase.SERVING:
            self._busy[step.key, step.phase] = busy
            return
        self._jobs[step.key] = busy
        self._jobs_begun += 1
        if not self._many:
            again = f" (attempt {step.attempt})" if step.attempt > 1 else ""
            self._write([self._line(busy.word, "busy", None, key + again)])

    def _ends(self, step: Step, key: str) -> None:
        assert step.outcome is not None
        if step.outcome is not Outcome.STALLED:
            # A stalled job goes on.
            self._done += 1
            self._jobs.pop(step.key, None)
        busy = self._busy.pop((step.key, step.phase), None)
        duration = step.duration
        if step.phase is Phase.SERVING and busy is not None:
            # Show the time that the job took to stop, and not the time that it has run.
            duration = time.monotonic() - busy.since
        if self._many and step.outcome is Outcome.OK:
            self._quiet.append((duration, key))
            return
        word = step.outcome.replace("_", " ")
        if self._many and self._shown >= MANY:
            self._not_shown[word] += 1
            return
        self._shown += 1
        lines = [self._line(word, MEANINGS[step.outcome], duration, key)]
        if said := what_is_said(step):
            lines += self._fold(said, DETAIL if self._is_wide() else NARROW_DETAIL)
        self._write(lines)

    def _sum_up(self, *, goes_on: bool = False) -> None:
        if self._many:
            self._write(list(self._sum()))
        self._quiet, self._not_shown, self._jobs_begun = [], Counter(), 0
        if not (self._busy or goes_on):
            self.close()

    def _sum(self) -> Iterator[str]:
        slowest = sorted(self._quiet, reverse=True)
        for duration, key in slowest[:SLOWEST]:
            yield self._line("ok", "good", duration, key)
        if rest := slowest[SLOWEST:]:
            text = f"{count(len(rest), 'more hook')}, each in {time_taken(rest[0][0])} or less"
            yield self._line("ok", "good", None, text)
        for word, number in self._not_shown.items():
            yield self._line(word, "careful", None, count(number, "more hook"))
        if self._jobs_begun:
            yield self._line("running", "busy", None, f"background jobs: {self._jobs_begun}")

    def _line(self, word: str, meaning: str, duration: float | None, key: str) -> str:
        took = "" if duration is None else time_taken(duration)
        columns = self._columns
        # Leave the last column empty: some terminals wrap the line after it.
        line = cut(f"  {word:<9} {took:>9}  {key}", None if columns is None else columns - 1)
        return line.replace(word, painted(word, meaning, colour=self._colour), 1)

    def _fold(self, text: str, indent: str) -> list[str]:
        columns = self._columns
        return [indent + text] if columns is None else list(folded(text, columns, indent))

    @property
    def _columns(self) -> int | None:
        found = size(self._stream)
        return None if found is None else found.columns

    def _is_wide(self) -> bool:
        return self._columns is None or self._columns >= 2 * len(DETAIL)

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        text = "\n".join(lines)
        if self._drawing is not None:
            self._drawing.write(text)
            return
        # Without its terminal or a reader of the pipe, the run continues.
        with suppress(OSError):
            self._output.write(f"{text}\n")

    def _picture(self, rows: int) -> list[str]:
        """Return the lines of current hooks, at most ``rows``. Called from the drawing thread."""
        now = time.monotonic()
        # An atomic copy: the event loop changes the dictionary meanwhile.
        busy = sorted(self._busy.copy().values(), key=lambda busy: busy.since)
        if rows < 1:
            return []
        rows = min(rows, ROWS)
        shown = busy if len(busy) <= rows else busy[: rows - 1]
        lines = [self._line(one.word, "busy", now - one.since, one.shown) for one in shown]
        if hidden := len(busy) - len(shown):
            text = f"{count(hidden, 'more hook')}; done: {self._done} of {self._total}"
            lines.append(self._line(busy[-1].word, "busy", None, text))
        return lines


def drawing_on(stream: IO[str], lines: Callable[[int], list[str]]) -> Drawing | None:
    """Return a drawing on a terminal; None for other streams, and without rich."""
    if size(stream) is None:
        return None
    try:
        from .drawing import Drawing
    except ImportError:
        return None
    return Drawing(stream, lines)


DETAIL = " " * 23
NARROW_DETAIL = " " * 4


def what_is_said(step: Step) -> str:
    """Return the reason for a step's outcome in one line, with the hook's file and line."""
    if not step.exception:
        return printable(step.reason)
    place = f"{step.file}:{step.line}"
    if step.exception.endswith((".HookError", ".LimitPassed")) and place in step.error:
        # An error of the engine contains the hook, file and line.
        return first_line(step.error)
    return f"{printable(why(step))} ({printable(place)})"
