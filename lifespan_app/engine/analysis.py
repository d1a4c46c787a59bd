"""The analysis of a failure: a sentence about its cause, and one about what to do.

Analyzers are chosen by the class of an error, or by its name: the library that has the class need not
be installed.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from .error_text import is_a, masked, path_of, way_to_cause
from .errors import LimitPassed
from .logger import logger


class Analysis(NamedTuple):
    """The cause of a failure, and what to do about it: whole sentences."""

    cause: str
    action: str


Analyzer = Callable[[Any], Analysis | None]
A = TypeVar("A", bound=Analyzer)


class Analyzers:
    """Functions that analyze errors, by class."""

    def __init__(self) -> None:
        self._functions: dict[type | str, list[Analyzer]] = {}

    def add(self, classes: Iterable[type | str], function: Analyzer) -> None:
        """Add a function for errors of some classes, and of classes derived from them."""
        for one in classes:
            self._functions.setdefault(one, []).append(function)

    def of(self, error: BaseException) -> Iterator[Analyzer]:
        """Yield the functions for an error: those for its own class first, the newest first."""
        for kind in type.__dict__["__mro__"].__get__(type(error)):
            for one, functions in list(self._functions.items()):
                if one is kind or (isinstance(one, str) and is_named(kind, one)):
                    yield from reversed(functions)


OWN = Analyzers()
"""The project's analyzers, which are asked first."""
BUILT_IN = Analyzers()


def analyzer(*classes: type[BaseException] | str) -> Callable[[A], A]:
    """Register a function that analyzes errors of some classes: ``@analyzer("stripe.AuthenticationError")``.

    The function is called with the error when a hook has failed, and returns an ``Analysis``, or None
    if it knows nothing of this one. It must be quick: an event loop may wait for it. The project's
    analyzers are asked before the built-in ones.

    Args:
        classes: classes of exceptions, or their full names, for libraries that may be missing. Errors
            of derived classes are analyzed too, and errors that others were raised from.

    Raises:
        TypeError: there is no class, or something else is given; the function is async.
    """
    for one in classes:
        if not isinstance(one, str) and not (
            isinstance(one, type) and issubclass(one, BaseException)
        ):
            raise TypeError(
                f"@analyzer needs classes of exceptions, or their full names, not {one!r}."
            )
    if not classes:
        raise TypeError("@analyzer needs the classes of the errors that the function analyzes.")

    def register(function: A) -> A:
        if inspect.iscoroutinefunction(function):
            raise TypeError(
                f"The analyzer {function.__qualname__} is async, and nobody awaits it: write it as 'def'."
            )
        OWN.add(classes, function)
        return function

    return register


def built_in(*names: str) -> Callable[[A], A]:
    """Register a function of this package, by the full names of classes."""

    def register(function: A) -> A:
        BUILT_IN.add(names, function)
        return function

    return register


def analysis_of(error: BaseException, modules: Iterable[str] = ()) -> Analysis | None:
    """Return the analysis of an error, masked, or None without one. Never raises.

    The innermost error is asked for first, as it knows most.

    Args:
        error: the error.
        modules: the modules that register built-in analyzers.
    """
    try:
        for module in modules:
            importlib.import_module(module)
        way = way_to_cause(error)
    except Exception as failure:
        logger.error("The built-in analyzers of failures can't be used.", error=failure)
        return None
    for analyzers in (OWN, BUILT_IN):
        for one in reversed(way):
            for function in analyzers.of(one):
                found = _asked(function, one)
                if found is not None:
                    return Analysis(masked(found.cause.strip()), masked(found.action.strip()))
    if is_a(error, LimitPassed):
        return Analysis(error.cause, error.action)  # type: ignore[attr-defined]
    return None


def _asked(function: Analyzer, error: BaseException) -> Analysis | None:
    """Return what an analyzer says; one that fails is passed over."""
    name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)}"
    try:
        found = function(error)
        if found is None:
            return None
        if not (isinstance(found, Analysis) and all(isinstance(text, str) for text in found)):
            raise TypeError(f"It returned {found!r}, which is no Analysis of two texts.")
    except BaseException as failure:
        logger.error("The analyzer %s failed, and is passed over.", name, error=failure)
        return None
    return found


def is_named(kind: type, name: str) -> bool:
    """Return True if a class has a full name: its own, or one that a module gives to it."""
    if path_of(kind) == name.removeprefix("builtins."):
        return True
    module, _, attribute = name.rpartition(".")
    return getattr(sys.modules.get(module), attribute, None) is kind
