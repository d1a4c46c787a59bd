"""Lifespan managers: async context managers whose mapping is in the state while they are open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from .engine.current import here
from .engine.errors import HookError
from .engine.hooks import STAGE, Hook
from .engine.plan import Plan
from .engine.stages import call_hook, joined, shown_as, title_of
from .engine.unit import Unit
from .signals import Identity, LifespanSender, asgi_lifespan, original
from .types import State

__all__ = ["register_lifespan_manager"]

Manager = Callable[[], AbstractAsyncContextManager[State]]
Receiver = Callable[..., Any]


def register_lifespan_manager(context_manager: Manager) -> None:
    """Have an async context manager entered at startup, and left at shutdown.

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
        manager: what makes the context manager.
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager

    async def receiver(self, **named: Any) -> Manager:
        """Return the manager."""
        return self.manager


def with_managers(plan: Plan, scope: Mapping[str, Any], label_of: Any) -> Plan:
    """Return a plan with what the receivers of ``asgi_lifespan`` give, entered behind its hooks.

    Args:
        plan: the hooks.
        scope: the lifespan scope, which receivers are given.
        label_of: gives the app label of a module, or None outside an installed app.
    """
    sync_receivers, async_receivers = asgi_lifespan.receivers_here()
    calls = []
    managers = [manager_hook(receiver, scope) for receiver in async_receivers]
    for receiver in sync_receivers:
        returned: list[Any] = []
        calls.append(call_hook(collecting(receiver, scope, returned), shown=original(receiver)))
        managers.append(manager_hook(receiver, scope, returned))
    plan = joined(plan, calls, label_of, "receivers of asgi_lifespan")
    return joined(plan, managers, label_of, "lifespan managers")


def collecting(receiver: Receiver, scope: Mapping[str, Any], into: list[Any]) -> Callable[[], None]:
    """Return a function that calls a sync receiver, and keeps what that returns."""

    def call() -> None:
        into.append(receiver(**arguments(scope)))

    return call


def arguments(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a receiver of ``asgi_lifespan`` is called with, inside a run."""
    state = scope.get("state")
    if not isinstance(state, MutableMapping):
        state = unit_here().run.state
    return {"signal": asgi_lifespan, "sender": LifespanSender, "scope": scope, "state": state}


def manager_hook(
    receiver: Receiver, scope: Mapping[str, Any], returned: list[Any] | None = None
) -> Hook:
    """Return the hook that enters what a receiver returns, and puts its mapping into the state.

    Args:
        receiver: async, or with ``returned`` one that has been called.
        scope: the lifespan scope.
        returned: what it has returned, if it has been called.
    """
    connected = original(receiver)
    registered = getattr(connected, "__self__", None)
    shown = registered.manager if isinstance(registered, Registered) else connected

    async def manager() -> AsyncIterator[Any]:
        made = await receiver(**arguments(scope)) if returned is None else returned.pop()
        if callable(made) and not hasattr(type(made), "__aenter__"):
            made = made()
        if made is None:
            yield None
        elif not hasattr(type(made), "__aenter__"):
            raise HookError(
                f"{unit_here()} gives a {type(made).__name__}. Return a function that makes an "
                "async context manager, such as one below @asynccontextmanager."
            )
        else:
            async with made as mapping:
                keep(mapping)
                yield mapping

    shown_as(manager, shown)
    return Hook(manager, STAGE, name=title_of(shown))


def keep(mapping: Any) -> None:
    """Put the mapping of the manager that is being entered into the state."""
    unit = unit_here()
    if mapping is None:
        return
    if not isinstance(mapping, Mapping):
        raise HookError(
            f"{unit} yields a {type(mapping).__name__}. Yield a dictionary: what is in it will be "
            "in the state."
        )
    unit.run.add(mapping, str(unit))  # type: ignore[attr-defined]  # a ServedRun, always


def unit_here() -> Unit:
    """Return the hook that this code is part of."""
    unit = here.get()
    assert isinstance(unit, Unit)
    return unit
