"""A resource that is None: what is usually a forgotten ``yield`` or ``return``."""

from __future__ import annotations

import inspect
import re
import typing
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from lifespan_app.engine.errors import HookError
from lifespan_app.engine.hooks.hook import RESOURCE, Hook, innermost
from lifespan_app.engine.hooks.signature import namespace_of

if TYPE_CHECKING:
    from .hook_run import HookRun

NOT_ANNOTATED = inspect.Signature.empty
SENT_FIRST = ("Coroutine",)
"""Whose last argument is what comes of it; of generators and the like it is the first."""
AROUND_A_VALUE = ("Iterator", "Iterable", "Generator", "Awaitable", "Coroutine", "ContextManager")


def refuse_none(unit: HookRun, *, yielded: bool) -> None:
    """Raise ``HookError`` for a resource that is None by mistake, and not by its annotation.

    A bare ``yield`` in a function without an annotation is none: there is something to open and to
    close, and nothing to hand out.

    Args:
        unit: whose resource it is.
        yielded: whether None was yielded; else it was returned.
    """
    if unit.hook.kind is not RESOURCE:
        return
    annotation = annotation_of(unit.hook)
    if yielded if annotation is NOT_ANNOTATED else may_be_none(annotation):
        return
    if yielded:
        what = "yielded None: did you forget the value behind 'yield'?"
    else:
        what = "returned None: did you forget 'yield' or 'return'?"
    raise HookError(f"{unit} {what} If None is meant, annotate the function, such as '-> None'.")


def annotation_of(hook: Hook) -> Any:
    """Return what a hook's function says it returns; where that can't be evaluated, the string."""
    try:
        annotation = inspect.signature(innermost(hook.function)).return_annotation
    except (TypeError, ValueError):
        return NOT_ANNOTATED
    if isinstance(annotation, str):
        try:
            return eval(annotation, namespace_of(hook))
        except Exception:
            # A name that is imported for type checkers only.
            return annotation
    return annotation


def may_be_none(annotation: Any) -> bool:
    """Return True if a value of this type, or what is yielded or awaited, may be None."""
    annotation = getattr(annotation, "__value__", annotation)  # of "type Name = ..."
    if isinstance(annotation, str):
        return re.search(r"\b(None|Optional|Any|object)\b", annotation) is not None
    if annotation in (None, type(None), Any, object) or isinstance(annotation, TypeVar):
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return may_be_none(arguments[0])
    name = getattr(origin or annotation, "__name__", "")
    if name.endswith(AROUND_A_VALUE):
        inside = arguments[-1:] if name.endswith(SENT_FIRST) else arguments[:1]
        return not inside or may_be_none(inside[0])
    # A union, in either spelling; of another generic type the arguments are no value.
    return name in ("Union", "UnionType") and any(map(may_be_none, arguments))
