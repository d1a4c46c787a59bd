"""The life of one hook: entered, open and left, all in one task or in one thread."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from .current import here
from .error_text import add_note, is_a, text_of
from .errors import HookError, with_article
from .hooks import (
    ASYNC_GENERATOR,
    COROUTINE,
    IN_THREAD,
    ON_LOOP,
    RESOURCE,
    SYNC_GENERATOR,
    innermost,
)
from .logger import logger
from .nothing import refuse_none
from .unit import short

if TYPE_CHECKING:
    from .unit import Unit

ASK_FOR_ASYNC = ("no running event loop", "no current event loop", "main thread")
YIELD_ONCE = (
    "Yield exactly once on every way through it: what is before the 'yield' runs at startup, what "
    "is after it at shutdown."
)
CONTEXTLIB_ON_YIELDS = ("generator didn't yield", "generator didn't stop")


# On the loop: one task from enter to exit.


def life_of(unit: Unit) -> Coroutine[Any, Any, None]:
    """Return what the task of a unit runs: the hook, from its begin to its end."""
    around = unit.run.around_task(unit.hook)
    if around is not None:
        return _live_inside(unit, around)
    return _live(unit)


async def _live_inside(unit: Unit, around: AbstractAsyncContextManager[object]) -> None:
    here.set(unit)
    failure: BaseException | None = None
    try:
        async with around:
            await _enter_and_leave(unit)
    except BaseException as error:
        raise_if_thrown_away(unit, error)
        unit.run.host.advice.note(error)
        failure = advised_to_yield(error)
    unit.run.ended(unit, failure)


async def _live(unit: Unit) -> None:
    here.set(unit)
    failure: BaseException | None = None
    try:
        await _enter_and_leave(unit)
    # A Task must not see SystemExit or KeyboardInterrupt: it would let them out of the loop.
    except BaseException as error:
        raise_if_thrown_away(unit, error)
        unit.run.host.advice.note(error)
        failure = advised_to_yield(error)
    unit.run.ended(unit, failure)


def raise_if_thrown_away(unit: Unit, error: BaseException) -> None:
    """Raise a ``GeneratorExit`` on that comes from the garbage collector.

    A loop that was thrown away has left the task behind: nobody listens to what becomes of it.
    """
    if is_a(error, GeneratorExit) and asyncio._get_running_loop() is not unit.run.loop:
        raise error


def _enter_and_leave(unit: Unit) -> Awaitable[None]:
    form = unit.hook.form
    if form is ASYNC_GENERATOR:
        return _drive(unit, unit.hook.function(**unit.arguments))
    if form is COROUTINE:
        return _coroutine(unit)
    if form is ON_LOOP:
        return _on_loop(unit)
    # What a sync callable has returned goes on living on the loop.
    return _enter(unit, unit.value)


async def _coroutine(unit: Unit) -> None:
    unit.value = await unit.hook.function(**unit.arguments)
    if unit.hook.kind is RESOURCE:
        if unit.value is None:
            refuse_none(unit, yielded=False)
        for name in ("aclose", "__aexit__"):
            if hasattr(type(unit.value), name):
                logger.warning(
                    "%s returns %s, which has %s() and will not be closed: yield it from an "
                    "async generator function, inside 'async with'.",
                    unit,
                    with_article(type(unit.value)),
                    name,
                )
                break


async def _drive(unit: Unit, generator: types.AsyncGeneratorType[Any, Any]) -> None:
    # Without contextlib in between: fewer frames, and what is wrong can be named.
    try:
        value = await first_step(generator)
    except StopAsyncIteration:
        raise HookError(f"{unit} did not yield a value. {YIELD_ONCE}") from None
    if value is None:
        try:
            refuse_none(unit, yielded=True)
        except HookError:
            await generator.aclose()
            raise
    run = unit.run
    run.startup.came_up(unit, value)
    try:
        if not unit.stop_asked:
            # Waited for here and not in told_to_stop: a thousand coroutines less.
            unit.waker = run.loop.create_future()
            try:
                await unit.waker
            except asyncio.CancelledError:
                unit.take_back_or_raise()
                await unit.told_to_stop()
    except GeneratorExit:
        raise
    except BaseException as error:
        try:
            await generator.athrow(error)
        except StopAsyncIteration:
            return
    else:
        try:
            await generator.__anext__()
        except StopAsyncIteration:
            return
    failure = yielded_again(unit, generator.ag_frame)
    await generator.aclose()
    raise failure


def first_step(generator: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Return the first step of an async generator that the loop does not get to know of.

    The hook's task sees to its end. A loop that closes would call ``aclose()`` on it, in the middle
    of its stop; and keeping a list of a thousand generators takes longer than to enter them.
    """
    first, _ = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None)
    try:
        return generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(firstiter=first)


async def _on_loop(unit: Unit) -> None:
    await _enter(unit, unit.hook.function(**unit.arguments))


async def _enter(unit: Unit, made: Any) -> None:
    """Enter, await or keep what a callable has returned."""
    kind = type(made)
    if kind is AsyncGeneratorType:
        await _drive(unit, made)
    elif hasattr(kind, "__aenter__") and unit.hook.kind is RESOURCE:
        async with made as value:
            if inspect.isclass(unit.hook.function) or unit.hook.form is IN_THREAD:
                refuse_nothing(unit, made, value)
            if value is None:
                refuse_none(unit, yielded=True)
            unit.run.startup.came_up(unit, value)
            await unit.told_to_stop()
    elif is_awaitable(made):
        unit.value = await made
        if unit.value is None:
            refuse_none(unit, yielded=False)
    else:
        unit.value = made
        if unit.value is None:
            refuse_none(unit, yielded=False)


def is_awaitable(value: Any) -> bool:
    """Return True if a value can be awaited, by its type: a lazy object is not made to load."""
    kind = type(value)
    return issubclass(kind, Awaitable) or (kind is GeneratorType and inspect.isawaitable(value))


def refuse_nothing(unit: Unit, made: Any, value: Any) -> None:
    """Raise ``HookError`` where entering has given no object: a Lock, a Semaphore."""
    if value is None or isinstance(value, bool):
        raise HookError(
            f"{unit} returns {with_article(type(made))}, and entering that gives {value!r}. To hand "
            "out the object itself, return it from an async function: 'async def'."
        )


# In a thread: one thread from enter to exit.


def call_in_thread(unit: Unit) -> None:
    """Call a sync start or shutdown function in this thread, and post how it went."""
    here.set(unit)
    unit.thread = threading.get_ident()
    failure: BaseException | None = None
    try:
        around = unit.run.host.around_thread(unit.hook)
        if around is None:
            unit.value = unit.hook.function(**unit.arguments)
        else:
            with around:
                unit.value = unit.hook.function(**unit.arguments)
    except BaseException as error:
        failure = advised(error)
    unit.run.workers.post_ended(unit, failure)


def live_in_thread(unit: Unit) -> None:
    """Enter a sync resource in this thread, keep it until it is told to stop, leave it."""
    here.set(unit)
    unit.thread = threading.get_ident()
    failure: BaseException | None = None
    try:
        for value in life_in_thread(unit):
            unit.stay_up(value)
    except BaseException as error:
        failure = advised(error)
    unit.run.workers.post_ended(unit, failure)


def take_turn(unit: Unit, life: Iterator[Any]) -> None:
    """Go on with the life of a sync resource whose thread is shared: until it is up, or over."""
    here.set(unit)
    unit.thread = threading.get_ident()
    failure: BaseException | None = None
    try:
        for value in life:
            unit.value = value
            if not unit.abandoned and unit.run.workers.post_came_up(unit, value):
                return
    except BaseException as error:
        failure = advised(error)
    unit.run.workers.post_ended(unit, failure)


class NextTurn:
    """The gate of a resource whose thread is shared: to open it is to give it its next turn."""

    __slots__ = ("_submit",)

    def __init__(self, submit: Callable[[], None]) -> None:
        self._submit = submit

    def acquire(self) -> bool:
        """Wait for nothing: a turn that is over holds no thread."""
        return True

    def release(self) -> None:
        """Have the resource left, in the thread that it was entered in."""
        self._submit()

    def locked(self) -> bool:
        """Tell that no thread waits behind this gate."""
        return False


def life_in_thread(unit: Unit) -> Iterator[Any]:
    """Enter a sync resource, give its value while it is open, and leave it."""
    around = unit.run.host.around_thread(unit.hook)
    if around is None:
        yield from _stay(unit)
    else:
        with around:
            yield from _stay(unit)


def _stay(unit: Unit) -> Iterator[Any]:
    if unit.hook.form is SYNC_GENERATOR:
        generator = unit.hook.function(**unit.arguments)
        try:
            value = next(generator)
        except StopIteration:
            raise HookError(f"{unit} did not yield a value. {YIELD_ONCE}") from None
        if value is None:
            try:
                refuse_none(unit, yielded=True)
            except HookError:
                generator.close()
                raise
        yield value
        try:
            next(generator)
        except StopIteration:
            return
        failure = yielded_again(unit, generator.gi_frame)
        generator.close()
        raise failure
    made = unit.hook.function(**unit.arguments)
    unit.value = made
    kind = type(made)
    lives_on_loop = hasattr(kind, "__aenter__") or is_awaitable(made)
    if hasattr(kind, "__enter__") and not lives_on_loop and kind is not AsyncGeneratorType:
        with made as value:
            # What a @contextmanager function yields is what it means to hand out.
            if not inspect.isgeneratorfunction(innermost(unit.hook.function)):
                refuse_nothing(unit, made, value)
            if value is None:
                refuse_none(unit, yielded=True)
            yield value
    elif made is None:
        refuse_none(unit, yielded=False)


def advised(error: BaseException) -> BaseException:
    """Add, to an error that a thread is the cause of, a note that says what to write instead."""
    advised_to_yield(error)
    text = text_of(error)
    if is_a(error, (RuntimeError, ValueError)) and any(cause in text for cause in ASK_FOR_ASYNC):
        add_note(
            error,
            "A sync hook runs in a thread of its own, where there is no event loop and no main "
            "thread. Write it as 'async def' to run it on the loop, in the server's thread.",
        )
    return error


def advised_to_yield(error: BaseException) -> BaseException:
    """Add a note that says what to do to contextlib's error about a generator's yields."""
    if is_a(error, RuntimeError) and text_of(error).startswith(CONTEXTLIB_ON_YIELDS):
        add_note(error, YIELD_ONCE)
    return error


def yielded_again(unit: Unit, frame: types.FrameType | None) -> HookError:
    """Return the error of a generator that stands at a second ``yield``."""
    # What Cython compiled has no frame.
    again = f", again at {short(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else ""
    return HookError(f"{unit} yielded more than once{again}. {YIELD_ONCE}")
