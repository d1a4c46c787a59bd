"""The parameters of a hook's function, as they are read when a plan is made."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .hooks import Hook, innermost

CONTEXT_NAMES = frozenset({"ctx", "_context", "lifespan_context"})


class Parameter(NamedTuple):
    """A named parameter of a hook's function."""

    name: str
    required: bool
    annotation: Any = None
    positional_only: bool = False


def parameters_of(function: Callable[..., Any]) -> Iterable[Parameter]:
    """Read the parameters of a function, quickly where it is a plain one."""
    if (
        isinstance(function, types.FunctionType)
        and not hasattr(function, "__wrapped__")
        and not hasattr(function, "__signature__")
        and not function.__code__.co_posonlyargcount
    ):
        return _parameters_of_plain_function(function)
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation = parameter.annotation
        found.append(
            Parameter(
                parameter.name,
                parameter.default is parameter.empty,
                None if annotation is parameter.empty else annotation,
                parameter.kind is parameter.POSITIONAL_ONLY,
            )
        )
    return found


def _parameters_of_plain_function(function: types.FunctionType) -> list[Parameter]:
    # inspect.signature takes ten times as long, and a plan of a thousand hooks notices.
    code = function.__code__
    count = code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    if not names:
        return []
    annotations = function.__annotations__
    first_default = count - len(function.__defaults__ or ())
    keyword_defaults = function.__kwdefaults__ or {}
    return [
        Parameter(
            name,
            index < first_default if index < count else name not in keyword_defaults,
            annotations.get(name),
        )
        for index, name in enumerate(names)
    ]


def namespace_of(hook: Hook) -> dict[str, Any]:
    """Return the names that an annotation written as a string may use."""
    function = innermost(hook.function)
    return getattr(function, "__globals__", None) or vars(sys.modules.get(hook.module, types))
