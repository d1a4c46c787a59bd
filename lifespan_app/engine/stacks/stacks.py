"""Find the line where a task or a thread waits."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, NamedTuple

from lifespan_app.engine.whose_code import Whose, owner_of, package_of, working_folder

__all__ = [
    "Frame",
    "Location",
    "locations_of",
    "tasks_by_value",
    "tasks_with",
    "where_loop",
    "where_task",
    "where_thread",
]

_MOST_STEPS = 2_000
"""The greatest length of a chain of awaits or of a stack."""

_MOST_LOCATIONS = 10
"""The greatest number of locations of one hook: a line in a log is no dump."""

_WRAPPERS = frozenset(
    {
        "FutureIter",
        "anext_awaitable",
        "async_generator_asend",
        "async_generator_athrow",
        "coroutine_wrapper",
    }
)
"""The interpreter's own awaitables that reveal the wrapped one only to the garbage collector.

The wrapped object is the first one that they refer to, before a value that is being sent.
"""

_At = tuple[CodeType, int]


class Frame(NamedTuple):
    """Hold one line of code and the function it is in."""

    file: str
    """Relative to the working directory or to the folder that packages are imported from."""
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Location(NamedTuple):
    """The location where code waits: text and numbers, no reference to a frame or a value."""

    user: Frame | None
    """The innermost line of the user's own code, or None."""
    library: Frame | None
    """The innermost line of a library below it; of the standard library only without another."""

    def __str__(self) -> str:
        return ", in ".join(str(spot) for spot in self if spot is not None)


def where_task(task: asyncio.Task[Any], *, home: str | None = None) -> Location | None:
    """Return the location where a task waits, or runs at the moment.

    Follows the chain of awaitables, through other tasks too, down to a future that leads no further:
    groups, ``gather``, ``shield`` and ``wait`` are such (see ``locations_of``).

    Args:
        task: any asyncio task, of any loop; call it in the loop's thread for a steady answer.
        home: a file of the hook. Where it is installed under site-packages, its package counts as
            the user's code.

    Returns:
        The place, or None for a task that is done or shows nothing. Never raises.
    """
    try:
        if task.done():
            return None
        return _place(_awaited(task), home)
    except Exception:
        return None


def where_thread(ident: int, *, home: str | None = None) -> Location | None:
    """Return the location where a thread waits or runs.

    Args:
        ident: as ``threading.get_ident()`` gives it.
        home: as in ``where_task``.

    Returns:
        The place, or None when there is no such thread. Never raises.
    """
    try:
        return _place(reversed(list(_stack(sys._current_frames().get(ident)))), home)
    except Exception:
        return None


def where_loop(ident: int, *, home: str | None = None) -> Location | None:
    """Return the location of the code that blocks a thread's event loop.

    As ``where_thread``, but without the frames that started the loop: the line of ``manage.py`` or of a
    server that runs the loop blocks nothing.

    Args:
        ident: the loop's thread, as ``threading.get_ident()`` gives it.
        home: as in ``where_task``.

    Returns:
        The place, or None when there is no such thread or nothing runs in its loop. Never raises.
    """
    try:
        inside: list[_At] = []
        for code, line in _stack(sys._current_frames().get(ident)):
            if code.co_filename in _loop_files():
                break
            inside.append((code, line))
        return _place(reversed(inside), home)
    except Exception:
        return None


def tasks_with(
    context_var: contextvars.ContextVar[Any],
    value: object,
    loop: asyncio.AbstractEventLoop,
) -> list[asyncio.Task[Any]]:
    """Return the loop's unfinished tasks whose context has this very object in a variable.

    A task inherits its maker's context, so this finds the children of a hook at any depth, whatever
    made them (groups, ``gather``, anyio). Costs about 1.5 microseconds a task of the loop.

    Args:
        context_var: the variable that marks the hook's context.
        value: compared by identity.
        loop: the loop with the tasks.

    Returns:
        The tasks, in no order; empty when the loop can't be asked. Never raises.
    """
    return tasks_by_value(context_var, loop).get(id(value), [])


def tasks_by_value(
    context_var: contextvars.ContextVar[Any], loop: asyncio.AbstractEventLoop
) -> dict[int, list[asyncio.Task[Any]]]:
    """Group the loop's unfinished tasks by the ``id`` of a variable's value in their contexts.

    One pass for many hooks: ``locations_of(..., among=grouped.get(id(value), ()))``.

    Args:
        context_var: the variable; tasks in whose context it is not set are left out.
        loop: the loop with the tasks.

    Returns:
        The tasks of each value. Never raises.
    """
    grouped: dict[int, list[asyncio.Task[Any]]] = {}
    try:
        tasks = asyncio.all_tasks(loop)
    except Exception:
        return grouped
    for task in tasks:
        try:
            context = context_of(task)
            if context is not None and context_var in context:
                grouped.setdefault(id(context[context_var]), []).append(task)
        except Exception:
            continue
    return grouped


def locations_of(
    task: asyncio.Task[Any] | None,
    context_var: contextvars.ContextVar[Any],
    value: object,
    loop: asyncio.AbstractEventLoop,
    *,
    among: Iterable[asyncio.Task[Any]] | None = None,
    home: str | None = None,
) -> list[Location]:
    """Return the locations where a hook waits, in its own task and in all tasks that it started.

    Args:
        task: the hook's own task, whose place comes first; None leaves it out.
        context_var: the variable that marks the hook's context, as in ``tasks_with``.
        value: the variable's value there; the tasks of an open hook keep the value they
            began with, so one value should last a hook's whole life.
        loop: the loop that the hook runs on.
        among: the tasks that have the value, when ``tasks_by_value`` has found them already.
        home: as in ``where_task``.

    Returns:
        Each place once, the other tasks' by file and line, at most 10. Never raises.
    """
    main = None if task is None else where_task(task, home=home)
    others: set[Location] = set()
    for other in tasks_with(context_var, value, loop) if among is None else among:
        if other is not task and (place := where_task(other, home=home)) is not None:
            others.add(place)
    first = [] if main is None else [main]
    return [*first, *sorted(others.difference(first), key=str)][:_MOST_LOCATIONS]


def context_of(task: asyncio.Task[Any]) -> contextvars.Context | None:
    """Return the context of a task, or None if it is unknown."""
    if sys.version_info >= (3, 12):
        return task.get_context()
    else:
        # Task.get_context() is new in Python 3.12. Before, the C task's first referent of this type
        # is its own context, before those of its callbacks; the Python task has an attribute.
        context = getattr(task, "_context", None)
        referents = gc.get_referents(task) if context is None else [context]
        return next((one for one in referents if isinstance(one, contextvars.Context)), None)


def _awaited(outermost: object) -> list[_At]:
    """Return the lines from an awaitable to the innermost one, outermost first."""
    lines: list[_At] = []
    seen: set[int] = set()
    thing: object | None = outermost
    # An awaitable of an unknown type may raise anything; the lines found so far stay valid.
    with suppress(Exception):
        while thing is not None and id(thing) not in seen and len(seen) < _MOST_STEPS:
            seen.add(id(thing))
            frame, inner, running = _look_into(thing)
            if running and frame is not None:
                lines.extend(_running(frame))
                break
            if frame is not None:
                lines.append(_at(frame))
            thing = inner
    return lines


def _look_into(thing: Any) -> tuple[FrameType | None, object | None, bool]:
    """Return an awaitable's frame, the awaitable it awaits, and True if it is being executed."""
    kind = type(thing)
    if issubclass(kind, CoroutineType):
        return thing.cr_frame, thing.cr_await, thing.cr_running
    if issubclass(kind, GeneratorType):
        return thing.gi_frame, thing.gi_yieldfrom, thing.gi_running
    if issubclass(kind, AsyncGeneratorType):
        # ``ag_running`` is also true while its caller is suspended, so it can't be used here:
        # https://github.com/python/cpython/pull/7468
        return thing.ag_frame, thing.ag_await, False
    if issubclass(kind, asyncio.Future) or hasattr(kind, "_asyncio_future_blocking"):
        return None, thing.get_coro() if hasattr(kind, "get_coro") else None, False
    if hasattr(kind, "cr_await"):  # compiled by Cython
        return None, thing.cr_await, False
    wrapped = [referent for referent in gc.get_referents(thing) if _can_be_followed(referent)]
    if wrapped and (kind.__name__ in _WRAPPERS or len(wrapped) == 1):
        return None, wrapped[0], False
    return None, None, False


def _can_be_followed(thing: object) -> bool:
    kind = type(thing)
    return kind.__name__ in _WRAPPERS or issubclass(
        kind, (CoroutineType, GeneratorType, AsyncGeneratorType, asyncio.Future)
    )


def _running(outermost: FrameType) -> list[_At]:
    """Return the lines from an executing frame to the innermost one of its thread."""
    for innermost in sys._current_frames().values():
        inside: list[_At] = []
        frame: FrameType | None = innermost
        while frame is not None and len(inside) < _MOST_STEPS:
            if frame.f_code.co_filename != _THIS_FILE:
                inside.append(_at(frame))
            if frame is outermost:
                return inside[::-1]
            frame = frame.f_back
    return [_at(outermost)]


def _stack(innermost: FrameType | None) -> Iterator[_At]:
    frame = innermost
    for _ in range(_MOST_STEPS):
        if frame is None:
            return
        if frame.f_code.co_filename != _THIS_FILE:
            yield _at(frame)
        frame = frame.f_back


def _at(frame: FrameType) -> _At:
    # ``f_lineno`` is None for an instruction without a line (PEP 626,
    # https://peps.python.org/pep-0626/).
    return frame.f_code, frame.f_lineno or frame.f_code.co_firstlineno


_THIS_FILE = _at.__code__.co_filename


def _place(lines: Iterable[_At], home: str | None) -> Location | None:
    """Choose the two most useful lines of all, which come outermost first."""
    folder = working_folder()
    package = package_of(home)
    innermost: dict[Whose, Frame] = {}
    for code, line in reversed(list(lines)):
        whose, file = owner_of(code.co_filename, folder, package)
        spot = Frame(file, line, code.co_name)
        if whose is Whose.USER:
            # Below the user's line, a client's ``receive`` is more useful than the lock inside it.
            return Location(spot, _first(innermost, Whose.LIBRARY, Whose.OURS, Whose.STANDARD))
        innermost.setdefault(whose, spot)
    found = _first(innermost, Whose.LIBRARY, Whose.STANDARD, Whose.OURS)
    return None if found is None else Location(None, found)


def _first(spots: dict[Whose, Frame], *order: Whose) -> Frame | None:
    return next((spots[whose] for whose in order if whose in spots), None)


@functools.cache
def _loop_files() -> frozenset[str]:
    """Return the files whose frames belong to a running loop, and lie above its callbacks."""
    folder = Path(asyncio.__file__).parent
    names = ("base_events.py", "events.py", "runners.py")
    return frozenset(str(folder / name) for name in names)
