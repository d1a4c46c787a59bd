"""The open resources of a run, for reading by any code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.hooks.hook import BACKGROUND, MANAGER, RESOURCE, STAGE, Hook
from lifespan_app.engine.planning.plan import HARD

from .hook_run import UP, HookRun

if TYPE_CHECKING:
    from .current import OpenRun


class Resources:
    """The resources of one run, by hook and by state name.

    Args:
        run: the run.
        hook_runs: its hooks.
    """

    def __init__(self, run: OpenRun, hook_runs: Iterable[HookRun]) -> None:
        self._run = run
        self.by_hook: dict[Hook, HookRun] = {
            one.hook: one for one in hook_runs if one.hook is not None and one.hook.kind is RESOURCE
        }
        self.by_name = {one.node.options.state_name: one for one in self.by_hook.values()}
        self.serving: dict[Hook | str, Any] = {}
        """Values without further checks, by hook and by state name. Empty unless the run serves."""

    def read(self, hook: Hook) -> Any:
        """Return the value of a resource. Raises a ``ReadError`` if there is none."""
        hook_run = self.by_hook.get(hook)
        if hook_run is None:
            raise errors().not_in_plan(self._run, hook)
        return self._read(hook_run)

    def read_name(self, name: str) -> Any:
        """Return the value of the resource with a state name. Raises a ``ReadError``."""
        hook_run = self.by_name.get(name)
        if hook_run is None:
            raise errors().no_such_name(self._run, self.by_name, name)
        return self._read(hook_run)

    def _read(self, hook_run: HookRun) -> Any:
        inside, run = current_hook.get(), self._run
        if (
            isinstance(inside, HookRun)
            and inside.run is run
            and inside.running_now
            and not has_asked(inside, hook_run)
        ):
            raise errors().undeclared(inside, hook_run)
        if hook_run.state is not UP or run.inherited:
            # A hook that stops may still use its dependencies, which are up until then.
            raise errors().not_open(run, hook_run)
        if hook_run.on_loop:
            loop = asyncio._get_running_loop()
            if loop is not None and loop is not run.loop:
                raise errors().wrong_loop(run, hook_run, loop)
        return hook_run.value

    def open_names(self) -> Mapping[str, HookRun]:
        """Return the state names of the resources that are up."""
        if self._run.inherited:
            return {}
        return {name: one for name, one in self.by_name.items() if one.state is UP}

    # While the run serves.

    def serve(self) -> None:
        """Allow reads without further checks."""
        for name, hook_run in self.open_names().items():
            self.serving[hook_run.hook] = self.serving[name] = hook_run.value

    def opened(self, hook_run: HookRun) -> None:
        """Allow reads of a resource that has come up late without further checks."""
        # A test may have replaced it meanwhile.
        value = self.by_hook[hook_run.hook].value
        self.serving[hook_run.hook] = self.serving[hook_run.node.options.state_name] = value

    def closed(self, hook_run: HookRun) -> None:
        """Require checks again for a resource that is no longer open."""
        self.serving.pop(hook_run.hook, None)
        self.serving.pop(hook_run.node.options.state_name, None)

    def put(self, hook: Hook, stand_in: HookRun) -> None:
        """Replace the source of a resource's value."""
        self.by_hook[hook] = stand_in
        self.by_name[stand_in.node.options.state_name] = stand_in


def has_asked(inside: HookRun, hook_run: HookRun) -> bool:
    """Return True if a hook may read a resource: it is a parameter, or in ``depends_on``."""
    if inside.hook.kind in (MANAGER, STAGE, BACKGROUND):
        # They begin and end while all hooks are up, so any order is right.
        return True
    index = hook_run.node.index
    return any(wait.node == index and wait.reason in HARD for wait in inside.node.waits)


def errors() -> ModuleType:
    """Return the errors of reading, which a process that goes well never needs."""
    from . import read_errors

    return read_errors
