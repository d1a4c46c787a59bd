"""The ASGI lifespan as Django signals.

``asgi_startup`` is sent when every hook is up, ``asgi_shutdown`` at the end, before anything is
closed, each with the lifespan's ``scope``. A receiver of ``asgi_lifespan`` returns a function that
makes an async context manager, which is entered at startup; see ``register_lifespan_manager``.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction
from django.dispatch import Signal

from lifespan_app.engine.hooks.signature import signature_of
from lifespan_app.engine.running.stages import Rows, Stage, call_hook
from lifespan_app.integration.default import lifespan

if TYPE_CHECKING:
    from lifespan_app.engine.hooks.hook import Hook

__all__ = ["asgi_lifespan", "asgi_shutdown", "asgi_startup"]


class LifespanSender:
    """The sender of the signals, for ``connect(sender=)``."""


class LifespanSignal(Signal):
    """A Django signal that passes each receiver only the arguments that its signature accepts."""

    def connect(
        self,
        receiver: Callable[..., Any],
        sender: object | None = None,
        weak: bool = True,
        dispatch_uid: Any = None,
    ) -> None:
        """Connect a receiver, with or without ``**kwargs``.

        Args:
            receiver: sync (it will run in a thread) or async.
            sender: the only sender to listen to; None: any.
            weak: whether the signal does not keep the receiver alive.
            dispatch_uid: the identity of the connection; None: the receiver.
        """
        if callable(receiver) and not takes_anything(receiver):
            # Django requires **kwargs: Signal.connect() checks it under DEBUG only.
            dispatch_uid = dispatch_uid or Identity(receiver, weak=weak)
            accepting = AcceptedKwargsReceiver(receiver, weak=weak)
            receiver = accepting.acall if iscoroutinefunction(receiver) else accepting.call
        super().connect(receiver, sender, weak, dispatch_uid)

    def disconnect(
        self,
        receiver: Callable[..., Any] | None = None,
        sender: object | None = None,
        dispatch_uid: Any = None,
    ) -> bool:
        """Disconnect a receiver. Returns True if it was connected."""
        if super().disconnect(receiver, sender, dispatch_uid):
            return True
        if receiver is None or dispatch_uid:
            return False
        return super().disconnect(None, sender, Identity(receiver, weak=False))

    def receivers_here(self) -> tuple[list[Callable[..., Any]], list[Callable[..., Any]]]:
        """Return the receivers of a server's lifespan: sync ones, and async ones."""
        sync_receivers, async_receivers = self._live_receivers(LifespanSender)
        return sync_receivers, async_receivers


asgi_startup = LifespanSignal()
asgi_lifespan = LifespanSignal()
asgi_shutdown = LifespanSignal()


def managers() -> list[Hook]:
    """Return the hooks of the lifespan managers that are registered now."""
    if not asgi_lifespan.receivers:
        return []
    from .managers import hooks_of_receivers

    return hooks_of_receivers()


lifespan.sources.append(managers)


def stage_of(scope: Mapping[str, Any]) -> Stage:
    """Return the stage of a run that sends ``asgi_startup``, and ``asgi_shutdown`` at the end."""
    return Stage(
        "signals",
        enters=lambda: rows(asgi_startup, scope),
        leaves=lambda: rows(asgi_shutdown, scope),
    )


def rows(signal: LifespanSignal, scope: Mapping[str, Any]) -> Rows:
    """Return a hook for each receiver: as with Django, sync ones in turn, then async ones at once."""
    named = {"signal": signal, "sender": LifespanSender, "scope": scope}
    sync_receivers, async_receivers = signal.receivers_here()
    return [
        *([call_hook(receiver, named, shown=original(receiver))] for receiver in sync_receivers),
        [
            call_hook(receiver, named, shown=original(receiver), on_loop=True)
            for receiver in async_receivers
        ],
    ]


# Receivers without **kwargs.


class AcceptedKwargsReceiver:
    """Call a receiver with those arguments that it takes.

    Args:
        receiver: a function or method without ``**kwargs``.
        weak: whether it may be garbage collected; then this object does nothing.
    """

    def __init__(self, receiver: Callable[..., Any], *, weak: bool) -> None:
        self.find: Callable[[], Callable[..., Any] | None] = lambda: receiver
        self._takes = [
            name
            for name, parameter in parameters_of(receiver).items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        if weak:
            owner, function = halves_of(receiver)
            self.find = weakref.ref(receiver) if function is None else weakref.WeakMethod(receiver)
            # Django keeps a weak reference to a method of this object, which has to live as long as it.
            weakref.finalize(owner, keep, self).atexit = False

    def call(self, **named: Any) -> Any:
        """Call a sync receiver."""
        receiver = self.find()
        return None if receiver is None else receiver(**self._chosen(named))

    async def acall(self, **named: Any) -> Any:
        """Call an async receiver."""
        receiver = self.find()
        return None if receiver is None else await receiver(**self._chosen(named))

    def _chosen(self, named: Mapping[str, Any]) -> dict[str, Any]:
        return {name: named[name] for name in self._takes if name in named}


def keep(made: AcceptedKwargsReceiver) -> None:
    """Do nothing: the finalizer's reference has kept the receiver alive until now."""


def halves_of(receiver: Any) -> tuple[object, object | None]:
    """Return a method's object and function; of anything else, itself and None."""
    if hasattr(receiver, "__self__") and hasattr(receiver, "__func__"):
        return receiver.__self__, receiver.__func__
    return receiver, None


class Identity:
    """The identity of a receiver. One that was garbage collected equals none.

    Its ``id()`` would not do: that may be another receiver's by then. A method is made anew each
    time it is asked for, so it is the same when its object and function are.

    Args:
        receiver: the receiver.
        weak: whether it may be garbage collected.
    """

    def __init__(self, receiver: Any, *, weak: bool) -> None:
        owner, self._function = halves_of(receiver)
        self.owner: Callable[[], object] = weakref.ref(owner) if weak else lambda: owner

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Identity):
            return NotImplemented
        owner = self.owner()
        return owner is not None and owner is other.owner() and self._function is other._function

    def __hash__(self) -> int:
        return id(self._function)


def original(receiver: Callable[..., Any]) -> Callable[..., Any]:
    """Return the connected function."""
    owner = getattr(receiver, "__self__", None)
    found = owner.find() if isinstance(owner, AcceptedKwargsReceiver) else None
    return found or receiver


def takes_anything(receiver: Callable[..., Any]) -> bool:
    """Return True if a receiver has ``**kwargs``."""
    parameters = parameters_of(receiver).values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def parameters_of(receiver: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a receiver; of one that can't be read, none."""
    try:
        return signature_of(receiver).parameters
    except (TypeError, ValueError):
        return {}
