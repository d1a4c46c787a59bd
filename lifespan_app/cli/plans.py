"""Plans for output: hooks with their limits and dependencies, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from django.core.management.color import Style

from lifespan_app.checks.limits import start_limit, stop_limit
from lifespan_app.engine.planning.plan import Excluded, Node, Plan, Reason
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.settings import Settings
from lifespan_app.engine.wording import count, time_limit

from .tables import Table
from .terminal import folded, printable

HEADS = ("Hook", "Kind", "Start", "Stop", "Where")
LEGEND = "Hooks of one layer can start side by side; all stop in reverse. '-' is no limit."
NO_HOOKS = (
    "Hooks are declared in the lifespan.py of an installed app, or in a module that it imports."
)
GUTTER = 4
MOST_EXCLUDED = 20
"""The most excluded hooks with a line each; above it, each reason has one."""
SHOWN_EXCLUDED = 6
"""The most excluded hooks that are named beside their reason."""


class ShownWait(NamedTuple):
    """A hook that another one waits for, and the reason."""

    hook: str
    """Its key; "" for all hooks of a lower priority."""
    at: int
    """Its index in the plan; -1 for all hooks of a lower priority."""
    reason: str
    detail: str
    hard: bool
    """True if the hook can't start without it."""


class ShownHook(NamedTuple):
    """One hook of a plan."""

    key: str
    app: str
    name: str
    kind: str
    layer: int
    """Counted from 1."""
    priority: int
    required: bool
    wait: bool
    """True if the startup waits for it."""
    state_name: str
    """A resource's name in the state; "" for other kinds."""
    start_limit: float | None
    """Seconds; None: no limit of its own."""
    stop_limit: float | None
    """Seconds; None: nothing to stop."""
    waits_for: tuple[ShownWait, ...]
    file: str
    line: int


class ShownPlan(NamedTuple):
    """The plan of one service type."""

    service_type: str
    complete: bool
    """False if problems prevent its start; it is shown as far as possible then."""
    layers: int
    hooks: tuple[ShownHook, ...]
    """In the order of the plan."""
    excluded: tuple[Excluded, ...]

    @property
    def apps(self) -> list[str]:
        """The labels of the apps that have hooks in it, in the order of the plan."""
        return list(dict.fromkeys(hook.app for hook in self.hooks))


def shown(plan: Plan, settings: Settings, *, complete: bool = True) -> ShownPlan:
    """Return a plan in the form that is shown.

    Args:
        plan: the plan.
        settings: the source of limits that a hook does not have itself.
        complete: True if the plan can be opened.
    """
    layers = plan.layers()
    layer_of = {node.index: number for number, layer in enumerate(layers, 1) for node in layer}
    places = {node.index: at for at, node in enumerate(plan.hooks)}
    hooks = []
    for node in plan.hooks:
        hook, options = node.hook, node.options
        assert hook is not None
        hooks.append(
            ShownHook(
                key=node.key,
                app=node.label,
                name=hook.name,
                kind=str(hook.kind),
                layer=layer_of[node.index],
                priority=options.priority,
                required=options.required,
                wait=options.wait,
                state_name=options.state_name if hook.kind == "resource" else "",
                start_limit=start_limit(node),
                stop_limit=stop_limit(node, settings),
                waits_for=tuple(waits_of(plan, node, places)),
                file=short(hook.file),
                line=hook.line,
            )
        )
    excluded = tuple(one._replace(file=short(one.file)) for one in plan.excluded)
    return ShownPlan(plan.service_type, complete, len(layers), tuple(hooks), excluded)


def waits_of(plan: Plan, node: Node, places: dict[int, int]) -> Iterator[ShownWait]:
    """Yield the hooks that a hook waits for; a barrier is shown as all hooks of lower priorities."""
    for wait in node.waits:
        leader = plan.nodes[wait.node]
        if wait.reason is Reason.PRIORITY:
            detail = f"every hook up to {leader.key}"
            yield ShownWait("", -1, str(wait.reason), detail, hard=False)
        else:
            at = places[wait.node]
            yield ShownWait(leader.key, at, str(wait.reason), wait.detail, wait.hard)


class PlanText:
    """A plan as lines of text.

    Args:
        style: Django's colours; those of ``no_style()`` leave every text as it is.
        width: columns of the page.
    """

    def __init__(self, style: Style, width: int) -> None:
        self.style = style
        self.width = width

    def lines(self, plan: ShownPlan) -> Iterator[str]:
        """Yield the plan of one service type, layer by layer."""
        name = f"Service type '{printable(plan.service_type)}'"
        if not plan.hooks:
            what = "no hooks"
        else:
            hooks, apps = count(len(plan.hooks), "hook"), count(len(plan.apps), "app")
            what = f"{hooks} of {apps}, in {count(plan.layers, 'layer')}"
        if not plan.complete:
            what += "; it can't be opened before its problems are solved"
        yield from map(self.style.MIGRATE_HEADING, folded(f"{name}: {what}", self.width))
        if plan.hooks:
            yield ""
            yield from self.table(plan)
        elif plan.complete and not plan.excluded:
            yield from folded(NO_HOOKS, self.width)
        if plan.excluded:
            yield ""
            yield from self.excluded(plan.excluded)

    def table(self, plan: ShownPlan) -> Iterator[str]:
        """Yield the hooks of a plan, layer by layer."""
        hooks = sorted(plan.hooks, key=lambda hook: hook.layer)
        rows = [cells(hook) for hook in hooks]
        table = Table(rows, self.width, HEADS, gutter=GUTTER, places=True)
        begins = " " * (GUTTER + 2)
        yield table.head()
        has_priorities = any(hook.priority for hook in hooks)
        layer, priority = 0, None
        for hook, row in zip(hooks, rows, strict=True):
            begins_layer = hook.layer != layer
            if begins_layer and layer:
                yield ""
            if has_priorities and hook.priority != priority:
                # All hooks of a lower priority are before it, so a layer has only one priority.
                others = "" if priority is None else ", when every hook of a lower one is up"
                yield from folded(f"Priority {hook.priority}{others}", self.width, " " * GUTTER)
                priority = hook.priority
            layer = hook.layer
            yield from table.row(row, str(layer) if begins_layer else "", self.style.MIGRATE_LABEL)
            if more := "; ".join(details(hook)):
                yield from folded(more, self.width, begins, f"{begins}  ")
        yield ""
        yield from folded(LEGEND, self.width)

    def excluded(self, hooks: Sequence[Excluded]) -> Iterator[str]:
        """Yield the excluded hooks; many of them by their reason, so that the problems stay in sight."""
        yield self.style.MIGRATE_HEADING("Left out")
        if len(hooks) > MOST_EXCLUDED:
            by_reason: dict[str, list[str]] = {}
            for hook in hooks:
                by_reason.setdefault(hook.reason, []).append(hook.key)
            for reason, keys in by_reason.items():
                shown = ", ".join(printable(key) for key in keys[:SHOWN_EXCLUDED])
                more = len(keys) - SHOWN_EXCLUDED
                text = f"{printable(reason)}: {shown}{f' and {more} more' if more > 0 else ''}"
                yield from folded(text, self.width, " " * GUTTER, " " * (GUTTER + 2))
            return
        rows = [
            (printable(hook.key), printable(hook.reason), f"{printable(hook.file)}:{hook.line}")
            for hook in hooks
        ]
        table = Table(rows, self.width, gutter=GUTTER, places=True)
        begins = " " * GUTTER
        for row in rows:
            if table.fits:
                yield from table.row(row)
            else:
                key, reason, where = row
                yield from folded(key, self.width, begins)
                yield from folded(reason, self.width, f"{begins}  ")
                yield f"{begins}  {where}"


def cells(hook: ShownHook) -> list[str]:
    """Return the cells of a hook."""
    starts = hook.kind in ("start", "resource")
    return [
        printable(hook.key),
        hook.kind,
        ("-" if hook.start_limit is None else time_limit(hook.start_limit)) if starts else "",
        "" if hook.stop_limit is None else time_limit(hook.stop_limit),
        f"{printable(hook.file)}:{hook.line}",
    ]


def details(hook: ShownHook) -> Iterator[str]:
    """Yield the facts about a hook that have no column."""
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
    """Return the verb for the reason of a dependency."""
    if wait.reason == "needs":
        return "needs" if wait.hard else "asks for"
    return "depends on" if wait.reason == "declared" else "written below"


def name_of(wait: ShownWait) -> str:
    """Return the key of a dependency, with the name of the parameter if it differs."""
    parameter = wait.detail.removeprefix("parameter '").removesuffix("'")
    if wait.reason == "needs" and parameter != wait.hook.rpartition(".")[2]:
        return f"{wait.hook} (as '{parameter}')"
    return wait.hook
