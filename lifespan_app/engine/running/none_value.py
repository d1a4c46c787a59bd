"""A resource that is None, usually because of a forgotten ``yield`` or ``return``."""

from __future__ import annotations

import inspect
import re
import typing
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from lifespan_app.engine.errors import HookError
from lifespan_app.engine.hooks.hook import Hook, innermost
from lifespan_app.engine.hooks.signature import namespace_of

if TYPE_CHECKING:
    from .hook_run import HookRun

NOT_ANNOTATED = inspect.Signature.empty
SENT_FIRST = ("Coroutine",)
"""Types whose last argument is the result; for generators and the like it is the first."""
AROUND_A_VALUE = ("Iterator", "Iterable", "Generator", "Awaitable", "Coroutine", "ContextManager")


def refuse_none(hook_run: HookRun, *, yielded: bool) -> None:
    """Raise ``HookError`` for a resource that is None by mistake, and not by its annotation.

    A bare ``yield`` in a function without an annotation is none: there is something to open and to
    close, and nothing to hand out.

    Args:
        hook_run: the resource.
        yielded: whether None was yielded; else it was returned.
    """
    annotation = annotation_of(hook_run.hook)
    if yielded if annotation is NOT_ANNOTATED else may_be_none(annotation):
        return
    if yielded:
        what = "yielded None: did you forget the value behind 'yield'?"
    else:
        what = "returned None: did you forget 'yield' or 'return'?"
    raise HookError(
        f"{hook_run} {what} If None is meant, annotate the function, such as '-> None'."
    )


def annotation_of(hook: Hook) -> Any:
    """Return the return annotation of a hook's function, or its string if it can't be evaluated."""
    try:
        annotation = inspect.signature(innermost(hook.function)).return_annotation
    except (TypeError, ValueError):
        return NOT_ANNOTATED
    if isinstance(annotation, str):
        try:
            return eval(annotation, namespace_of(hook))
        except Exception:
            # The name may be imported for type checkers only.
            return annotation
    return annotation


def may_be_none(annotation: Any) -> bool:
    """Return True if a value of this type, or its yielded or awaited value, may be None."""
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
    # Only the arguments of a union are types of the value; those of other generic types are not.
    return name in ("Union", "UnionType") and any(map(may_be_none, arguments))
