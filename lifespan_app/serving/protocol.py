"""The ASGI lifespan protocol: the messages of a server, and the answers to them.

The rules come from the specification, https://asgi.readthedocs.io/en/latest/specs/lifespan.html, and
from the measured behaviour of servers.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, nullcontext
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
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.running.stages import Rows, Stage, call_hook
from lifespan_app.engine.settings import Settings
from lifespan_app.integration.server import recognise, reloads

# Wide enough for type checkers to accept our applications for Django's, Starlette's and servers' types.
Scope = MutableMapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Functions = Callable[[], Iterable[Callable[[], Any]]]

SIGNALS = "lifespan_app.compat.signals"
REACHED = "lifespan_app.reached"
"""The key of a check's scope: a list of the applications that would open their plan."""


class ServedRun(Run):
    """A run that a server's lifespan scope begins and ends.

    Args:
        lifespan: the ``Lifespan`` that has declared the hooks.
        plan: the hooks to run.
        context: the hooks' context.
        scope: the lifespan scope.
        server: name and version of the server; "" if it is unknown.
        mode: the way it was opened; None: by a server.
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
        """The functions to call at shutdown, for each application in the run."""
        self.handed_out: MutableMapping[str, Any] = {}
        """The items that were put into the scope's state."""
        self.mount_states: dict[int, MutableMapping[str, Any]] = {}
        """The state of each application in ``mounts=`` whose lifespan is open, by its ``id()``."""
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
        """Add a resource that comes up late to the state, and to the scope's state."""
        super().opened_late(hook_run)
        # Each request gets a copy of the scope's state:
        # https://asgi.readthedocs.io/en/latest/specs/lifespan.html#lifespan-state
        self.handed_out[hook_run.node.options.state_name] = hook_run.value

    def hand_out(self, scope: Scope) -> MutableMapping[str, Any]:
        """Copy the state into the scope's state, for other applications; it is never read back."""
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

    No exception leaves before ``lifespan.startup.failed`` was sent: the specification (section
    "Scope") makes servers take such an application for one without a lifespan, and serve it.

    Args:
        lifespan: the ``Lifespan`` to open.
        scope: the lifespan scope; it may lack ``state`` and ``asgi``.
        receive: returns the server's messages.
        send: sends the answers.
        context: the hooks' context, or the service type; None: from the settings.
        inner: the stage of an application inside this one, after all others.
        begins: called with the run, before it starts.

    Raises:
        BaseException: the startup's error, after it was logged and sent.
        ExceptionGroup: the shutdown's errors, after they were logged and sent.
        asyncio.CancelledError: the server cancelled the task; open hooks have been stopped.
    """
    if (reached := scope.get(REACHED)) is not None:
        reached.append(lifespan)
    first = type_of(await receive())
    if first == "lifespan.shutdown":
        await send({"type": "lifespan.shutdown.complete"})
        return
    if first != "lifespan.startup":
        await refuse_unknown(send, "lifespan.startup", first)
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
            from .startup_report import report_failure

            report_failure(error)
        if run is None or run.first_error is not error:
            logger.error("The lifespan can't start: %s", one_line(error), error=error)
        from lifespan_app.engine.running.messages import startup_message

        await send({"type": "lifespan.startup.failed", "message": startup_message(run, error)})
        raise
    try:
        run.hand_out(scope)
        await send({"type": "lifespan.startup.complete"})
        second = type_of(await receive())
    except asyncio.CancelledError:
        # gunicorn's worker sends no lifespan.shutdown on SIGINT and SIGQUIT (gunicorn 27,
        # gunicorn/workers/gasgi.py, ``_quick_shutdown``).
        await run.stop(quick=True, ended_by="cancelled")
        raise
    except BaseException as error:
        await run.stop(ended_by=class_name(error))
        raise
    if second == "lifespan.startup":
        await run.stop(ended_by="a second lifespan.startup")
        await refuse_second_startup(send, "the run that was open is closed")
    if second != "lifespan.shutdown":
        await run.stop(ended_by="an unknown message")
        await refuse_unknown(send, "lifespan.shutdown", second)
    await run.stop(ended_by="lifespan.shutdown")
    if run.stop_errors:
        from lifespan_app.engine.running.messages import shutdown_message

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
    plan = lifespan.plan(context.service_type, settings, mode)
    if mode is not Mode.TEST:
        plan = lifespan.adapter.plan_of_server(plan)
    stages = []
    # If the signals were never imported, there are no receivers.
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
    """Return the run of the application of ours that contains the one with this scope, or None."""
    run = scope.get(SCOPE_KEY)
    inside = current_hook.get()
    if run is None and isinstance(inside, HookRun) and inside.hook.kind in (MANAGER, STAGE):
        # A framework's lifespan may call that of another application with a new scope.
        run = inside.run
    if isinstance(run, ServedRun) and run.lifespan is lifespan and not run.over:
        return run
    return None


async def join(
    receive: Receive, send: Send, inside: AbstractAsyncContextManager[None] | None = None
) -> None:
    """Answer the lifespan scope of an application inside another of ours, and join its run.

    Args:
        receive: returns the messages of the application around it.
        send: sends the answers.
        inside: the lifespans of applications inside this one, to enter and to leave.
    """
    if type_of(await receive()) == "lifespan.startup":
        async with inside or nullcontext():
            await send({"type": "lifespan.startup.complete"})
            if type_of(await receive()) == "lifespan.startup":
                await refuse_second_startup(send, "nothing has changed")
    await send({"type": "lifespan.shutdown.complete"})


def type_of(message: object) -> str:
    """Return the type of a message, or "" for one that has none."""
    kind = message.get("type") if isinstance(message, Mapping) else None
    return kind if isinstance(kind, str) else ""


async def refuse_unknown(send: Send, expected: str, kind: str) -> None:
    """Refuse a message that is none of the lifespan protocol."""
    text = f"{expected} was expected, and the server has sent {f'{kind!r}' if kind else 'no type'}."
    await send({"type": f"{expected}.failed", "message": text})
    raise LifespanError(text)


async def refuse_second_startup(send: Send, outcome: str) -> None:
    """Fail a startup in a scope that had one before."""
    text = f"lifespan.startup came twice in one scope: {outcome}."
    await send({"type": "lifespan.startup.failed", "message": text})
    raise LifespanError(text)


async def refuse_other_loop(send: Send) -> None:
    """Fail the startup if no asyncio loop runs, such as under ``hypercorn -k trio``."""
    text = (
        "lifespan_app needs an asyncio event loop (asyncio or uvloop), and none is running here. "
        "Start the server with one: 'hypercorn -k asyncio' or '-k uvloop' instead of '-k trio'."
    )
    logger.error("The lifespan can't start: %s", text)
    await send({"type": "lifespan.startup.failed", "message": text})
    raise LifespanError(text)
