"""A hook while its plan is being made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lifespan_app.engine.hooks.hook import MANAGER, RESOURCE, START, Hook

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
    """A dependency of a candidate: another candidate, and the reason."""

    target: Candidate
    reason: Reason
    detail: str
    parameter: str = ""
    has_default: bool = False


class Candidate:
    """A hook while its plan is being made."""

    __slots__ = (
        "arguments",
        "dependencies",
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
        self.dependencies: tuple[Dependency, ...] = ()
        self.arguments: tuple[tuple[str, Gives], ...] = ()
        self.node = -1
        if changes:
            self._change(changes)
        self.priority = self.options.priority
        """Its own priority, or the lowest one of its dependents."""

    def _change(self, changes: Mapping[str, Any]) -> None:
        known = {option: value for option, value in changes.items() if option in CHANGEABLE}
        if self.hook.kind is not RESOURCE:
            known.pop("wait", None)
        if "retry" in known:
            from lifespan_app.engine.hooks.retry import retry_of  # not paid for by other plans

            known["retry"] = retry_of(known["retry"]) if self.hook.kind in STARTS else None
        self.options = self.options._replace(**known)

    def exclude(self, reason: str) -> None:
        """Leave the hook out of the plan."""
        self.excluded = reason

    def add_dependency(self, dependency: Dependency) -> None:
        """Add a dependency."""
        self.dependencies += (dependency,)

    def add_argument(self, name: str, gives: Gives) -> None:
        """Pass the context or the state to a parameter."""
        self.arguments += ((name, gives),)

    def take_lower_priority(self, dependent: Candidate) -> None:
        """Take over the priority of a dependent, if that is lower."""
        self.priority = min(self.priority, dependent.priority)

    def take_place(self, index: int) -> None:
        """Be a node of the plan."""
        self.node = index

    def __str__(self) -> str:
        return f"'{self.key}' ({self.hook.file}:{self.hook.line})"
