"""The lifespan of an application inside ours: driven as a server would, inside our own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.error_text import one_line
from lifespan_app.engine.errors import HookError
from lifespan_app.engine.hooks.hook import STAGE, Hook
from lifespan_app.engine.logger import logger
from lifespan_app.engine.running.current import SCOPE_KEY
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.running.stages import Stage
from lifespan_app.engine.running.state import share

from .protocol import Message, Scope, ServedRun

Forwarded = tuple[str, Any]
"""The name of an application, and the application."""


class MountLocation(NamedTuple):
    """Where applications were put inside one of ours."""

    module: str
    file: str
    line: int


GRACE = 1.0
"""Seconds that an application has to return once it has answered."""


def stage_of(
    inside: Forwarded, scope: Scope, place: MountLocation, forward: Sequence[Forwarded] = ()
) -> Stage:
    """Return the stage of a run that opens and closes the lifespans of inner applications.

    Args:
        inside: the application, which need not have a lifespan, and its name.
        scope: the lifespan scope of the application around it.
        place: where it was put inside.
        forward: applications inside of that one, to which it passes no lifespan: opened behind
            its own, side by side.
    """
    name, app = inside
    rows = [[hook_of(app, name, scope, place)]]
    if forward:
        # A state of its own for each: what one adds, while others start, is known as its own.
        rows.append([hook_of(sub, name, scope, place, apart=True) for name, sub in forward])
    return Stage("inner lifespan", enters=lambda: rows)


def hook_of(
    app: Any, name: str, scope: Scope, place: MountLocation, *, apart: bool = False
) -> Hook:
    """Return the hook that opens and closes the lifespan of one application.

    Args:
        app: the application.
        name: what the hook is called.
        scope: the lifespan scope of the application around it.
        place: where it was put inside.
        apart: whether it gets a copy of the scope's state, with all that is open.
    """

    async def lifespan() -> AsyncIterator[None]:
        unit = current_hook.get()
        assert isinstance(unit, HookRun)
        run = unit.run
        assert isinstance(run, ServedRun)
        state = run.hand_out(scope)
        if apart:
            state = dict(state)
        ours, before = dict(run.state), dict(state)
        inner = InnerLifespan(app, {**scope, "state": state, SCOPE_KEY: run}, unit)
        try:
            await inner.start()
            added = {
                key: value
                for key, value in state.items()
                if key not in before or (key in ours and value is not ours[key])
            }
            try:
                share(run.state, added, str(unit))
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

    return Hook(lifespan, STAGE, name=name, written_at=place)


class InnerLifespan:
    """One lifespan scope of an inner application, seen from the server's side.

    Args:
        app: the application.
        scope: the lifespan scope that it is called with.
        unit: the hook that drives it, in the task that makes this.
    """

    def __init__(self, app: Any, scope: Scope, unit: HookRun) -> None:
        self.error: BaseException | None = None
        """What the application has raised."""
        self.serves = False
        """Whether it is up and has not been told to stop."""
        loop = asyncio.get_running_loop()
        self._unit = unit
        self._driver = asyncio.current_task()
        self._asked = False
        self._cancelled = False
        self._told = False
        self._told_to_stop = asyncio.Event()
        self._started: asyncio.Future[Message] = loop.create_future()
        self._stopped: asyncio.Future[Message] = loop.create_future()
        self._app = loop.create_task(self._call(app, scope), name=unit.node.key)

    async def start(self) -> None:
        """Have it start. An application without a lifespan, which asks for no message, is fine.

        Raises:
            BaseException: what the application raised.
            HookError: it said that its startup has failed, and raised nothing.
        """
        await self._answered(self._started)
        if self._started.done():
            self._raise_if_failed(await self._answer(self._started))
        elif not self._asked:
            logger.debug("%s: the application has none: %s", self._unit, one_line(self.error))
            self.error = None
        elif self.error is not None:
            raise self.error
        else:
            logger.warning("%s: the application returned without an answer.", self._unit)

    async def stop(self) -> None:
        """Have it stop, if it is up.

        Raises:
            BaseException: what the application raised.
            HookError: it said that its shutdown has failed, and raised nothing.
        """
        self.serves = False
        self._told_to_stop.set()
        await self._answered(self._stopped)
        if self._stopped.done():
            self._raise_if_failed(await self._answer(self._stopped))
        elif self.error is not None:
            raise self.error

    async def end(self) -> None:
        """Cancel what still runs of it, and wait for it."""
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
            raise HookError(f"{self._unit}: {answer['type']}: {text}")

    async def _call(self, app: Any, scope: Scope) -> None:
        # A task that ends with SystemExit would end the loop: the driver raises it in its place.
        try:
            await app(scope, self._receive, self._send)
        except BaseException as error:
            if not self._cancelled:
                self.error = error
        if self.serves and self.error is not None and self._driver is not None:
            self._driver.cancel()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "lifespan.startup"}
        while not self._told_to_stop.is_set():
            try:
                await self._told_to_stop.wait()
            except asyncio.CancelledError:
                if self._cancelled or not self._unit.run.loop_is_ending():
                    raise
                # A loop that ends cancels every task at once; this one stops when its turn comes.
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
        if self._told:
            await asyncio.get_running_loop().create_future()
        self._told = True
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        phase = str(message["type"]).removeprefix("lifespan.").partition(".")[0]
        future = {"startup": self._started, "shutdown": self._stopped}.get(phase)
        if future is not None and not future.done():
            future.set_result(message)
