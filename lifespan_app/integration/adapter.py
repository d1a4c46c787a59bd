"""The engine's adapter for Django: app labels, settings, and database connections that close."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.apps import apps

from lifespan_app import conf
from lifespan_app.engine.hooks.hook import Hook
from lifespan_app.engine.settings import Settings

from .background import BackgroundRun, in_command
from .connections import ClosedAfter, OwnConnections, around_call, give_back_connections, own
from .server import ServerAdapter, module_of_task, recognised

if TYPE_CHECKING:
    from lifespan_app.engine.advice import Advice
    from lifespan_app.engine.planning.plan import Plan
    from lifespan_app.engine.running.run import Run

    from .current_thread_executor import CurrentThreadExecutor

CLOSED_AFTER = ClosedAfter()


class DjangoAdapter(ServerAdapter):
    """Django around the engine."""

    def __init__(self) -> None:
        self.background = BackgroundRun()

    @cached_property
    def advice(self) -> Advice:
        """The advice for code that can't use a resource."""
        from .advice import DjangoAdvice

        return DjangoAdvice()

    def masked(self, text: str) -> str:
        """Return a text with the secrets masked that settings and environment hold."""
        from .redaction import masked

        return masked(text)

    def app_label(self, module: str) -> str | None:
        """Return the label of the installed app that a module belongs to, or None."""
        if not apps.apps_ready:
            return None
        app = apps.get_containing_app_config(module)
        return app.label if app else None

    def settings(self) -> Settings:
        """Return the engine's settings, from the setting ``LIFESPAN``."""
        return conf.settings()

    def plan_of_server(self, plan: Plan) -> Plan:
        """Add the steps of ``WARM_UP`` to the plan of a server's run."""
        if not conf.get("WARM_UP"):
            return plan
        from .warm_django import with_steps

        return with_steps(plan)

    def around_thread(self, hook: Hook) -> AbstractContextManager[object] | None:
        """Close, after a sync hook, the connections that it has opened in its thread."""
        return CLOSED_AFTER

    def around_task(self, hook: Hook) -> AbstractAsyncContextManager[object] | None:
        """Give an async hook connections of its own, closed after it."""
        return OwnConnections(hook)

    def around_call(
        self, function: Callable[..., Any]
    ) -> AbstractAsyncContextManager[object] | None:
        """Give an async function that another loop calls connections of its own, closed after it."""
        return around_call(function)

    def at_yield_in_thread(self) -> None:
        """Give back the connections of a sync resource that is open."""
        give_back_connections()

    def at_yield_in_task(self) -> None:
        """Give back the connections of an async resource that is open."""
        if (connections := own.get(None)) is not None:
            connections.give_back()

    def takes_leases(self, mode: str) -> bool:
        """Return True if a run takes leases: not in tests, in ``checklifespan --run`` and in a shell."""
        return super().takes_leases(mode) and not in_command("shell")

    def waiter(self) -> CurrentThreadExecutor:
        """Return an executor for the waiting thread, which makes the async code's ORM calls."""
        from .current_thread_executor import CurrentThreadExecutor

        return CurrentThreadExecutor()

    def server(self) -> str:
        """Return name and version of the server of the current task, or "" if it is unknown."""
        return recognised([module_of_task()])

    def fallback_run(self, lifespan: Any, refusal: str) -> Run | None:
        """Return the run in a background thread, if ``WITHOUT_SERVER_LIFESPAN`` allows one."""
        return self.background.run(lifespan, refusal)

    async def on_server_startup(self) -> None:
        """Close the run in the background thread: a server's lifespan begins."""
        await self.background.on_server_startup()
