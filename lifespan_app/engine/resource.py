"""The handle of a resource: what ``@lifespan.resource`` returns, and what views read it with."""

from __future__ import annotations

from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from .current import SCOPE_KEY, here, run_here, run_in_context, run_of

if TYPE_CHECKING:
    from .api import Lifespan
    from .hooks import Hook
    from .runner import Run

T = TypeVar("T")


class Resource(Generic[T]):
    """Read one resource of the current run: ``handle(request)`` or ``handle.current()``.

    Args:
        hook: the resource's declaration.
        lifespan: where it was declared.
    """

    __slots__ = ("__weakref__", "hook", "lifespan")

    def __init__(self, hook: Hook, lifespan: Lifespan) -> None:
        self.hook = hook
        self.lifespan = lifespan

    def __call__(self, request_or_scope: Any) -> T:
        """Return the value, as open for a request.

        Args:
            request_or_scope: a request (Django's, Django REST framework's, Django Ninja's,
                Starlette's) or an ASGI scope.

        Raises:
            NotRunning: no lifespan is running here.
            ResourceNotReady, ResourceClosed: it is not up yet, or not any more.
            UndeclaredUse: a hook reads what it did not ask for.
            WrongLoop: it lives on another event loop than the one that runs here.
        """
        if here.get() is None:
            # While a run serves, nothing can be wrong but the loop.
            try:
                run = request_or_scope.scope[SCOPE_KEY]
                value: T = run.serving[self.hook]
            except (AttributeError, KeyError, TypeError):
                pass
            else:
                loop = _get_running_loop()
                if loop is run.loop or loop is None:
                    return value
        return cast("T", self._run(request_or_scope).read(self.hook))

    def current(self) -> T:
        """Return the value in the current run: the hook's, the loop's, or the process's only one.

        Raises:
            NotRunning: no lifespan is running here, or it can't be told which is meant.
            ResourceNotReady, ResourceClosed, UndeclaredUse, WrongLoop: as for a request.
        """
        value: T = self._run(None).read(self.hook)
        return value

    def _run(self, request_or_scope: Any) -> Run:
        run = run_in_context()
        if run is None or run.lifespan is not self.lifespan:
            run = run_of(request_or_scope)
        if run is not None and run.lifespan is self.lifespan:
            return run
        return run_here(self.lifespan, str(self), or_ended=request_or_scope is None)

    def __str__(self) -> str:
        return f"Resource '{self.hook.name}' ({self.hook.file}:{self.hook.line})"

    def __repr__(self) -> str:
        return f"<resource {self.hook.module}.{self.hook.name}>"
