"""Changes by a test: replaced values, and faults."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Self, TypeVar

from lifespan_app.engine.hooks.hook import Hook
from lifespan_app.engine.lifespan import Lifespan
from lifespan_app.engine.running.handle import Resource
from lifespan_app.integration.default import lifespan as default

from .plan_patch import Change, Fault, HookReference, MakesError, replaced, value_in_open_run

F = TypeVar("F", bound=Callable[..., Any])


class Patch:
    """Something that holds inside a ``with`` block, or in the tests that it decorates."""

    def __init__(self) -> None:
        self._entered: list[AbstractContextManager[object]] = []

    def _holding(self) -> AbstractContextManager[object]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Let it hold."""
        holding = self._holding()
        holding.__enter__()
        self._entered.append(holding)
        return self

    def __exit__(self, *error: Any) -> None:
        """Let things be as they were."""
        self._entered.pop().__exit__(*error)

    def __call__(self, decorated: F) -> F:
        """Let it hold in a function, sync or async; in a class, in its test methods."""
        if inspect.isclass(decorated):
            for name in dir(decorated):
                method = getattr(decorated, name)
                if name.startswith("test") and inspect.isfunction(method):
                    setattr(decorated, name, self(method))
            return decorated
        if inspect.isgeneratorfunction(decorated) or inspect.isasyncgenfunction(decorated):
            raise TypeError(
                f"{decorated.__qualname__}() yields, and its decorator would end before its body "
                "runs. Write a 'with' block around its 'yield'."
            )
        wrapper: Any
        if inspect.iscoroutinefunction(decorated):

            @functools.wraps(decorated)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await decorated(*args, **kwargs)

        else:

            @functools.wraps(decorated)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return decorated(*args, **kwargs)

        return wrapper  # type: ignore[no-any-return]


def override(resource: Resource[Any] | str, value: object) -> Patch:
    """Replace the value of a resource: a context manager, and a decorator.

    In runs that begin while it holds, the resource's own function is not called. Resources that only
    it needs are not opened, unless ``only=[...]`` names them. In a run that is open already, views and
    sync code read the value; its hooks keep the resource. Of several overrides of a resource, the last
    one holds.

    Args:
        resource: its handle, or its key, such as ``"library.http_client"``.
        value: its value; it is not called, entered or awaited.
    """
    return Override(resource, value)


class Override(Patch, Change):
    """The return value of ``override``.

    Args:
        resource: its handle, or its key.
        value: its value.
    """

    def __init__(self, resource: Resource[Any] | str, value: object) -> None:
        super().__init__()
        if not isinstance(resource, (Resource, str)):
            raise TypeError(
                f"override() takes the handle of a resource, or its key, and not {resource!r}."
            )
        self._resource = resource
        self._value = value

    @contextmanager
    def _holding(self) -> Iterator[None]:
        lifespan = lifespan_of(self._resource)
        with ExitStack() as stack:
            for run in list(lifespan.runs):
                if not (run.over or run.inherited):
                    stack.enter_context(value_in_open_run(run, self._resource, self._value))
            stack.enter_context(changed(lifespan, self))
            yield

    def to_plan(self, plan: Any) -> Any:
        """Return a plan with the value in it."""
        return replaced(plan, self._resource, self._value)


class InjectedFailure(Exception):
    """A hook has failed, since a test wanted it to."""

    # Reports and records show the public import path.
    __module__ = "lifespan_app.testing"


def inject(
    *hooks: HookReference,
    fail: bool | BaseException | type[BaseException] = False,
    delay: float = 0.0,
    hang: bool = False,
    fail_stop: bool | BaseException | type[BaseException] = False,
) -> Patch:
    """Break hooks, in the runs that begin while it holds: a context manager, and a decorator.

    Only the hook fails: limits, rollback, report and messages are the real ones.

    Args:
        hooks: hooks, by handle, function or key.
        fail: their error instead of a start; True: ``InjectedFailure``.
        delay: seconds that they begin later.
        hang: whether they never begin.
        fail_stop: their error after the stop; True: ``InjectedFailure``. With a key,
            the shutdown function of that key raises it.

    Raises:
        TypeError: there is no hook, or something else, such as a list.
        LookupError: when it is entered: a function that is no hook of ``lifespan_app.lifespan``.
    """
    if not hooks or not all(isinstance(hook, (str, Resource)) or callable(hook) for hook in hooks):
        raise TypeError("inject() needs a hook: its handle, its function, or its key.")
    return Inject(
        hooks,
        Fault(
            hooks,
            fail=failure(fail, "start"),
            delay=delay,
            hang=hang,
            fail_stop=failure(fail_stop, "stop"),
        ),
    )


class Inject(Patch):
    """The return value of ``inject``.

    Args:
        hooks: which hooks.
        fault: their fault.
    """

    def __init__(self, hooks: Iterable[HookReference], fault: Fault) -> None:
        super().__init__()
        self._hooks = list(hooks)
        self._fault = fault

    @contextmanager
    def _holding(self) -> Iterator[None]:
        refuse_undeclared(self._hooks)
        with ExitStack() as stack:
            for lifespan in {lifespan_of(hook) for hook in self._hooks}:
                stack.enter_context(changed(lifespan, self._fault))
            try:
                yield
            finally:
                self._fault.over.set()


def failure(wanted: bool | BaseException | type[BaseException], when: str) -> MakesError | None:
    """Return the factory for the error of a hook, or None if there is to be no error."""
    if wanted is False or wanted is None:
        return None

    def make(hook: Hook) -> BaseException:
        if isinstance(wanted, BaseException):
            return wanted
        if isinstance(wanted, type):
            return wanted()
        return InjectedFailure(f"'{hook.name}' fails to {when}, as inject() says.")

    return make


def refuse_undeclared(hooks: Iterable[HookReference]) -> None:
    """Raise ``LookupError`` for a function that is no hook: without it, a fault would break nothing."""
    functions = [hook.function for hook in default.hooks]
    for wanted in hooks:
        if not isinstance(wanted, (str, Resource)) and wanted not in functions:
            raise LookupError(
                f"inject() can't break {wanted!r}, which is declared nowhere in lifespan_app.lifespan."
            )


def lifespan_of(wanted: HookReference) -> Lifespan:
    """Return the ``Lifespan`` of a hook, or the default one if it is unknown."""
    owner: Any = wanted.lifespan if isinstance(wanted, Resource) else default
    return owner  # type: ignore[no-any-return]


@contextmanager
def changed(lifespan: Lifespan, change: Change) -> Iterator[None]:
    """Apply a change to the runs that begin in the block."""
    lifespan.changes.append(change)
    try:
        yield
    finally:
        # reset_instance() may have forgotten it.
        if change in lifespan.changes:
            lifespan.changes.remove(change)
