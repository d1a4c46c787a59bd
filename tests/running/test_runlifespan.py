"""``manage.py runlifespan``: a plan without a server."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from signal import Signals

import pytest

from tests.projects import Project
from tests.running.processes import SHOP, AtTerminal, running
from tests.terminals import Terminal

STUBBORN = """
import asyncio
from lifespan_app import lifespan
import journal

@lifespan.resource
async def client():
    journal.write("client opens")
    yield "client"
    journal.write("client closes")
    await asyncio.sleep(3600)
"""
PATIENT = {"SHUTDOWN_TIMEOUT": 600, "SHUTDOWN_DEADLINE": 600}


# Up, and down again.


@pytest.mark.every_pair
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_runlifespan_with_0(shop: Project, number: Signals) -> None:
    with running(shop) as command:
        command.wait_for_output("^Ready after")
        assert shop.events() == ["client opens"]

        command.signal(number)

        assert command.wait() == 0
    assert shop.events() == ["client opens", "client closes"]
    assert f"Stopping 'app' ({number.name})" in command.output


def test_end_of_the_terminal_ends_nothing_under_nohup(shop: Project) -> None:
    shop.file("ignoring.py", "import os, signal, sys\n"
              "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
              "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n")  # fmt: skip
    with running(shop) as command:
        command.kill()
        command.command[1:2] = ["ignoring.py", "manage.py"]
        command.start()
        command.wait_for_output("^Ready after")
        command.signal(signal.SIGHUP)
        command.signal(signal.SIGTERM)

        assert command.wait() == 0
    assert "(SIGTERM)" in command.output


@pytest.mark.every_pair
def test_once_starts_and_stops(shop: Project) -> None:
    done = shop.manage("runlifespan", "--once")

    assert done.returncode == 0, done.stderr
    assert shop.events() == ["client opens", "client closes"]
    assert re.sub(r" +\d\.\d{3} s", " <time>", done.stdout).splitlines() == [
        "Starting 'app': 1 hook",
        "  ok <time>  shop.client",
        "Ready after <time>.",
        "Stopping 'app' (--once)",
        "  ok <time>  shop.client",
    ]


@pytest.mark.slow
def test_plan_is_of_the_service_type_asked_for(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
        from lifespan_app import LifespanContext, lifespan
        import journal

        @lifespan.on_start
        def both(context: LifespanContext):
            journal.write(context.service_type)

        @lifespan.on_start(service_types=["worker"])
        def only_worker():
            journal.write("only worker")
        """,
    )
    project.settings(LIFESPAN={"SERVICE_TYPE": "api"})

    project.manage("runlifespan", "--once")
    project.manage("runlifespan", "--once", "--service-type", "worker")

    assert project.events() == ["api", "worker", "only worker"]


@pytest.mark.slow
def test_run_says_that_a_command_has_opened_it_and_has_a_launch(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
        import os
        from lifespan_app import lifespan
        import journal

        @lifespan.on_start
        async def look():
            journal.write(lifespan.report().mode, os.environ["LIFESPAN_LAUNCH"])
        """,
    )

    project.manage("runlifespan", "--once")
    project.manage("runlifespan", "--once", LIFESPAN_LAUNCH="given")

    own, given = project.events()
    assert re.fullmatch(r"command [0-9a-f]{32}", own)
    assert given == "command given"


def test_process_that_serves_without_an_optional_hook_says_so(project: Project) -> None:
    project.app(
        "shop",
        lifespan="""
        from lifespan_app import lifespan

        @lifespan.on_start(required=False)
        async def greet():
            raise OSError("nobody there")
        """,
    )

    done = project.manage("runlifespan", "--once")

    assert done.returncode == 0
    assert re.search(r"^Ready after .* s, degraded: 1 failed", done.stdout, re.MULTILINE)


def test_verbosity_0_says_nothing(shop: Project) -> None:
    done = shop.manage("runlifespan", "--once", "--verbosity", "0")

    assert (done.returncode, done.stdout) == (0, "")


def test_closed_standard_output_stops_nothing(shop: Project) -> None:
    shop.file(
        "closing.py",
        "import os, sys\nos.close(1)\nos.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n",
    )

    done = shop.run("closing.py", "manage.py", "runlifespan", "--once")

    assert done.returncode == 0, done.stderr
    assert shop.events() == ["client opens", "client closes"]


@pytest.mark.parametrize(
    ("options", "environment", "coloured"),
    [((), {}, True), ((), {"NO_COLOR": "1"}, False), (("--no-color",), {}, False)],
    ids=["as usual", "NO_COLOR", "--no-color"],
)
def test_colours_are_for_a_terminal_where_nobody_has_said_no(
    shop: Project,
    terminal: Terminal,
    options: tuple[str, ...],
    environment: dict[str, str],
    coloured: bool,
) -> None:
    shop.app(
        "late",
        lifespan="from lifespan_app import lifespan\n"
        "@lifespan.on_start\ndef fail():\n    raise OSError('no')\n",
    )
    with AtTerminal(shop, terminal, *options, environment=environment) as command:
        assert command.wait() == 1
        terminal.wait_for("The traceback is in the log")

    assert bool(re.search(rb"\x1b\[[\d;]+m", terminal.sent)) is coloured


# Failing.


def failing(project: Project, source: str) -> Project:
    return project.app("shop", lifespan="from lifespan_app import lifespan\n" + source)


def test_failed_start_returns_1_with_what_a_server_would_print(project: Project) -> None:
    failing(
        project,
        "@lifespan.on_start\nasync def greet():\n    raise OSError('nobody there')\n",
    )

    done = project.manage("runlifespan")

    assert done.returncode == 1
    assert (
        "lifespan_app: hook 'shop.greet' (shop/lifespan.py:2) failed to start after" in done.stderr
    )
    assert "OSError: nobody there" in done.stderr


def test_hook_that_exits_is_a_failed_start(project: Project) -> None:
    failing(project, "@lifespan.on_start\nasync def leave():\n    raise SystemExit(0)\n")

    done = project.manage("runlifespan")

    assert done.returncode == 1
    assert "shop.leave" in done.stderr


def test_plan_that_cannot_be_made_returns_1_without_a_traceback(project: Project) -> None:
    failing(project, "1 / 0\n")

    done = project.manage("runlifespan")

    assert done.returncode == 1
    assert "'shop.lifespan' of app 'shop' can't be imported: ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr


def test_setting_of_the_wrong_type_returns_1_and_is_named(shop: Project) -> None:
    shop.settings(LIFESPAN={"SHUTDOWN_TIMEOUT": "long"})

    done = shop.manage("runlifespan")

    assert done.returncode == 1
    assert "LIFESPAN['SHUTDOWN_TIMEOUT'] must be a number of seconds above 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_failed_stop_returns_5_and_is_named(project: Project) -> None:
    failing(project, "@lifespan.on_shutdown\ndef leave():\n    raise OSError('stuck')\n")

    done = project.manage("runlifespan", "--once")

    assert done.returncode == 5
    assert "1 hook failed to stop; all others are down." in done.stderr
    assert "OSError: stuck" in done.stderr


def test_background_job_that_stops_the_process_by_its_crash_makes_it_1(
    project: Project,
) -> None:
    failing(
        project,
        "import asyncio, journal\n"
        "@lifespan.background(on_crash='stop')\n"
        "async def work():\n"
        "    raise OSError('no work')\n"
        "@lifespan.on_shutdown\n"
        "def leave():\n"
        "    journal.write('left')\n",
    )

    done = project.manage("runlifespan")

    assert done.returncode == 1
    assert project.events() == ["left"]
    assert "'shop.work' (shop/lifespan.py:3) crashed, and has on_crash='stop'." in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--ones",),
        ("--once", "--", "true"),
        ("--ready-file", "no/such/folder/ready"),
    ],
)
def test_bad_argument_returns_2_before_anything_starts(
    shop: Project, arguments: tuple[str, ...]
) -> None:
    done = shop.manage("runlifespan", *arguments)

    assert done.returncode == 2, done.stderr
    assert shop.events() == []


# Signals at every stage.


def slow_to_start(project: Project, shop: str) -> Project:
    return project.app("shop", lifespan=shop).app(
        "late",
        lifespan="""
        import asyncio
        from lifespan_app import lifespan
        import journal

        @lifespan.on_start(priority=1)
        async def wait():
            journal.write("waits")
            try:
                await asyncio.sleep(3600)
            finally:
                journal.write("waits no more")
        """,
    )


@pytest.mark.every_pair
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_the_startup_rolls_it_back(project: Project, number: Signals) -> None:
    slow_to_start(project, SHOP)
    with running(project) as command:
        command.wait_for_event("waits")
        command.signal(number)

        assert command.wait() == 128 + number
    assert project.events() == ["client opens", "waits", "waits no more", "client closes"]
    assert f"{number.name}: the startup is given up." in command.output


@pytest.mark.every_pair
@pytest.mark.slow
def test_second_signal_during_the_startup_cancels_what_hangs(project: Project) -> None:
    slow_to_start(project, STUBBORN).settings(LIFESPAN=PATIENT)
    with running(project) as command:
        command.wait_for_event("waits")
        command.signal(signal.SIGINT)
        command.wait_for_event("client closes")
        command.signal(signal.SIGINT)

        assert command.wait() == 5
    assert re.search(r"'shop.client' \(.*\) did not stop within its limit", command.output)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_while_it_stops_cancels_what_hangs(project: Project, number: Signals) -> None:
    project.app("shop", lifespan=STUBBORN).settings(LIFESPAN=PATIENT)
    with running(project) as command:
        command.wait_for_output("^Ready after")
        command.signal(number)
        command.wait_for_event("client closes")
        command.signal(number)

        assert command.wait() == 5


def test_signal_at_the_moment_of_ready_ends_it(project: Project) -> None:
    failing(
        project,
        "import asyncio, os, signal, journal\n"
        "@lifespan.resource\n"
        "async def client():\n"
        "    yield\n"
        "    journal.write('closes')\n"
        "@lifespan.background\n"
        "async def leave():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    await asyncio.sleep(3600)\n",
    )
    with running(project) as command:
        assert command.wait() == 0
    assert project.events() == ["closes"]


@pytest.mark.slow
def test_signal_after_once_cancels_what_hangs(project: Project) -> None:
    project.app("shop", lifespan=STUBBORN).settings(LIFESPAN=PATIENT)
    with running(project, "--once") as command:
        command.wait_for_event("client closes")
        command.signal(signal.SIGINT)

        assert command.wait() == 5


@pytest.mark.every_pair
@pytest.mark.slow
def test_ctrl_c_breaks_into_a_hook_that_blocks_the_loop(project: Project) -> None:
    project.app("shop", lifespan=SHOP).app(
        "late",
        lifespan="""
        import time
        from lifespan_app import lifespan
        import journal

        @lifespan.on_start(priority=1)
        async def block():
            journal.write("blocks")
            time.sleep(3600)
        """,
    )
    with running(project) as command:
        command.wait_for_event("blocks")

        def given_up() -> bool:
            if "Rolling back" in command.output:
                return True
            command.signal(signal.SIGINT)
            return False

        command.until(given_up, "it blocked on")

        assert command.wait() == 130
    assert project.events() == ["client opens", "blocks", "client closes"]


# A hook that forks.

FORKING = """
import multiprocessing
import time

from journal import write
from lifespan_app import lifespan


def work():
    write("child works")
    while True:
        time.sleep(60)


@lifespan.resource
{define} child():
    process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    process.start()
    yield process
    {end}
    write("parent closes")
"""


@pytest.mark.parametrize("end", ["pass", "process.terminate(); process.join()"])
@pytest.mark.parametrize("define", ["def", "async def"])
@pytest.mark.parametrize("ctrl_c", [False, True], ids=["SIGTERM", "Ctrl+C"])
def test_signal_ends_a_child_that_a_hook_has_forked(
    project: Project, define: str, end: str, ctrl_c: bool
) -> None:
    project.app("shop", lifespan=FORKING.format(define=define, end=end))
    with running(project) as command:
        command.wait_for_output("^Ready after")
        command.wait_for_event("child works")

        if ctrl_c:
            command.interrupt()
        else:
            command.signal(signal.SIGTERM)

        assert command.wait() == 0
        with pytest.raises(ProcessLookupError):
            command.signal_group(signal.SIGTERM)
    assert project.events() == ["child works", "parent closes"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_a_child_that_a_hook_has_forked_is_the_childs_alone(
    project: Project, number: Signals
) -> None:
    end = "write('child ends by', process.exitcode)"
    told = "while process.is_alive(): time.sleep(0.01)\n    " + end
    source = FORKING.format(define="def", end=told).replace(
        "process.start()\n", "process.start()\n    write('child is', process.pid)\n"
    )
    project.app("shop", lifespan=source)
    with running(project) as command:
        command.wait_for_output("^Ready after")
        command.wait_for_event("child works")
        [child] = [int(line.split()[-1]) for line in project.events() if "is" in line.split()]
        os.kill(child, number)
        command.until(lambda: has_ended(child), "The child did not end")

        assert command.exit_code is None
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
    assert "child ends by" in "\n".join(project.events())


def has_ended(pid: int) -> bool:
    """Return True for a process that nobody but its parent has to take note of any more."""
    return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
