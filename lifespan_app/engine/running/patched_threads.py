"""Processes whose threads are greenlets, where no event loop can run beside other code.

gevent and eventlet run all "threads" in one thread of the system, and asyncio stores the running loop
per such thread. While one greenlet runs a loop, all others seem to be async code inside that loop:
https://github.com/django/asgiref/issues/443.
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
