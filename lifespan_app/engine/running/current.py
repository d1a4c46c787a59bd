"""The choice of the run: the hook's, the request's, the loop's, or the process's."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from lifespan_app.engine.current_hook import current_hook

if TYPE_CHECKING:
    from lifespan_app.engine.hooks.hook import Hook
    from lifespan_app.engine.planning.plan import Plan
    from lifespan_app.engine.reporting.report import Facts

    # A protocol is expensive to create, and only type checkers read these.
    class OpenRun(Protocol):
        """The part of a run that is needed to find it, and to read from it."""

        inherited: bool
        """True if this process was forked from the run's process."""
        is_inner: bool
        """True if it is used only inside the block that has opened it."""
        facts: Facts
        """The report's facts about it, without the steps."""
        loop: asyncio.AbstractEventLoop
        loop_thread: int
        serving: dict[Any, Any]
        plan: Plan

        @property
        def lifespan(self) -> Any:
            """The ``Lifespan`` that has declared its hooks."""

        @property
        def adapter(self) -> Any:
            """The engine's adapter."""

        @property
        def is_up(self) -> bool:
            """True once its startup has ended."""

        @property
        def over(self) -> bool:
            """True once it has ended."""

    class OpensRuns(Protocol):
        """The part of a ``Lifespan`` that its runs need."""

        runs: list[Any]
        last_run: Any

        @property
        def adapter(self) -> Any:
            """The engine's adapter."""

        @property
        def stopping(self) -> Any:
            """The event of this process's shutdown."""

        @property
        def hooks(self) -> Sequence[Hook]:
            """Every declared hook."""

        def changed(self, plan: Plan) -> tuple[Plan, Any]:
            """Return the plan and the adapter of a new run, with the changes by tests."""

        def forget(self, run: Any) -> None:
            """Remove a run that has ended."""


SCOPE_KEY = "lifespan_app.run"
"""The key of an ASGI scope with the run that serves it."""

LOOP_IS_QUICK_TO_TELL = sys.version_info >= (3, 12)
"""True if Python returns the running loop without a system call.

Where it does not, a read asks for its thread, and whether the run's loop runs: a thread runs one loop
at a time."""


R = TypeVar("R", bound="OpenRun")


_alive: weakref.WeakSet[Any] = weakref.WeakSet()


def remember(run: OpenRun) -> None:
    """Remember a run, so that it is marked as inherited in a fork."""
    _alive.add(run)


def _disown() -> None:
    for run in list(_alive):
        run.disown()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_disown)


# The choice of the run is made here, and nowhere else.


def runs_meant(
    lifespan: OpensRuns,
    request_or_scope: Any = None,
    *,
    loop: asyncio.AbstractEventLoop | None = None,
) -> list[Any]:
    """Return the matching runs: none, one, or several if the choice is ambiguous.

    It is the one that is named; else that of the running loop, else the only one of the process. A run
    that was opened inside another is meant in its own block, and nowhere else.

    Args:
        lifespan: the ``Lifespan`` of the run.
        request_or_scope: the request that is served, if any.
        loop: the loop to use if none runs here.
    """
    named = named_run(lifespan, request_or_scope)
    if named is not None:
        return [named]
    own = [run for run in lifespan.runs if not run.inherited]
    loop = asyncio._get_running_loop() or loop
    if loop is None:
        return outermost(own)
    found = outermost([run for run in own if run.loop is loop])
    if found:
        return found
    elsewhere = outermost(own)
    return elsewhere if len(elsewhere) == 1 else []


def named_run(lifespan: OpensRuns, request_or_scope: Any = None) -> Any | None:
    """Return the run that the context names, else the request, else the thread; None: none does."""
    for run in (run_in_context(), run_of(request_or_scope), Threads.run_of_this()):
        if run is not None and run.lifespan is lifespan:
            return run
    return None


def outermost(runs: list[Any]) -> list[Any]:
    """Return the runs that are not nested in another; if all are nested, all of them."""
    return [run for run in runs if not run.is_inner] or runs


def run_or_last(lifespan: OpensRuns) -> Any | None:
    """Return the run for this code, or the last one that was open, or None."""
    found = runs_meant(lifespan)
    if not found:
        found = outermost([run for run in lifespan.runs if not run.inherited])
    return found[-1] if found else lifespan.last_run


def get_running_run(
    lifespan: OpensRuns, asked_for: str, request_or_scope: Any = None, *, or_ended: bool = False
) -> Any:
    """Return the run for this code, to read from it.

    Args:
        lifespan: the ``Lifespan`` of the run.
        asked_for: the name of the value, for the error.
        request_or_scope: the request that is served, if any.
        or_ended: whether to return the last run if none is open, for the text of its error.

    Raises:
        NotRunning: there is none, or there are several.
    """
    found = named_run(lifespan, request_or_scope) or stand_in_of(
        lifespan, f"{asked_for} can't be read"
    )
    if found is not None:
        return found
    several = runs_meant(lifespan)
    if len(several) == 1:
        return several[0]
    runs = lifespan.runs
    if or_ended and not runs and lifespan.last_run is not None:
        return lifespan.last_run
    from . import read_errors  # the errors, which a process that goes well never needs

    own = [run for run in runs if not run.inherited]
    if runs and not own:
        raise read_errors.forked(runs[0], f"{asked_for} can't be read")
    if own and not several:
        raise read_errors.elsewhere(own, asked_for)
    if not several:
        raise read_errors.no_run(asked_for, lifespan.adapter.advice.no_run(request_or_scope))
    raise read_errors.many_runs(several, asked_for)


def stand_in_of(lifespan: OpensRuns, refusal: str) -> Any | None:
    """Return the run of the fallback if no server has opened one, or None.

    Args:
        lifespan: the ``Lifespan`` of the run.
        refusal: the beginning of an error's sentence, such as "'x' can't be read".
    """
    if any(run.is_up for run in lifespan.runs if not run.inherited):
        return None
    return lifespan.adapter.fallback_run(lifespan, refusal)


def run_in_context() -> Any | None:
    """Return the run that the context variable names, or None."""
    inside = current_hook.get()
    return None if inside is None else inside.run


def run_of(request_or_scope: Any) -> Any | None:
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


class Threads:
    """The threads that hooks start, of an inner run or one in a background thread: each carries its run.

    A thread does not inherit the context of its creator by default
    (https://github.com/python/cpython/issues/128555), so it would read from the outer one of two runs.
    ``Thread.start`` is patched while a run is open inside another, or opens in a background thread.
    """

    _runs: weakref.WeakKeyDictionary[threading.Thread, Any] = weakref.WeakKeyDictionary()
    _watching = 0
    _lock = threading.Lock()

    @classmethod
    def run_of_this(cls) -> Any | None:
        """Return the run of the hook that has started this thread, or None."""
        return cls._runs.get(threading.current_thread()) if cls._runs else None

    @classmethod
    @contextmanager
    def watched(cls) -> Iterator[None]:
        """Patch ``Thread.start`` in a block."""
        with cls._lock:
            cls._watching += 1
            if cls._watching == 1:
                original = threading.Thread.start
                threading.Thread.start = cls._noting(original)  # type: ignore[method-assign]
        try:
            yield
        finally:
            with cls._lock:
                cls._watching -= 1
                start: Any = threading.Thread.start
                # If other code has replaced it since, ours stays in place and does nothing.
                if not cls._watching and hasattr(start, "original"):
                    threading.Thread.start = start.original  # type: ignore[method-assign]

    @classmethod
    def _noting(cls, original: Callable[[threading.Thread], None]) -> Any:
        def start(thread: threading.Thread) -> None:
            run = (run_in_context() or cls.run_of_this()) if cls._watching else None
            if run is not None:
                cls._runs[thread] = run
            original(thread)

        start.original = original  # type: ignore[attr-defined]
        return start


class Runs(Generic[R]):
    """The runs of one application: one for each server, or loop, that it is started by."""

    __slots__ = ("_runs", "only")

    def __init__(self) -> None:
        self._runs: list[R] = []
        self.only: R | None = None
        """The run that serves every request, if there is only one; it may have ended."""

    def begin(self, run: R) -> None:
        """Add a run. One that has ended stays until then, for the texts of errors."""
        self._runs = [*(other for other in self._runs if not other.over and other is not run), run]
        self.only = run if len(self._runs) == 1 else None

    def of_this_loop(self) -> R | None:
        """Return the run that a request on this loop is served by.

        It is one that has ended only if no other is open, such as that of a test.
        """
        open_runs = [run for run in self._runs if not run.over]
        if not open_runs:
            last = next(reversed(self._runs), None)
            return None if last is None or last.lifespan.has_open_run() else last
        if len(open_runs) == 1:
            return open_runs[0]
        loop = asyncio._get_running_loop()
        return next((run for run in open_runs if run.loop is loop), None)

    def __contains__(self, run: object) -> bool:
        return run in self._runs
