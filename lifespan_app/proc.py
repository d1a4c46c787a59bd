"""What ``/proc`` says of a process: when it began, and whether it has ended.

Imported by the probe, which must start as fast as Python itself: it imports nothing but ``os``.
"""

from __future__ import annotations

import os

PROC = "/proc"


class Stat:
    """What ``/proc`` says of one process.

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
    """Return what ``/proc`` says of a process, None where it says nothing.

    The fields are those of ``proc_pid_stat(5)``: 3 is the state, 20 the number of threads, 22 the
    start.
    """
    try:
        with open(os.path.join(PROC, str(pid), "stat"), "rb") as opened:
            text = opened.read()
    except OSError:
        return None
    # The name is whatever the process likes, brackets and spaces included; it ends at the last one.
    fields = text[text.rindex(b")") + 1 :].split()
    # A zombie that still has threads is a process whose first thread is over.
    is_dead = fields[0] in b"ZXx" and int(fields[17]) <= 1
    return Stat(int(text.split(b" ", 1)[0]), fields[19].decode(), is_dead)
