"""A plan as it is shown: its hooks with their limits and with what they wait for, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lifespan_app.checks.limits import start_limit, stop_limit
from lifespan_app.engine.plan import LeftOut, Node, Plan, Reason
from lifespan_app.engine.settings import Settings

from .page import Shortener


class ShownWait(NamedTuple):
    """What a hook waits for, and why."""

    hook: str
    """The key of the other one; "" for all of a lower priority."""
    at: int
    """Its place among the hooks of the plan; -1 for all of a lower priority."""
    reason: str
    detail: str
    hard: bool
    """Whether the hook can't start without it."""


class ShownHook(NamedTuple):
    """One hook of a plan."""

    key: str
    app: str
    name: str
    kind: str
    wave: int
    """Counted from 1."""
    priority: int
    required: bool
    wait: bool
    """Whether the startup waits for it."""
    state_name: str
    """What a resource is called in the state; "" for other kinds."""
    start_limit: float | None
    """Seconds; None: none of its own."""
    stop_limit: float | None
    """Seconds; None: there is nothing to stop."""
    waits_for: tuple[ShownWait, ...]
    file: str
    line: int


class ShownPlan(NamedTuple):
    """The plan of one service type."""

    service_type: str
    complete: bool
    """Whether it can be opened: with problems it holds what can be shown."""
    waves: int
    hooks: tuple[ShownHook, ...]
    """In the order of the plan."""
    left_out: tuple[LeftOut, ...]

    @property
    def apps(self) -> list[str]:
        """The labels of the apps that have hooks in it, in the order of the plan."""
        return list(dict.fromkeys(hook.app for hook in self.hooks))


def shown(plan: Plan, settings: Settings, *, complete: bool = True) -> ShownPlan:
    """Return a plan as it is shown.

    Args:
        plan: what to show.
        settings: what gives a hook the limits that it does not have by itself.
        complete: whether the plan can be opened.
    """
    short = Shortener()
    waves = plan.waves()
    wave_of = {node.index: number for number, wave in enumerate(waves, start=1) for node in wave}
    hooks = plan.hooks
    places = {node.index: at for at, node in enumerate(hooks)}
    return ShownPlan(
        service_type=plan.service_type,
        complete=complete,
        waves=len(waves),
        hooks=tuple(
            hook_of(
                node,
                settings,
                wave_of[node.index],
                tuple(waits_of(plan, node, places)),
                file=short.path(node.hook.file if node.hook else ""),
            )
            for node in hooks
        ),
        left_out=tuple(one._replace(file=short.path(one.file)) for one in plan.left_out),
    )


def hook_of(
    node: Node, settings: Settings, wave: int, waits_for: tuple[ShownWait, ...], file: str
) -> ShownHook:
    """Return one hook as it is shown."""
    hook = node.hook
    assert hook is not None
    return ShownHook(
        key=node.key,
        app=node.label,
        name=hook.name,
        kind=str(hook.kind),
        wave=wave,
        priority=node.options.priority,
        required=node.options.required,
        wait=node.options.wait,
        state_name=node.options.state_name if hook.kind == "resource" else "",
        start_limit=start_limit(node),
        stop_limit=stop_limit(node, settings),
        waits_for=waits_for,
        file=file,
        line=hook.line,
    )


def waits_of(plan: Plan, node: Node, places: dict[int, int]) -> Iterator[ShownWait]:
    """Yield what a hook waits for; a wait for a barrier is one for all behind it."""
    for wait in node.waits:
        leader = plan.nodes[wait.node]
        if wait.reason is Reason.PRIORITY:
            detail = f"every hook up to {leader.key}"
            yield ShownWait("", -1, str(wait.reason), detail, hard=False)
        else:
            at = places[wait.node]
            yield ShownWait(leader.key, at, str(wait.reason), wait.detail, wait.hard)
