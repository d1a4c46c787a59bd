"""`python -m lifespan_app.probe`: asked of a file, by a process of its own, without Django."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine import proc
from lifespan_app.health.status_file import StatusFile
from tests.projects import Project
from tests.running.processes import running

YES, NO, NOT_ASKED = 0, 1, 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


def status(**changed: Any) -> str:
    """Return what a process says that is this very one, ready, and wrote a moment ago."""
    return json.dumps(
        {
            "reason": "ok",
            "ready": True,
            "started": True,
            "pid": os.getpid(),
            "process_started": proc.started(os.getpid()),
            "written_at": time.time(),
            "every": 5.0,
            "pending": [],
            **changed,
        }
    )


def ask(*arguments: str | Path, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "lifespan_app.probe", *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.strip(), done.stderr.strip()


# What a file says.


@pytest.mark.parametrize("question", ["ready", "started", "live"])
def test_process_that_is_well_says_ok(file: Path, question: str) -> None:
    file.write_text(status())
    assert ask(question, file) == (YES, "ok", "")


def test_file_may_be_named_by_the_environment(file: Path) -> None:
    file.write_text(status())
    assert ask("ready", LIFESPAN_STATUS_FILE=str(file)) == (YES, "ok", "")


@pytest.mark.parametrize(
    ("question", "said", "answer"),
    [
        ("ready", {"ready": False, "reason": "crashed"}, (NO, "crashed")),
        ("started", {"ready": False, "reason": "crashed"}, (YES, "ok")),
        ("live", {"ready": False, "started": False, "reason": "starting"}, (YES, "ok")),
        ("started", {"ready": False, "started": False, "reason": "starting"}, (NO, "starting")),
        ("ready", {"reason": "degraded"}, (YES, "ok")),
    ],
)
def test_each_question_has_its_own_answer(
    file: Path, question: str, said: dict[str, Any], answer: tuple[int, str]
) -> None:
    file.write_text(status(**said))
    assert ask(question, file)[:2] == answer


def test_pending_hook_is_told(file: Path) -> None:
    pending = [{"hook": "shop.client", "seconds": 1.0}, {"hook": "shop.index", "seconds": 0.0}]
    file.write_text(status(ready=False, reason="starting", pending=pending))
    assert ask("ready", file) == (NO, "starting: shop.client, shop.index", "")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_pending_hook_is_one_line_whatever_it_says(file: Path, encoding: str) -> None:
    doing = "laden ✓\nready: yes\x1b[2J \udcff"
    pending = [{"hook": "shop.model", "progress": 0.5, "doing": doing}]
    file.write_text(status(reason="warming_up", ready=False, pending=pending))
    code, said, error = ask("ready", file, PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    tick = "✓" if encoding == "utf-8" else r"\u2713"
    assert (code, error) == (NO, "")
    assert said == rf"warming_up: shop.model (50%, laden {tick}\nready: yes\x1b[2J \udcff)"


@pytest.mark.parametrize("progress", ["half", [], {}])
def test_progress_that_is_no_number_is_left_out(file: Path, progress: object) -> None:
    pending = [{"hook": "shop.model", "progress": progress}]
    file.write_text(status(reason="warming_up", ready=False, pending=pending))
    assert ask("ready", file) == (NO, "warming_up: shop.model", "")


# What is not believed.


@pytest.mark.parametrize("question", ["ready", "started", "live"])
def test_ended_process_is_gone_whatever_its_file_says(file: Path, question: str) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    file.write_text(status(pid=ended.pid, process_started="1"))
    code, said, _ = ask(question, file)
    assert (code, said) == (NO, f"gone: process {ended.pid} has ended")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the two apart")
def test_process_whose_first_thread_is_over_lives(file: Path) -> None:
    headless = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import ctypes, threading, sys, time\n"
            "def say():\n"
            "    while 'Z' not in open('/proc/self/stat').read().rpartition(')')[2]:\n"
            "        time.sleep(0.01)\n"
            "    print('over', flush=True)\n"
            "    sys.stdin.read()\n"
            "threading.Thread(target=say).start()\n"
            "ctypes.CDLL(None).pthread_exit(None)",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with headless:
        assert headless.stdout is not None
        assert headless.stdout.readline() == "over\n"
        found = proc.stat(headless.pid)
        assert found is not None

        file.write_text(status(pid=headless.pid, process_started=found.start))

        assert ask("ready", file) == (YES, "ok", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the two apart")
@pytest.mark.parametrize("start", ["", "own"], ids=["start not known", "start known"])
def test_process_that_only_waits_for_its_parent_is_gone(file: Path, start: str) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", ""])
    file.write_text(status(pid=zombie.pid, process_started=start and proc.started(zombie.pid)))
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)

    asked = ask("ready", file)
    zombie.wait()

    assert asked[:2] == (NO, f"gone: process {zombie.pid} has ended")


def test_no_signal_is_sent_to_a_process_on_windows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sent = []
    with monkeypatch.context() as windows:
        windows.setattr(proc, "PROC", str(tmp_path))
        windows.setattr(os, "kill", lambda *arguments: sent.append(arguments))
        windows.setattr(os, "name", "nt")
        is_gone = proc.is_gone(os.getpid())

    assert not is_gone
    assert sent == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the two apart")
def test_process_with_a_reused_pid_is_not_taken_for_it(file: Path) -> None:
    file.write_text(status(process_started="1"))
    assert ask("ready", file)[1] == f"gone: process {os.getpid()} has ended"


@pytest.mark.parametrize("question", ["ready", "started", "live"])
def test_process_that_lives_and_writes_no_more_is_silent(file: Path, question: str) -> None:
    file.write_text(status(written_at=time.time() - 60))
    code, said, _ = ask(question, file)
    assert code == NO
    assert said.startswith(f"silent: process {os.getpid()} has written nothing for 6")


def test_status_file_is_missing_before_the_first_start(file: Path) -> None:
    assert ask("ready", file) == (NO, f"no_file: there is no {file}", "")


def test_number_that_no_process_has_is_gone(file: Path) -> None:
    file.write_text(status(pid=2**80))
    assert ask("ready", file)[:2] == (NO, f"gone: process {2**80} has ended")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", '{"pid": "x"}', "\x00\x01", "[" * 100_000],
    ids=range(8),
)
def test_file_of_something_else_is_unreadable(file: Path, text: str) -> None:
    file.write_text(text)
    code, said, _ = ask("ready", file)
    assert code == NO
    assert said.startswith(f"unreadable: {file}: ")


# Several processes.


def test_all_processes_of_a_pattern_have_to_be_ready(tmp_path: Path) -> None:
    pattern = tmp_path / "{pid}.json"
    (tmp_path / "1.json").write_text(status())
    (tmp_path / "2.json").write_text(status())
    assert ask("ready", pattern) == (YES, "ok", "")
    (tmp_path / "2.json").write_text(status(ready=False, reason="crashed"))
    assert ask("ready", pattern) == (NO, "crashed", "")


def test_file_of_a_killed_process_says_nothing_of_the_others(tmp_path: Path) -> None:
    pattern = tmp_path / "{pid}.json"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "1.json").write_text(status(pid=ended.pid, process_started="1"))
    assert ask("ready", pattern)[:2] == (
        NO,
        f"no_file: no living process has one like {pattern}",
    )
    (tmp_path / "2.json").write_text(status())
    (tmp_path / "notes.json").write_text("not one of ours")
    assert ask("ready", pattern) == (YES, "ok", "")


# How it is asked.


@pytest.mark.parametrize("arguments", [[], ["healthy"], ["ready", "a", "b"]])
def test_unknown_question_is_answered_with_the_usage(arguments: list[str]) -> None:
    code, said, error = ask(*arguments, LIFESPAN_STATUS_FILE="/nowhere")
    assert (code, said) == (NOT_ASKED, "")
    assert error.startswith("usage: python -m lifespan_app.probe {ready,started,live} [FILE]")


def test_file_that_nobody_names_is_asked_for() -> None:
    code, _, error = ask("ready", LIFESPAN_STATUS_FILE="")
    assert code == NOT_ASKED
    assert error == "No status file: name it as the last argument, or in LIFESPAN_STATUS_FILE."


def test_probe_imports_neither_django_nor_asyncio_nor_typing(file: Path) -> None:
    file.write_text(status())
    code = f"""
import sys
sys.argv = ["probe", "ready", {str(file)!r}]
import runpy
try:
    runpy.run_module("lifespan_app.probe", run_name="__main__")
except SystemExit as done:
    print(done.code, *sorted(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    answer, words = done.stdout.splitlines()
    modules = set(words.split())
    assert (answer, words.split()[0]) == ("ok", "0")
    assert "lifespan_app" in modules
    assert not modules & {"django", "asyncio", "typing", "logging", "threading", "asgiref"}


# A process that writes it.

QUICK = """
from lifespan_app.health import status_file
from lifespan_app import lifespan
import asyncio
import journal

# Five seconds between two signs of life are too long for a test.
status_file.EVERY = 0.1

@lifespan.background
async def feed():
    journal.write("feed")
    {body}
"""


@pytest.fixture
def shop(project: Project) -> Callable[..., Project]:
    def make(body: str = "await asyncio.Event().wait()") -> Project:
        return project.app("shop", lifespan=QUICK.format(body=body))

    return make


def said_until(server: Any, question: str, file: Path, answer: str) -> None:
    server.until(
        lambda: ask(question, file)[1].startswith(answer), f"the probe never said {answer}"
    )


@pytest.mark.slow
@pytest.mark.server
def test_process_is_ready_then_stopped_then_silent_then_gone(
    shop: Callable[..., Project], file: Path
) -> None:
    with running(shop(), environment={"LIFESPAN_STATUS_FILE": str(file)}) as server:
        server.wait_for_output("^Ready after")
        assert ask("ready", file) == (YES, "ok", "")

        server.signal(signal.SIGSTOP)
        said_until(server, "live", file, "silent")
        server.signal(signal.SIGCONT)
        said_until(server, "live", file, "ok")

        server.signal(signal.SIGKILL)
        server.wait()
        assert ask("ready", file)[:2] == (NO, f"gone: process {server.process.pid} has ended")


@pytest.mark.slow
@pytest.mark.server
def test_process_whose_required_job_crashes_is_not_ready_and_lives(
    shop: Callable[..., Project], file: Path
) -> None:
    crashing = shop("raise ConnectionError('lost')")
    with running(crashing, environment={"LIFESPAN_STATUS_FILE": str(file)}) as server:
        said_until(server, "ready", file, "crashed")
        assert ask("live", file)[0] == YES


@pytest.mark.slow
@pytest.mark.server
def test_progress_of_what_warms_up_is_told(project: Project, file: Path) -> None:
    project.app(
        "shop",
        lifespan="""
        import asyncio
        from lifespan_app import lifespan

        @lifespan.resource(wait=False)
        async def model():
            lifespan.progress(0.6, "loading shard 3 of 5")
            await asyncio.Event().wait()
            yield
        """,
    )
    with running(project, environment={"LIFESPAN_STATUS_FILE": str(file)}) as server:
        server.wait_for_output("^Ready after")
        said_until(server, "ready", file, "warming_up: shop.model (60%, loading shard 3 of 5)")
        assert ask("started", file)[0] == NO
        assert ask("live", file)[0] == YES


@pytest.mark.slow
@pytest.mark.server
def test_status_file_goes_with_the_process(shop: Callable[..., Project], file: Path) -> None:
    made = shop().settings(LIFESPAN={"STATUS_FILE": str(file)})
    with running(made) as server:
        server.wait_for_output("^Ready after")
        assert file.exists()
        server.signal(signal.SIGTERM)
        server.wait()
    assert not file.exists()
    assert not list(file.parent.glob(f".{file.name}.*"))


@pytest.mark.slow
@pytest.mark.server
def test_second_process_leaves_the_file_to_the_first(
    shop: Callable[..., Project], file: Path
) -> None:
    made = shop()
    environment = {"LIFESPAN_STATUS_FILE": str(file)}
    with running(made, environment=environment) as server:
        server.wait_for_output("^Ready after")
        second = made.manage("runlifespan", "--once", **environment)
        assert f"The status file {file} belongs to process {server.process.pid}" in (
            second.stdout + second.stderr
        )
        assert ask("ready", file)[0] == YES


def test_full_disk_leaves_nothing_half_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def written() -> list[Path]:
        return list(tmp_path.iterdir())

    while_it_serves: list[Path] = []

    async def main() -> None:
        lifespan = Lifespan()
        lifespan.adapter.observers.append(StatusFile(tmp_path / "status.json"))
        async with lifespan.run("app"):
            while_it_serves.extend(written())

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        asyncio.run(main())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert while_it_serves == written() == []
    assert caplog.text.count("The status file can't be written: ") == 1


@pytest.mark.slow
@pytest.mark.server
def test_file_that_can_not_be_written_is_told_once_and_stops_nothing(
    shop: Callable[..., Project], tmp_path: Path
) -> None:
    file = tmp_path / "nowhere" / "status.json"
    with running(shop(), environment={"LIFESPAN_STATUS_FILE": str(file)}) as server:
        server.wait_for_output("^Ready after")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert server.output.count("The status file can't be written: ") == 1
