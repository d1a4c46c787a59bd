"""Lifespan managers: async context managers whose mapping is in the state while they are open."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from weakref import WeakValueDictionary

from asgiref.sync import iscoroutinefunction, sync_to_async

from lifespan_app.engine.current_hook import current_hook
from lifespan_app.engine.errors import HookError, with_article
from lifespan_app.engine.hooks.hook import MANAGER, Hook
from lifespan_app.engine.running.hook_run import HookRun
from lifespan_app.engine.running.stages import shown_as, title_of
from lifespan_app.engine.running.state import share
from lifespan_app.types import State

from .signals import Identity, LifespanSender, asgi_lifespan, original

__all__ = ["register_lifespan_manager"]

Manager = Callable[[], AbstractAsyncContextManager[State]]
Receiver = Callable[..., Any]

PRIORITY = 1000
"""A manager reads resources without asking for them, so it opens behind the hooks of apps."""

known: WeakValueDictionary[Identity, Hook] = WeakValueDictionary()
"""The hooks of receivers, for as long as a plan holds them: its hooks are the same ones then."""


def register_lifespan_manager(context_manager: Manager) -> None:
    """Register an async context manager that is entered at startup, and exited at shutdown.

    The mapping that it yields is put into the state: ``request.state["name"]``. Registering the
    same one again changes nothing.

    Args:
        context_manager: a function that returns an async context manager, such as one below
            ``@asynccontextmanager``.
    """
    asgi_lifespan.connect(
        Registered(context_manager).receiver,
        weak=False,
        dispatch_uid=Identity(context_manager, weak=False),
    )


class Registered:
    """The receiver of ``asgi_lifespan`` for one manager.

    Args:
        manager: the factory of the context manager.
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    async def receiver(self, **named: Any) -> Manager:
        """Return the manager."""
        return self.manager


def hooks_of_receivers() -> list[Hook]:
    """Return a hook for each receiver of ``asgi_lifespan``, which enters the receiver's manager."""
    sync_receivers, async_receivers = asgi_lifespan.receivers_here()
    return [hook_of(receiver) for receiver in (*sync_receivers, *async_receivers)]


def hook_of(receiver: Receiver) -> Hook:
    """Return the hook that enters a receiver's manager, and adds its mapping to the state."""
    connected = original(receiver)
    identity = Identity(connected, weak=True)
    hook = known.get(identity)
    if hook is None:
        hook = known[identity] = new_hook(receiver, connected)
    return hook


def new_hook(receiver: Receiver, connected: Receiver) -> Hook:
    """Return a new hook for a receiver.

    Args:
        receiver: sync or async; it returns a manager or, if it writes to the state itself,
            None.
        connected: the connected function, for the hook's name, file and line.
    """
    registered = getattr(connected, "__self__", None)
    shown = registered.manager if isinstance(registered, Registered) else connected
    is_async = iscoroutinefunction(receiver)
    call = receiver if is_async else sync_to_async(receiver)
    # As Django does: Signal.asend() calls sync receivers before async ones.
    priority = PRIORITY if is_async else PRIORITY - 1

    async def manager() -> AsyncIterator[Any]:
        made = await call(**arguments())
        if callable(made) and not hasattr(type(made), "__aenter__"):
            made = made()
        if made is None:
            yield None
        elif not hasattr(type(made), "__aenter__"):
            raise HookError(
                f"{current_hook_run()} gives {with_article(type(made))}. Return a function that makes an "
                "async context manager, such as one below @asynccontextmanager."
            )
        else:
            async with made as mapping:
                keep(mapping)
                yield mapping

    shown_as(manager, shown)
    hook = Hook(manager, MANAGER, name=title_of(shown), priority=priority, order=sys.maxsize)
    # No parameters: the visible signature is that of the wrapped manager.
    hook.keep_parameters(())
    return hook


def arguments() -> dict[str, Any]:
    """Return the arguments for a receiver of ``asgi_lifespan``, inside a run."""
    run = current_hook_run().run
    # Only a server's run has a scope.
    scope = getattr(run, "scope", None) or {"type": "lifespan", "asgi": {"version": "3.0"}}
    state = scope.get("state")
    if not isinstance(state, MutableMapping):
        state = run.state
    return {"signal": asgi_lifespan, "sender": LifespanSender, "scope": scope, "state": state}


def keep(mapping: Any) -> None:
    """Put the mapping of the manager that is being entered into the state."""
    hook_run = current_hook_run()
    if mapping is None:
        return
    if not isinstance(mapping, Mapping):
        raise HookError(
            f"{hook_run} yields {with_article(type(mapping))}. Yield a dictionary: what is in it will be "
            "in the state."
        )
    share(hook_run.run.state, mapping, str(hook_run))


def current_hook_run() -> HookRun:
    """Return the hook that this code is part of."""
    hook_run = current_hook.get()
    assert isinstance(hook_run, HookRun)
    return hook_run
