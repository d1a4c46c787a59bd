"""Advice for code that can't use a resource: the texts for a plain asyncio program.

The program around the engine has its own, for each of its places (``lifespan_app.integration.advice``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hooks.hook import Hook


class Advice:
    """Advice as the end of an error's text."""

    def no_run(self, request: object = None) -> str:
        """Return the reason that no lifespan runs, and the way to open one.

        Args:
            request: the request, or ASGI scope, through which something was to be read.
        """
        return f"no lifespan is running here. Write '{block()}' around the code that needs it."

    def declared_late(self, hook: Hook) -> str:
        """Return the way to declare a hook before the plan is made.

        Args:
            hook: one that was declared later.
        """
        return f"Import '{hook.module}' before the run begins."

    def fork(self) -> str:
        """Return the way to open a run in a forked process."""
        return f"Open a run of its own after the fork: '{block()}' in the new process."

    def loop_stands_still(self, run: Any) -> str:
        """Return the way to use a resource of an event loop that does not run at the moment.

        Args:
            run: the run with that loop.
        """
        return (
            "Call it while that loop runs, or open the run with 'with lifespan.run_sync():', whose "
            "loop has a thread of its own."
        )

    def other_loop(self, run: Any) -> str:
        """Return the way to use a resource of another event loop.

        Args:
            run: the run with the resource.
        """
        return "Run what uses it on its own loop: 'await lifespan.acall(async_function, ...)'."

    def no_loop_beside(self, library: str) -> str:
        """Return the reason that no loop can run in a thread, and the alternative.

        Args:
            library: the library that has patched the threads.
        """
        return f"{library} has patched Python's threads, so an event loop can't run in a thread of its own."

    def around_server(self) -> str:
        """Return the way to open the plan of a server around its workers."""
        return "'with lifespan.run_sync(\"server\"):', in the process that starts them."

    def note(self, error: BaseException) -> None:
        """Add a note with the correct code to an async hook's error, if that is known."""

    # The names of settings: here, the fields of ``Settings``.

    def name_of(self, setting: str) -> str:
        """Return the name of a setting in a sentence."""
        return setting

    def setting(self, name: str, *keys: str) -> str:
        """Return the expression for a setting, or for a key in it."""
        return "".join([f"Settings.{name}", *(f"['{key}']" for key in keys)])

    def option_set(self, key: str, option: str, value: str) -> str:
        """Return the setting that gives an option to the hook with a key."""
        return f'Settings(hooks={{"{key}": {{"{option}": "{value}"}}}})'


GENERIC = Advice()


def block() -> str:
    """Return the statement that opens a run, for async code or for sync code."""
    in_async = asyncio._get_running_loop() is not None
    return f"{'async with lifespan.run' if in_async else 'with lifespan.run_sync'}():"
