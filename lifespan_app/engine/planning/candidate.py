"""A hook while its plan is being made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lifespan_app.engine.hooks.hook import MANAGER, RESOURCE, START, Hook
from lifespan_app.engine.hooks.retry import retry_of

from .plan import Gives, Reason

CHANGEABLE = (
    "priority",
    "required",
    "state_name",
    "timeout",
    "shutdown_timeout",
    "wait",
    "retry",
)
"""The options that the setting may change."""

STARTS = (START, RESOURCE, MANAGER)
"""The kinds of hooks whose start can be tried again."""


class Dependency(NamedTuple):
    """What a drafted hook asks for: another drafted hook, and how."""

    target: Candidate
    reason: Reason
    detail: str
    parameter: str = ""
    has_default: bool = False


class Candidate:
    """A hook while its plan is being made."""

    __slots__ = (
        "arguments",
        "asks",
        "excluded",
        "hook",
        "key",
        "label",
        "node",
        "options",
        "priority",
    )

    def __init__(self, hook: Hook, label: str, changes: Mapping[str, Any]) -> None:
        self.hook = hook
        self.label = label
        self.key = f"{label}.{hook.name}"
        self.options = hook.options
        self.excluded = ""
        self.asks: tuple[Dependency, ...] = ()
        self.arguments: tuple[tuple[str, Gives], ...] = ()
        self.node = -1
        if changes:
            self._change(changes)
        self.priority = self.options.priority
        """That of what needs it, where that is lower."""

    def _change(self, changes: Mapping[str, Any]) -> None:
        known = {option: value for option, value in changes.items() if option in CHANGEABLE}
        if self.hook.kind is not RESOURCE:
            known.pop("wait", None)
        if "retry" in known:
            known["retry"] = retry_of(known["retry"]) if self.hook.kind in STARTS else None
        self.options = self.options._replace(**known)

    def leave_out(self, reason: str) -> None:
        """Leave the hook out of the plan."""
        self.excluded = reason

    def ask_for(self, ask: Dependency) -> None:
        """Have the hook wait for another one."""
        self.asks += (ask,)

    def be_given(self, name: str, gives: Gives) -> None:
        """Have a parameter given the context or the state."""
        self.arguments += ((name, gives),)

    def come_before(self, dependent: Candidate) -> None:
        """Take the priority of a hook that needs this one, where that is lower."""
        self.priority = min(self.priority, dependent.priority)

    def take_place(self, index: int) -> None:
        """Be a node of the plan."""
        self.node = index

    def __str__(self) -> str:
        return f"'{self.key}' ({self.hook.file}:{self.hook.line})"
