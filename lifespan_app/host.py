"""What the engine is given by Django: app labels, settings, and database connections that close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.apps import apps

from . import conf
from .engine.api import Lifespan
from .engine.hooks import Hook
from .engine.host import Host, Settings


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
        return connections_closed()

    def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object] | None:
        """Give an async hook connections of its own, closed after it."""
        return OwnConnections()


@contextmanager
def connections_closed() -> Iterator[None]:
    """Close this thread's database connections at the end."""
    from django.db import connections

    try:
        yield
    finally:
        connections.close_all()


class OwnConnections:
    """Run the ORM calls of one task in a thread of its own, whose connections are closed after it.

    Without it they would run in the one thread that asgiref has for the whole process, and leave
    their connections open there.
    """

    __slots__ = ("_context",)

    async def __aenter__(self) -> None:
        self._context = ThreadSensitiveContext()
        await self._context.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        if self._context in SyncToAsync.context_to_thread_executor:
            from django.db import connections

            await sync_to_async(connections.close_all)()
        await self._context.__aexit__(None, None, None)


def install(lifespan: Lifespan) -> None:
    """Put Django around a ``Lifespan``, once."""
    if not isinstance(lifespan.host, DjangoHost):
        observers = lifespan.host.observers
        lifespan.host = DjangoHost()
        lifespan.host.observers = observers
