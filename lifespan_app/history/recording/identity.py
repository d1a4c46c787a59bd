"""The identity of this process and of its server.

A pid is used again, so Linux processes are identified by boot id, pid and time namespace, pid, and
start time in clock ticks, all from ``/proc``
(https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html). On macOS and Windows only the pid is
known; there, processes are judged by their heartbeats only.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from lifespan_app.conf import LAUNCH
from lifespan_app.engine import proc
from lifespan_app.engine.proc import started, stat

LAUNCH_LENGTH = 64
"""The length of the column ``launch``."""

WORKERS = (
    "uvicorn._subprocess.subprocess_started",
    "hypercorn.*.run.*_worker",
    "granian.server.mp._spawn_*_worker",
)
"""The targets of servers' worker processes (uvicorn 0.54, hypercorn 0.18, granian 2.8). Public functions,
such as ``uvicorn.run``, are not included: a process with such a target is a server itself."""


def boot_id() -> str:
    """Return the id of this boot of the machine; "" if unknown."""
    try:
        return Path(proc.PROC, "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def namespace(kind: str) -> str:
    """Return the inode of a namespace of this process, such as ``pid``; "" if unknown."""
    try:
        return str(Path(proc.PROC, "self/ns", kind).stat().st_ino)
    except OSError:
        return ""


def pid_namespace() -> str:
    """Return the pid namespace of this process, in most cases its container."""
    return namespace("pid")


def place() -> str:
    """Return the id of the scope in which pid and start time are unique; "" if unknown."""
    return _place(os.getpid())


@lru_cache(maxsize=1)
def _place(pid: int) -> str:
    own = stat("self")
    # A /proc from another pid namespace has other pids.
    if own is None or own.pid != pid:
        return ""
    # Each time namespace has its own boot time:
    # https://man7.org/linux/man-pages/man7/time_namespaces.7.html
    parts = (boot_id(), pid_namespace(), namespace("time"))
    return ":".join(parts) if parts[0] and parts[1] else ""


def identity() -> str:
    """Return an id that, with the pid, no other process ever has; "" if unknown.

    Other processes pass it to ``is_gone``.
    """
    return _identity(os.getpid())


@lru_cache(maxsize=1)
def _identity(pid: int) -> str:
    here = place()
    return f"{here}:{started(pid)}" if here else ""


def is_gone(process: str, pid: int) -> bool:
    """Return True if a process has ended for sure.

    Args:
        process: its ``identity()``; for another boot or namespace the result is False.
        pid: its pid.
    """
    where, _, start = process.rpartition(":")
    return where != "" and where == place() and proc.is_gone(pid, start)


def launch() -> str:
    """Return the id that all runs of one server start share; "" if unknown.

    It is ``LIFESPAN_LAUNCH`` of the environment, else a hash of the identity of the server's top
    process: the parent of a worker, else this process. A worker whose parent has ended already is a
    launch of its own.
    """
    if given := os.environ.get(LAUNCH, "").strip():
        return fitted(given)
    return _launch(os.getpid())


@lru_cache(maxsize=1)
def _launch(pid: int) -> str:
    here = place()
    parent = server_process()
    if parent is not None:
        start = started(parent) if here else family()
        # Checked after reading the start time: until then the parent's pid was not used again.
        if os.getppid() == parent:
            return hashed(f"{here}:{parent}:{start}") if start else ""
    # Without /proc: a random id.
    return hashed(f"{here}:{pid}:{started(pid)}" if here else uuid4().hex)


def fitted(given: str) -> str:
    """Return the given launch id, or its hash if it does not fit the column."""
    if len(given) <= LAUNCH_LENGTH and given.isprintable():
        return given
    return hashed(os.fsencode(given))


def hashed(who: str | bytes) -> str:
    """Return a hash of 32 hex digits."""
    data = who if isinstance(who, bytes) else who.encode()
    return hashlib.sha256(data).hexdigest()[:32]


def server_process() -> int | None:
    """Return the pid of the server of which this process is a worker; None if it is none.

    A worker is recognised by its target function. A parent alone is not enough: it may be a shell,
    ``make``, or a supervisor of several servers.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    parent = multiprocessing.parent_process() if multiprocessing else None
    if multiprocessing is None or parent is None:
        return arbiter()
    target: Any = getattr(multiprocessing.current_process(), "_target", None)
    name = f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"
    return int(parent.pid) if any(fnmatchcase(name, worker) for worker in WORKERS) else None


def arbiter() -> int | None:
    """Return the pid of gunicorn's arbiter in one of its workers, else None.

    A worker is forked and runs inside ``Arbiter.spawn_worker`` (gunicorn 27, arbiter.py), which stays
    on the stack of its main thread.
    """
    gunicorn = sys.modules.get("gunicorn.arbiter")
    if gunicorn is None:
        return None
    forking = gunicorn.Arbiter.spawn_worker.__code__
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_code is forking:
            pid: int = frame.f_locals["self"].pid
            return pid
        frame = frame.f_back
    return None


def family() -> str:
    """Return an id that the children of one program share, for systems without ``/proc``; or ""."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    # Children inherit the random key of their parent:
    # https://docs.python.org/3/library/multiprocessing.html#multiprocessing.Process.authkey
    return hashed(bytes(multiprocessing.current_process().authkey)) if multiprocessing else ""
