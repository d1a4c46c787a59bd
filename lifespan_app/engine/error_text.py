"""Errors as text. No function here raises, even if an error's own code does.

An exception is the project's object: its ``__str__`` may raise or return None, its class may refuse
notes. The engine's work between the end of a hook and the next step must not depend on that.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

BOILERPLATE = frozenset({"unhandled errors in a TaskGroup", "Exceptions from Trio nursery"})
"""Messages of groups that are not written for the error at hand."""

LONGEST_LINE = 500
"""Characters of an error's text in one line, at most."""


def is_a(
    error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]
) -> bool:
    """Return True if an error is of a class, by its type: ``isinstance`` uses its ``__class__``."""
    return issubclass(type(error), kind)


def text_of(error: BaseException) -> str:
    """Return an error's ``str()``, or a substitute if that raises."""
    try:
        return str.__str__(str(error))
    except BaseException:
        return f"<unprintable {class_name(error)} object>"


def class_name(error: BaseException) -> str:
    """Return the name of an error's class."""
    return plain_name(type(error))


def plain_name(kind: type) -> str:
    """Return the original name of a class; its metaclass may have a property of that name."""
    name: str = type.__dict__["__name__"].__get__(kind)
    return name


def class_path(error: BaseException | None) -> str:
    """Return the full name of an error's class, or an empty string for None."""
    return "" if error is None else path_of(type(error))


def path_of(kind: type) -> str:
    """Return the full name of a class."""
    try:
        module, name = str.__str__(kind.__module__), str.__str__(kind.__qualname__)
    except BaseException:
        return plain_name(kind)
    return name if module == "builtins" else f"{module}.{name}"


def one_line(error: BaseException | None) -> str:
    """Return an error as ``Class: message`` in one line, or an empty string for None.

    Of a group it is the first error inside that is no group, and how many more there are. A message
    that somebody has written for the group stands before it.
    """
    if error is None:
        return ""
    named, text = _parts_of(error)
    return line_of(class_name(named), text)


def line_of(class_path: str, text: str) -> str:
    """Return the class and the text of an error, as a step holds them, in one line."""
    name = class_path.rpartition(".")[2]
    text = " ".join(text.split())
    if len(text) > LONGEST_LINE:
        text = f"{text[:LONGEST_LINE]}..."
    return f"{name}: {text}" if name and text else name or text


def clause(error: BaseException) -> str:
    """Return an error in one line, without its full stop: the end of a sentence of ours."""
    text = one_line(error)
    return text if text.endswith("..") else text.removesuffix(".")


def in_full(error: BaseException) -> str:
    """Return an error as ``one_line`` does, with the full name of its class and all of its text."""
    path, text = path_and_text(error)
    return f"{path}: {text}" if text else path


def path_and_text(error: BaseException | None) -> tuple[str, str]:
    """Return the full name of an error's class, and its text; of a group as ``one_line`` does."""
    if error is None:
        return "", ""
    named, text = _parts_of(error)
    return class_path(named), text


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of a group, and of the groups inside it; an error that is no group is one."""
    left = [error]
    while left:
        error = left.pop()
        inside = _inside(error)
        if inside:
            left += reversed(inside)
        else:
            yield error


def traceback_of(error: BaseException | None) -> str:
    """Return an error's traceback as text, without local variables, or an empty string for None."""
    if error is None:
        return ""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:
        return f"{_frames_of(error)}{one_line(error)}\n"


def was_raised(error: BaseException) -> bool:
    """Return True if an error has a traceback, of its own or of its cause."""
    own = BaseException.__dict__
    return any(own[name].__get__(error) is not None for name in ("__traceback__", "__cause__"))


def can_be_formatted(error: BaseException) -> bool:
    """Return True if the standard library can make a traceback of an error, as log handlers do."""
    try:
        traceback.format_exception(error)
    except BaseException:
        return False
    return True


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an error, once. An error that takes no notes stays as it is."""
    try:
        if text not in getattr(error, "__notes__", ()):
            error.add_note(text)
    except BaseException:  # such as a frozen dataclass
        pass


def _parts_of(error: BaseException) -> tuple[BaseException, str]:
    """Return the error that gives the class name, and the text after it."""
    first, *others = leaves_of(error)
    more = f" (and {len(others)} more)" if others else ""
    if first is error:
        return error, text_of(error)
    own = _message_of_group(error)
    if own in BOILERPLATE:
        return first, f"{text_of(first)}{more}".strip()
    return error, f"{own}: {one_line(first)}{more}"


def _inside(error: BaseException) -> tuple[BaseException, ...]:
    return BaseExceptionGroup.exceptions.__get__(error) if is_a(error, BaseExceptionGroup) else ()


def _message_of_group(error: BaseException) -> str:
    return str.__str__(BaseExceptionGroup.message.__get__(error)).partition("\n")[0]


def _frames_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_tb(BaseException.__dict__["__traceback__"].__get__(error)))
    except BaseException:
        return ""
