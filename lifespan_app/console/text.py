"""A plan and its problems as text, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from django.core.management.color import Style

from lifespan_app.engine.plan import LeftOut
from lifespan_app.engine.wording import count, time_limit

from .page import folded, padded
from .plans import ShownHook, ShownPlan, ShownWait
from .problems import Problem, summary
from .terminal import columns_of, printable

HEADS = ("Hook", "Kind", "Start", "Stop", "Where")
LEGEND = "Hooks of one wave can start side by side; all stop in reverse. '-' is no limit."
GUTTER = 4
GAP = "  "


class Text:
    """Lines of text for a terminal.

    Args:
        style: Django's colours; those of ``no_style()`` leave every text as it is.
        width: columns of the terminal.
    """

    def __init__(self, style: Style, width: int) -> None:
        self.style = style
        self.width = width

    def plan(self, plan: ShownPlan) -> Iterator[str]:
        """Yield the plan of one service type, wave by wave."""
        yield from self.title(plan)
        if plan.hooks:
            yield ""
            yield from self.table(plan)
        if plan.left_out:
            yield ""
            yield from self.left_out(plan.left_out)

    def title(self, plan: ShownPlan) -> Iterator[str]:
        """Yield what there is in a plan."""
        name = f"Service type '{printable(plan.service_type)}'"
        if not plan.hooks:
            what = "no hooks"
        else:
            hooks, apps = count(len(plan.hooks), "hook"), count(len(plan.apps), "app")
            what = f"{hooks} of {apps}, in {count(plan.waves, 'wave')}"
        if not plan.complete:
            what += "; it can't be opened before its problems are solved"
        for line in folded(f"{name}: {what}", self.width):
            yield self.style.MIGRATE_HEADING(line)

    def table(self, plan: ShownPlan) -> Iterator[str]:
        """Yield the hooks of a plan, wave by wave."""
        hooks = sorted(plan.hooks, key=lambda hook: hook.wave)
        rows = [cells(hook) for hook in hooks]
        widths = self.widths(rows)
        head = [padded(cell, width) for cell, width in zip(HEADS, widths, strict=False)]
        yield (" " * GUTTER + GAP.join(head)).rstrip()
        has_priorities = any(hook.priority for hook in hooks)
        wave, priority = 0, None
        for hook, row in zip(hooks, rows, strict=True):
            begins_wave = hook.wave != wave
            if begins_wave and wave:
                yield ""
            if has_priorities and hook.priority != priority:
                # All of a lower priority stand before it, so a wave has hooks of one only.
                yield from self.priority(hook.priority, is_first=priority is None)
                priority = hook.priority
            wave = hook.wave
            gutter = str(wave) if begins_wave else ""
            yield from self.hook(hook, row, widths, padded(gutter, GUTTER))
        yield ""
        yield from folded(LEGEND, self.width)

    def priority(self, number: int, *, is_first: bool) -> Iterator[str]:
        """Yield what is said where hooks of another priority begin."""
        others = "" if is_first else ", when every hook of a lower one is up"
        yield from folded(f"Priority {number}{others}", self.width, " " * GUTTER)

    def widths(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Return the widths of the columns that fit.

        A key that is far longer than the others stands on a line of its own. Where even the usual
        ones leave no room for files and lines, these have lines of their own.
        """
        key, *others, where = (
            sorted(columns_of(cell) for cell in column) for column in zip(HEADS, *rows, strict=True)
        )
        middle = [column[-1] for column in others]
        room = self.width - GUTTER - sum(middle) - len(GAP) * len(middle)
        beside = room - len(GAP) - where[-1]
        if beside >= key[len(key) * 9 // 10]:
            return [min(key[-1], beside), *middle, where[-1]]
        return [min(key[-1], max(room, len(HEADS[0]))), *middle]

    def hook(
        self, hook: ShownHook, row: Sequence[str], widths: Sequence[int], gutter: str
    ) -> Iterator[str]:
        """Yield one hook: its columns, and below them what else there is to say."""
        key, *others = row
        rest = GAP.join(
            padded(cell, width) for cell, width in zip(others, widths[1:], strict=False)
        ).rstrip()
        if columns_of(key) <= widths[0]:
            name = self.style.MIGRATE_LABEL(key) + " " * (widths[0] - columns_of(key))
            yield f"{gutter}{name}{GAP}{rest}"
        else:
            for line in folded(key, self.width, gutter, " " * GUTTER):
                yield self.style.MIGRATE_LABEL(line)
            yield " " * (GUTTER + widths[0]) + GAP + rest
        begins = " " * (GUTTER + 2)
        if len(widths) < len(row):
            yield begins + row[-1]
        if more := "; ".join(details(hook)):
            yield from folded(more, self.width, begins, begins + "  ")

    def excluded(self, labels: Sequence[str]) -> Iterator[str]:
        """Yield the apps whose ``lifespan.py`` is left alone."""
        text = f"Not imported, by AUTODISCOVER: the lifespan.py of {', '.join(labels)}"
        yield from folded(printable(text), self.width)

    def left_out(self, hooks: Sequence[LeftOut]) -> Iterator[str]:
        """Yield the hooks that a plan does not hold."""
        yield self.style.MIGRATE_HEADING("Left out")
        rows = [
            (printable(hook.key), printable(hook.reason), f"{printable(hook.file)}:{hook.line}")
            for hook in hooks
        ]
        widths = [max(columns_of(cell) for cell in column) for column in zip(*rows, strict=True)]
        begins = " " * GUTTER
        is_table = GUTTER + sum(widths) + 2 * len(GAP) <= self.width
        for row in rows:
            if is_table:
                yield begins + GAP.join(map(padded, row, widths)).rstrip()
            else:
                key, reason, where = row
                yield from folded(key, self.width, begins)
                yield from folded(reason, self.width, begins + GAP)
                yield begins + GAP + where

    def problems(self, problems: Sequence[Problem]) -> Iterator[str]:
        """Yield every problem, and how many there are."""
        if not problems:
            yield self.style.SUCCESS("No problems.")
            return
        yield self.style.MIGRATE_HEADING("Problems")
        for problem in problems:
            yield ""
            yield from self.problem(problem)
        yield ""
        yield f"{summary(problems)}."

    def problem(self, problem: Problem) -> Iterator[str]:
        """Yield one problem: its level and id, where it is, what is wrong, and what to do."""
        colour = getattr(self.style, problem.level, self.style.NOTICE)
        if problem.level == "INFO":
            colour = self.style.NOTICE
        head = f"{problem.level}{GAP}{problem.id}".rstrip()
        where = printable(problem.where)
        if where and columns_of(head) + len(GAP) + columns_of(where) <= self.width:
            yield f"{colour(head)}{GAP}{where}"
        else:
            yield colour(head)
            if where:
                yield "  " + where
        said = "\n".join(printable(line) for line in problem.message.split("\n"))
        yield from folded(said, self.width, "  ")
        if problem.hint:
            yield from folded(printable(problem.hint), self.width, "  -> ", "     ")


def cells(hook: ShownHook) -> list[str]:
    """Return what stands in the columns of a hook."""
    starts = hook.kind in ("start", "resource")
    return [
        printable(hook.key),
        hook.kind,
        ("-" if hook.start_limit is None else time_limit(hook.start_limit)) if starts else "",
        "" if hook.stop_limit is None else time_limit(hook.stop_limit),
        f"{printable(hook.file)}:{hook.line}",
    ]


def details(hook: ShownHook) -> Iterator[str]:
    """Yield what a hook's columns do not say."""
    if not hook.required:
        yield "optional"
    if not hook.wait:
        yield "not waited for"
    if hook.state_name and hook.state_name != hook.name:
        yield f"in the state: {printable(hook.state_name)}"
    named = (wait for wait in hook.waits_for if wait.hook)
    for text, waits in groupby(named, key=verb):
        yield f"{text} {', '.join(printable(name_of(wait)) for wait in waits)}"


def verb(wait: ShownWait) -> str:
    """Return how it is said that one hook waits for another: each reason has words of its own."""
    if wait.reason == "needs":
        return "needs" if wait.hard else "asks for"
    return "depends on" if wait.reason == "declared" else "written below"


def name_of(wait: ShownWait) -> str:
    """Return what a hook waits for; by the name of the parameter too, where it is another one."""
    parameter = wait.detail.removeprefix("parameter '").removesuffix("'")
    if wait.reason == "needs" and parameter != wait.hook.rpartition(".")[2]:
        return f"{wait.hook} (as '{parameter}')"
    return wait.hook
