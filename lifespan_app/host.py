"""What the engine is given by Django: app labels, settings, and database connections that close."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager

from django.apps import apps

from . import conf
from .connections import ClosedAfter, OwnConnections
from .engine.api import Lifespan
from .engine.hooks import Hook
from .engine.host import Host
from .engine.settings import Settings
from .waiting import WaitingThread

CLOSED_AFTER = ClosedAfter()


class DjangoHost(Host):
    """Django around the engine."""

    def app_label(self, module: str) -> str | None:
        """Return the label of the installed app that a module belongs to, or None."""
        if not apps.apps_ready:
            return None
        app = apps.get_containing_app_config(module)
        return app.label if app else None

    def settings(self) -> Settings:
        """Return what the setting ``LIFESPAN`` says."""
        return conf.settings()

    def around_thread(self, hook: Hook) -> AbstractContextManager[object] | None:
        """Close, after a sync hook, the connections that it has opened in its thread."""
        return CLOSED_AFTER

    def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object] | None:
        """Give an async hook connections of its own, closed after it."""
        return OwnConnections(hook)

    def waiting(self) -> WaitingThread:
        """Have the sync thread that waits for async code make the ORM calls of that code."""
        return WaitingThread()


def install(lifespan: Lifespan) -> None:
    """Put Django around a ``Lifespan``, once."""
    if not isinstance(lifespan.host, DjangoHost):
        observers = lifespan.host.observers
        lifespan.host = DjangoHost()
        lifespan.host.observers = observers
