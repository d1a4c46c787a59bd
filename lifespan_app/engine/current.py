"""Which run is meant: the one of this hook, of this request, of this loop, of this process."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from .api import Lifespan
    from .runner import Run
    from .unit import Unit

R = TypeVar("R", bound="Run")

SCOPE_KEY = "lifespan_app.run"
"""Where an ASGI scope says which run it is served by."""

LOOP_IS_QUICK_TO_TELL = sys.version_info >= (3, 12)
"""Whether Python names the running loop without a system call, which costs more than a read.

Where it does not, a read asks for its thread, and whether the run's loop runs: a thread runs one loop
at a time."""

here: ContextVar[Unit | Run | None] = ContextVar("lifespan_app_here", default=None)
"""The hook, or the body of ``lifespan.run()``, that this code is part of."""

_alive: weakref.WeakSet[Run] = weakref.WeakSet()


def remember(run: Run) -> None:
    """Note a run, so that a fork can be told from it."""
    _alive.add(run)


def _disown() -> None:
    for run in list(_alive):
        run.inherited = True
        run.serving.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_disown)


def run_in_context() -> Run | None:
    """Return the run that the context variable names, or None."""
    inside = here.get()
    return None if inside is None else inside.run


def run_of(request_or_scope: Any) -> Run | None:
    """Return the run that a request is served by, or None.

    Args:
        request_or_scope: an ASGI scope, or a request that has one: Django's, Django REST
            framework's, Starlette's.
    """
    scope = request_or_scope
    if not isinstance(scope, dict):
        # Django REST framework's Request passes unknown attributes on to Django's.
        scope = getattr(request_or_scope, "scope", None)
    return scope.get(SCOPE_KEY) if isinstance(scope, dict) else None


def run_meant(request_or_scope: Any, lifespan: Lifespan) -> Run | None:
    """Return the run that the context names, else the one that serves a request; else None.

    Args:
        request_or_scope: as for ``run_of``.
        lifespan: whose run is meant.
    """
    for run in (run_in_context(), run_of(request_or_scope)):
        if run is not None and run.lifespan is lifespan:
            return run
    return None


def run_here(
    lifespan: Lifespan, asked_for: str, request: object = None, *, or_ended: bool = False
) -> Run:
    """Return the run that is meant where neither the context nor a request says it.

    Args:
        lifespan: whose runs are meant.
        asked_for: what is to be read, for the error.
        request: the request through which, if there is one.
        or_ended: whether the last run will do where none is open: its errors say since when.

    Raises:
        NotRunning: there is none, or it can't be told which.
    """
    runs = lifespan.runs
    own = [run for run in runs if not run.inherited]
    if all(run.up_at is None for run in own):
        stand_in = lifespan.host.without_run(lifespan, f"{asked_for} can't be read")
        if stand_in is not None:
            return stand_in
    loop = asyncio._get_running_loop()
    found = [run for run in own if run.loop is loop] if loop is not None else own
    if not found and len(own) == 1:
        found = own
    if len(found) == 1:
        return found[0]
    if or_ended and not runs and lifespan.last_run is not None:
        return lifespan.last_run
    from . import reading  # the errors, which a process that goes well never needs

    if runs and not own:
        raise reading.forked(runs[0], f"{asked_for} can't be read")
    if own and not found:
        raise reading.elsewhere(own, asked_for)
    if not found:
        raise reading.no_run(asked_for, lifespan.host.advice.no_run(request))
    raise reading.many_runs(found, asked_for)


class Runs(Generic[R]):
    """The runs of one application: one for each server, or loop, that it is started by."""

    __slots__ = ("_runs", "only")

    def __init__(self) -> None:
        self._runs: list[R] = []
        self.only: R | None = None
        """The run that every request is served by, where there is but one."""

    def begin(self, run: R) -> None:
        """Take note of a run. One that is over stays until then: what is read can be explained."""
        self._runs = [*(other for other in self._runs if not other.over and other is not run), run]
        self.only = run if len(self._runs) == 1 else None

    def here(self) -> R | None:
        """Return the run that a request on this loop is served by."""
        loop = asyncio._get_running_loop()
        return self.only or next((run for run in self._runs if run.loop is loop), None)

    def __contains__(self, run: object) -> bool:
        return run in self._runs
