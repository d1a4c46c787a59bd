"""The handle of a resource: the result of ``@lifespan.resource``, with which views read it."""

from __future__ import annotations

import sys
from asyncio import _get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast, overload

from lifespan_app.engine.current_hook import current_hook

from .current import LOOP_IS_QUICK_TO_TELL, SCOPE_KEY, get_running_run

if TYPE_CHECKING:
    from lifespan_app.engine.hooks.hook import Hook

    from .current import OpensRuns

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

NO_REQUEST: Any = object()
"""The default argument of a handle: no request was passed."""


class Resource(Generic[T]):
    """Read one resource of the current run: ``handle(request)`` or ``handle.current()``.

    Args:
        hook: the resource's declaration.
        lifespan: where it was declared.
    """

    __slots__ = ("__weakref__", "hook", "lifespan")

    def __init__(self, hook: Hook, lifespan: OpensRuns) -> None:
        self.hook = hook
        self.lifespan = lifespan

    def __call__(self, request_or_scope: Any) -> T:
        """Return the value, as open for a request.

        Args:
            request_or_scope: a request (Django's, Django REST framework's, Django Ninja's,
                Starlette's) or an ASGI scope.

        Raises:
            NotRunning: no lifespan is running here.
            ResourceNotReady, ResourceClosed: it is not up yet, or is closed.
            UndeclaredUse: a hook reads a resource that is not among its dependencies.
            WrongLoop: it lives on another event loop than the one that runs here.
            TypeError: there is no request.
        """
        try:
            run = request_or_scope.scope[SCOPE_KEY]
            value: T = run.serving[self.hook]
        except (AttributeError, KeyError, TypeError):
            pass
        else:
            # While a run serves, reads on its own loop need no further check.
            if current_hook.get() is None and (
                _get_running_loop() is run.loop
                if LOOP_IS_QUICK_TO_TELL
                else get_ident() == run.loop_thread and run.loop_runs()
            ):
                return value
        if request_or_scope is NO_REQUEST:
            raise TypeError(self._is_a_handle())
        return cast("T", self._run(request_or_scope).resources.read(self.hook))

    def current(self) -> T:
        """Return the value in the current run: the hook's, the loop's, or the process's only one.

        Raises:
            NotRunning: no lifespan is running here, or several are.
            ResourceNotReady, ResourceClosed, UndeclaredUse, WrongLoop: as for a request.
        """
        value: T = self._run(None).resources.read(self.hook)
        return value

    @overload
    def check(self, function: F, /) -> F: ...
    @overload
    def check(self, /, *, timeout: float = 2.0, cache: float = 10.0) -> Callable[[F], F]: ...
    def check(self, function: Any = None, /, **options: float) -> Any:
        """Declare a health check of the resource: ``@handle.check``, bare or called.

        The function, async or sync, is called with the resource. It fails by raising, or by
        returning False; then the process is not ready, or degraded where the resource is optional.
        It is called for a health request, but not for each: once its result is older than ``cache``,
        the next request still gets that result, and the function runs in the background.

        Args:
            function: the check.
            timeout: seconds that it may take; after them it has failed.
            cache: seconds for which its result is reused.

        Returns:
            The function, unchanged.

        Raises:
            TypeError, ValueError: it is no function, or a number is no number of seconds.
        """
        from .health_check import Check

        def declare(function: Any) -> Any:
            self.hook.add_check(Check(function, **options))
            return function

        return declare if function is None else declare(function)

    def _run(self, request_or_scope: Any) -> Any:
        is_current = request_or_scope is None
        return get_running_run(self.lifespan, str(self), request_or_scope, or_ended=is_current)

    def _is_a_handle(self, attribute: str = "") -> str:
        """Return the correct code for a handle that was used as its value."""
        name, attribute = self.hook.name, attribute and f".{attribute}"
        return (
            f"{name} is a handle: write {name}(request){attribute}, or {name}.current(){attribute} "
            "where there is no request."
        )

    if not TYPE_CHECKING:
        # Type checkers reject unknown attributes themselves.
        def __getattr__(self, name: str) -> Any:
            # No special error for Python's own lookups, and none for an unfinished copy.
            if name.startswith("_") or name in self.__slots__:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise AttributeError(self._is_a_handle(name))

    def __str__(self) -> str:
        return f"Resource '{self.hook.name}' ({self.hook.file}:{self.hook.line})"

    def __repr__(self) -> str:
        return f"<resource {self.hook.module}.{self.hook.name}>"


class Refused:
    """A method that a handle does not have, with an error for statements that look it up.

    ``hasattr`` doesn't find it, so nothing takes a handle for a context manager or a sequence.
    """

    def __get__(self, handle: Resource[Any] | None, owner: type) -> Any:
        """Raise ``AttributeError``."""
        raise AttributeError(handle._is_a_handle() if handle is not None else "not of a handle")


# Type checkers require a request. A call without one gets an error that explains handles.
Resource.__call__.__defaults__ = (NO_REQUEST,)

# "with" looks up __exit__ first since Python 3.14, and __enter__ before. Iteration falls back on
# __getitem__. "await" has no such method here: a class with __await__ is an Awaitable, and
# unittest.mock.patch() would replace a handle with an AsyncMock.
LOOKED_UP = (
    ("__exit__", "__aexit__") if sys.version_info >= (3, 14) else ("__enter__", "__aenter__")
)
for method in (*LOOKED_UP, "__getitem__"):
    setattr(Resource, method, Refused())


if TYPE_CHECKING:

    class ResourceDecorator(Protocol):
        """``@lifespan.resource(...)``: a decorator with options."""

        # Context managers come first: a file is an iterator too, and the resource is the file.
        @overload
        def __call__(
            self, function: Callable[..., AbstractAsyncContextManager[T]]
        ) -> Resource[T]: ...
        @overload
        def __call__(self, function: Callable[..., AbstractContextManager[T]]) -> Resource[T]: ...
        @overload
        def __call__(self, function: Callable[..., AsyncIterator[T]]) -> Resource[T]: ...
        @overload
        def __call__(self, function: Callable[..., Iterator[T]]) -> Resource[T]: ...
        @overload
        def __call__(self, function: Callable[..., Awaitable[T]]) -> Resource[T]: ...
        @overload
        def __call__(self, function: Callable[..., T]) -> Resource[T]: ...
