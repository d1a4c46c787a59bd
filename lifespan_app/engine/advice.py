"""What to do where a resource can't be used: the texts of a bare asyncio program.

The program around the engine has its own, for each of its places (``lifespan_app.integration.advice``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hooks.hook import Hook


class Advice:
    """Say what to do, as the end of an error's text."""

    def no_run(self, request: object = None) -> str:
        """Return why no lifespan runs here, and what opens one.

        Args:
            request: the request, or ASGI scope, through which something was to be read.
        """
        return f"no lifespan is running here. Write '{block()}' around the code that needs it."

    def declared_late(self, hook: Hook) -> str:
        """Return how a hook comes to be declared before the plan is made.

        Args:
            hook: one that was declared later.
        """
        return f"Import '{hook.module}' before the run begins."

    def fork(self) -> str:
        """Return how a forked process gets a run of its own."""
        return f"Open a run of its own after the fork: '{block()}' in the new process."

    def loop_stands_still(self, run: Any) -> str:
        """Return how to use what lives on an event loop that does not run now.

        Args:
            run: whose loop it is.
        """
        return (
            "Call it while that loop runs, or open the run with 'with lifespan.run_sync():', whose "
            "loop has a thread of its own."
        )

    def other_loop(self, run: Any) -> str:
        """Return how code on one event loop uses what lives on another one.

        Args:
            run: what has it open.
        """
        return "Run what uses it on its own loop: 'await lifespan.acall(async_function, ...)'."

    def no_loop_beside(self, library: str) -> str:
        """Return why there is no loop in a thread of its own, and what to use instead.

        Args:
            library: what has patched the threads.
        """
        return f"{library} has patched Python's threads, so an event loop can't run in a thread of its own."

    def around_server(self) -> str:
        """Return what opens the plan of a server around its workers."""
        return "'with lifespan.run_sync(\"server\"):', in the process that starts them."

    def note(self, error: BaseException) -> None:
        """Add a note to an async hook's error, where it is known what to write instead."""

    # How settings are called: by the fields of ``Settings``.

    def name_of(self, setting: str) -> str:
        """Return the name of a setting in a sentence."""
        return setting

    def setting(self, name: str, *keys: str) -> str:
        """Return how a setting is read, or what stands under keys in it."""
        return "".join([f"Settings.{name}", *(f"['{key}']" for key in keys)])

    def option_set(self, key: str, option: str, value: str) -> str:
        """Return how the settings give an option to the hook with a key."""
        return f'Settings(hooks={{"{key}": {{"{option}": "{value}"}}}})'


GENERIC = Advice()


def block() -> str:
    """Return what opens a run around code: in async code, or in sync code."""
    in_async = asyncio._get_running_loop() is not None
    return f"{'async with lifespan.run' if in_async else 'with lifespan.run_sync'}():"
