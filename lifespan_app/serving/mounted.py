"""The lifespan of an application inside ours: driven as a server would, inside our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.errors import HookError, LifespanError
from lifespan_app.engine.hooks.hook import ASYNC_GENERATOR, STAGE, Hook
from lifespan_app.engine.logger import logger
from lifespan_app.engine.running.current import SCOPE_KEY
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.running.stages import Stage
from lifespan_app.engine.running.state import share

from .protocol import Message, Scope, ServedRun, type_of

Forwarded = tuple[str, Any]
"""The name of an application, and the application."""


class MountLocation(NamedTuple):
    """The module, file and line at which an application was put inside one of ours."""

    module: str
    file: str
    line: int


ANSWERS = frozenset(
    f"lifespan.{phase}.{end}" for phase in ("startup", "shutdown") for end in ("complete", "failed")
)

GRACE = 1.0
"""Seconds that an application has to return once it has answered."""


def stage_of(
    inside: Forwarded, scope: Scope, place: MountLocation, forward: Sequence[Forwarded] = ()
) -> Stage:
    """Return the stage of a run that opens and closes the lifespans of inner applications.

    Args:
        inside: the application, which need not have a lifespan, and its name.
        scope: the lifespan scope of the application around it.
        place: the location of the mount.
        forward: applications inside that one, to which it passes no lifespan: opened after
            its own, side by side.
    """
    name, app = inside
    rows = [[hook_of(app, name, scope, place)]]
    if forward:
        # Each has a copy of the state, so that its additions can be told from those of the others.
        rows.append([hook_of(sub, name, scope, place, apart=True) for name, sub in forward])
    return Stage("inner lifespan", enters=lambda: rows)


def mounts_stage(mounted: Sequence[Forwarded], scope: Scope, place: MountLocation) -> Stage:
    """Return the stage that opens and closes the lifespans of ``mounts=``, side by side.

    Args:
        mounted: the applications, and their names.
        scope: the lifespan scope of the application that they are mounted beside.
        place: the location of the mounts.
    """
    rows = [[hook_of(app, name, scope, place, apart=True, own=True) for name, app in mounted]]
    return Stage("mounts", enters=lambda: rows)


@asynccontextmanager
async def lifespans_inside(apps: Sequence[Any], scope: Scope) -> AsyncIterator[None]:
    """Open the lifespans of ``mounts=`` in a run that another application has begun.

    They are a part of that application's step, as its own lifespan is.

    Args:
        apps: the applications.
        scope: the lifespan scope of the application that they are mounted beside.
    """
    async with AsyncExitStack() as stack:
        for app in apps:
            lifespan = asynccontextmanager(inner_lifespan)
            await stack.enter_async_context(lifespan(app, scope, apart=True, own=True))
        yield


def hook_of(
    app: Any,
    name: str,
    scope: Scope,
    place: MountLocation,
    *,
    apart: bool = False,
    own: bool = False,
) -> Hook:
    """Return the hook that opens and closes the lifespan of one application.

    Args:
        app: the application.
        name: the hook's name.
        scope: the lifespan scope of the application around it.
        place: the location of the mount.
        apart: whether it gets a copy of the scope's state, with the open resources.
        own: whether it keeps its additions to that copy, for its own requests.
    """

    def lifespan() -> AsyncIterator[None]:
        return inner_lifespan(app, scope, apart=apart, own=own)

    return Hook(lifespan, STAGE, name=name, written_at=place, form=ASYNC_GENERATOR)


async def inner_lifespan(
    app: Any, scope: Scope, *, apart: bool = False, own: bool = False
) -> AsyncIterator[None]:
    """Open the lifespan of one application, and close it. For the arguments see ``hook_of``."""
    hook_run = current_hook.get()
    assert isinstance(hook_run, HookRun)
    run = hook_run.run
    assert isinstance(run, ServedRun)
    state = run.hand_out(scope)
    if apart:
        state = dict(state)
    ours, before = dict(run.state), dict(state)
    inner = InnerLifespan(app, {**scope, "state": state, SCOPE_KEY: run}, hook_run)
    try:
        await inner.start()
        if own:
            run.mount_states[id(app)] = state
        else:
            added = {
                key: value
                for key, value in state.items()
                if key not in before or (key in ours and value is not ours[key])
            }
            try:
                share(run.state, added, str(hook_run))
            except HookError:
                await inner.stop()
                raise
        inner.serves = True
        try:
            yield
        except asyncio.CancelledError:
            if inner.error is not None:
                raise inner.error from None
            raise
        await inner.stop()
    finally:
        await inner.end()


class InnerLifespan:
    """One lifespan scope of an inner application, seen from the server's side.

    Args:
        app: the application.
        scope: the lifespan scope that it is called with.
        hook_run: the hook that drives it, in the task that makes this.
    """

    def __init__(self, app: Any, scope: Scope, hook_run: HookRun) -> None:
        self.error: BaseException | None = None
        """The error that the application has raised."""
        self.serves = False
        """True while it is up and was not asked to stop."""
        loop = asyncio.get_running_loop()
        self._hook_run = hook_run
        self._driver = asyncio.current_task()
        self._startup_sent = False
        self._cancelled = False
        self._shutdown_sent = False
        self._stop_event = asyncio.Event()
        self._started: asyncio.Future[Message] = loop.create_future()
        self._stopped: asyncio.Future[Message] = loop.create_future()
        self._app = loop.create_task(self._call(app, scope), name=hook_run.node.key)

    async def start(self) -> None:
        """Start it. An application without a lifespan, which awaits no message, is fine.

        Raises:
            BaseException: the application's own error.
            HookError: it sent ``lifespan.startup.failed``, and raised nothing.
        """
        await self._answered(self._started)
        if self._started.done():
            self._raise_if_failed(await self._answer(self._started))
            if self.error is not None:
                # Raised behind its answer, before anything waited for that.
                raise self.error
        elif not self._startup_sent:
            logger.debug("%s: the application has none: %s", self._hook_run, one_line(self.error))
            self.error = None
        elif self.error is not None:
            raise self.error
        else:
            logger.warning("%s: the application returned without an answer.", self._hook_run)

    async def stop(self) -> None:
        """Stop it, if it is up.

        Raises:
            BaseException: the application's own error.
            HookError: it sent ``lifespan.shutdown.failed``, and raised nothing.
        """
        self.serves = False
        self._stop_event.set()
        await self._answered(self._stopped)
        if self._stopped.done():
            self._raise_if_failed(await self._answer(self._stopped))
        elif self.error is not None:
            raise self.error

    async def end(self) -> None:
        """Cancel its task if it still runs, and wait for the end."""
        self.serves = False
        if not self._app.done():
            self._cancelled = True
            self._app.cancel()
            await asyncio.wait({self._app})

    async def _answered(self, future: asyncio.Future[Any]) -> None:
        """Wait for an answer, or for the application to end without one."""
        either: set[asyncio.Future[Any]] = {self._app, future}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def _answer(self, future: asyncio.Future[Message]) -> Message:
        """Return an answer; after a last one, the application has a moment to return or raise."""
        answer = future.result()
        if answer["type"] != "lifespan.startup.complete":
            await asyncio.wait({self._app}, timeout=GRACE)
        return answer

    def _raise_if_failed(self, answer: Message) -> None:
        if answer["type"] != "lifespan.startup.complete" and self.error is not None:
            raise self.error
        if answer["type"].endswith(".failed"):
            text = answer.get("message") or "without a message"
            raise HookError(f"{self._hook_run}: {answer['type']}: {text}")

    async def _call(self, app: Any, scope: Scope) -> None:
        # The hook's task raises it instead: a Task raises SystemExit out of the loop,
        # https://github.com/python/cpython/issues/108549
        try:
            await app(scope, self._receive, self._send)
        except BaseException as error:
            if not self._cancelled:
                self.error = error
        if self.serves and self.error is not None and self._driver is not None:
            self._driver.cancel()

    async def _receive(self) -> Message:
        if not self._startup_sent:
            self._startup_sent = True
            return {"type": "lifespan.startup"}
        while not self._stop_event.is_set():
            try:
                await self._stop_event.wait()
            except asyncio.CancelledError:
                if self._cancelled or not self._hook_run.run.loop_is_ending():
                    raise
                # asyncio.run() cancels all tasks at its end, and this one stops only when its turn comes.
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
        if self._shutdown_sent:
            await asyncio.get_running_loop().create_future()
        self._shutdown_sent = True
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        whole = type_of(message)
        kind, _, event = whole.partition(".")
        if kind != "lifespan" and not self._started.done():
            # It does not look at the type of its scope, so it has no lifespan. uvicorn 0.54 raises, too.
            self._startup_sent = False
            raise LifespanError(f"{self._hook_run}: '{whole}' is no message of a lifespan.")
        phase = event.partition(".")[0]
        is_early = phase == "shutdown" and not self._started.done()
        if kind == "lifespan" and (whole not in ANSWERS or is_early):
            raise LifespanError(f"{self._hook_run}: '{whole}' answers no message that it was sent.")
        future = {"startup": self._started, "shutdown": self._stopped}.get(phase)
        if future is not None and not future.done():
            future.set_result(message)
