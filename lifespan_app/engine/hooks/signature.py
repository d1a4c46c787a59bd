"""The parameters of a hook's function, as they are read when a plan is made."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, ForwardRef, get_origin

from .hook import Hook, Parameter, innermost

if sys.version_info >= (3, 14):
    from annotationlib import Format, get_annotations

    # An annotation may use a name that only type checkers import, and reading it would raise.
    def signature_of(function: Callable[..., Any]) -> inspect.Signature:
        """Return the signature of a callable, with ``ForwardRef`` for unreadable annotations."""
        return inspect.signature(function, annotation_format=Format.FORWARDREF)

    def annotations_of(function: types.FunctionType) -> Mapping[str, Any]:
        """Return the annotations of a function, in the same way."""
        return get_annotations(function, format=Format.FORWARDREF)
else:

    def signature_of(function: Callable[..., Any]) -> inspect.Signature:
        """Return the signature of a callable."""
        return inspect.signature(function)

    def annotations_of(function: types.FunctionType) -> Mapping[str, Any]:
        """Return the annotations of a function."""
        return function.__annotations__


CONTEXT_NAMES = frozenset({"ctx", "_context", "lifespan_context"})
OF_FASTAPI = frozenset({"app", "application"})
"""The parameter names of FastAPI's and Starlette's lifespan functions."""


def parameters_of(hook: Hook) -> tuple[Parameter, ...]:
    """Return the parameters of a hook's function, without ``*args`` and ``**kwargs``.

    Raises:
        TypeError, ValueError: the signature can't be read.
    """
    known = hook.parameters
    return hook.keep_parameters(_read(hook.function)) if known is None else known


def _read(function: Callable[..., Any]) -> Iterable[Parameter]:
    # Anything that changes a signature is in the function's __dict__: __wrapped__, __signature__.
    if type(function) is types.FunctionType and not vars(function):
        code = function.__code__
        if not (code.co_argcount or code.co_kwonlyargcount):
            return ()
        if not code.co_posonlyargcount:
            return _parameters_of_plain_function(function)
    found = []
    for parameter in signature_of(function).parameters.values():
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
    # inspect.signature takes ten times as long, which matters for a thousand hooks.
    code = function.__code__
    count = code.co_argcount
    names = code.co_varnames[: count + code.co_kwonlyargcount]
    annotations = annotations_of(function)
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


def text_of(annotation: Any) -> str | None:
    """Return the source text of an annotation that Python has not evaluated, or None.

    A string is such a text. From Python 3.14 on there are a ``ForwardRef`` for the annotation, and
    one for each argument of ``Annotated`` that can't be read.
    """
    if get_origin(annotation) is Annotated:
        unread = (part for part in annotation.__metadata__ if isinstance(part, ForwardRef))
        annotation = next(unread, None)
    if isinstance(annotation, ForwardRef):
        return annotation.__forward_arg__
    return annotation if isinstance(annotation, str) else None


def namespace_of(hook: Hook) -> dict[str, Any]:
    """Return the names that an annotation written as a string may use."""
    function = innermost(hook.function)
    return getattr(function, "__globals__", None) or vars(sys.modules.get(hook.module, types))
