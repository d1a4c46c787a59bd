"""``manage.py runlifespan -- COMMAND``: a plan around a command, mostly a server."""

from __future__ import annotations

import os
import re
import signal
import sys
from signal import Signals

import pytest

from tests.projects import Project
from tests.running.processes import AtTerminal, running, script
from tests.terminals import Terminal

pytestmark = pytest.mark.once

LISTENING = """
import signal, sys, journal

def heard(number, frame):
    journal.write("heard", signal.Signals(number).name)
    if number in (signal.SIGTERM, signal.SIGINT):
        sys.exit(9)

for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
    signal.signal(signal.Signals[name], heard)
journal.write("child begins")
while True:
    signal.pause()
"""
"""A program that writes down each signal, and ends with 9 at the first that asks for its end."""

DEAF = """
import signal, journal

def heard(number, frame):
    journal.write("heard", signal.Signals(number).name)

signal.signal(signal.SIGTERM, heard)
signal.signal(signal.SIGINT, heard)
journal.write("child begins")
while True:
    signal.pause()
"""
"""A program that won't end when it is asked to."""


# Around it.


def test_plan_of_the_server_is_open_around_the_command(shop: Project) -> None:
    child = script(shop, "child.py", "import journal; journal.write('child')")

    done = shop.manage("runlifespan", "--", *child)

    assert done.returncode == 0, done.stderr
    assert shop.events() == ["client opens", "child", "client closes"]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("The plan of 'server' around: ")
    assert lines[0].endswith("child.py. The command opens its own.")
    assert lines[1] == "Starting 'server': 1 hook"
    assert "Stopping 'server' (its command ended with 0)" in lines


def test_plan_around_the_command_is_of_the_service_type_asked_for(shop: Project) -> None:
    child = script(shop, "child.py", "import journal; journal.write('child')")

    shop.manage("runlifespan", "--service-type", "worker", "--", *child)

    assert shop.events() == ["child"]


def test_arguments_reach_the_command_as_they_are(shop: Project) -> None:
    child = script(shop, "child.py", "import journal, sys; journal.write(sys.argv[1:])")

    shop.manage("runlifespan", "--", *child, "--once", "--", "a b", "--help", "")

    assert "['--once', '--', 'a b', '--help', '']" in shop.events()


def test_command_belongs_to_the_launch(project: Project) -> None:
    write = "import os; journal.write(os.environ['LIFESPAN_LAUNCH'])"
    project.app(
        "shop",
        lifespan="from lifespan_app import lifespan\nimport journal\n"
        f"@lifespan.on_start(service_types=['server'])\ndef look():\n    {write}\n",
    )
    child = script(project, "child.py", f"import journal\n{write}\n")

    project.manage("runlifespan", "--", *child)

    own, of_child = project.events()
    assert own == of_child


@pytest.mark.slow
def test_hooks_of_the_server_are_not_missed_by_its_workers(shop: Project) -> None:
    shop.file("open.py", "from lifespan_app.asgi import get_asgi_application\n"
              "import asyncio\n"
              "from asgiref.testing import ApplicationCommunicator\n"
              "async def main():\n"
              "    application = ApplicationCommunicator(\n"
              "        get_asgi_application(), {'type': 'lifespan'})\n"
              "    await application.send_input({'type': 'lifespan.startup'})\n"
              "    print(await application.receive_output())\n"
              "    await application.send_input({'type': 'lifespan.shutdown'})\n"
              "    await application.receive_output()\n"
              "asyncio.run(main())\n")  # fmt: skip

    alone = shop.run("open.py")
    inside = shop.manage("runlifespan", "--", sys.executable, "open.py")

    assert "manage.py runlifespan -- COMMAND" in alone.stderr
    assert "lifespan.startup.complete" in inside.stdout
    assert "COMMAND" not in inside.stderr


# Its exit code.


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 15)", 143),
    ],
    ids=["0", "7", "killed", "terminated"],
)
def test_exit_code_is_that_of_the_command(shop: Project, source: str, code: int) -> None:
    done = shop.manage("runlifespan", "--", *script(shop, "child.py", source))

    assert done.returncode == code
    assert shop.events() == ["client opens", "client closes"]


def test_command_that_is_not_there_returns_127_before_anything_starts(shop: Project) -> None:
    done = shop.manage("runlifespan", "--", "no-such-program", "argument")

    assert done.returncode == 127
    assert "The command 'no-such-program' was not found in any folder of PATH." in done.stderr
    assert shop.events() == []


def test_file_that_is_no_program_returns_126_before_anything_starts(shop: Project) -> None:
    done = shop.manage("runlifespan", "--", "./journal.py")

    assert done.returncode == 126
    assert "'./journal.py' can't be run: it is not a program." in done.stderr
    assert shop.events() == []


def test_program_that_the_system_refuses_returns_126_after_closing(
    shop: Project,
) -> None:
    shop.file("broken", "#!/no/such/interpreter\n")
    (shop.folder / "broken").chmod(0o755)

    done = shop.manage("runlifespan", "--", "./broken")

    assert done.returncode == 126
    assert "'./broken' can't be run: " in done.stderr
    assert shop.events() == ["client opens", "client closes"]


FAILS_AT_THE_END = """
from lifespan_app import lifespan

@lifespan.on_shutdown(service_types=["server"])
def leave():
    raise OSError("stuck")
"""


@pytest.mark.slow
def test_failed_shutdown_counts_only_where_the_command_returned_0(project: Project) -> None:
    project.app("shop", lifespan=FAILS_AT_THE_END)

    whole = project.manage("runlifespan", "--", "true")
    broken = project.manage(
        "runlifespan", "--", *script(project, "child.py", "raise SystemExit(7)")
    )

    assert (whole.returncode, broken.returncode) == (5, 7)
    assert "OSError: stuck" in whole.stderr
    assert "OSError: stuck" in broken.stderr


def test_command_is_not_run_where_the_startup_fails(project: Project) -> None:
    project.app(
        "shop",
        lifespan="from lifespan_app import lifespan\n"
        "@lifespan.on_start(service_types=['server'])\ndef fail():\n    raise OSError('no')\n",
    )
    child = script(project, "child.py", "import journal; journal.write('child')")

    done = project.manage("runlifespan", "--", *child)

    assert done.returncode == 1
    assert project.events() == []


# Signals.


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2])
def test_signal_is_passed_on_once_and_ends_nothing(shop: Project, number: Signals) -> None:
    with running(shop, "--", *script(shop, "child.py", LISTENING)) as command:
        command.wait_for_event("child begins")
        command.signal(number)
        command.wait_for_event(f"heard {number.name}")
        command.signal(signal.SIGTERM)

        assert command.wait() == 9
    assert shop.events() == [
        "client opens",
        "child begins",
        f"heard {number.name}",
        "heard SIGTERM",
        "client closes",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_the_whole_group_reaches_the_command_once(shop: Project, number: Signals) -> None:
    with running(shop, "--", *script(shop, "child.py", LISTENING)) as command:
        command.wait_for_event("child begins")
        command.signal_group(number)

        assert command.wait() == 9
    assert shop.events().count(f"heard {number.name}") == 1
    assert shop.events()[-1] == "client closes"


def test_command_that_ignores_sigterm_is_killed_at_the_third(shop: Project) -> None:
    with running(shop, "--", *script(shop, "child.py", DEAF)) as command:
        command.wait_for_event("child begins")
        for count in (1, 2):
            command.signal(signal.SIGTERM)
            command.wait_for_event("heard SIGTERM", count=count)
        command.signal(signal.SIGTERM)

        assert command.wait() == 137
    assert shop.events()[-1] == "client closes"
    assert re.search(r"SIGTERM is passed on .*\. Once more kills it\.", command.output)
    assert "SIGTERM once more: the command" in command.output


def test_signal_during_the_startup_never_runs_the_command(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
        import asyncio
        from lifespan_app import lifespan
        import journal

        @lifespan.on_start(service_types=["server"])
        async def wait():
            journal.write("waits")
            await asyncio.sleep(3600)
        """,
    )
    child = script(project, "child.py", "import journal; journal.write('child')")
    with running(project, "--", *child) as command:
        command.wait_for_event("waits")
        command.signal(signal.SIGTERM)

        assert command.wait() == 143
    assert project.events() == ["waits"]


def test_signal_as_the_plan_opens_never_runs_the_command(
    project: Project,
) -> None:
    project.app(
        "shop",
        lifespan="""
        import asyncio, os, signal
        from lifespan_app import lifespan

        @lifespan.background(service_types=["server"])
        async def leave():
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(3600)
        """,
    )
    child = script(project, "child.py", "import journal; journal.write('child')")

    done = project.manage("runlifespan", "--", *child)

    assert done.returncode == 143
    assert project.events() == []


@pytest.mark.slow
def test_signal_after_the_command_has_ended_cancels_what_hangs(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
        import asyncio
        from lifespan_app import lifespan
        import journal

        @lifespan.on_shutdown(service_types=["server"])
        async def hang():
            journal.write("hangs")
            await asyncio.sleep(3600)
        """,
    ).settings(LIFESPAN={"SHUTDOWN_TIMEOUT": 600, "SHUTDOWN_DEADLINE": 600})
    with running(project, "--", "true") as command:
        command.wait_for_event("hangs")
        command.signal(signal.SIGTERM)

        assert command.wait() == 5


# In front of a terminal.


def test_ctrl_c_reaches_the_command_once(shop: Project, terminal: Terminal) -> None:
    with AtTerminal(shop, terminal, "--", *script(shop, "child.py", LISTENING)) as command:
        terminal.until(lambda: "child begins" in shop.events(), "no child")
        terminal.type("\x03")

        assert command.wait() == 9
    assert shop.events() == ["client opens", "child begins", "heard SIGINT", "client closes"]


def test_signal_other_than_ctrl_c_is_passed_on_at_a_terminal_too(
    shop: Project, terminal: Terminal
) -> None:
    with AtTerminal(shop, terminal, "--", *script(shop, "child.py", LISTENING)) as command:
        terminal.until(lambda: "child begins" in shop.events(), "no child")
        os.kill(command.process.pid, signal.SIGTERM)

        assert command.wait() == 9
    assert shop.events().count("heard SIGTERM") == 1


def test_command_reads_what_is_typed(shop: Project, terminal: Terminal) -> None:
    child = script(shop, "child.py", "import journal; journal.write('typed', input('what? '))")
    with AtTerminal(shop, terminal, "--", *child) as command:
        terminal.wait_for("what?")
        terminal.type("this\n")

        assert command.wait() == 0
    assert "typed this" in shop.events()


def test_ctrl_c_ends_a_plan_without_a_command(shop: Project, terminal: Terminal) -> None:
    with AtTerminal(shop, terminal) as command:
        terminal.wait_for("Ready after")
        terminal.type("\x03")

        assert command.wait() == 0
    assert "Stopping 'app' (SIGINT)" in terminal.text


# A server that ends by the signal it was sent.


@pytest.mark.server
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_that_ends_as_it_was_asked_to_is_a_success(
    shop: Project, number: signal.Signals
) -> None:
    """It shuts down in order, and then raises the signal again: alone, it dies of it."""
    uvicorn = [sys.executable, "-m", "uvicorn", "asgi:application", "--port", "0"]
    with running(shop, "--", *uvicorn, "--lifespan", "on") as command:
        command.wait_for_output("Uvicorn running on")
        command.signal(number)

        assert command.wait() == 0
    assert shop.events() == ["client opens", "client opens", "client closes", "client closes"]


def test_command_that_another_signal_kills_is_a_failure(shop: Project) -> None:
    """It dies of SIGTERM, which nobody has sent to us."""
    source = """
    import os, signal, journal

    signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    journal.write("child begins")
    signal.pause()
    """
    with running(shop, "--", *script(shop, "child.py", source)) as command:
        command.wait_for_event("child begins")
        command.signal(signal.SIGINT)

        assert command.wait() == 143
