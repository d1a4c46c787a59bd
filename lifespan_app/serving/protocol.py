"""The ASGI lifespan protocol: what a server says, and what it is answered.

The source of every rule is the lifespan specification of ASGI (``asgi`` spec, "Lifespan
Protocol"), and what servers were measured to do around it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from lifespan_app.engine.context import LifespanContext
from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.error_text import class_name, one_line
from lifespan_app.engine.errors import LifespanError
from lifespan_app.engine.hooks.hook import MANAGER, STAGE
from lifespan_app.engine.lifespan import Lifespan, raise_stop_errors
from lifespan_app.engine.logger import logger
from lifespan_app.engine.planning.plan import Plan
from lifespan_app.engine.reporting.report import Mode
from lifespan_app.engine.running.current import SCOPE_KEY
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.running.messages import shutdown_message, startup_message
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.running.stages import Rows, Stage, call_hook
from lifespan_app.engine.settings import Settings
from lifespan_app.integration.server import recognise, reloads

# Wide enough for type checkers to take our applications where Django, Starlette and servers want
# one.
Scope = MutableMapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Functions = Callable[[], Iterable[Callable[[], Any]]]

SIGNALS = "lifespan_app.compat.signals"
REACHED = "lifespan_app.reached"
"""Where the scope of a check has a list of those that would open their plan."""


class ServedRun(Run):
    """A run that a server's lifespan scope begins and ends.

    Args:
        lifespan: where the hooks were declared.
        plan: what is to run.
        context: what the hooks are told about the process.
        scope: the lifespan scope.
        server: name and version of the server; "" for one not known.
        mode: how it came about; None: by a server.
        stages: the edges of the run, without the functions that are called at its end.
    """

    def __init__(
        self,
        lifespan: Lifespan,
        plan: Plan,
        context: LifespanContext,
        scope: Scope,
        *,
        server: str,
        mode: str | None,
        stages: Iterable[Stage],
        settings: Settings | None = None,
    ) -> None:
        self.scope = scope
        self.on_shutdown: list[Functions] = []
        """What gives the functions that are called at shutdown, of each application in the run."""
        self.handed_out: MutableMapping[str, Any] = {}
        """What was put into the scope's state."""
        last = Stage("on_shutdown", leaves=self._last_functions, always=True)
        super().__init__(
            lifespan,
            plan,
            context,
            server=server,
            mode=mode,
            stages=[last, *stages],
            settings=settings,
        )

    def _last_functions(self) -> Rows:
        functions = [function for given in self.on_shutdown for function in given()]
        return [[call_hook(function)] for function in reversed(functions)]

    def opened_late(self, hook_run: HookRun) -> None:
        """Let what has come up while the process serves be read, by those too who get the scope."""
        super().opened_late(hook_run)
        # Servers copy the scope's state for each request.
        self.handed_out[hook_run.node.options.state_name] = hook_run.value

    def hand_out(self, scope: Scope) -> MutableMapping[str, Any]:
        """Put what is open into the scope's state, for others: nothing of ours is read back."""
        state = scope.get("state")
        if isinstance(state, MutableMapping):
            self.handed_out = state
        self.handed_out.update(self.state)
        return self.handed_out


async def serve_lifespan(
    lifespan: Lifespan,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    context: LifespanContext | str | None = None,
    inner: Stage | None = None,
    begins: Callable[[ServedRun], None] = lambda run: None,
) -> None:
    """Answer one lifespan scope: open the plan, wait, close it.

    No exception leaves before ``lifespan.startup.failed`` was sent: under ``lifespan=auto`` every
    server would take it for an application without lifespan, and serve.

    Args:
        lifespan: what is opened.
        scope: the lifespan scope; it may lack ``state`` and ``asgi``.
        receive: gives the server's messages.
        send: takes the answers.
        context: what hooks are told, or the service type; None: as the settings say.
        inner: the stage of an application inside this one, behind all others.
        begins: called with the run, before it starts.

    Raises:
        BaseException: what made the startup fail, after it was logged and sent.
        ExceptionGroup: what made the shutdown fail, likewise.
        asyncio.CancelledError: the server cancelled the task; what was up has been stopped.
    """
    if (reached := scope.get(REACHED)) is not None:
        reached.append(lifespan)
    message = await receive()
    if message["type"] != "lifespan.startup":
        await send({"type": "lifespan.shutdown.complete"})
        return
    if asyncio._get_running_loop() is None:
        await refuse_other_loop(send)
    run: ServedRun | None = None
    try:
        await lifespan.adapter.on_server_startup()
        mode = Mode.RELOAD if reloads(receive) else None
        run = prepare(lifespan, scope, context, server=recognise(receive), mode=mode, inner=inner)
        begins(run)
        await run.start()
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        if run is None:
            from .startup_report import tell_failure

            tell_failure(error)
        if run is None or run.first_error is not error:
            logger.error("The lifespan can't start: %s", one_line(error), error=error)
        await send({"type": "lifespan.startup.failed", "message": startup_message(run, error)})
        raise
    run.hand_out(scope)
    await send({"type": "lifespan.startup.complete"})
    try:
        message = await receive()
    except asyncio.CancelledError:
        # gunicorn's own worker sends no shutdown message on Ctrl+C.
        await run.stop(quick=True, ended_by="cancelled")
        raise
    except BaseException as error:
        await run.stop(ended_by=class_name(error))
        raise
    if message["type"] == "lifespan.startup":
        await run.stop(ended_by="a second lifespan.startup")
        await refuse_second_startup(send, "the run that was open is closed")
    await run.stop(ended_by="lifespan.shutdown")
    if run.stop_errors:
        await send({"type": "lifespan.shutdown.failed", "message": shutdown_message(run)})
        raise_stop_errors(run)
    await send({"type": "lifespan.shutdown.complete"})


def prepare(
    lifespan: Lifespan,
    scope: Scope,
    context: LifespanContext | str | None,
    *,
    server: str,
    mode: str | None,
    inner: Stage | None,
) -> ServedRun:
    """Return a run for a lifespan scope, which has not begun. Raises as ``serve_lifespan`` does."""
    settings = lifespan.adapter.settings()
    if context is None or isinstance(context, str):
        context = lifespan.adapter.context(context, settings)
    plan = lifespan.plan(context.service_type, settings)
    stages = []
    # Without Django nobody has imported them, so nobody listens.
    if SIGNALS in sys.modules:
        from lifespan_app.compat import signals

        stages.append(signals.stage_of(scope))
    if inner is not None:
        stages.append(inner)
    run = ServedRun(
        lifespan, plan, context, scope, server=server, mode=mode, stages=stages, settings=settings
    )
    lifespan.runs.append(run)
    return run


def run_around(lifespan: Lifespan, scope: Scope) -> ServedRun | None:
    """Return the run of an application of ours that the one called with this scope is inside of."""
    run = scope.get(SCOPE_KEY)
    inside = current_hook.get()
    if run is None and isinstance(inside, HookRun) and inside.hook.kind in (MANAGER, STAGE):
        # A framework's lifespan may drive that of another application with a scope of its own.
        run = inside.run
    if isinstance(run, ServedRun) and run.lifespan is lifespan and not run.over:
        return run
    return None


async def join(receive: Receive, send: Send) -> None:
    """Answer the lifespan scope of an application inside another of ours, whose run is there."""
    message = await receive()
    if message["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
        message = await receive()
        if message["type"] == "lifespan.startup":
            await refuse_second_startup(send, "nothing has changed")
    await send({"type": "lifespan.shutdown.complete"})


async def refuse_second_startup(send: Send, outcome: str) -> None:
    """Fail a startup in a scope that had one before."""
    text = f"lifespan.startup came twice in one scope: {outcome}."
    await send({"type": "lifespan.startup.failed", "message": text})
    raise LifespanError(text)


async def refuse_other_loop(send: Send) -> None:
    """Fail the startup where no asyncio loop runs, such as under ``hypercorn -k trio``."""
    text = (
        "lifespan_app needs an asyncio event loop (asyncio or uvloop), and none is running here. "
        "Start the server with one: 'hypercorn -k asyncio' or '-k uvloop' instead of '-k trio'."
    )
    logger.error("The lifespan can't start: %s", text)
    await send({"type": "lifespan.startup.failed", "message": text})
    raise LifespanError(text)
