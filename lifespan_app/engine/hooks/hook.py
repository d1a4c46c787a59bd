"""A hook: one thing that an app declares in its ``lifespan.py``, as a value."""

# Without "from __future__ import annotations": a named tuple compiles each annotation that is a
# string, which takes most of the time that its class does.

import functools
import inspect
import sys
import types
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .values import crashes_within, number, one_of, seconds, share, text, words

if TYPE_CHECKING:
    from typing import Protocol

    from .retry import Retry

    # A protocol is expensive to create, and only type checkers read it.
    class Handle(Protocol):
        """The handle of a resource, by which code refers to its hook."""

        @property
        def hook(self) -> "Hook":
            """The resource's declaration."""

    HookReference: TypeAlias = str | Callable[..., Any] | Handle

REFUSED_NAMES = frozenset({"context", "state"}) | {
    name for name in dir(MutableMapping) if not name.startswith("_")
}
ON_CRASH = ("log", "restart", "stop")
ON_GIVE_UP = ("log", "stop")


class Kind(StrEnum):
    """The kind of a hook."""

    START = "start"
    SHUTDOWN = "shutdown"
    RESOURCE = "resource"
    BACKGROUND = "background"
    DRAIN = "drain"
    MANAGER = "manager"
    """A lifespan manager of django-asgi-lifespan, which yields a part of the state."""
    STAGE = "stage"
    """An edge of the run that no app declared: receivers, an inner application's lifespan."""


DECORATORS = {
    Kind.START: "on_start",
    Kind.SHUTDOWN: "on_shutdown",
    Kind.RESOURCE: "resource",
    Kind.BACKGROUND: "background",
    Kind.DRAIN: "on_drain",
}
"""The decorator of each kind, as a method of ``Lifespan``."""


class Form(StrEnum):
    """The way a hook's function is called."""

    COROUTINE = "coroutine function"
    ASYNC_GENERATOR = "async generator function"
    SYNC_GENERATOR = "generator function"
    ON_LOOP = "callable for the loop"
    """Called on the loop; the result decides: an async context manager, or an awaitable."""
    IN_THREAD = "sync callable"


# Module constants: on Python 3.11 a look-up on the Enum costs five times as much
# (https://github.com/python/cpython/issues/93910), and a run makes some thirty for each hook.
START, SHUTDOWN, RESOURCE, BACKGROUND, DRAIN, MANAGER, STAGE = Kind
ONLY_AT_END = (SHUTDOWN, DRAIN)
"""Kinds without a startup: their ``timeout`` is their limit at the end."""
COROUTINE, ASYNC_GENERATOR, SYNC_GENERATOR, ON_LOOP, IN_THREAD = Form

JITTER = 0.1

WrittenAt: TypeAlias = tuple[str, str, int]
"""Module, file and line of a hook whose function was not written by the user."""


class Options(NamedTuple):
    """The options of a hook, from its declaration and from the ``HOOKS`` setting."""

    priority: int = 0
    required: bool = True
    timeout: float | None = None
    shutdown_timeout: float | None = None
    state_name: str = ""
    wait: bool = True
    """True if the startup waits for it; otherwise the process may serve before it is up."""
    on_crash: str = "log"
    give_up: tuple[int, float] | None = None
    """After how many crashes within how many seconds a job does not begin again."""
    on_give_up: str = "log"
    every: float | None = None
    """Seconds from the begin of one round of a job to that of the next; None: it has no rounds."""
    jitter: float = JITTER
    """The share of ``every`` by which it is shorter or longer, at most."""
    first: float = 0.0
    """Seconds until the first round begins."""
    stall_after: float | None = None
    """Seconds without a finished round, or without a sign of life, after which a job is stalled."""
    retry: "Retry | None" = None
    """How a start that fails is tried again; None: it is not."""
    once: str | None = None
    """Where only one process runs it; None: each one does."""


class Parameter(NamedTuple):
    """A named parameter of a hook's function."""

    name: str
    required: bool
    annotation: Any = None
    positional_only: bool = False


class Hook:
    """A declared hook: its function, its name, and its options.

    Two hooks are the same hook when they are the same object. Everything here is as it was
    declared; the changes by the ``HOOKS`` setting are in the plan's nodes.
    """

    __slots__ = (
        "__weakref__",
        "checks",
        "depends_on",
        "file",
        "form",
        "function",
        "kind",
        "line",
        "module",
        "name",
        "options",
        "order",
        "parameters",
        "qualified_name",
        "service_types",
        "where",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        kind: Kind,
        *,
        name: str | None = None,
        service_types: Iterable[str] | None = None,
        depends_on: "Iterable[HookReference]" = (),
        order: int = 0,
        declared_at: types.FrameType | None = None,
        form: Form | None = None,
        written_at: WrittenAt | None = None,
        where: Callable[[], str] | None = None,
        **options: Any,
    ) -> None:
        decorator = "lifespan.resource" if kind is Kind.RESOURCE else f"lifespan {kind} hook"
        if not callable(function):
            raise TypeError(f"{decorator} needs a function, not {function!r}.")
        plain = innermost(function)
        self.function = function
        self.kind = kind
        self.form = form or form_of(function)
        self.name = name or name_of(function)
        self.module: str = getattr(plain, "__module__", None) or "__main__"
        self.qualified_name: str = getattr(plain, "__qualname__", self.name)
        if written_at is None:
            self.file, self.line = place_of(plain, declared_at)
        else:
            self.module, self.file, self.line = written_at
        self.service_types = words(service_types)
        if isinstance(depends_on, str) or not isinstance(depends_on, Iterable):
            raise TypeError(
                f"depends_on of '{self.name}' takes a list, such as depends_on=[{depends_on!r}]."
            )
        self.depends_on = tuple(depends_on)
        self.options = valid(Options(**options), self.name)
        self.order = order
        self.parameters: tuple[Parameter, ...] | None = None
        """The parameters of the function; None until the first plan has read them."""
        self.where = where
        """Returns the location where it waits, if it waits for other code; None: that is found by its
        task or thread."""
        self.checks: tuple[Any, ...] = ()
        """The health checks of the resource: ``running.health_check.Check``."""
        self._refuse_uncallable()

    def _refuse_uncallable(self) -> None:
        where = f"'{self.name}' ({self.file}:{self.line})"
        if self.kind is Kind.BACKGROUND:
            self._refuse_job(where)
        if self.kind in (Kind.START, Kind.SHUTDOWN, Kind.DRAIN) and self.form in (
            Form.ASYNC_GENERATOR,
            Form.SYNC_GENERATOR,
        ):
            raise TypeError(
                f"{where} yields, which a {self.kind} function can't: declare it with "
                "@lifespan.resource, which runs what is before 'yield' at startup and what is "
                "after it at shutdown."
            )
        if self.kind is Kind.RESOURCE:
            refuse_name(self.options.state_name, where)
        if self.options.once is not None:
            # Not paid for by an import.
            from lifespan_app.engine.lease import ONCE_AT_START, ONCE_WHILE_SERVING

            allowed = ONCE_WHILE_SERVING if self.kind is Kind.BACKGROUND else ONCE_AT_START
            one_of(allowed, self.options.once, f"once of {where}")

    def _refuse_job(self, where: str) -> None:
        options = self.options
        is_round = options.every is not None and self.form is Form.IN_THREAD
        if self.form is not Form.COROUTINE and not is_round:
            raise TypeError(
                f"A background job must be a coroutine function, since a {self.form} could not "
                f"be stopped: write {where} as 'async def', with asyncio.to_thread() for what "
                "blocks. With every= a plain function may be a round, in a thread."
            )
        if options.every is None:
            if options.timeout is not None:
                raise TypeError(
                    "A background job runs for as long as the process serves and takes no timeout=; "
                    "shutdown_timeout= limits how long it may take to stop. With every= it is the "
                    "limit of a round."
                )
            if options.first or options.jitter != JITTER:
                raise ValueError(f"first= and jitter= of {where} say nothing without every=.")
        elif options.stall_after is not None:
            longest = options.every * (1 + options.jitter)
            if options.stall_after <= longest:
                raise ValueError(
                    f"stall_after of {where} is longer than its rounds are apart, {longest:g} s with "
                    f"their jitter, not {options.stall_after:g}."
                )
        one_of(ON_CRASH, options.on_crash, f"on_crash of {where}")
        one_of(ON_GIVE_UP, options.on_give_up, f"on_give_up of {where}")
        begins_again = options.on_crash == "restart" or options.every is not None
        if options.give_up is not None and not begins_again:
            raise ValueError(
                f"give_up of {where} is for a job that begins again: add on_crash='restart'."
            )
        if options.on_give_up != "log" and options.give_up is None:
            raise ValueError(f"on_give_up of {where} says nothing without give_up=.")

    def keep_parameters(self, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
        """Keep, and return, the parameters that were read off the function."""
        self.parameters = tuple(parameters)
        return self.parameters

    def add_check(self, check: Any) -> None:
        """Add a check of the resource."""
        self.checks = (*self.checks, check)

    def key_by(self, label_of: Callable[[str], str | None]) -> str:
        """Return its key: ``app_label.name``, and outside of the apps ``module.name``.

        Args:
            label_of: returns the app label of a module, or None outside an installed app.
        """
        return f"{label_of(self.module) or self.module}.{self.name}"

    @property
    def identity(self) -> tuple[object, ...]:
        """The identity of a declaration: a module that is imported again replaces its hooks."""
        owner = getattr(self.function, "__self__", None)
        return (
            self.module,
            self.qualified_name,
            self.name,
            self.kind,
            self.file,
            self.line,
            None if owner is None or inspect.ismodule(owner) else id(owner),
        )

    def __repr__(self) -> str:
        return f"<{self.kind} hook {self.module}.{self.name} ({self.file}:{self.line})>"


def valid(options: Options, name: str) -> Options:
    """Return the options in their stored form. Raises for invalid values."""
    retry: Retry | None = None
    if options.retry is not None:
        from .retry import retry_of  # not paid for by an import

        retry = retry_of(options.retry)
    return options._replace(
        priority=number(options.priority, "priority"),
        timeout=seconds(options.timeout, "timeout"),
        shutdown_timeout=seconds(options.shutdown_timeout, "shutdown_timeout"),
        state_name=text(options.state_name or text(name, "name"), "state_name"),
        give_up=crashes_within(options.give_up),
        every=seconds(options.every, "every"),
        jitter=share(options.jitter, "jitter"),
        first=seconds(options.first or None, "first") or 0.0,
        stall_after=seconds(options.stall_after, "stall_after"),
        retry=retry,
    )


def refuse_name(name: str, where: str) -> None:
    """Raise ``ValueError`` for a state name that means something else already."""
    if name in REFUSED_NAMES:
        raise ValueError(
            f"{where} can't be called '{name}' in the state: that name is the mapping's own or "
            "the engine's. Give it another with state_name=."
        )


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a callable without its partials, bound methods and decorators."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function. Raises ``ValueError`` if it has none."""
    name = getattr(function, "__name__", "")
    if not name or name == "<lambda>":
        from lifespan_app.engine.errors import with_article

        kind = "a lambda" if name else f"{with_article(type(function))} object"
        what = kind[0].upper() + kind[1:]
        raise ValueError(f"{what} has no name of its own: give it one with name=.")
    return str(name)


def place_of(function: Callable[..., Any], declared_at: types.FrameType | None) -> tuple[str, int]:
    """Return file and line of a function, or of its declaration if it has no code."""
    code = getattr(function, "__code__", None)
    if code is not None:
        return code.co_filename, code.co_firstlineno
    if declared_at is not None:
        return declared_at.f_code.co_filename, declared_at.f_lineno
    # A method that is written in C has no module.
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return getattr(module, "__file__", None) or "", 0


def form_of(function: Callable[..., Any]) -> Form:
    """Return the way to call a function."""
    bare: Any = function
    while isinstance(bare, functools.partial):
        bare = bare.func
    if inspect.isasyncgenfunction(bare):
        return Form.ASYNC_GENERATOR
    if inspect.isgeneratorfunction(bare):
        return Form.SYNC_GENERATOR
    if inspect.iscoroutinefunction(bare):
        return Form.COROUTINE
    if inspect.isclass(bare):
        return Form.ON_LOOP if hasattr(bare, "__aenter__") else Form.IN_THREAD
    call = getattr(type(bare), "__call__", None)  # noqa: B004  # its kind is asked, not whether
    if not inspect.isroutine(bare) and inspect.iscoroutinefunction(call):
        return Form.COROUTINE
    inner = innermost(bare)
    if inspect.isasyncgenfunction(inner) or inspect.iscoroutinefunction(inner):
        return Form.ON_LOOP
    return Form.IN_THREAD


def is_awaitable(value: Any) -> bool:
    """Return True if a value can be awaited, by its type: a lazy object is not made to load."""
    kind = type(value)
    return issubclass(kind, Awaitable) or (
        kind is types.GeneratorType and inspect.isawaitable(value)
    )
