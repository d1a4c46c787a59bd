"""Stages: functions at the edges of a run, behind all hooks, that no app has declared.

A server's run has such edges: receivers of signals, an inner application's own lifespan,
functions that are called at the end. Each of these functions is a hook of its own kind, so it
has its own task or thread, time limit and step in the report, and its error stops no other.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import update_wrapper
from types import CodeType
from typing import Any, NamedTuple

from lifespan_app.engine.hooks.hook import ON_LOOP, STAGE, Hook, innermost, is_awaitable

Rows = Sequence[Sequence[Hook]]
"""Hooks in rows: those of one run side by side, the rows one after the other."""


def no_rows() -> Rows:
    """Return no hooks at all."""
    return ()


class Stage(NamedTuple):
    """One edge of a run: hooks to start at its turn, and hooks to call at the end."""

    name: str
    enters: Callable[[], Rows] = no_rows
    """Returns the hooks that start. Called when the run is made."""
    leaves: Callable[[], Rows] = no_rows
    """Returns the hooks to call at shutdown, before the started ones exit. Called at that time."""
    always: bool = False
    """True if it also ends when the startup was given up before its turn."""


def leaving(stage: Stage) -> Rows:
    """Return the hooks that a stage calls at the end, or one that fails with the stage's error."""
    try:
        return stage.leaves()
    except Exception as error:
        failure = error

    def fail() -> None:
        raise failure

    fail.__qualname__ = stage.name
    return [[call_hook(fail)]]


def call_hook(
    function: Any,
    named: Mapping[str, Any] | None = None,
    *,
    shown: Any = None,
    on_loop: bool = False,
) -> Hook:
    """Return a hook for a stage that calls a function, and awaits its result.

    Args:
        function: sync (it runs in a thread) or async (on the loop); any other object fails when its
            turn comes, with an error.
        named: the arguments it is called with.
        shown: another function, for the name, the file and the line.
        on_loop: whether it is known to be async.
    """
    arguments = named or {}

    def call() -> Awaitable[Any] | None:
        if not callable(function):
            raise TypeError(f"{function!r} can't be called: a function is needed, not its result.")
        result = function(**arguments)
        # What a function returns is not a resource that would have to be entered.
        return result if is_awaitable(result) else None

    shown_as(call, shown or function)
    is_async = on_loop or inspect.iscoroutinefunction(function)
    return Hook(call, STAGE, name=title_of(shown or function), form=ON_LOOP if is_async else None)


def shown_as(function: Callable[..., Any], original: Any) -> None:
    """Show a function of this package as the user's: with the module, file and line of that one."""
    inner: Any = innermost(original)
    if not isinstance(getattr(inner, "__code__", None), CodeType):
        inner = getattr(type(inner), "__call__", None)  # noqa: B004  # the function is wanted
    if isinstance(getattr(inner, "__code__", None), CodeType):
        update_wrapper(function, inner, assigned=("__module__", "__qualname__"), updated=())


def title_of(function: Any) -> str:
    """Return the display name of a function, such as ``Handler.startup``."""
    inner = innermost(function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name).rpartition("<locals>.")[2]
