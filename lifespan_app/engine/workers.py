"""The workers: they give each hook the task or the thread that it lives in, and hear from it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .hooks import IN_THREAD, SYNC_GENERATOR
from .life import (
    NextTurn,
    call_in_thread,
    is_awaitable,
    life_in_thread,
    life_of,
    live_in_thread,
    take_turn,
)
from .threads import Mailbox, Pool, start_thread
from .unit import Unit

if TYPE_CHECKING:
    from .runner import Run


class Workers:
    """The tasks and threads of one run.

    Args:
        run: whose hooks live in them; it is told, on its loop, what becomes of them.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        # The context of the run's begin: what one hook sets is not seen by the next.
        self._context = contextvars.copy_context()
        self._mailbox = Mailbox(run.loop)
        self._pool: Pool | None = None

    def call(self, unit: Unit, *, owns_thread: bool) -> None:
        """Call a hook, on the loop or in a thread, as its form asks for.

        Args:
            unit: the hook.
            owns_thread: whether a sync one keeps a thread of its own, from enter to exit.
        """
        run = self._run
        form = unit.hook.form
        if form is not SYNC_GENERATOR and form is not IN_THREAD:
            self.create_task(unit)
            return
        run.host.work_handed_over()
        context = self._context.copy()
        turns = run.host.turns
        if turns is not None:
            if owns_thread:
                turn = functools.partial(context.run, take_turn, unit, life_in_thread(unit))
                unit.gate = NextTurn(functools.partial(turns.submit, unit, turn))
            else:
                turn = functools.partial(context.run, call_in_thread, unit)
            turns.submit(unit, turn)
            return
        if owns_thread:
            unit.gate = threading.Lock()
            unit.gate.acquire()
            target = functools.partial(context.run, live_in_thread, unit)
            start_thread(target, f"lifespan {unit.node.key}")
            return
        if self._pool is None:
            self._pool = Pool(run.loop, run.host.thread_patience)
        unit.work = self._pool.submit(functools.partial(context.run, call_in_thread, unit))

    def create_task(self, unit: Unit) -> None:
        """Give a hook its task, in which it is entered, lives and is left."""
        unit.on_loop = True
        # A Task of asyncio's own: what a task factory of the project's makes might begin eagerly,
        # or be no task.
        unit.task = asyncio.Task(
            life_of(unit), loop=self._run.loop, name=unit.node.key, context=self._context.copy()
        )

    def cancel(self, unit: Unit, *, again: bool = True) -> None:
        """Cancel the task of a hook. One that has not begun will never report: that is said here.

        Args:
            unit: whose task it is.
            again: whether to cancel it though it is being cancelled.
        """
        task = unit.task
        assert task is not None
        begun = inspect.getcoroutinestate(task.get_coro()) not in (  # type: ignore[arg-type]
            inspect.CORO_CREATED,
            inspect.CORO_CLOSED,
        )
        if again or not task.cancelling():
            task.cancel()
        if not begun:
            self._run.queue.append((self._never_began, unit))

    def _never_began(self, unit: Unit) -> None:
        if unit.task is not None:
            self._run.ended(unit, asyncio.CancelledError())

    def post_came_up(self, unit: Unit, value: Any) -> bool:
        """Say, from a thread, that a resource is up. Returns False when nobody listens."""
        return self._post(self._thread_came_up, unit, value)

    def post_ended(self, unit: Unit, error: BaseException | None) -> None:
        """Say, from a thread, that its hook has ended."""
        self._post(self._thread_ended, unit, error)

    def _post(self, call: Callable[[Unit, Any, float], None], unit: Unit, what: Any) -> bool:
        return self._mailbox.post(self._arrived, call, unit, what, self._run.clock())

    def _arrived(
        self, call: Callable[[Unit, Any, float], None], unit: Unit, what: Any, at: float
    ) -> None:
        self._run.guarded(call, unit, what, at, unit=unit)

    def _thread_came_up(self, unit: Unit, value: Any, at: float) -> None:
        if not unit.abandoned:
            self._run.host.work_returned()
            self._run.startup.came_up(unit, value, at)
        # Else its gate is open: the thread is still at work, leaving what it has entered.

    def _thread_ended(self, unit: Unit, error: BaseException | None, at: float) -> None:
        self._run.host.work_returned()
        if unit.work is not None and self._pool is not None and not unit.work.abandoned:
            self._pool.finished()
        unit.work = None
        made = unit.value
        if (
            error is None
            and made is not None
            and not unit.abandoned
            and not unit.on_loop
            and not unit.holds
            and (hasattr(type(made), "__aenter__") or is_awaitable(made))
        ):
            self.create_task(unit)
        else:
            self._run.ended(unit, error, at)

    def lose_thread(self, unit: Unit) -> None:
        """Give up the thread of an abandoned hook: it leaves what it enters, and ends."""
        if unit.work is not None and self._pool is not None:
            self._pool.lose(unit.work)
        elif unit.gate is not None and unit.gate.locked():
            unit.gate.release()

    def close(self) -> None:
        """Let the threads end that hooks have borrowed."""
        if self._pool is not None:
            self._pool.close()
