"""The ASGI lifespan protocol: what a server says, and what it is answered.

The source of every rule is the lifespan specification of ASGI (``asgi`` spec, "Lifespan
Protocol"), and what servers were measured to do around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from .engine.api import Lifespan, raise_stop_errors
from .engine.context import LifespanContext
from .engine.errors import LifespanError
from .engine.hooks import Hook
from .engine.log import logger
from .engine.messages import shutdown_message, startup_message
from .engine.runner import Run
from .servers import recognise

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


async def serve_lifespan(
    lifespan: Lifespan,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    context: LifespanContext | None = None,
    stages: Iterable[Hook] = (),
    begins: Callable[[Run], None] = lambda run: None,
) -> None:
    """Answer one lifespan scope: open the plan, wait, close it.

    No exception leaves before ``lifespan.startup.failed`` was sent: under ``lifespan=auto`` every
    server would take it for an application without lifespan, and serve.

    Args:
        lifespan: what is opened.
        scope: the lifespan scope; it may lack ``state`` and ``asgi``.
        receive: gives the server's messages.
        send: takes the answers.
        context: what hooks are told; None: as the settings say.
        stages: edges of the run behind the hooks, in their order.
        begins: called with the run, before it starts.

    Raises:
        BaseException: what made the startup fail, after it was logged and sent.
        ExceptionGroup: what made the shutdown fail, likewise.
        asyncio.CancelledError: the server cancelled the task; what was up has been stopped.
    """
    message = await receive()
    if message["type"] != "lifespan.startup":
        await send({"type": "lifespan.shutdown.complete"})
        return
    if asyncio._get_running_loop() is None:
        await refuse_other_loop(send)
    run: Run | None = None
    try:
        run = lifespan.prepare(context, server=recognise(receive), stages=stages)
        begins(run)
        await run.start()
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        if run is None or run.first_error is not error:
            logger.error("The lifespan can't start: %s", error, exc_info=error)
        await send({"type": "lifespan.startup.failed", "message": startup_message(run, error)})
        raise
    hand_out(run, scope)
    await send({"type": "lifespan.startup.complete"})
    try:
        message = await receive()
    except asyncio.CancelledError:
        # gunicorn's own worker sends no shutdown message on Ctrl+C.
        await run.stop(quick=True, ended_by="cancelled")
        raise
    except BaseException as error:
        await run.stop(ended_by=type(error).__name__)
        raise
    if message["type"] == "lifespan.startup":
        await run.stop(ended_by="a second lifespan.startup")
        text = "lifespan.startup came twice in one scope: the run that was open is closed."
        await send({"type": "lifespan.startup.failed", "message": text})
        raise LifespanError(text)
    await run.stop(ended_by="lifespan.shutdown")
    if run.stop_errors:
        await send({"type": "lifespan.shutdown.failed", "message": shutdown_message(run)})
        raise_stop_errors(run)
    await send({"type": "lifespan.shutdown.complete"})


def hand_out(run: Run, scope: Scope) -> None:
    """Put what is open into the scope's state, for others: nothing of ours is read back."""
    state = scope.get("state")
    if isinstance(state, MutableMapping):
        state.update(run.state)


async def refuse_other_loop(send: Send) -> None:
    """Fail the startup where no asyncio loop runs, such as under ``hypercorn -k trio``."""
    text = (
        "lifespan_app needs an asyncio event loop (asyncio or uvloop), and none is running here. "
        "Start the server with one: 'hypercorn -k asyncio' or '-k uvloop' instead of '-k trio'."
    )
    logger.error("The lifespan can't start: %s", text)
    await send({"type": "lifespan.startup.failed", "message": text})
    raise LifespanError(text)
