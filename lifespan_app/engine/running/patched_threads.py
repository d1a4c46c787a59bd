"""Processes whose threads are greenlets, where no event loop can run beside other code.

gevent and eventlet run all "threads" in one thread of the system, and asyncio knows the running loop by
that. While one greenlet runs a loop, every other one seems to run inside of it, as async code does.
"""

from __future__ import annotations

import sys


def patched_threads() -> str | None:
    """Return the library that has patched Python's threads, "gevent" or "eventlet"; else None."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and gevent.is_module_patched("threading"):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return "eventlet"
    return None
