"""The life of a hook in its task or thread: it is entered, open and exited in the same one."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import AsyncGeneratorType, FrameType
from typing import TYPE_CHECKING, Any

from lifespan_app.engine.advice import Advice
from lifespan_app.engine.current_hook import current_hook, current_lease
from lifespan_app.engine.error_text import add_note, is_a, text_of
from lifespan_app.engine.errors import HookError, with_article
from lifespan_app.engine.hooks.hook import (
    ASYNC_GENERATOR,
    COROUTINE,
    IN_THREAD,
    ON_LOOP,
    RESOURCE,
    SYNC_GENERATOR,
    Form,
    Hook,
    innermost,
    is_awaitable,
)
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.failure import short

from .hook_run import HookRun
from .threads import Work

if TYPE_CHECKING:
    from typing import Protocol

    # A protocol is expensive to create, and only type checkers read these.
    class Receiver(Protocol):
        """The receiver of reports from a hook's task or thread: the executor."""

        loop: asyncio.AbstractEventLoop
        advice: Advice

        def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object] | None:
            """Return a context manager around an async hook in its task, or None."""

        def around_thread(self, hook: Hook) -> AbstractContextManager[object] | None:
            """Return a context manager around a sync hook in its thread, or None."""

        def at_yield_in_task(self) -> None:
            """Note, in an async resource's task, that it is open."""

        def at_yield_in_thread(self) -> None:
            """Note, in a sync resource's thread, that it is open."""

        def loop_is_ending(self) -> bool:
            """Return True if every task of the loop is being cancelled."""

        def came_up(self, execution: Execution, value: Any) -> None:
            """Receive, on the loop, a resource that is up, and held by its task."""

        def ended(self, execution: Execution, error: BaseException | None) -> None:
            """Receive, on the loop, the end of a hook's task."""

        def post_came_up(self, execution: Execution, value: Any) -> bool:
            """Receive, from a thread, a resource that is up. Returns False if the loop is closed."""

        def post_ended(self, execution: Execution, error: BaseException | None) -> None:
            """Receive, from a thread, the end of its hook."""

    class Gate(Protocol):
        """A lock that holds the thread of a sync resource while it is up."""

        def acquire(self) -> bool:
            """Wait until it is opened."""

        def release(self) -> None:
            """Open it."""

        def locked(self) -> bool:
            """Return True if a thread waits behind it, or will."""


YIELD_ONCE = (
    "Yield exactly once on every path: the code before 'yield' runs at startup, the code after it "
    "at shutdown."
)
CONTEXTLIB_ON_YIELDS = ("generator didn't yield", "generator didn't stop")
ASK_FOR_ASYNC = ("no running event loop", "no current event loop", "main thread")


class Execution:
    """One hook in its task or thread.

    Args:
        hook_run: the hook.
        executor: receives the reports.
        arguments: the arguments of the hook's function.
    """

    def __init__(self, hook_run: HookRun, executor: Receiver, arguments: dict[str, Any]) -> None:
        self.hook_run = hook_run
        self.executor = executor
        self.arguments = arguments
        self.made: Any = None
        """The return value of the hook's function."""
        self.task: asyncio.Task[None] | None = None
        self.waker: asyncio.Future[None] | None = None
        """The future that the task awaits while the hook is up."""
        self.thread: int | None = None
        self.gate: Gate | None = None
        self.work: Work | None = None
        """The work for the pool of threads."""

    # Called by the executor.

    def begin_task(self, context: contextvars.Context) -> None:
        """Start the hook's own task."""
        # asyncio's own Task: a task factory may start it eagerly, or return another awaitable:
        # https://docs.python.org/3/library/asyncio-task.html#eager-task-factory
        self.task = asyncio.Task(
            self._live(),
            loop=self.executor.loop,
            name=self.hook_run.node.key,
            context=context,
        )

    def hold(self, gate: Gate) -> None:
        """Set the gate that holds its thread while the hook is up."""
        self.gate = gate

    def begin_work(self, work: Work | None) -> None:
        """Set the work of the pool for it; None when that is done."""
        self.work = work

    def let_go(self) -> None:
        """Make the hook exit its context."""
        if self.waker is not None and not self.waker.done():
            self.waker.set_result(None)

    # On the loop: one task from enter to exit.

    async def _live(self) -> None:
        self._is_hook()
        failure: BaseException | None = None
        hook = self.hook_run.hook
        try:
            around = self.executor.around_task(hook)
            if around is None:
                await LIVES[hook.form](self)
            else:
                async with around:
                    await LIVES[hook.form](self)
        # A Task raises SystemExit and KeyboardInterrupt out of the loop:
        # https://github.com/python/cpython/issues/108549
        except BaseException as error:
            self._raise_if_thrown_away(error)
            self.executor.advice.note(error)
            failure = advised_to_yield(error)
        self.executor.ended(self, failure)

    def _raise_if_thrown_away(self, error: BaseException) -> None:
        """Raise a ``GeneratorExit`` again if it comes from the garbage collector.

        A loop that was thrown away has left the task behind, and nothing waits for it.
        """
        if is_a(error, GeneratorExit) and asyncio._get_running_loop() is not self.executor.loop:
            raise error

    async def _await(self) -> None:
        self.made = await self.hook_run.hook.function(**self.arguments)
        if self.hook_run.hook.kind is RESOURCE:
            if self.made is None:
                self._refuse_none(yielded=False)
            for name in ("aclose", "__aexit__"):
                if hasattr(type(self.made), name):
                    logger.warning(
                        "%s returns %s, which has %s() and will not be closed: yield it from an "
                        "async generator function, inside 'async with'.",
                        self.hook_run,
                        with_article(type(self.made)),
                        name,
                    )
                    break

    def _iterate(self) -> Awaitable[None]:
        return self._drive(self.hook_run.hook.function(**self.arguments))

    async def _drive(self, generator: AsyncGeneratorType[Any, Any]) -> None:
        # Without contextlib: fewer frames, and errors with the hook's name.
        try:
            value = await first_step(generator)
        except StopAsyncIteration:
            raise HookError(f"{self.hook_run} did not yield a value. {YIELD_ONCE}") from None
        if value is None:
            try:
                self._refuse_none(yielded=True)
            except HookError:
                await generator.aclose()
                raise
        self.executor.at_yield_in_task()
        self.executor.came_up(self, value)
        try:
            if not self.hook_run.stop_asked:
                # Awaited here and not in _until_stop, to save a coroutine for each hook.
                self.waker = self.executor.loop.create_future()
                try:
                    await self.waker
                except asyncio.CancelledError:
                    self._take_back_or_raise()
                    await self._until_stop()
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
        failure = yielded_again(self.hook_run, generator.ag_frame)
        await generator.aclose()
        raise failure

    async def _on_loop(self) -> None:
        await self._enter(self.hook_run.hook.function(**self.arguments))

    def _enter_made(self) -> Awaitable[None]:
        return self._enter(self.made)

    async def _enter(self, made: Any) -> None:
        """Enter, await or keep the return value of a callable."""
        hook = self.hook_run.hook
        if type(made) is AsyncGeneratorType:
            await self._drive(made)
        elif hasattr(type(made), "__aenter__") and hook.kind is RESOURCE:
            async with made as value:
                if inspect.isclass(hook.function) or hook.form is IN_THREAD:
                    self._refuse_nothing(made, value)
                if value is None:
                    self._refuse_none(yielded=True)
                self.executor.at_yield_in_task()
                self.executor.came_up(self, value)
                await self._until_stop()
        elif is_awaitable(made):
            self.made = await made
            self._refuse_none_returned()
        else:
            self.made = made
            self._refuse_none_returned()

    def _refuse_none_returned(self) -> None:
        """Raise ``HookError`` for a resource whose function has returned None by mistake."""
        if self.made is None:
            self._refuse_none(yielded=False)

    def _refuse_none(self, *, yielded: bool) -> None:
        """Raise ``HookError`` for a resource that is None by mistake."""
        if self.hook_run.hook.kind is RESOURCE:
            from .none_value import refuse_none  # not paid for where no resource is None

            refuse_none(self.hook_run, yielded=yielded)

    def _refuse_nothing(self, made: Any, value: Any) -> None:
        """Raise ``HookError`` if entering has given no object, as for a Lock or a Semaphore."""
        if value is None or isinstance(value, bool):
            raise HookError(
                f"{self.hook_run} returns {with_article(type(made))}, and entering that gives "
                f"{value!r}. To hand out the object itself, return it from an async function: "
                "'async def'."
            )

    async def _until_stop(self) -> None:
        """Wait, in the hook's own task, until it is the hook's turn to stop."""
        while not self.hook_run.stop_asked:
            # Task.cancel() cancels the future that the task awaits, so each wait needs a new one:
            # https://docs.python.org/3/library/asyncio-task.html#asyncio.Task.cancel
            self.waker = self.executor.loop.create_future()
            try:
                await self.waker
            except asyncio.CancelledError:
                self._take_back_or_raise()

    def _take_back_or_raise(self) -> None:
        """Undo a cancellation, inside its ``except``, or raise it again.

        ``asyncio.run`` cancels all tasks at its end, and the order of the shutdown is kept even then.
        Other cancellations come from the limit of the hook's stop, or from its own task group.
        """
        if not self.hook_run.cancel_attempts:
            if self.executor.loop_is_ending():
                assert self.task is not None
                self.task.uncancel()
                return
            if self.hook_run.stop_asked:
                return
        raise  # noqa: PLE0704  # called inside an except clause

    # In a thread: one thread from enter to exit.

    def call_in_thread(self) -> None:
        """Call a sync start or shutdown function in this thread, and post the result."""
        self._is_in_thread()
        failure: BaseException | None = None
        try:
            around = self.executor.around_thread(self.hook_run.hook)
            if around is None:
                self.made = self.hook_run.hook.function(**self.arguments)
            else:
                with around:
                    self.made = self.hook_run.hook.function(**self.arguments)
            if self.hook_run.is_job and is_awaitable(self.made):
                self._refuse_awaitable()
        except BaseException as error:
            failure = advised(error)
        self.executor.post_ended(self, failure)

    def _refuse_awaitable(self) -> None:
        """Raise ``HookError``: a round is one call in one thread."""
        if inspect.iscoroutine(self.made):
            self.made.close()
        made, self.made = with_article(type(self.made)), None
        raise HookError(
            f"{self.hook_run} is a plain function and returns {made}, which nobody awaits: write it "
            "as 'async def'."
        )

    def live_in_thread(self) -> None:
        """Enter a sync resource in this thread, keep it until it is asked to stop, exit it."""
        self._is_in_thread()
        failure: BaseException | None = None
        try:
            for value in self.life():
                if not self.hook_run.abandoned and self.executor.post_came_up(self, value):
                    assert self.gate is not None
                    self.gate.acquire()
        except BaseException as error:
            failure = advised(error)
        self.executor.post_ended(self, failure)

    def take_turn(self, life: Iterator[Any]) -> None:
        """Continue a sync resource whose thread is shared: until it is up, or has ended."""
        self._is_in_thread()
        failure: BaseException | None = None
        try:
            for value in life:
                if not self.hook_run.abandoned and self.executor.post_came_up(self, value):
                    return
        except BaseException as error:
            failure = advised(error)
        self.executor.post_ended(self, failure)

    def _is_hook(self) -> None:
        current_hook.set(self.hook_run)
        if self.hook_run.once is not None:
            current_lease.set(self.hook_run.lease)

    def _is_in_thread(self) -> None:
        self._is_hook()
        self.thread = threading.get_ident()

    def life(self) -> Iterator[Any]:
        """Enter a sync resource, yield its value while it is open, and exit it."""
        around = self.executor.around_thread(self.hook_run.hook)
        if around is None:
            yield from self._stay()
        else:
            with around:
                for value in self._stay():
                    self.executor.at_yield_in_thread()
                    yield value

    def _stay(self) -> Iterator[Any]:
        if self.hook_run.hook.form is SYNC_GENERATOR:
            generator = self.hook_run.hook.function(**self.arguments)
            try:
                value = next(generator)
            except StopIteration:
                raise HookError(f"{self.hook_run} did not yield a value. {YIELD_ONCE}") from None
            if value is None:
                try:
                    self._refuse_none(yielded=True)
                except HookError:
                    generator.close()
                    raise
            yield value
            try:
                next(generator)
            except StopIteration:
                return
            failure = yielded_again(self.hook_run, generator.gi_frame)
            generator.close()
            raise failure
        made = self.made = self.hook_run.hook.function(**self.arguments)
        kind = type(made)
        lives_on_loop = hasattr(kind, "__aenter__") or is_awaitable(made)
        if hasattr(kind, "__enter__") and not lives_on_loop and kind is not AsyncGeneratorType:
            with made as value:
                # A @contextmanager function chooses its value: any value is intended.
                if not inspect.isgeneratorfunction(innermost(self.hook_run.hook.function)):
                    self._refuse_nothing(made, value)
                if value is None:
                    self._refuse_none(yielded=True)
                yield value
        elif made is None:
            self._refuse_none(yielded=False)

    @property
    def goes_on_on_loop(self) -> bool:
        """True if the return value from a thread is entered, or awaited, in a task."""
        made = self.made
        return hasattr(type(made), "__aenter__") or is_awaitable(made)


LIVES: dict[Form, Callable[[Execution], Awaitable[None]]] = {
    COROUTINE: Execution._await,
    ASYNC_GENERATOR: Execution._iterate,
    ON_LOOP: Execution._on_loop,
    # The return value of a sync callable may have to be entered on the loop.
    IN_THREAD: Execution._enter_made,
    SYNC_GENERATOR: Execution._enter_made,
}
"""The life of each form of hook in its task."""


class NextTurn:
    """The gate of a resource whose thread is shared: opening it queues its next turn."""

    __slots__ = ("_submit",)

    def __init__(self, submit: Callable[[], None]) -> None:
        self._submit = submit

    def acquire(self) -> bool:
        """Return at once: an ended turn holds no thread."""
        return True

    def release(self) -> None:
        """Make the resource exit, in the thread that has entered it."""
        self._submit()

    def locked(self) -> bool:
        """Return False: no thread waits behind this gate."""
        return False


def first_step(generator: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Return the first step of an async generator, and hide the generator from the loop.

    ``loop.shutdown_asyncgens`` would call ``aclose()`` on it in the middle of its stop (PEP 525,
    https://peps.python.org/pep-0525/#finalization), and the hook's task closes it anyway.
    """
    first, _ = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None)
    try:
        return generator.__anext__()
    finally:
        sys.set_asyncgen_hooks(firstiter=first)


def advised(error: BaseException) -> BaseException:
    """Add a note with the remedy to an error that has its cause in the use of a thread."""
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
    """Add a note with the remedy to contextlib's error about a generator's yields."""
    if is_a(error, RuntimeError) and text_of(error).startswith(CONTEXTLIB_ON_YIELDS):
        add_note(error, YIELD_ONCE)
    return error


def yielded_again(hook_run: HookRun, frame: FrameType | None) -> HookError:
    """Return the error of a generator that has yielded a second time."""
    # A function that Cython has compiled has no frame.
    again = f", again at {short(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else ""
    return HookError(f"{hook_run} yielded more than once{again}. {YIELD_ONCE}")
