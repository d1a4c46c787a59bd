"""The registry: every hook that was declared, in one flat dict; and the decorators that fill it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
)
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from .hook import DECORATORS, Hook, Kind

if TYPE_CHECKING:
    from lifespan_app.engine.problem import Problem

    from .hook import HookReference
    from .retry import Retry

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Registry:
    """Hooks by the place of their declaration, added at any time."""

    def __init__(self) -> None:
        self._registry: dict[tuple[object, ...], Hook] = {}
        self._order = itertools.count()
        self.sources: list[Callable[[], Iterable[Hook]]] = []
        """Functions that return further hooks, such as those of lifespan managers."""
        self.broken: dict[str, Problem] = {}
        """Modules that could not be imported, by name."""

    @property
    def hooks(self) -> list[Hook]:
        """Every declared hook, as registered, then those of other sources."""
        return [*self._registry.values(), *(hook for source in self.sources for hook in source())]

    def declares_all(self, hooks: list[Hook]) -> bool:
        """Return True if all of these hooks come from decorators, and none from another source."""
        return len(hooks) == len(self._registry)

    def _declare(
        self, function: Callable[..., Any], kind: Kind, frame: FrameType, **options: Any
    ) -> Hook:
        if isinstance(getattr(function, "hook", None), Hook):
            raise TypeError(f"{function} is a resource already; it can't be a {kind} hook as well.")
        hook = Hook(function, kind, order=next(self._order), declared_at=frame, **options)
        self._registry[hook.identity] = hook
        return hook

    @contextmanager
    def rolled_back(self) -> Iterator[None]:
        """Remove the hooks that a block declares if it ends with an error.

        The hooks of modules that stay imported are kept, as nothing would declare them again.
        """
        before = dict(self._registry)
        try:
            yield
        except BaseException:
            declared = self._registry
            self._registry = before
            for identity, hook in declared.items():
                if hook.module in sys.modules:
                    before.setdefault(identity, hook)
            raise

    def clear(self) -> None:
        """Forget every hook, for tests."""
        self._registry.clear()
        self.broken.clear()

    @overload
    def on_start(self, function: F, /) -> F: ...
    @overload
    def on_start(
        self,
        priority: int = 0,
        *,
        name: str | None = None,
        service_types: Iterable[str] | None = None,
        depends_on: Iterable[HookReference] = (),
        timeout: float | None = None,
        required: bool = True,
        retry: Retry | float | None = None,
        once: Literal["release", "launch"] | None = None,
    ) -> Callable[[F], F]: ...
    def on_start(self, *function: Any, **options: Any) -> Any:
        """Declare a function that runs at startup: ``@lifespan.on_start``, bare or called.

        Args:
            priority: lower ones start before higher ones, and stop after them.
            name: the hook's name, instead of the function's.
            service_types: the service types it runs for; None: all.
            depends_on: hooks that must be up before: handles, functions, ``"app_label.name"``.
            timeout: seconds that it may take.
            required: whether the startup fails when it does; else the process serves degraded.
            retry: seconds within which a failed start is tried again, or a ``Retry``. None: it is not.
            once: ``"release"`` or ``"launch"``: one process runs it for each release, or for each start
                of a server; the others wait, and take its success. None: each process runs it.

        Returns:
            The function, unchanged.

        Raises:
            TypeError, ValueError: the function or an option is wrong; the text has the correct code.
        """
        return self._decorate(Kind.START, function, options, sys._getframe(1))

    @overload
    def on_shutdown(self, function: F, /) -> F: ...
    @overload
    def on_shutdown(
        self,
        priority: int = 0,
        *,
        name: str | None = None,
        service_types: Iterable[str] | None = None,
        depends_on: Iterable[HookReference] = (),
        timeout: float | None = None,
        required: bool = True,
    ) -> Callable[[F], F]: ...
    def on_shutdown(self, *function: Any, **options: Any) -> Any:
        """Declare a function that runs at shutdown, at its place in the reverse of the startup.

        Args:
            priority: higher ones run before lower ones.
            name: the hook's name, instead of the function's.
            service_types: the service types it runs for; None: all.
            depends_on: hooks that must still be up when it runs.
            timeout: seconds that it may take; else ``SHUTDOWN_TIMEOUT``.
            required: as for the other hooks.

        Returns:
            The function, unchanged.

        Raises:
            TypeError, ValueError: the function or an option is wrong; the text has the correct code.
        """
        return self._decorate(Kind.SHUTDOWN, function, options, sys._getframe(1))

    @overload
    def on_drain(self, function: F, /) -> F: ...
    @overload
    def on_drain(
        self,
        *,
        name: str | None = None,
        service_types: Iterable[str] | None = None,
        depends_on: Iterable[HookReference] = (),
        timeout: float | None = None,
        required: bool = True,
    ) -> Callable[[F], F]: ...
    def on_drain(self, *function: Any, **options: Any) -> Any:
        """Declare a function that runs as soon as the shutdown is known, while all is still open.

        With ``SHUTDOWN_NOTICE`` that is when the server is sent a signal, and requests are still
        answered; else when the shutdown begins. All of them run side by side, and nothing is
        stopped before they have ended.

        Args:
            name: the hook's name, instead of the function's.
            service_types: the service types it runs for; None: all.
            depends_on: hooks that it stands on; without them it does not run.
            timeout: seconds that it may take; else ``SHUTDOWN_TIMEOUT``.
            required: as for the other hooks.

        Returns:
            The function, unchanged.

        Raises:
            TypeError, ValueError: the function or an option is wrong; the text has the correct code.
        """
        return self._decorate(Kind.DRAIN, function, options, sys._getframe(1))

    @overload
    def background(self, function: F, /) -> F: ...
    @overload
    def background(
        self,
        priority: int = 0,
        *,
        name: str | None = None,
        service_types: Iterable[str] | None = None,
        depends_on: Iterable[HookReference] = (),
        shutdown_timeout: float | None = None,
        required: bool = True,
        on_crash: Literal["log", "restart", "stop"] = "log",
        give_up: tuple[int, float] | None = None,
        on_give_up: Literal["log", "stop"] = "log",
        every: float | None = None,
        jitter: float = 0.1,
        first: float = 0,
        timeout: float | None = None,
        stall_after: float | None = None,
        once: Literal["cluster", "host"] | None = None,
    ) -> Callable[[F], F]: ...
    def background(self, *function: Any, **options: Any) -> Any:
        """Declare a coroutine function that runs while the process serves.

        It begins when everything is up, and is cancelled before the first hook stops. With ``every``
        the function is one round: it is called again and again, and may be a plain function, which
        is called in a thread. Rounds never overlap.

        Args:
            priority: jobs of higher ones are stopped before those of lower ones.
            name: the hook's name, instead of the function's.
            service_types: the service types it runs for; None: all.
            depends_on: hooks that must be up before.
            shutdown_timeout: seconds that it may take to end once it is cancelled.
            required: whether the process is not ready when it has crashed; else it is degraded.
            on_crash: ``"log"``, ``"restart"`` (with backoff), or ``"stop"`` (the server).
            give_up: ``(5, 300)``: after five crashes within 300 seconds the job does not begin
                again. None: it always does.
            on_give_up: ``"log"``, or ``"stop"`` (the server).
            every: seconds from the begin of one round to the begin of the next.
            jitter: the share of ``every``, from 0 to 1, by which that is shorter or longer at most.
            first: seconds until the first round begins.
            timeout: seconds that a round may take. An async one is cancelled; a thread is left, and
                the next round begins when it has returned.
            stall_after: seconds without a finished round, or without ``lifespan.beat()`` where there
                is no ``every``, after which the job counts as stalled.
            once: ``"cluster"`` or ``"host"``: one process at a time runs it, of all or of each host;
                the others stand by. None: each process runs it.

        Returns:
            The function, unchanged.

        Raises:
            TypeError, ValueError: the function or an option is wrong; the text has the correct code.
        """
        return self._decorate(Kind.BACKGROUND, function, options, sys._getframe(1))

    def _decorate(
        self, kind: Kind, positional: tuple[Any, ...], options: dict[str, Any], frame: FrameType
    ) -> Any:
        refuse_options(kind, positional, options)
        function = positional[0] if positional else None
        takes_priority = "priority" in OPTIONS[kind]
        if takes_priority and isinstance(function, int) and not isinstance(function, bool):
            if "priority" in options:
                raise TypeError("priority was given twice.")
            options["priority"] = function
            function = None

        def decorate(function: Any) -> Any:
            hook = self._declare(function, kind, frame, **options)
            return self._handle(hook) if kind is Kind.RESOURCE else function

        return decorate if function is None else decorate(function)

    def _handle(self, hook: Hook) -> Any:
        raise NotImplementedError


COMMON = frozenset({"name", "priority", "service_types", "depends_on", "required"})
OPTIONS = {
    Kind.START: COMMON | {"timeout", "retry", "once"},
    Kind.SHUTDOWN: COMMON | {"timeout"},
    Kind.BACKGROUND: COMMON
    | {"shutdown_timeout", "on_crash", "give_up", "on_give_up"}
    | {"every", "jitter", "first", "timeout", "stall_after", "once"},
    Kind.DRAIN: COMMON - {"priority"} | {"timeout"},
    Kind.RESOURCE: COMMON | {"timeout", "shutdown_timeout", "state_name", "wait", "retry"},
}


def refuse_options(kind: Kind, positional: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Raise ``TypeError`` for invalid arguments of a decorator, with a list of the valid ones."""
    decorator = f"@lifespan.{DECORATORS[kind]}"
    if len(positional) > 1:
        raise TypeError(f"{decorator} takes a priority, and everything else by name.")
    for option in options:
        if option in OPTIONS[kind]:
            continue
        from lifespan_app.engine.wording import did_you_mean

        known = sorted(OPTIONS[kind])
        raise TypeError(
            f"{decorator} takes no {option}=.{did_you_mean(option, known)} It takes: "
            f"{', '.join(known)}."
        )
