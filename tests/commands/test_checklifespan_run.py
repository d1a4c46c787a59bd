"""``manage.py checklifespan --run``: a plan is started for real, stopped, measured and judged."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.clusters import PostgreSQL
from tests.commands.schemas import errors_of
from tests.needs import needs_postgresql
from tests.projects import Project
from tests.sandboxes import in_sandbox

# Each of them starts a process, most of them more than one.
pytestmark = [pytest.mark.slow, pytest.mark.once]

HEAD = "import journal\nfrom lifespan_app import lifespan\n\n\n"

TILL_AND_DOOR = HEAD + (
    "@lifespan.resource\n"
    "async def till():\n"
    "    journal.write('till opens')\n"
    "    yield 'till'\n"
    "    journal.write('till closes')\n\n\n"
    "@lifespan.on_start\n"
    "def door(till):\n"
    "    journal.write('door opens')\n"
)

OPTIONAL = (
    "\n\n@lifespan.resource(required=False)\nasync def radio():\n    raise OSError('noise')\n"
)


def run(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.manage("checklifespan", "--run", *arguments)


def run_as_json(project: Project, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code, and what the command has printed."""
    done = run(project, "--format", "json", *arguments)
    assert errors_of(done.stdout) == []
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, found


class TestARunThatGoesWell:
    @pytest.fixture
    def project(self, project: Project) -> Project:
        return project.app("shop", lifespan=TILL_AND_DOOR)

    def test_run_opens_and_closes_everything(self, project: Project) -> None:
        assert run(project).returncode == 0
        assert project.events() == ["till opens", "door opens", "till closes"]

    def test_run_shows_a_line_per_hook_and_the_longest_chain(self, project: Project) -> None:
        said = run(project).stdout

        figures = re.sub(r"\d+\.\d{3} s", "0.000 s", said)
        rows = ["* shop.door  0.000 s        -\n", "* shop.till  0.000 s  0.000 s\n"]
        assert [row for row in figures.splitlines(keepends=True) if row in rows] in (
            rows,
            rows[::-1],
        )
        for row in rows:
            figures = figures.replace(row, "")
        assert figures == (
            "Starting 'app': 2 hooks\n"
            "  ok          0.000 s  shop.till\n"
            "  ok          0.000 s  shop.door\n"
            "Stopping 'app' (checklifespan --run)\n"
            "  ok          0.000 s  shop.till\n"
            "\n"
            "Startup 0.000 s, shutdown 0.000 s\n"
            "  Hook         Start     Stop\n"
            "* the startup has waited for it: making any other hook faster changes nothing\n"
            "\n"
            "The startup has waited for shop.till -> shop.door.\n"
            "The shutdown has waited for shop.till.\n"
            "\n"
            "Nothing was left behind.\n"
            "\n"
            "No problems.\n"
        )

    def test_run_is_repeated_as_often_as_is_asked_for(self, project: Project) -> None:
        said = run(project, "--repeat", "3").stdout

        assert project.events() == ["till opens", "door opens", "till closes"] * 3
        assert "(median of 3 runs)" in said
        assert re.search(r"^  Hook +Start +Worst +Stop$", said, re.MULTILINE)
        assert said.count("Starting 'app'") == 1

    def test_run_is_told_as_json_and_nothing_else(self, project: Project) -> None:
        code, found = run_as_json(project, "--repeat", "2")

        assert code == 0
        assert found["run"]["status"] == "stopped"
        assert len(found["run"]["uuids"]) == 2
        assert found["run"]["longest_chain"] == ["shop.till", "shop.door"]
        times = {hook["key"]: hook for hook in found["run"]["hooks"]}
        assert times["shop.till"]["start"]["worst"] >= times["shop.till"]["start"]["median"] > 0
        assert times["shop.door"]["stop"] is None

    def test_run_is_recorded_as_a_check(self, project: Project) -> None:
        run(project)

        listed = project.manage(
            "shell",
            "-v0",
            "-c",
            "from lifespan_app.models import LifespanRun as R;"
            "print(list(R.objects.values_list('mode', 'status', 'ended_by')))",
        )
        assert listed.stdout == "[('check', 'stopped', 'checklifespan --run')]\n"

    def test_run_says_nothing_but_its_result_at_verbosity_0(self, project: Project) -> None:
        assert run(project, "-v0").stdout.lstrip().startswith("Startup ")

    def test_run_shows_the_plan_first_at_verbosity_2(self, project: Project) -> None:
        assert run(project, "-v2").stdout.startswith("Service type 'app': 2 hooks of 1 app")


class TestAHookThatTheStartupDoesNotWaitFor:
    @pytest.fixture
    def project(self, project: Project) -> Project:
        return project.app(
            "shop",
            lifespan=TILL_AND_DOOR + "\n\n@lifespan.resource(wait=False)\n"
            "async def model():\n    journal.write('model opens')\n    yield 'model'\n"
            "    journal.write('model closes')\n",
        )

    def test_hook_that_warms_up_is_waited_for_and_marked(self, project: Project) -> None:
        said = run(project).stdout

        assert "~ shop.model" in said
        assert "~ the startup has not waited for it: the process serves before it is up\n" in said
        assert {"model opens", "model closes"} < set(project.events())

    def test_hook_that_warms_up_is_marked_in_json(self, project: Project) -> None:
        code, found = run_as_json(project)

        assert code == 0
        [plan] = found["plans"]
        for hooks in plan["hooks"], found["run"]["hooks"]:
            waited_for = {hook["key"]: hook["wait"] for hook in hooks}
            assert waited_for == {"shop.till": True, "shop.door": True, "shop.model": False}

    def test_hook_that_fails_to_warm_up_exits_with_5(self, project: Project) -> None:
        project.file(
            "shop/lifespan.py", TILL_AND_DOOR + OPTIONAL.replace("required=False", "wait=False")
        )

        done = run(project)

        assert done.returncode == 5
        assert "'shop.radio' (shop/lifespan.py:17) failed to start after" in done.stderr
        assert "a process would serve, and never be ready." in done.stderr


class TestAHookThatFails:
    def test_optional_hook_that_fails_is_a_warning(self, project: Project) -> None:
        project.app("shop", lifespan=TILL_AND_DOOR + OPTIONAL)

        done = run(project)
        assert done.returncode == 0
        assert "\nWARNING  shop/lifespan.py:17\n" in done.stdout
        assert "  'shop.radio' failed: OSError: noise\n" in done.stdout

        assert run(project, "--fail-level", "WARNING").returncode == 1
        code, found = run_as_json(project, "--fail-level", "WARNING")
        assert code == 1
        [problem] = found["problems"]
        assert (problem["level"], problem["id"], problem["line"]) == ("WARNING", None, 17)

    def test_required_hook_that_fails_exits_with_5_and_a_servers_message(
        self, project: Project
    ) -> None:
        project.app("shop", lifespan=TILL_AND_DOOR + OPTIONAL.replace("required=False", ""))

        done = run(project)

        assert done.returncode == 5
        assert (
            "lifespan_app: hook 'shop.radio' (shop/lifespan.py:17) failed to start after"
            in done.stderr
        )
        assert project.events()[-1] == "till closes"
        assert run_as_json(project)[1]["run"]["failure"].startswith(
            "lifespan_app: hook 'shop.radio'"
        )

    def test_hook_that_fails_to_stop_exits_with_5(self, project: Project) -> None:
        project.app(
            "shop", lifespan=TILL_AND_DOOR + "\n\n@lifespan.on_shutdown\ndef lock():\n    1 / 0\n"
        )

        done = run(project)

        assert done.returncode == 5
        assert "ZeroDivisionError" in done.stderr
        assert project.events()[-1] == "till closes"

    def test_hook_that_hangs_is_stopped_after_the_time_for_all(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan=TILL_AND_DOOR
            + "\n\n@lifespan.on_start\nasync def wait(till):\n    import asyncio\n\n"
            "    await asyncio.Event().wait()\n",
        )

        done = run(project, "--timeout", "300ms")

        assert done.returncode == 5
        assert "It took longer than --timeout allows, and was stopped." in done.stderr
        assert project.events()[-1] == "till closes"

    def test_hook_that_blocks_the_loop_ends_the_process_in_time(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan=HEAD + "@lifespan.on_start\nasync def wait():\n    import time\n\n"
            "    time.sleep(50)\n",
        )

        done = run(project, "--timeout", "100ms")

        assert done.returncode == 5
        line = project.line_of("shop/lifespan.py", "time.sleep")
        assert (
            "It took longer than --timeout allows, and can't be stopped: the event loop is "
            f"blocked at shop/lifespan.py:{line} in wait.\n"
        ) in done.stderr

    def test_hook_that_hangs_in_a_thread_is_left_behind(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan=HEAD + "@lifespan.on_start(required=False, timeout=0.1)\ndef wait():\n"
            "    import time\n\n    time.sleep(50)\n",
        )

        code, found = run_as_json(project)

        assert code == 4
        [left] = found["run"]["left_behind"]
        assert (left["kind"], left["hook"]) == ("thread", "shop.wait")

    def test_ctrl_c_rolls_back(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan=TILL_AND_DOOR
            + "\n\n@lifespan.on_start\nasync def wait(till):\n    import asyncio, os, signal\n\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n    await asyncio.Event().wait()\n",
        )

        # A shell that runs the tests in its background has Python ignore the signal.
        project.settings("import signal; signal.signal(2, signal.default_int_handler)")

        done = run(project)

        assert done.returncode == 128 + signal.SIGINT
        assert project.events()[-1] == "till closes"
        assert "Traceback" not in done.stderr


class TestBudget:
    @pytest.fixture
    def project(self, project: Project) -> Project:
        return project.app("shop", lifespan=TILL_AND_DOOR)

    @pytest.mark.parametrize("budget", ["60s", "total=1m,shop.till=9s", "shop.door=60"])
    def test_budget_that_is_kept_is_fine(self, project: Project, budget: str) -> None:
        assert run(project, "--budget", budget).returncode == 0

    @pytest.mark.parametrize(
        ("budget", "said"),
        [
            ("0.0001ms", "The startup took"),
            ("total=60s,shop.till=0.0001ms", "'shop.till' took"),
        ],
    )
    def test_budget_that_is_passed_exits_with_3(
        self, project: Project, budget: str, said: str
    ) -> None:
        done = run(project, "--budget", budget)

        assert done.returncode == 3
        assert f"\nToo slow\n    {said} " in done.stdout

    @pytest.mark.parametrize(
        ("budget", "said"),
        [
            ("soon", "'soon' is not a duration: write 300ms, 2s or 1.5m."),
            ("0s", "'0s' is not a duration"),
            ("shop.till=", "'' is not a duration"),
            ("2s,total=3s", "'total' is there twice."),
            ("shop.tills=2s", "The plan holds no hook 'shop.tills'. Did you mean 'shop.till'?"),
        ],
    )
    def test_budget_that_means_nothing_exits_with_2_before_any_run(
        self, project: Project, budget: str, said: str
    ) -> None:
        done = run(project, "--budget", budget)

        assert done.returncode == 2
        assert said in done.stderr
        assert project.events() == []


class TestCompare:
    @pytest.fixture
    def project(self, project: Project) -> Project:
        return project.app("shop", lifespan=TILL_AND_DOOR)

    def record(self, project: Project, seconds: float) -> None:
        """Put a run into the record, in which each hook has taken so long."""
        project.manage("checklifespan", "--run", "-v0")
        done = project.manage(
            "shell",
            "-v0",
            "-c",
            "from datetime import timedelta;"
            "from lifespan_app.models import LifespanRun as R, LifespanStep as S;"
            f"R.objects.update(mode='server'); S.objects.update(duration=timedelta(seconds={seconds}))",
        )
        assert done.returncode == 0, done.stderr

    def test_compare_without_a_record_says_so(self, project: Project) -> None:
        done = run(project, "--compare")

        assert done.returncode == 0
        assert "No run of service type 'app' is recorded to compare with." in done.stderr

    def test_compare_shows_the_recorded_median_of_each_hook(self, project: Project) -> None:
        self.record(project, 7)

        done = run(project, "--compare")

        assert done.returncode == 0
        assert re.search(r"^\* shop.till  +\S+ s  +\S+ s  +7.000 s$", done.stdout, re.MULTILINE)

    def test_compare_exits_with_3_for_a_slower_hook(self, project: Project) -> None:
        slow = "import time; time.sleep(0.05)"
        project.file("shop/lifespan.py", TILL_AND_DOOR.replace("journal.write('door opens')", slow))
        self.record(project, 0.001)

        done = run(project, "--fail-slower", "1.5")

        assert done.returncode == 3
        assert "'shop.door' took" in done.stdout
        assert "to start, slower than 0.002 s." in done.stdout

    def test_compare_is_fine_with_a_hook_as_fast_as_before(self, project: Project) -> None:
        self.record(project, 7)

        assert run(project, "--fail-slower", "1.5").returncode == 0

    def test_compare_exits_with_2_where_the_history_cannot_be_read(self, project: Project) -> None:
        (project.folder / "db.sqlite3").unlink()

        done = run(project, "--compare")

        assert done.returncode == 2
        assert "Run 'manage.py migrate lifespan_app' on that database." in done.stderr
        assert project.events() == []


LEAVES = """
import asyncio
import os
import socket
import threading

import journal
from lifespan_app import lifespan

kept = []


async def for_ever():
    await asyncio.Event().wait()


async def numbers():
    yield 1
    yield 2


@lifespan.on_start
async def task():
    kept.append(asyncio.create_task(for_ever(), name="a task"))


@lifespan.resource
async def generator():
    kept.append(numbers())
    await anext(kept[-1])
    yield 1


@lifespan.on_start
def thread():
    kept.append(threading.Event())
    threading.Thread(target=kept[-1].wait, name="a thread", daemon=True).start()


@lifespan.resource
async def listener():
    kept.append(socket.create_server(("127.0.0.1", 0)))
    yield kept[-1]


@lifespan.resource
def file():
    kept.append(open("left.txt", "w"))
    yield kept[-1]


@lifespan.on_start
def pipe():
    kept.append(os.pipe())
"""

LEAVES_NOTHING = """
import asyncio
import socket
import threading
import time

from lifespan_app import lifespan


async def for_ever():
    await asyncio.Event().wait()


async def numbers():
    yield 1
    yield 2


@lifespan.resource
async def task():
    task = asyncio.create_task(for_ever())
    await asyncio.to_thread(time.sleep, 0)
    yield 1
    task.cancel()


@lifespan.on_start
async def generator():
    async for number in numbers():
        assert number


@lifespan.resource
def thread():
    end = threading.Event()
    threading.Thread(target=end.wait).start()
    yield 1
    end.set()


@lifespan.resource
async def listener():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@lifespan.background
async def job():
    await asyncio.gather(for_ever(), for_ever())


@lifespan.on_start
async def orm():
    from lifespan_app.models import LifespanRun

    await LifespanRun.objects.acount()
"""


class TestLeftBehind:
    def test_leftovers_exit_with_4_and_name_their_hook(self, project: Project) -> None:
        project.app("shop", lifespan=LEAVES)

        code, found = run_as_json(project)

        assert code == 4
        left = {(one["kind"], one["hook"]): one for one in found["run"]["left_behind"]}
        assert set(left) == {
            ("task", "shop.task"),
            ("async generator", "shop.generator"),
            ("thread", "shop.thread"),
            ("socket", "shop.listener"),
            ("file", "shop.file"),
            ("pipe", "shop.pipe"),
        }
        task = left["task", "shop.task"]
        assert task["what"] == "for_ever"
        line = project.line_of("shop/lifespan.py", "asyncio.Event().wait()")
        assert task["where"].startswith(f"shop/lifespan.py:{line} in for_ever")
        assert left["file", "shop.file"]["what"] == "left.txt"
        assert left["thread", "shop.thread"]["what"] == "a thread"
        assert re.fullmatch(r"127\.0\.0\.1:\d+", left["socket", "shop.listener"]["what"])

    def test_leftovers_are_told_in_words(self, project: Project) -> None:
        project.app("shop", lifespan=LEAVES)

        done = run(project)

        assert done.returncode == 4
        assert "\nLeft behind\n" in done.stdout
        assert "\n    task for_ever of shop.task\n" in done.stdout
        assert "\n    file left.txt of shop.file\n" in done.stdout
        assert done.stdout.count("Starting 'app'") == 1
        assert re.search(r"^CommandError: \d things were left behind\.$", done.stderr, re.MULTILINE)

    def test_project_that_tidies_up_leaves_nothing(self, project: Project) -> None:
        """Not even with the history in a database of its own, which keeps a connection open."""
        project.app("shop", lifespan=LEAVES_NOTHING)

        code, found = run_as_json(project, "--repeat", "2")

        assert found["run"]["left_behind"] == []
        assert code == 0

    def test_leftovers_of_no_known_hook_are_listed(self, project: Project) -> None:
        """Opened once in a process, so not when the hooks start one by one."""
        project.app(
            "shop",
            lifespan=HEAD + "kept = []\n\n\n@lifespan.on_start\ndef once():\n"
            "    if not kept:\n        kept.append(open('left.txt', 'w'))\n",
        )

        code, found = run_as_json(project)

        assert code == 4
        assert found["run"]["left_behind"] == [
            {"kind": "file", "what": "left.txt", "hook": None, "where": None}
        ]

    @pytest.mark.slow
    @needs_postgresql
    def test_pool_of_django_is_no_leftover(self, project: Project) -> None:
        """It lives as long as the process, whoever uses it first."""
        project.app(
            "shop",
            lifespan=HEAD + "from django.db import connection\n\n\n"
            "@lifespan.on_start\ndef query():\n"
            "    with connection.cursor() as cursor:\n        cursor.execute('SELECT 1')\n"
            "    journal.write('asked')\n",
        )
        with PostgreSQL() as cluster:
            project.settings(
                LIFESPAN={"HISTORY": False},
                DATABASES={"default": {**cluster.database, "OPTIONS": {"pool": True}}},
            )

            code, found = run_as_json(project)

        assert found["run"]["left_behind"] == []
        assert code == 0
        assert project.events() == ["asked"]

    def test_leftovers_go_before_a_budget(self, project: Project) -> None:
        project.app("shop", lifespan=LEAVES)

        assert run(project, "--budget", "0.001ms").returncode == 4


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--repeat", "2"], "--repeat is about a run: add --run."),
            (["--budget", "2s"], "--budget is about a run: add --run."),
            (["--compare"], "--compare is about a run: add --run."),
            (["--run", "--service-type", "all"], "--run opens one plan: name one service type."),
            (["--run", "--format", "dot"], "--format dot draws the plan, which needs no --run."),
            (["--run", "--repeat", "0"], "'0' is not an integer, 1 or more."),
            (["--run", "--repeat", "many"], "'many' is not an integer, 1 or more."),
            (["--run", "--fail-slower", "-1"], "'-1' is not a number above 0."),
            (["--run", "--timeout", "soon"], "'soon' is not a duration"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_arguments_that_mean_nothing_exit_with_2(
        self, project: Project, arguments: list[str], said: str
    ) -> None:
        project.app("shop", lifespan=TILL_AND_DOOR)

        done = project.manage("checklifespan", *arguments)

        assert done.returncode == 2
        assert said in done.stderr
        assert project.events() == []

    def test_plan_that_cannot_be_made_is_not_run(self, project: Project) -> None:
        project.app(
            "shop", lifespan=TILL_AND_DOOR + "\n\n@lifespan.on_start\ndef count(tills): ...\n"
        )

        done = run(project)

        assert done.returncode == 1
        assert "matches no resource. Did you mean 'till'?" in done.stdout
        assert project.events() == []


class TestTheSandboxesOwnStep:
    """As ``make check`` does it."""

    STEP = ("checklifespan", "--run", "--budget", "30s", "--fail-level", "WARNING")

    def test_sandbox_step_ends_well_without_its_failing_hook(self, sandbox: Project) -> None:
        done = in_sandbox(sandbox, *self.STEP, NOTICES="off")

        assert done.returncode == 0, done.stderr

    def test_sandbox_step_fails_with_its_failing_hook(self, sandbox: Project) -> None:
        done = in_sandbox(sandbox, *self.STEP)

        assert done.returncode == 1
        assert "'notices.notice_board' failed: NoticeServiceError" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="lists what is open in /proc")
def test_descriptors_are_known_by_what_they_lead_to() -> None:
    from lifespan_app.cli.leaks import descriptors, leak_of

    before = descriptors()
    with open(__file__):  # noqa: PTH123
        [opened] = descriptors() - before
    assert descriptors() == before
    assert leak_of(opened, "shop.file").kind == "file"
