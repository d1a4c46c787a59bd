"""What runs is drawn in place with rich; without it the same lines are written, and nothing else."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from lifespan_app.cli.drawing import Above, Drawing
from tests.projects import Project
from tests.terminals import Terminal

# Most of them start a process, some two.
pytestmark = [pytest.mark.slow, pytest.mark.once]

HOOKS = """
import os
from lifespan_app import lifespan


@lifespan.resource
def till():
    if os.path.exists("go"):
        # Opening a named pipe waits for the other side.
        open("go").close()
    return "till"


@lifespan.resource(required=False)
def radio():
    raise OSError("no station")
"""
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*([A-Za-z])")
TIME = re.compile(r"\d+\.\d{3} s")


@pytest.fixture
def project(project: Project) -> Project:
    return project.app("shop", lifespan=HOOKS).settings(LIFESPAN={"HISTORY": False})


def without_rich(project: Project) -> Project:
    """Put a module before rich that can't be imported, as where it is not installed."""
    return project.file("rich.py", "raise ModuleNotFoundError(\"No module named 'rich'\")")


def at_terminal(
    project: Project,
    *arguments: str,
    until: str = "",
    **environment: str,
) -> Terminal:
    """Run a command at a terminal. A hook waits until the terminal shows the text `until`."""
    inherited = {
        name: value
        for name, value in project.environment.items()
        if name not in ("COLUMNS", "LINES", "NO_COLOR")
    }
    go = project.folder / "go"
    if until:
        os.mkfifo(go)
    with (
        Terminal(columns=120, lines=50) as terminal,
        subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=project.folder,
            env={**inherited, "TERM": "xterm", **environment},
            stdin=terminal.slave,
            stdout=terminal.slave,
            stderr=terminal.slave,
        ) as process,
    ):
        if until:
            try:
                terminal.wait_for(until)
                go.write_text("")
            except BaseException:
                process.kill()
                raise
    return terminal


def seen(terminal: Terminal) -> list[str]:
    return [TIME.sub("<time>", line) for line in terminal.lines if line]


def test_hook_that_starts_is_drawn_with_rich(project: Project) -> None:
    terminal = at_terminal(project, "runlifespan", "--once", until="starting")

    assert "K" in {kind.decode() for kind in ESCAPE.findall(terminal.sent)}


def test_nothing_is_drawn_without_rich(project: Project) -> None:
    terminal = at_terminal(without_rich(project), "runlifespan", "--once")

    assert b"starting" not in terminal.sent
    # Colours, and no movement of the cursor.
    assert {kind.decode() for kind in ESCAPE.findall(terminal.sent)} == {"m"}


@pytest.mark.parametrize(
    "arguments",
    [["runlifespan", "--once"], ["checklifespan"], ["checklifespan", "--run"]],
    ids=" ".join,
)
def test_same_lines_stay_with_rich_and_without(project: Project, arguments: list[str]) -> None:
    with_rich = seen(at_terminal(project, *arguments))

    assert seen(at_terminal(without_rich(project), *arguments)) == with_rich
    assert len(with_rich) > 4


def test_no_colour_is_honoured_with_rich(project: Project) -> None:
    terminal = at_terminal(project, "runlifespan", "--once", NO_COLOR="1")

    assert "m" not in {kind.decode() for kind in ESCAPE.findall(terminal.sent)}
    assert any("ok" in line for line in terminal.lines)


def test_pipe_gets_the_same_bytes_with_rich_and_without(project: Project) -> None:
    with_rich = project.manage("runlifespan", "--once").stdout
    plain = without_rich(project).manage("runlifespan", "--once").stdout

    assert TIME.sub("<time>", plain) == TIME.sub("<time>", with_rich)
    assert "\x1b" not in plain


def test_what_another_console_of_rich_writes_stands_above(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    drawing = Drawing(terminal.stream, lambda rows: ["going on"])
    try:
        terminal.wait_for("going on")
        Console(force_terminal=True).print("[bold]said with rich")

        both = ["said with rich", "going on"]
        terminal.until(lambda: terminal.lines == both, "it does not stand above")
    finally:
        drawing.stop()


def test_line_is_not_ended_by_a_flush(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    drawing = Drawing(terminal.stream, lambda rows: ["going on"])
    for dot in "...":
        print(dot, end="", flush=True)  # noqa: T201
    drawing.stop()
    terminal.stream.write("that was all\n")

    assert terminal.wait_for("that was all") == ["...", "that was all"]


def test_other_stream_than_the_terminal_is_left_alone(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    monkeypatch.setattr(sys, "stderr", elsewhere := io.StringIO())
    drawing = Drawing(terminal.stream, lambda rows: [])
    try:
        assert isinstance(sys.stdout, Above)
        assert sys.stderr is elsewhere
    finally:
        drawing.stop()


FORK = """
import os, signal, sys, threading
from lifespan_app import lifespan


@lifespan.on_start
def fork():
    console = sys.stdout._FileProxy__console
    held, over = threading.Event(), threading.Event()

    def hold():
        with console._lock, console.lock:
            held.set()
            over.wait()

    threading.Thread(target=hold).start()
    held.wait()
    child = os.fork()
    if not child:
        signal.alarm(10)
        print("said by the child", flush=True)
        os._exit(7)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    over.set()
    print("the child ended with", code)
"""


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_child_that_is_forked_while_something_is_drawn_can_print(project: Project) -> None:
    terminal = at_terminal(project.app("spare", lifespan=FORK), "runlifespan", "--once")

    assert "said by the child" in terminal.text
    assert "the child ended with 7" in terminal.text


def test_no_module_but_the_drawing_imports_rich() -> None:
    package = Path(sys.modules["lifespan_app"].__file__ or "").parent
    importing = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^\s*(from|import) rich\b", path.read_text(), re.MULTILINE)
    ]

    assert importing == ["cli/drawing.py"]
