"""The health of a process, from outside: ``python -m lifespan_app.probe ready``.

It reads the file that ``STATUS_FILE`` names, and takes no longer than Python itself: neither Django
nor asyncio is imported. For platforms that run a command to know (``exec`` probes of Kubernetes,
``HEALTHCHECK`` of Docker), where the process answers no HTTP.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time

from .engine.proc import is_gone

FILE = "LIFESPAN_STATUS_FILE"
PID = "{pid}"
"""Part of the file's name: one file for each process of a server; all must be healthy."""
QUESTIONS = ("ready", "started", "live")
WELL, NOT_WELL, CANNOT_TELL = 0, 1, 2
MISSED = 3
"""After so many missing signs of life the file is ignored."""

LARGEST = 50_000_000
"""Bytes. A larger file is no status file."""

USAGE = (
    "usage: python -m lifespan_app.probe {ready,started,live} [FILE]; exits with 0 for yes, 1 for "
    "no, 2 if it could not be asked"
)


def main(arguments: list[str]) -> int:
    """Answer one question, in one line; return the exit status."""
    if arguments in (["-h"], ["--help"]):
        print(USAGE)
        return WELL
    file = arguments[1] if len(arguments) == 2 else os.environ.get(FILE, "")
    if len(arguments) not in (1, 2) or arguments[0] not in QUESTIONS:
        print(USAGE, file=sys.stderr)
        return CANNOT_TELL
    if not file:
        print(f"No status file: name it as the last argument, or in {FILE}.", file=sys.stderr)
        return CANNOT_TELL
    reason = answer(arguments[0], file)
    print_line(reason or "ok")
    return NOT_WELL if reason else WELL


def print_line(text: str) -> None:
    """Print one line, if stdout works: the answer is the exit status."""
    if sys.stdout is None:
        return
    # A hook's own text may hold any character.
    encoding = sys.stdout.encoding
    try:
        print(printable(text).encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError:
        # Otherwise Python flushes stdout at exit, and fails with a status of its own:
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def answer(question: str, file: str) -> str:
    """Return the reason that a process is not ready, started or live, or "" if it is.

    Args:
        question: one of ``QUESTIONS``.
        file: its status file, or with ``{pid}`` in the name those of several processes.
    """
    if PID not in os.path.basename(file):
        return refusal(question, read(file))
    # Files of killed processes don't count.
    statuses = [status for status in map(read, files_like(file)) if status.get("reason") != "gone"]
    if not statuses:
        return f"no_file: no living process has one like {file}"
    return next(filter(None, (refusal(question, status) for status in statuses)), "")


def files_like(pattern: str) -> list[str]:
    """Return the files that processes have written, for every process id."""
    folder, name = os.path.split(pattern)
    before, _, after = name.partition(PID)
    try:
        names = sorted(os.listdir(folder or "."))
    except (OSError, ValueError):
        return []
    return [
        os.path.join(folder, name)
        for name in names
        if name.startswith(before)
        and name.endswith(after)
        and name[len(before) : len(name) - len(after)].isdigit()
    ]


def read(file: str) -> dict[str, object]:
    """Return the contents of a status file, with another ``reason`` if they can't be trusted."""
    try:
        status: dict[str, object] = json.loads(text_in(file))
        pid, started = int(str(status["pid"])), str(status["process_started"])
        at, every = float(str(status["written_at"])), float(str(status["every"]))
    except FileNotFoundError:
        return {"reason": "no_file", "detail": f"there is no {file}"}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        return {"reason": "unreadable", "detail": f"{file}: {error!r}"}
    if is_gone(pid, started):
        return {"reason": "gone", "detail": f"process {pid} has ended"}
    silent = time.time() - at
    if silent > MISSED * every:
        detail = f"process {pid} has written nothing for {silent:.0f} s"
        return {"reason": "silent", "detail": detail}
    return status


def text_in(file: str) -> str:
    """Return the contents of a file. Raises ``OSError`` for anything but a file of a usual size.

    Others may have put a pipe in its place, where reading would wait for ever, or a link to a device.
    """
    number = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(number, encoding="utf-8") as opened:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("it is not a file")
        if found.st_size > LARGEST:
            raise OSError(f"it is larger than {LARGEST:,} bytes")
        return opened.read()


def refusal(question: str, status: dict[str, object]) -> str:
    """Return the reason for the answer "no", with a detail if it has one, or "" for "yes"."""
    reason = str(status.get("reason", "unreadable"))
    yes = {
        "ready": status.get("ready") is True,
        "started": status.get("started") is True,
        # A process that writes is alive.
        "live": "ready" in status,
    }[question]
    if yes:
        return ""
    details = [str(status["detail"])] if status.get("detail") else pending(status)
    return ": ".join([reason, *details[:1]])


def pending(status: dict[str, object]) -> list[str]:
    """Return a text of the hooks that a process still waits for, in a list, or an empty one."""
    waits = status.get("pending")
    if not isinstance(waits, list) or not waits:
        return []
    return [", ".join(text_of(one) for one in waits if isinstance(one, dict))]


def text_of(one: dict[str, object]) -> str:
    """Return a pending hook as text: its key, and its progress."""
    key, progress, doing = one.get("hook"), one.get("progress"), one.get("doing")
    # Anything may be in the file, also a number that is no share.
    if not isinstance(progress, (int, float)) or not 0 <= progress <= 1:
        return f"{key} ({doing})" if doing else str(key)
    share = f"{progress:.0%}"
    return f"{key} ({share}, {doing})" if doing else f"{key} ({share})"


def printable(text: str) -> str:
    """Return a text in which control characters are shown, and do nothing to the terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
