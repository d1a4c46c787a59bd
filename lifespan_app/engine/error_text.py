"""Errors as text. No function here raises, even if an error's own code does.

An exception is the project's object: its ``__str__`` may raise or return None, its class may refuse
notes. The engine's work between the end of a hook and the next step must not depend on that.

A line about an error names its cause: the innermost exception that has passed through the user's
code, of those that were raised from one another, or are in a group.

Each text is masked by the function that the program around the engine has given, so that no other
module can forget it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from opcode import opmap
from types import TracebackType
from typing import Any

from .errors import LifespanError

BOILERPLATE = frozenset({"unhandled errors in a TaskGroup", "Exceptions from Trio nursery"})
"""Messages of groups that are not written for the error at hand."""

LONGEST_LINE = 500
"""Characters of an error's text in one line, at most."""

LONGEST_OUTER = 200
"""Characters of the error that was raised from the cause, at most."""

CONTROL_FLOW = frozenset({"CancelledError", "GeneratorExit", "StopAsyncIteration", "StopIteration"})
"""Exceptions that are no cause of others: ``asyncio.timeout`` raises its TimeoutError from one."""

RAISE = opmap["RAISE_VARARGS"]
"""The instruction of a ``raise`` statement."""

LONGEST_CYCLE = 12
"""The most frames of a cycle that is folded."""

SHOWN_CYCLES = 2
"""How often a cycle of frames is shown before the rest of its rounds is folded."""


UNMASKABLE = "(This text could not be masked, so it is left out.)"
"""A text whose masking has failed: it may hold a secret."""

_mask: Callable[[str], str] = str
"""The masking of secrets. It belongs to the process, like its settings and its environment."""


def mask_with(function: Callable[[str], str]) -> None:
    """Set the function that masks secrets in texts from now on."""
    global _mask
    _mask = function


def masked(text: str) -> str:
    """Return a text with the secrets masked that the program around the engine knows."""
    try:
        return _mask(text)
    except BaseException:
        return UNMASKABLE


def is_a(
    error: BaseException | None, kind: type[BaseException] | tuple[type[BaseException], ...]
) -> bool:
    """Return True if an error is of a class, by its type: ``isinstance`` uses its ``__class__``."""
    return issubclass(type(error), kind)


def text_of(error: BaseException) -> str:
    """Return an error's ``str()``, masked, or a substitute if that raises."""
    try:
        text = str.__str__(str(error))
    except BaseException:
        return f"<unprintable {class_name(error)} object>"
    return masked(text)


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
    """Return the cause of an error as ``Class: message`` in one line, or an empty string for None.

    Behind it is how many more errors a group has, and the error that was raised from the cause.
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
    """Return the full name of the class of an error's cause, and its text, as ``one_line`` does."""
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


def causes_of(error: BaseException, home: str | None = None) -> list[BaseException]:
    """Return the causes of an error; several for a group, else one.

    A cause is the innermost exception that has passed through the user's code. Exceptions that only
    a library has seen are details of it. Without the user's code, it is the error itself.

    Args:
        error: the error.
        home: a file of the hook; its package counts as the user's code.
    """
    found: dict[int, BaseException] = {}
    seen: set[int] = set()
    left: list[tuple[BaseException, BaseException | None]] = [(error, None)]
    while left:
        one, named = left.pop()
        if inside := _inside(one):
            left += [(leaf, named) for leaf in reversed(inside)]
            continue
        if id(one) in seen:
            continue
        seen.add(id(one))
        cause = one if named is None or _is_users(one, home) else named
        inner = raised_from(one)
        if inner is None or id(inner) in seen:
            found.setdefault(id(cause), cause)
        else:
            left.append((inner, cause))
    return list(found.values()) or [error]


def way_to_cause(error: BaseException) -> list[BaseException]:
    """Return an error and what it was raised from, the outermost first; of a group, its first error.

    What was hidden with ``from None`` is on the way, too: libraries hide errors of the system.
    """
    way: dict[int, BaseException] = {}
    one: BaseException | None = error
    while one is not None and id(one) not in way:
        if inside := _inside(one):
            one = inside[0]
        else:
            way[id(one)] = one
            one = raised_from(one, hidden=True)
    return list(way.values())


def raised_from(error: BaseException, *, hidden: bool = False) -> BaseException | None:
    """Return the exception that an error was raised from, or None.

    An exception that was being handled counts if the function that handled it has raised this one. If
    code that was called to handle it has failed, it is another matter: "not in the cache" is no cause
    of "connection refused". An error of this package quotes what it was raised from.

    Args:
        error: the error.
        hidden: whether one that was hidden by ``from None`` counts.
    """
    if is_a(error, LifespanError):
        return None
    inner: BaseException | None = _own("__cause__", error)
    if inner is None and (hidden or not _own("__suppress_context__", error)):
        inner = _own("__context__", error)
        if inner is not None and not (is_a(error, SystemExit) or _replaces(error, inner)):
            return None
    return None if inner is None or class_name(inner) in CONTROL_FLOW else inner


def tracebacks_of(error: BaseException) -> Iterator[TracebackType]:
    """Yield the entries of an error's traceback, the outermost first."""
    entry = _own("__traceback__", error)
    while entry is not None:
        yield entry
        entry = entry.tb_next


def traceback_of(error: BaseException | None) -> str:
    """Return an error's traceback as text, without local variables, or an empty string for None.

    Secrets are masked, and frames that repeat, as in a recursion, are folded.
    """
    if error is None:
        return ""
    try:
        return masked(without_repeats("".join(traceback.format_exception(error))))
    except BaseException:
        return f"{_frames_of(error)}{one_line(error)}\n"


def without_repeats(text: str) -> str:
    """Return a traceback without the frames that repeat; a line says how often they do.

    Python folds one frame that calls itself, but not two that call each other.
    """
    lines = text.splitlines(keepends=True)
    if len(lines) < LONGEST_CYCLE:
        return text
    folded: list[str] = []
    run: list[str] = []
    """Frames that follow each other, each with the lines of its source."""
    indent = 0
    for line in lines:
        if line.lstrip(" |+").startswith('File "'):
            run.append(line)
            indent = _depth(line)
        elif run and _depth(line) > indent:
            run[-1] += line
        else:
            folded += [*_cycles_folded(run), line]
            run = []
    return "".join([*folded, *_cycles_folded(run)])


def _cycles_folded(frames: list[str]) -> Iterator[str]:
    """Yield frames, without the rounds of cycles beyond the first ones."""
    at = 0
    while at < len(frames):
        length, rounds = _cycle(frames, at)
        if rounds <= SHOWN_CYCLES + 1:
            yield frames[at]
            at += 1
            continue
        yield from frames[at : at + SHOWN_CYCLES * length]
        first = frames[at]
        margin = first[: len(first) - len(first.lstrip(" |+"))]
        more = rounds - SHOWN_CYCLES
        what = "1 frame" if length == 1 else f"{length} frames"
        yield f"{margin}[The last {what} repeated {more} more times]\n"
        at += rounds * length


def _cycle(frames: list[str], at: int) -> tuple[int, int]:
    """Return the length of the cycle that begins at a frame, and the number of its rounds."""
    for length in range(1, LONGEST_CYCLE + 1):
        rounds, cycle = 1, frames[at : at + length]
        while frames[at + rounds * length : at + (rounds + 1) * length] == cycle:
            rounds += 1
        if rounds > SHOWN_CYCLES + 1:
            return length, rounds
    return 1, 1


def _depth(line: str) -> int:
    """Return the indentation of a line; the tree characters of a group count as spaces."""
    return len(line) - len(line.lstrip(" |+"))


def was_raised(error: BaseException) -> bool:
    """Return True if an error has a traceback, of its own or of its cause."""
    return any(_own(name, error) is not None for name in ("__traceback__", "__cause__"))


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
    """Return the cause, which gives the class name, and the text after it."""
    causes = causes_of(error)
    cause = causes[0]
    more = [f"and {len(causes) - 1} more"] if len(causes) > 1 else []
    outer = _outer(error, cause)
    if outer is not None:
        text = _first_line(
            masked(_message_of_group(outer)) if is_a(outer, BaseExceptionGroup) else text_of(outer)
        )
        name = class_name(outer)
        more.append(f"raised as {name}: {text}" if text else f"raised as {name}")
    behind = f" ({', '.join(more)})" if more else ""
    text = text_of(cause)
    return cause, f"{text}{behind}" if text else behind.strip()


def _outer(error: BaseException, cause: BaseException) -> BaseException | None:
    """Return the error that somebody has raised from its cause; None if that is the same."""
    outer = error
    while is_a(outer, BaseExceptionGroup) and _message_of_group(outer) in BOILERPLATE:
        outer = _inside(outer)[0]
    return None if outer is cause else outer


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0].removesuffix(".")
    return f"{line[:LONGEST_OUTER]}..." if len(line) > LONGEST_OUTER else line


def _is_users(error: BaseException, home: str | None) -> bool:
    """Return True if an error has passed through the user's code."""
    try:
        from .whose_code import is_users  # not paid for where nothing fails

        files = {entry.tb_frame.f_code.co_filename for entry in tracebacks_of(error)}
        return any(is_users(file, home=home) for file in files)
    except Exception:  # a file name that is none, or a process that can't open one more file
        return False


def _replaces(error: BaseException, handled: BaseException) -> bool:
    """Return True if the function that handled an error has raised another one by a statement."""
    handler = _own("__traceback__", handled)
    last = next(iter([*tracebacks_of(error)][-1:]), None)
    if handler is None or last is None or handler.tb_frame is not last.tb_frame:
        return False
    # By the instruction and not by the source: that may be missing, or newer than the running code.
    code: bytes = getattr(last.tb_frame.f_code, "co_code", b"")
    return 0 <= last.tb_lasti < len(code) and code[last.tb_lasti] == RAISE


def _own(name: str, error: BaseException) -> Any:
    """Return an attribute of the interpreter's, not what the error's own code says."""
    return BaseException.__dict__[name].__get__(error)


def _inside(error: BaseException) -> tuple[BaseException, ...]:
    return BaseExceptionGroup.exceptions.__get__(error) if is_a(error, BaseExceptionGroup) else ()


def _message_of_group(error: BaseException) -> str:
    return str.__str__(BaseExceptionGroup.message.__get__(error)).partition("\n")[0]


def _frames_of(error: BaseException) -> str:
    try:
        return "".join(traceback.format_tb(_own("__traceback__", error)))
    except BaseException:
        return ""
