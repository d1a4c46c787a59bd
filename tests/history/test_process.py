"""A process is told from all others, also from one that has its number later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest

from lifespan_app.engine import proc
from lifespan_app.engine.proc import started
from lifespan_app.history.recording import identity as process
from lifespan_app.history.recording.identity import identity, is_gone, place
from tests.needs import needs_namespaces

SAY_WHO = (
    "from lifespan_app.history.recording.identity import identity; print(identity(), flush=True)"
)

WAIT = "import sys; sys.stdin.read()"


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in a child that has said something, and waits to be let go."""
    command = [sys.executable, "-c", f"{code}\n{WAIT}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def said(running: subprocess.Popen[str]) -> str:
    """Return the next line that a child says."""
    assert running.stdout is not None
    return running.stdout.readline().strip()


def in_namespace(code: str, *options: str) -> list[object]:
    """Run Python code as the first process of a pid namespace, and return what it prints."""
    command = ["unshare", "--pid", "--fork", *options, sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    answer: list[object] = json.loads(ran.stdout)
    return answer


def test_process_is_always_the_same() -> None:
    seen: list[str] = []
    thread = Thread(target=lambda: seen.append(identity()))
    thread.start()
    thread.join()

    assert [identity()] == seen
    assert 0 < len(identity()) <= 128


def test_two_processes_are_two() -> None:
    with child(SAY_WHO) as first, child(SAY_WHO) as second:
        one, other = said(first), said(second)

    # Two may begin in one tick, but then they have two numbers.
    assert (one, first.pid) != (other, second.pid)
    assert one.startswith(place())
    assert other.startswith(place())


def test_living_process_is_not_gone() -> None:
    assert not is_gone(identity(), os.getpid())


def test_killed_process_is_gone_at_once() -> None:
    with child(SAY_WHO) as killed:
        who = said(killed)
        assert not is_gone(who, killed.pid)
        killed.kill()
        os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
        as_zombie = is_gone(who, killed.pid)
        killed.wait()
        in_the_end = is_gone(who, killed.pid)

    assert as_zombie
    assert in_the_end


def test_paused_process_is_not_gone() -> None:
    with child(SAY_WHO) as paused:
        who = said(paused)
        os.kill(paused.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, paused.pid, os.WSTOPPED | os.WNOWAIT)

        assert not is_gone(who, paused.pid)


def test_process_whose_first_thread_is_over_is_not_gone() -> None:
    with child(
        "import ctypes, threading, sys, time\n"
        f"{SAY_WHO}\n"
        "def say():\n"
        "    while 'Z' not in open('/proc/self/stat').read().rpartition(')')[2]: time.sleep(0.01)\n"
        "    print('over', flush=True)\n"
        "    sys.stdin.read()\n"
        "threading.Thread(target=say).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    ) as headless:
        who = said(headless)
        assert said(headless) == "over"

        assert not is_gone(who, headless.pid)


def test_process_with_a_reused_pid_is_another_one() -> None:
    with child(SAY_WHO) as later:
        who = said(later)
        earlier = f"{place()}:{int(who.rpartition(':')[2]) - 1}"

        assert is_gone(earlier, later.pid)
        assert not is_gone(who, later.pid)


@pytest.mark.once
@pytest.mark.parametrize(
    "elsewhere",
    [
        "",
        "nonsense",
        ":",
        "::::",
        "00000000-0000-0000-0000-000000000000:{pid_namespace}:{time}:1",
        "{boot}:1:{time}:1",
        "{boot}:{pid_namespace}:1:1",
    ],
)
def test_processes_of_elsewhere_are_not_judged(elsewhere: str) -> None:
    boot, pid_namespace, time = place().split(":")
    who = elsewhere.format(boot=boot, pid_namespace=pid_namespace, time=time)
    with child(SAY_WHO) as gone:
        said(gone)

    assert not is_gone(who, gone.pid)


@pytest.mark.parametrize("number", [0, -1])
def test_number_that_is_no_process_is_not_judged(number: int) -> None:
    assert not is_gone(identity(), number)


@pytest.mark.parametrize("name", [") R 1 (", "a b c", "((", "))"])
def test_process_may_have_any_name(name: str) -> None:
    with child(
        f"{SAY_WHO}\nopen('/proc/self/comm', 'w').write({name!r}); print(1, flush=True)"
    ) as odd:
        who = said(odd)
        said(odd)

        assert started(odd.pid) == who.rpartition(":")[2]
        assert not is_gone(who, odd.pid)


@needs_namespaces
def test_namespace_is_a_place_of_its_own() -> None:
    with child(SAY_WHO) as outside:
        [inside, judged] = in_namespace(
            "import json; from lifespan_app.history.recording.identity import *;"
            f"print(json.dumps([identity(), is_gone({said(outside)!r}, {outside.pid})]))",
            "--mount-proc",
        )
    assert isinstance(inside, str)

    assert inside
    assert not inside.startswith(place())
    assert judged is False
    assert not is_gone(inside, outside.pid)


@needs_namespaces
def test_proc_that_numbers_the_processes_of_elsewhere_is_not_believed() -> None:
    [who, launch] = in_namespace(
        "import json; from lifespan_app.history.recording.identity import *;"
        "print(json.dumps([identity(), launch()]))"
    )

    assert who == ""
    assert launch


@needs_namespaces
def test_number_that_was_given_anew_is_known_by_its_start() -> None:
    [same_number, first_is_gone, second_is_gone] = in_namespace(
        f"""
import json, subprocess, sys, time
from pathlib import Path
from lifespan_app.history.recording.identity import is_gone, place
from lifespan_app.engine.proc import started

def begin():
    return subprocess.Popen([sys.executable, "-c", {WAIT!r}], stdin=subprocess.PIPE)

first = begin()
who = f"{{place()}}:{{started(first.pid)}}"
first.kill()
first.wait()
start = started(first.pid)
# Clocks tick a hundred times a second: the second one begins in a later tick.
time.sleep(0.02)
Path("/proc/sys/kernel/ns_last_pid").write_text(str(first.pid - 1))
second = begin()
also = f"{{place()}}:{{started(second.pid)}}"
print(json.dumps([first.pid == second.pid, is_gone(who, second.pid), is_gone(also, second.pid)]))
second.kill()
second.wait()
""",
        "--mount-proc",
    )

    assert same_number
    assert first_is_gone
    assert not second_is_gone


@needs_namespaces
def test_hidden_process_is_not_gone() -> None:
    """A /proc may show a user only what is the user's own."""
    with child(SAY_WHO) as hidden:
        who = said(hidden)
        ran = subprocess.run(
            [
                *("unshare", "--mount", "sh", "-c"),
                'mount -t proc -o hidepid=2 proc /proc && exec "$@"',
                *("sh", sys.executable, "-c"),
                "import os; from lifespan_app.engine import proc;"
                "from lifespan_app.history.recording import identity;"
                "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
                f"print(proc.stat({hidden.pid}), identity.is_gone({who!r}, {hidden.pid}))",
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    assert ran.stdout == "None False\n", ran.stderr


def test_no_process_is_judged_without_proc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    who = identity()
    with child(SAY_WHO) as gone:
        pass
    gone.wait()
    monkeypatch.setattr(proc, "PROC", tmp_path)
    process._place.cache_clear()
    process._identity.cache_clear()
    try:
        assert identity() == ""
        assert not is_gone(who, gone.pid)
        assert not is_gone("", gone.pid)
    finally:
        monkeypatch.undo()
        process._place.cache_clear()
        process._identity.cache_clear()
