"""A script in a fork of a process that has imported Django runs as it does in a new process."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from tests import fork_server
from tests.projects import Project

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="forks run scripts on Linux only"),
]


def in_fork(
    project: Project, *arguments: str, limit: float = 20
) -> subprocess.CompletedProcess[str]:
    assert fork_server.is_fit_for(arguments, project.folder, project.environment)
    return project.run(*arguments, limit=limit)


def in_new_process(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    fork_server.let_children_hear_signals()
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project.folder,
        env=project.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


FACTS = """
import atexit
import os
import signal
import sys
import threading

atexit.register(print, "at exit")
print(__name__, __file__, sys.argv, sys.orig_argv, os.getcwd())
print(*sys.path, sep="\\n")
print(*sorted(os.environ.items()), sep="\\n")
print(sys.modules["__main__"].__dict__ is globals(), [thread.name for thread in threading.enumerate()], sys.flags)
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)])
print(sys.stdin.read(), sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.write_through)
print(sorted(int(number) for number in os.listdir("/proc/self/fd"))[:3], file=sys.stderr)
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(3)",
        "sys.exit('a message')",
        "def fails():\n    raise ValueError('it failed')\n\nfails()",
        "os._exit(4)",
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "threading.Thread(target=lambda: print('from a thread')).start()",
    ],
)
def test_script_finds_and_says_the_same(project: Project, end: str) -> None:
    project.file("facts.py", f"{FACTS}\n{end}\n")

    forked = in_fork(project, "facts.py", "an argument", "--option")
    new = in_new_process(project, "facts.py", "an argument", "--option")

    assert forked.stdout == new.stdout
    assert forked.stderr == new.stderr
    assert forked.returncode == new.returncode
    assert forked.args == new.args


def test_keyboard_interrupt_ends_it_as_a_signal(project: Project) -> None:
    project.file("stops.py", "raise KeyboardInterrupt")

    done = in_fork(project, "stops.py")

    assert done.returncode == -signal.SIGINT
    assert done.stderr.endswith("KeyboardInterrupt\n")


def test_project_and_package_are_imported_by_the_script(project: Project) -> None:
    project.file(
        "imports.py",
        """
        import sys

        from django.conf import settings

        print("lifespan_app" in sys.modules, "site_settings" in sys.modules, settings.configured)
        """,
    )

    assert in_fork(project, "imports.py").stdout == "False False False\n"


def test_script_is_killed_at_its_limit(project: Project) -> None:
    project.file(
        "hangs.py",
        """
        import time

        print("hangs", flush=True)
        time.sleep(1000)
        """,
    )

    with pytest.raises(subprocess.TimeoutExpired) as told:
        in_fork(project, "hangs.py", limit=1)

    assert told.value.stdout == b"hangs\n"


def test_test_that_gives_up_leaves_no_process_and_a_server_for_the_next(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.file("hangs.py", "import time; time.sleep(1000)").file("ends.py", "print('ends')")
    given_up = []

    def gives_up(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(select, "select", gives_up)
    monkeypatch.setattr(os, "kill", lambda pid, _: given_up.append(pid))
    with pytest.raises(KeyboardInterrupt):
        in_fork(project, "hangs.py")
    monkeypatch.undo()

    [left] = given_up
    ended = os.pidfd_open(left)
    os.kill(left, signal.SIGKILL)
    assert select.select([ended], [], [], 20)[0]
    os.close(ended)
    assert in_fork(project, "ends.py").stdout == "ends\n"


@pytest.mark.parametrize("arguments", [["-m", "uvicorn"], ["-c", "import django"], ["-P", "a.py"]])
def test_options_of_python_take_a_new_process(project: Project, arguments: list[str]) -> None:
    assert not fork_server.is_fit_for(arguments, project.folder, project.environment)


def test_variables_that_python_reads_as_it_starts_take_a_new_process(project: Project) -> None:
    project.file("warns.py", "import sys; print(sys.warnoptions)")

    done = project.run("warns.py", environment={"PYTHONWARNINGS": "error"})

    assert done.stdout == "['error']\n"


def test_module_that_python_imports_as_it_starts_takes_a_new_process(project: Project) -> None:
    project.file("sitecustomize.py", "print('customized')").file("ends.py", "print('ends')")

    assert project.run("ends.py").stdout == "customized\nends\n"
