"""Processes whose threads are greenlets, where no event loop can run beside other code.

gevent and eventlet run all "threads" in one thread of the system, and asyncio knows the running loop by
that. While one greenlet runs a loop, every other one seems to run inside of it: Django then refuses each
query, as if it were made in async code.
"""

from __future__ import annotations

import sys

WORKER_CLASSES = {"gevent": "gunicorn.workers.ggevent", "eventlet": "gunicorn.workers.geventlet"}
"""The modules of gunicorn's worker classes that have threads patched."""


def patched_threads() -> str | None:
    """Return the library that has patched Python's threads, "gevent" or "eventlet"; else None."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None


def no_loop_beside(library: str) -> str:
    """Return why there is no loop in a thread of its own, and what to use instead.

    Args:
        library: what has patched the threads.
    """
    is_gunicorn = WORKER_CLASSES[library] in sys.modules
    who = f"gunicorn's worker class '{library}'" if is_gunicorn else library
    return (
        f"{who} has patched Python's threads, so an event loop can't run in a thread of its own: "
        "Django would take all other code for async code, and refuse its queries. Serve with "
        "'gunicorn -k gthread --threads 8', or with an ASGI server whose lifespan is on, such as "
        "uvicorn."
    )
