"""Stages: what happens at the edges of a run, behind all hooks, and that no app has declared as one.

A server's run has such edges: signals and their receivers, an inner application's own lifespan,
functions that are called at the end. Each of their functions is a hook of its own kind here, so it
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
    """One edge of a run: what is done at its turn, and what in its place at the end."""

    name: str
    enters: Callable[[], Rows] = no_rows
    """Gives what runs at startup. Asked when the run is made."""
    leaves: Callable[[], Rows] = no_rows
    """Gives what is called at shutdown, before what ``enters`` gave is left. Asked at that time."""
    always: bool = False
    """Whether it is left also when a startup was given up before its turn."""


def leaving(stage: Stage) -> Rows:
    """Return what a stage calls at the end. Where it can't tell, that is a failure like any other."""
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
    """Return the hook of a stage that calls a function, and awaits what it returns.

    Args:
        function: sync (it runs in a thread) or async (on the loop); what is none fails when its
            turn comes, and says so.
        named: the arguments it is called with.
        shown: whose name, file and line are told, where that is another one.
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
    """Have a function of this package told of as the user's own: its module, file and line."""
    inner: Any = innermost(original)
    if not isinstance(getattr(inner, "__code__", None), CodeType):
        inner = getattr(type(inner), "__call__", None)  # noqa: B004  # the function is wanted
    if isinstance(getattr(inner, "__code__", None), CodeType):
        update_wrapper(function, inner, assigned=("__module__", "__qualname__"), updated=())


def title_of(function: Any) -> str:
    """Return what a function is called for people, such as ``Handler.startup``."""
    inner = innermost(function)
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return str(name).rpartition("<locals>.")[2]
