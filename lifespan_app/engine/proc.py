"""Start times and ends of processes, from ``/proc`` or from the system.

Imported by the probe, which must start as fast as Python itself: it imports nothing but ``os``.
"""

from __future__ import annotations

import os

PROC = "/proc"


class Stat:
    """The fields of ``/proc/PID/stat`` that are used here.

    Args:
        pid: its number there.
        start: when it began, in clock ticks since the boot.
        is_dead: whether it has ended, and only waits for its parent to ask how.
    """

    __slots__ = ("is_dead", "pid", "start")

    def __init__(self, pid: int, start: str, is_dead: bool) -> None:
        self.pid = pid
        self.start = start
        self.is_dead = is_dead


def stat(pid: int | str) -> Stat | None:
    """Return the ``/proc`` entry of a process, or None.

    The fields are those of ``proc_pid_stat(5)``: 3 is the state, 20 the number of threads, 22 the
    start.
    """
    try:
        with open(os.path.join(PROC, str(pid), "stat"), "rb") as opened:
            text = opened.read()
    except OSError:
        return None
    # The name may hold brackets and spaces, and ends at the last bracket (man 5 proc_pid_stat).
    fields = text[text.rindex(b")") + 1 :].split()
    # A zombie that still has threads is a process whose first thread has ended.
    is_dead = fields[0] in b"ZXx" and int(fields[17]) <= 1
    return Stat(int(text.split(b" ", 1)[0]), fields[19].decode(), is_dead)


def started(pid: int) -> str:
    """Return the start time of a process, in clock ticks since the boot, or "" if it is unknown."""
    found = stat(pid)
    return "" if found is None else found.start


def began(pid: int | str = "self") -> float | None:
    """Return the time at which a process began, since the epoch; None if it is unknown.

    A forked process begins at its fork. One that has replaced its program (``exec``) has begun with the
    first one. The precision is a clock tick, 10 ms. Only Linux tells without a library of its own.
    """
    found = stat(pid)
    if found is None:
        return None
    try:
        from time import CLOCK_BOOTTIME, clock_gettime, time
    except ImportError:
        return None
    # ``btime`` of /proc/stat is in whole seconds. The start and this clock both count the time that the
    # machine was suspended, and both have the offset of a time namespace (time_namespaces(7)).
    age = clock_gettime(CLOCK_BOOTTIME) - int(found.start) / os.sysconf("SC_CLK_TCK")
    return time() - age


def is_gone(pid: int, start: str = "") -> bool:
    """Return True if a process has certainly ended, even if another one has its number now.

    Args:
        pid: its number.
        start: the result of ``started`` for it; "" if it is unknown.
    """
    found = stat(pid)
    if found is not None:
        return found.is_dead or (start != "" and found.start != start)
    # /proc may hide the processes of other users (hidepid, man 5 proc), so os.kill has the last word.
    if os.name == "nt":
        # There os.kill(pid, 0) sends Ctrl+C: https://docs.python.org/3/library/os.html#os.kill
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False
