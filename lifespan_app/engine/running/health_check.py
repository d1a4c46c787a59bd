"""Health checks of open resources.

A check runs on a health request, and its result is kept for a short while. After that it runs again,
while requests still get the old result.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.error_text import clause, is_a, one_line
from lifespan_app.engine.errors import HookError, with_article
from lifespan_app.engine.hooks.hook import (
    COROUTINE,
    ON_LOOP,
    form_of,
    innermost,
    is_awaitable,
    place_of,
)
from lifespan_app.engine.hooks.values import seconds
from lifespan_app.engine.logger import logger
from lifespan_app.engine.reporting.failure import short
from lifespan_app.engine.wording import time_limit

from .hook_run import UP, HookRun
from .stages import title_of
from .threads import start_thread

if TYPE_CHECKING:
    from typing import Protocol

    from lifespan_app.engine.current_hook import Inside

    # A protocol is expensive to create, and only type checkers read it.
    class Checked(Inside, Protocol):
        """The part of a run that its checks use."""

        @property
        def loop(self) -> asyncio.AbstractEventLoop:
            """The loop of its hooks."""

        @property
        def adapter(self) -> Any:
            """The engine's adapter."""

        @property
        def resources(self) -> Any:
            """The open resources."""

        def status_changed(self) -> None:
            """Notify the observers of the run's status."""


TIMEOUT = 2.0
"""Seconds that a check may take by default."""
CACHE = 10.0
"""Seconds for which the result of a check is reused by default."""


class Check:
    """One declared check of a resource.

    Args:
        function: is called with the resource; it fails by raising, or by returning False.
        timeout: seconds that it may take.
        cache: seconds for which its result is reused.
    """

    __slots__ = ("cache", "file", "function", "is_async", "line", "name", "timeout")

    def __init__(
        self, function: Callable[[Any], Any], *, timeout: float = TIMEOUT, cache: float = CACHE
    ) -> None:
        if not callable(function):
            raise TypeError(f"A check is a function, not {function!r}.")
        self.function = function
        self.timeout = seconds(timeout, "timeout") or TIMEOUT
        self.cache = seconds(cache, "cache") or CACHE
        self.name = title_of(function)
        self.file, self.line = place_of(innermost(function), None)
        self.is_async = form_of(function) in (COROUTINE, ON_LOOP)

    def __str__(self) -> str:
        return f"'{self.name}' ({short(self.file)}:{self.line})"


class CheckResult(NamedTuple):
    """The result of a check."""

    hook_run: HookRun
    """The hook of the checked resource."""
    check: Check
    error: BaseException | None
    """The reason that the resource is not healthy; None: it is."""
    at: float
    """The time of the result, by the run's clock."""


class Checking:
    """The checks of one run, and their last results.

    Args:
        run: the run with the resources; the checks run on its loop.
    """

    def __init__(self, run: Checked) -> None:
        self._run = run
        self._last: dict[Check, CheckResult] = {}
        self._asking: dict[Check, asyncio.Task[None]] = {}
        """The checks that run."""
        self._calls: dict[Check, asyncio.Future[Any]] = {}
        """Their calls; one that hangs stays here, and is not repeated meanwhile."""

    async def ask(self) -> None:
        """Run the checks without a result, and refresh stale results in the background."""
        first = []
        for hook_run in self._run.resources.by_hook.values():
            if hook_run.state is not UP:
                continue
            for check in hook_run.hook.checks:
                last = self._last.get(check)
                is_fresh = last is not None and self._run.adapter.clock() - last.at < check.cache
                if not (is_fresh or check in self._asking or check in self._calls):
                    self._asking[check] = self._run.loop.create_task(
                        self._ask(hook_run, check), name=f"check of {hook_run.node.key}"
                    )
                if last is None and check in self._asking:
                    first.append(self._asking[check])
        if first:
            await asyncio.wait(first)

    def failing(self) -> list[CheckResult]:
        """Return the last results that are not healthy."""
        return [
            result
            for result in self._last.values()
            if result.error is not None and result.hook_run.state is UP
        ]

    def end(self) -> None:
        """Stop checking: the resources are about to close."""
        for waiting in (*self._asking.values(), *self._calls.values()):
            waiting.cancel()

    async def _ask(self, hook_run: HookRun, check: Check) -> None:
        run = self._run
        call = self._calls[check] = self._call(hook_run, check)
        call.add_done_callback(functools.partial(self._returned, check))
        try:
            await asyncio.wait({call}, timeout=check.timeout)
            error: BaseException | None
            if not call.done():
                call.cancel()
                error = HookError(
                    f"The check {check} did not end within its limit of {time_limit(check.timeout)}. Raise "
                    "its timeout=."
                )
            elif call.cancelled():
                error = HookError(f"The check {check} was cancelled by its own code.")
            else:
                error = call.exception()
                if error is None and call.result() is False:
                    error = HookError(f"The check {check} returned False.")
        finally:
            del self._asking[check]
        before = self._last.get(check)
        self._last[check] = CheckResult(hook_run, check, error, run.adapter.clock())
        was_well = before is None or before.error is None
        if was_well is not (error is None):
            self._turned(hook_run, check, error)

    def _turned(self, hook_run: HookRun, check: Check, error: BaseException | None) -> None:
        if error is None:
            logger.info("The check %s of %s passes again.", check, hook_run)
        else:
            logger.warning("The check %s of %s fails: %s", check, hook_run, one_line(error))
        self._run.status_changed()

    def _returned(self, check: Check, call: asyncio.Future[Any]) -> None:
        del self._calls[check]
        if not call.cancelled():
            call.exception()  # looked at, though it may come too late to be told

    def _call(self, hook_run: HookRun, check: Check) -> asyncio.Future[Any]:
        # An empty context: a check is part of no hook and of no request.
        context = Context()
        context.run(current_hook.set, self._run)
        if check.is_async:
            return asyncio.Task(
                self._on_loop(hook_run, check),
                loop=self._run.loop,
                context=context,
                name=check.name,
            )
        call: asyncio.Future[Any] = self._run.loop.create_future()
        in_thread = functools.partial(context.run, self._in_thread, hook_run, check, call)
        try:
            start_thread(in_thread, f"lifespan check {check.name}")
        except RuntimeError as error:
            # No thread can be started ("can't start new thread"): the check has no result, so it fails.
            call.set_exception(error)
        else:
            self._run.adapter.work_handed_over()
        return call

    async def _on_loop(self, hook_run: HookRun, check: Check) -> Any:
        around = self._run.adapter.around_task(hook_run.hook)
        # A Task raises SystemExit and KeyboardInterrupt out of the loop: see ``Execution._live``.
        try:
            async with around or nullcontext():
                made = check.function(hook_run.value)
                return await made if is_awaitable(made) else made
        except (SystemExit, KeyboardInterrupt) as error:
            raise HookError(f"The check {check} raised {clause(error)}.") from error

    def _in_thread(self, hook_run: HookRun, check: Check, call: asyncio.Future[Any]) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            with self._run.adapter.around_thread(hook_run.hook) or nullcontext():
                result = check.function(hook_run.value)
            if is_awaitable(result):
                refuse_awaitable(check, result)
        except BaseException as error:
            failure = error

        def tell() -> None:
            self._run.adapter.work_returned()
            if call.done():
                return
            if failure is None:
                call.set_result(result)
            elif is_a(failure, Exception) and not is_a(failure, StopIteration):
                call.set_exception(failure)
            else:
                call.set_exception(HookError(f"The check {check} raised {clause(failure)}."))

        try:
            self._run.loop.call_soon_threadsafe(tell)
        except RuntimeError:
            # The loop is closed, so nothing waits for the result.
            return


def refuse_awaitable(check: Check, made: object) -> None:
    """Raise ``HookError``: the result of a plain function counts as it is."""
    if inspect.iscoroutine(made):
        made.close()
    raise HookError(
        f"The check {check} is a plain function and returns {with_article(type(made))}, which nobody "
        "awaits: write it as 'async def'."
    )
