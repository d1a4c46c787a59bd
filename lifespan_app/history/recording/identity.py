"""Who this process is: how one is told from another that had its number, and whose worker it is.

Linux says it in ``/proc``: the boot, the namespaces, and the tick at which a process has begun, in
which no other process began under the same number. Elsewhere (macOS, Windows) only a process's
number is known, which tells nothing for long: no process is judged there but by the clock.
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
"""How many characters of a launch there is room for."""

WORKERS = (
    "uvicorn._subprocess.subprocess_started",
    "hypercorn.*.run.*_worker",
    "granian.server.mp._spawn_*_worker",
)
"""The functions that servers have ``multiprocessing`` run in their workers. The public ones, such as
``uvicorn.run``, are not among them: a process that was made for one of those is a server."""


def boot_id() -> str:
    """Return what tells this boot of the machine from all others; "" if that can't be seen."""
    try:
        return Path(proc.PROC, "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def namespace(kind: str) -> str:
    """Return the number of a namespace of this process, such as its ``pid``; "" if there is none."""
    try:
        return str(Path(proc.PROC, "self/ns", kind).stat().st_ino)
    except OSError:
        return ""


def pid_namespace() -> str:
    """Return where this process's number means something: its container, in most cases."""
    return namespace("pid")


def place() -> str:
    """Return where processes can be told apart by number and start: "" if they can't be here."""
    return _place(os.getpid())


@lru_cache(maxsize=1)
def _place(pid: int) -> str:
    own = stat("self")
    # A /proc that was mounted elsewhere numbers the processes of elsewhere.
    if own is None or own.pid != pid:
        return ""
    # The ticks are counted from a beginning that each time namespace has for itself.
    parts = (boot_id(), pid_namespace(), namespace("time"))
    return ":".join(parts) if parts[0] and parts[1] else ""


def identity() -> str:
    """Return what no other process has, now or later: where it runs, and when it began.

    With the process's number, that is; "" where it can't be seen. Another process may ask
    ``is_gone`` about it.
    """
    return _identity(os.getpid())


@lru_cache(maxsize=1)
def _identity(pid: int) -> str:
    here = place()
    return f"{here}:{started(pid)}" if here else ""


def is_gone(process: str, pid: int) -> bool:
    """Return True if a process has ended for sure.

    Args:
        process: its ``identity()``. One of another boot or another namespace is not judged.
        pid: its number.
    """
    where, _, start = process.rpartition(":")
    return where != "" and where == place() and proc.is_gone(pid, start)


def launch() -> str:
    """Return what all runs have in common that one start of a server has made.

    That is ``LIFESPAN_LAUNCH`` of the environment, else a hash of who the server's top process is:
    the parent of a worker, and this process where it is nobody's worker. A worker whose parent died
    before it asked is a launch of its own. "" if it can't be known.
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
        # Asked after its start was read: from a parent that is alive nobody has got the number.
        if os.getppid() == parent:
            return hashed(f"{here}:{parent}:{start}") if start else ""
    # Where /proc does not tell: a word that nobody else will have.
    return hashed(f"{here}:{pid}:{started(pid)}" if here else uuid4().hex)


def fitted(given: str) -> str:
    """Return a name for a launch as it is, or a hash if no database could keep it like that."""
    if len(given) <= LAUNCH_LENGTH and given.isprintable():
        return given
    return hashed(os.fsencode(given))


def hashed(who: str | bytes) -> str:
    """Return 32 hex digits."""
    data = who if isinstance(who, bytes) else who.encode()
    return hashlib.sha256(data).hexdigest()[:32]


def server_process() -> int | None:
    """Return the number of the process that has made this one as its worker, None if nobody has.

    Servers are known by the functions that their workers run. A parent alone means nothing: it may
    be a shell, ``make``, or a supervisor that runs several servers.
    """
    multiprocessing = sys.modules.get("multiprocessing.process")
    parent = multiprocessing.parent_process() if multiprocessing else None
    if multiprocessing is None or parent is None:
        return arbiter()
    target: Any = getattr(multiprocessing.current_process(), "_target", None)
    name = f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', '')}"
    return int(parent.pid) if any(fnmatchcase(name, worker) for worker in WORKERS) else None


def arbiter() -> int | None:
    """Return the number of gunicorn's main process in one of its workers, else None.

    gunicorn forks: what the main thread has done before is below its feet to its end.
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
    """Return what the children of one program have in common where there is no ``/proc``, or ""."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    # A program's random key, which all its children are given.
    return hashed(bytes(multiprocessing.current_process().authkey)) if multiprocessing else ""
