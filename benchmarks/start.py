"""How long a process takes from the import of our names to ``startup.complete``, with ten resources.

Each sample is a new process. What plain Django imports, and an event loop that has run once, are
there before. It is the processor's time: what else the machine does doesn't count.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from benchmarks.figures import Figure, median_of, show

OURS = "lifespan_app.asgi"
PEER = "asgi_lifecycle"
"""Measured too where it is installed."""
ROUNDS = 15
AT_MOST_MS = 10.0
HOOKS = 10

Application = Callable[..., Awaitable[object]]


def ours() -> Application:
    """Return Django's application with ten resources."""
    from lifespan_app import lifespan
    from lifespan_app.asgi import get_asgi_application

    async def resource() -> AsyncIterator[int]:
        yield 1

    for number in range(HOOKS):
        lifespan.resource(name=f"resource_{number}")(resource)
    return get_asgi_application()


def peer() -> Application:
    """Return it with ten functions at each end, which is what asgi-lifecycle has."""
    from asgi_lifecycle import lifespan
    from asgi_lifecycle.middleware import LifespanMiddleware
    from django.core.asgi import get_asgi_application

    async def function() -> None:
        pass

    for number in range(HOOKS):
        lifespan.on_start(0, name=f"start_{number}")(function)
        lifespan.on_shutdown(0, name=f"shutdown_{number}")(function)
    application: Application = LifespanMiddleware(get_asgi_application())
    return application


def milliseconds_here(make: Callable[[], Application]) -> float:
    """Return the processor's time from now to ``startup.complete``, in a process of Django alone."""
    from django.conf import settings

    settings.configure(ROOT_URLCONF=__name__, LIFESPAN={"HISTORY": False})
    import django.contrib.admin  # noqa: F401  # as a project has it
    from django.core.asgi import get_asgi_application

    get_asgi_application()
    asyncio.run(asyncio.sleep(0))
    begun = time.process_time()
    application = make()

    async def serve() -> float:
        messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))
        took: dict[str, float] = {}

        async def receive() -> dict[str, str]:
            return next(messages)

        async def send(message: dict[str, Any]) -> None:
            took.setdefault(message["type"], time.process_time() - begun)

        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        await application(scope, receive, send)
        return took["lifespan.startup.complete"] * 1000

    return asyncio.run(serve())


def measure() -> Sequence[Figure]:
    """Measure in new processes, in turn."""
    names = [OURS, *([PEER] if importlib.util.find_spec(PEER) else [])]
    # What an installed package has compiled already; the first round is that of the compiler.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(ROUNDS + 1):
        for name in names:
            command = [sys.executable, "-m", "benchmarks.start", "--here", name]
            output = subprocess.run(command, env=env, capture_output=True, check=True).stdout
            if number:
                taken[name].append(float(output))
    return [
        median_of(
            "start",
            f"from import {name} to startup.complete, {HOOKS} hooks",
            times,
            "ms",
            AT_MOST_MS if name == OURS else None,
        )
        for name, times in taken.items()
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        print(milliseconds_here(ours if sys.argv[2] == OURS else peer))
    else:
        show(measure, "From import to startup.complete")
