"""The output of ``manage.py showlifespan``: a recorded run as text, like its page in the admin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from string import hexdigits
from typing import Any

from django.core.management.base import CommandError
from django.core.management.color import Style
from django.db import DatabaseError
from django.utils import timezone

from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.wording import count
from lifespan_app.history.reading import advice, describe, time_text
from lifespan_app.history.reading.against_last_good import Comparison, against_last_good
from lifespan_app.history.reading.as_json import document
from lifespan_app.history.reading.boot import boot_of
from lifespan_app.history.reading.jobs import Job, jobs_of
from lifespan_app.history.reading.migrations import unapplied
from lifespan_app.history.reading.queries import SHORT_ID, tables_exist
from lifespan_app.history.reading.spooled import Recorded, spooled_runs
from lifespan_app.history.reading.statistics import UNCOUNTED
from lifespan_app.history.reading.tracebacks import innermost, parts_of
from lifespan_app.models import LifespanRun, LifespanStep, Outcome, Phase, Status

from .command import FAILED, CommandWithExitCodes, refuse_pairs
from .tables import Table
from .terminal import folded, printable, width_of_page

MOST_LINES = 20
"""The most steps of a phase, and the most lines of a log, that are listed."""
HEADS = ("Hook", "Outcome", "Started at", "Took", "Defined at")
HAVE_FAILED = (Status.STARTUP_FAILED, Status.SHUTDOWN_FAILED, Status.LOST)
LATELY = 5_000
"""The number of newest runs among which the beginning of a UUID is searched."""
MOST_LIVE = 200
JOB_HEADS = ("Job", "State", "Count", "Next")
GOOD = frozenset({Outcome.OK, Outcome.FINISHED, ""})


class RunText:
    """Lines of text for a terminal.

    Args:
        style: Django's colours.
        width: columns of the terminal.
        now: the time from which ages are counted.
    """

    def __init__(self, style: Style, width: int, now: datetime) -> None:
        self.style = style
        self.width = width
        self.now = now

    def run(
        self, run: LifespanRun, steps: Sequence[LifespanStep], against: Comparison | None = None
    ) -> Iterator[str]:
        """Yield a run: its head, the comparison, failed hooks, jobs and steps."""
        yield from self.head(run, steps)
        if against is not None:
            yield ""
            yield from self.against(against)
        for step in describe.broken(steps)[:MOST_LINES]:
            yield ""
            yield from self.trouble(step)
        yield from self.boot(run)
        jobs = jobs_of(run)
        known = {job.key for job in jobs}
        for phase, title in self.phases(run):
            found = describe.in_phase(steps, phase)
            if phase == Phase.SERVING and jobs:
                yield ""
                yield from self.jobs(run, jobs)
                found = [step for step in found if step.key not in known]
            if found:
                yield ""
                yield from self.phase(run, found, title)

    def head(self, run: LifespanRun, steps: Sequence[LifespanStep]) -> Iterator[str]:
        """Yield the result of the run, its process, and the advice."""
        status = run.status_at(self.now)
        yield f"{printable(str(run))}  {self.colour_of(status)(describe.status(run, self.now))}"
        yield from folded(printable(describe.headline(run, steps, self.now)), self.width)
        yield ""
        yield from folded(printable(self.line_of(run)), self.width, "  ")
        began = (
            f"started {time_text.clock(run.started_at)}, {time_text.ago(run.started_at, self.now)}"
        )
        yield f"  {began}"
        yield f"  UUID {run.uuid}"
        if run.loop_blocks:
            longest = time_text.duration(run.longest_block)
            yield f"  event loop: blocked {count(run.loop_blocks, 'time')}, for {longest} at most"
        if run.left_out:
            keys = ", ".join(printable(key) for key, _reason in run.left_out)
            yield from folded(f"LIFESPAN_SKIP leaves out {keys}", self.width, "  ")
        if sentences := [*advice.for_run(run, steps, self.now), *unapplied(steps)]:
            yield ""
            yield self.style.MIGRATE_HEADING("What to do")
            for sentence in sentences:
                yield from folded(printable(sentence), self.width, "  - ", "    ")

    def against(self, found: Comparison) -> Iterator[str]:
        """Yield the differences from the last good run."""
        yield self.style.MIGRATE_HEADING("Compared with the last good run")
        yield from folded(printable(found.headline), self.width, "  ")
        for difference in found.differences:
            yield from folded(printable(difference.text), self.width, "  - ", "    ")

    def boot(self, run: LifespanRun) -> Iterator[str]:
        """Yield the time before the hooks, if it is recorded."""
        boot = boot_of(run)
        if boot is None:
            return
        yield ""
        yield from folded(boot.summary, self.width)
        for part in boot.parts:
            yield f"  {part.took:>8}  {part.text}"

    def line_of(self, run: LifespanRun) -> str:
        """Return the process of a run, in a line."""
        words = [f"{run.service_type} {run.release}".strip(), run.environment, run.host]
        return ", ".join(word for word in [*words, f"pid {run.pid}", run.server] if word)

    def phases(self, run: LifespanRun) -> list[tuple[Phase, str]]:
        """Return the phases, each with its title, which has the duration."""
        stop = "Rollback" if run.status == Status.STARTUP_FAILED else "Shutdown"
        titles = {
            Phase.STARTUP: ("Startup", run.startup_duration),
            Phase.SERVING: ("While serving", describe.served_for(run, self.now)),
            Phase.SHUTDOWN: (stop, run.shutdown_duration),
        }
        return [
            (phase, title if taken is None else f"{title}: {time_text.duration(taken)}")
            for phase, (title, taken) in titles.items()
        ]

    def trouble(self, step: LifespanStep) -> Iterator[str]:
        """Yield all that is known of a step that went wrong."""
        yield self.style.ERROR(printable(describe.failure_text(step)))
        if step.explanation:
            yield from folded(printable(step.explanation), self.width, "  ")
        if place := describe.place(step):
            yield f"  defined at {printable(place)}"
        yield from self.attempts(step)
        if step.waiting_at:
            yield from folded(f"it waited at {printable(step.waiting_at)}", self.width, "  ")
        if raised := innermost(step.traceback):
            yield from folded(f"raised at {printable(raised)} (in your code)", self.width, "  ")
        if step.exception or step.error:
            error = f"{step.exception}: {step.error}".strip(": ")
            text = "\n".join(printable(line) for line in error.splitlines())
            yield from folded(text, self.width, "  ")
        for part in parts_of(step.traceback):
            lines = [f"  ({part.summary})"] if part.libraries else part.lines
            for line in lines:
                yield f"  | {printable(line)}"
        for _offset, level, logger, text in step.log[-MOST_LINES:]:
            yield from folded(printable(f"{level} {logger}: {text}"), self.width, "  > ", "    ")

    def attempts(self, step: LifespanStep) -> Iterator[str]:
        """Yield the errors of the attempts that failed before, the last ones."""
        first = len(step.errors) - len(step.errors[-MOST_LINES:]) + 1
        for number, error in enumerate(step.errors[-MOST_LINES:], start=first):
            text = f"failed attempt {number}: {error}"
            yield from folded(printable(text), self.width, "    ", "      ")

    def phase(self, run: LifespanRun, steps: Sequence[LifespanStep], title: str) -> Iterator[str]:
        """Yield the steps of a phase as a table, those that matter where there are many."""
        yield self.style.MIGRATE_HEADING(title)
        heaviest = sorted(steps, key=weight)[:MOST_LINES]
        shown = [step for step in steps if step in heaviest]
        rows = [self.cells(step) for step in shown]
        table = Table(rows, self.width, HEADS, gutter=2, places=True)
        yield table.head()
        for row, step in zip(rows, shown, strict=True):
            yield from table.row(row, style=str if step.outcome in GOOD else self.style.ERROR)
            if step.reason:
                yield from folded(printable(step.reason), self.width, "    ")
            if step.waiting_at and not step.outcome:
                yield from folded(f"it waits at {printable(step.waiting_at)}", self.width, "    ")
            if step.outcome in GOOD:
                yield from self.attempts(step)
        if more := len(steps) - len(rows):
            yield f"  and {describe.hooks(more)} more, which took less"

    def jobs(self, run: LifespanRun, jobs: Sequence[Job]) -> Iterator[str]:
        """Yield the background jobs as a table, those that are unwell first where there are many."""
        yield self.style.MIGRATE_HEADING("Jobs")
        worst = sorted(jobs, key=lambda job: not job.is_unwell)[:MOST_LINES]
        shown = [job for job in jobs if job in worst]
        is_over = run.is_over or run.is_lost(self.now)
        rows = [
            [
                printable(job.key),
                job.label,
                job.counts,
                "" if is_over else describe.next_begin(job, self.now),
            ]
            for job in shown
        ]
        table = Table(rows, self.width, JOB_HEADS, gutter=2)
        yield table.head()
        for row, job in zip(rows, shown, strict=True):
            yield from table.row(row, style=self.style.ERROR if job.is_unwell else str)
            for text in self.about(job):
                yield from folded(printable(text), self.width, "    ")
        if more := len(jobs) - len(rows):
            yield f"  and {more} more"

    def about(self, job: Job) -> Iterator[str]:
        """Yield the details of a job, a line each."""
        if job.leads:
            yield "this process leads"
        if job.reason:
            yield job.reason
        if job.last_success_at:
            yield f"last success {time_text.clock(job.last_success_at)}"
        if job.last_crash_at:
            yield f"last crash {time_text.clock(job.last_crash_at)}: {job.last_crash}"

    def cells(self, step: LifespanStep) -> list[str]:
        """Return the cells of a step."""
        mark = " *" if step.on_critical_chain else ""
        return [
            printable(step.key) + mark,
            describe.outcome(step),
            f"+{time_text.duration(step.offset)}",
            time_text.duration(step.duration),
            printable(describe.place(step)),
        ]

    def list(self, runs: Sequence[LifespanRun]) -> Iterator[str]:
        """Yield a line a run."""
        rows = [
            [
                describe.status(run, self.now),
                printable(run.service_type),
                printable(run.release),
                printable(f"{run.host} pid {run.pid}".strip()),
                time_text.ago(run.started_at, self.now),
                str(run.uuid)[:8],
            ]
            for run in runs
        ]
        table = Table(rows, self.width)
        for run, row in zip(runs, rows, strict=True):
            status = run.status_at(self.now)
            yield from table.row(row, style=self.colour_of(status))
            if status == Status.NOT_READY:
                for reason in run.readiness_reason.splitlines():
                    yield from folded(printable(reason), self.width, "    ")

    def colour_of(self, status: Status) -> Callable[[str], str]:
        """Return the function that gives a text the colour of a status."""
        colours = {
            Status.SERVING: self.style.SUCCESS,
            Status.DEGRADED: self.style.WARNING,
            Status.NOT_READY: self.style.ERROR,
            Status.STARTUP_FAILED: self.style.ERROR,
            Status.SHUTDOWN_FAILED: self.style.ERROR,
            Status.LOST: self.style.ERROR,
        }
        found: Callable[[str], str] = colours.get(status, self.style.NOTICE)
        return found


def weight(step: LifespanStep) -> tuple[bool, bool, float]:
    """Return the sort key of a step: failed ones first, then the longest chain, then slow ones."""
    return (step.outcome in GOOD, not step.on_critical_chain, -step.duration.total_seconds())


# For the command.


def refuse(options: Mapping[str, Any]) -> None:
    """Raise ``CommandError`` for options that can't be combined."""
    times, judging = ("--blame", "--longest-chain"), ("--expect", "--fail-on")
    given = {
        "--now": options["now"],
        "--leases": options["leases"],
        "--release": options["release"] is not None,
        "--blame": options["blame"],
        "--longest-chain": options["longest_chain"] is not None,
        "--expect": options["expect"],
        "--fail-on": options["fail_on"],
        "--format json": options["format"] == "json",
    }
    refuse_pairs(
        given,
        [
            times,
            ("--release", "--format json"),
            *product(("--leases", "--release"), (*times, *judging)),
            *product(times, ("--now", "--format json", *judging)),
        ],
    )


def show(command: CommandWithExitCodes, options: Mapping[str, Any]) -> None:
    """Read and print the runs that are asked for. Raises ``CommandError`` where there are none."""
    runs, is_known = read(command, options)
    if not runs:
        raise CommandError(nothing(options, is_known=is_known), returncode=FAILED)
    now = timezone.now()
    against = None if options["now"] else compared(*runs[0], now)
    if options["format"] == "json":
        documents = [document(run, steps, now, against) for run, steps in runs]
        command.stdout.write(json.dumps(documents if options["now"] else documents[0], indent=2))
        return
    text = RunText(command.style, width_of_page(), now)
    lines = text.list([run for run, _ in runs]) if options["now"] else text.run(*runs[0], against)
    for line in lines:
        command.stdout.write(line)


def compared(run: LifespanRun, steps: Sequence[LifespanStep], now: datetime) -> Comparison | None:
    """Return the comparison with the last good run; None of a run that is only in a file."""
    if run._state.adding:
        return None
    try:
        return against_last_good(run, steps, now)
    # The database may have gone away since the run was read.
    except DatabaseError:
        return None


def read(command: CommandWithExitCodes, options: Mapping[str, Any]) -> tuple[list[Recorded], bool]:
    """Return the runs that are asked for, and whether the database could be read."""
    try:
        if tables_exist():
            return from_database(options) or from_files(options), True
        why = "The history has no tables yet: run 'manage.py migrate lifespan_app'."
        is_known = True
    except DatabaseError as error:
        is_known = False
        why = f"The database of the history does not respond: {one_line(error)}"
    command.stderr.write(f"{why}\nShowing the runs that are stored in files on this host.")
    return from_files(options), is_known


def nothing(options: Mapping[str, Any], *, is_known: bool) -> str:
    """Return the reason that no run is shown.

    Args:
        options: the options of the command.
        is_known: whether the database could be read.
    """
    if not is_known:
        return "Not known: the database can't be read, and no such run is in a file on this host."
    if options["uuid"]:
        return f"No recorded run has a UUID that begins with '{options['uuid']}'."
    if options["last_failed"]:
        return "No recorded run has failed."
    if options["now"]:
        return "No process is recorded as running."
    return "No run has been recorded yet."


def from_database(options: Mapping[str, Any]) -> list[Recorded]:
    """Return the runs that are asked for."""
    if options["now"]:
        live = LifespanRun.objects.live().exclude(mode__in=UNCOUNTED)
        return [(run, []) for run in live[:MOST_LIVE]]
    runs = LifespanRun.objects.all()
    if options["uuid"]:
        runs = runs.filter(pk__in=keys_of(options["uuid"]))
    elif options["last_failed"]:
        newest = [
            some.values_list("pk", flat=True).first()
            for some in (runs.failed(), runs.filter(status=Status.LOST), runs.silent())
        ]
        runs = runs.filter(pk__in=[key for key in newest if key is not None])
    run = runs.first()
    return [] if run is None else [(run, list(run.steps.order_by("pk")))]


def keys_of(beginning: str) -> list[int]:
    """Return the primary keys of the newest runs whose UUID begins so."""
    wanted = beginning.replace("-", "").lower()
    runs = LifespanRun.objects.all()
    if not set(wanted) <= set(hexdigits):
        return []  # not every text can be in a query
    if len(wanted) >= SHORT_ID:
        # Version 0.1 leaves it empty.
        runs = runs.filter(short_id__in=(wanted[:SHORT_ID], ""))
    newest = runs.values_list("pk", "uuid")[:LATELY]
    return [key for key, uuid in newest if uuid.hex.startswith(wanted)]


def from_files(options: Mapping[str, Any]) -> list[Recorded]:
    """Return the runs that are asked for, as far as they wait in files."""
    now = timezone.now()
    runs = list(spooled_runs())
    if options["now"]:
        return [(run, steps) for run, steps in runs if not run.is_over and not run.is_lost(now)]
    if options["uuid"]:
        wanted = options["uuid"].replace("-", "").lower()
        runs = [one for one in runs if str(one[0].uuid).replace("-", "").startswith(wanted)]
    elif options["last_failed"]:
        runs = [one for one in runs if one[0].status_at(now) in HAVE_FAILED]
    return runs[:1]
