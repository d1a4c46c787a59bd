"""``manage.py checklifespan``: the plan in a terminal, exit codes, arguments.

What the command has to print is kept in files: a change of the text is seen in a review.

    LIFESPAN_TEST_GOLDENS=write python -m pytest tests/commands

writes them anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import Project
from tests.sandboxes import in_sandbox
from tests.terminals import Terminal

GOLDENS = Path(__file__).with_name("golden")
ESCAPE = "\x1b["
HEAD = "from lifespan_app import lifespan\n\n\n"
A_NOTE = HEAD + '@lifespan.on_start(service_types=["server"])\nasync def lock(): ...\n'

# Each starts a process or two: over half a minute in all.
pytestmark = [pytest.mark.once, pytest.mark.slow]


def words(value: object) -> str:
    """Return what a parameter is called in the list of tests."""
    return " ".join(value) if isinstance(value, list) else str(value)


def assert_golden(name: str, text: str) -> None:
    """Compare a text with what is kept under a name."""
    path = GOLDENS / name
    if os.environ.get("LIFESPAN_TEST_GOLDENS") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


class TestText:
    """What stands in a terminal is kept in files, at two widths."""

    @pytest.mark.parametrize("width", [80, 120])
    def test_sandbox_is_shown_as_kept(self, sandbox: Project, width: int) -> None:
        done = in_sandbox(sandbox, "checklifespan", COLUMNS=str(width))

        assert_golden(f"sandbox-{width}.txt", done.stdout)
        assert (done.returncode, done.stderr) == (0, "")

    def test_sandbox_with_a_hook_left_out_is_shown_as_kept(self, sandbox: Project) -> None:
        done = in_sandbox(sandbox, "checklifespan", COLUMNS="80", NOTICES="off")

        assert_golden("sandbox-without-notices-80.txt", done.stdout)

    @pytest.mark.parametrize("width", [80, 120])
    def test_thirty_hooks_are_shown_as_kept(self, shop: Project, width: int) -> None:
        done = shop.manage("checklifespan", COLUMNS=str(width))

        assert_golden(f"bookshop-{width}.txt", done.stdout)

    @pytest.mark.parametrize("width", [80, 120])
    def test_every_service_type_is_shown_as_kept(self, shop: Project, width: int) -> None:
        done = shop.manage("checklifespan", "--service-type", "all", COLUMNS=str(width))

        assert_golden(f"bookshop-all-{width}.txt", done.stdout)

    @pytest.mark.parametrize("width", [80, 120])
    def test_problems_are_shown_as_kept(self, project: Project, width: int) -> None:
        project.app(
            "shop",
            lifespan=HEAD + "@lifespan.resource\nasync def a(b): ...\n\n\n"
            "@lifespan.resource\nasync def b(a): ...\n\n\n"
            "@lifespan.resource\nasync def till(): ...\n\n\n"
            "@lifespan.on_start\nasync def count(tills): ...\n",
        ).settings(LIFESPAN={"SHUTDOWN_TIMOUT": 5, "HOOKS": {"shop.tills": {}}})

        done = project.manage("checklifespan", COLUMNS=str(width))

        assert_golden(f"broken-{width}.txt", done.stdout)
        assert done.stderr == "CommandError: 3 of these problems are ERROR or higher.\n"

    def test_project_without_hooks_is_shown_so(self, project: Project) -> None:
        done = project.manage("checklifespan")

        assert done.stdout == (
            "Service type 'app': no hooks\n"
            "Hooks are declared in the lifespan.py of an installed app, or in a module that\n"
            "it imports.\n\n"
            "No problems.\n"
        )

    @pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
    def test_no_line_is_wider_than_the_terminal_unless_one_word_is(
        self, shop: Project, width: int
    ) -> None:
        said = shop.manage("checklifespan", "--service-type", "all", COLUMNS=str(width)).stdout

        columns = re.compile(r" {2,}(resource|start|shutdown|background) ")
        wide = [line for line in said.splitlines() if len(line) > max(width, 40)]
        assert [line for line in wide if len(line.split()) > 1 and not columns.search(line)] == []
        if width >= 80:
            assert wide == []

    def test_names_do_not_steer_the_terminal(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan=HEAD + '@lifespan.on_start(name="paint\\x1b[31m\\r\\nit\\u202e")\n'
            "def paint(): ...\n\n\n"
            '@lifespan.on_start(depends_on=["\\x1b[2J"])\ndef clear(): ...\n',
        )

        said = project.manage("checklifespan").stdout

        assert r"shop.paint\x1b[31m\r\nit\u202e" in said
        assert r"depends on '\x1b[2J', which no app declares" in said
        assert "\x1b" not in said
        assert "\r" not in said

    def test_wide_letters_keep_the_columns(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan=HEAD + "@lifespan.on_start\ndef 開店(): ...\n\n\n"
            "@lifespan.on_start\ndef open(): ...\n",
        )

        said = project.manage("checklifespan", PYTHONIOENCODING="utf-8").stdout

        assert "1   shop.開店  start" in said
        assert "2   shop.open  start" in said

    def test_verbosity_0_shows_problems_alone(self, project: Project) -> None:
        project.app("shop", lifespan=A_NOTE)

        said = project.manage("checklifespan", "--verbosity", "0").stdout

        assert said.startswith("Problems\n\nINFO  lifespan_app.I001  shop/lifespan.py:4\n")


class TestColour:
    def test_file_has_no_colour(self, shop: Project) -> None:
        assert ESCAPE not in shop.manage("checklifespan").stdout

    def test_colour_is_there_where_asked_for(self, shop: Project) -> None:
        assert ESCAPE in shop.manage("checklifespan", "--force-color").stdout

    @pytest.mark.parametrize(
        ("arguments", "environment"),
        [([], {"NO_COLOR": "1"}), (["--no-color"], {})],
        ids=["NO_COLOR", "--no-color"],
    )
    def test_terminal_that_wants_no_colour_gets_none(
        self, shop: Project, arguments: list[str], environment: dict[str, str]
    ) -> None:
        terminal = on_a_terminal(shop, "--fail-level", "INFO", *arguments, **environment)

        assert "Service type 'app'" in terminal.text
        assert "CommandError: 3 of these problems are INFO or higher." in terminal.text
        assert ESCAPE not in terminal.sent.decode()

    def test_terminal_gets_colour_at_its_width(self, shop: Project) -> None:
        terminal = on_a_terminal(shop)

        assert ESCAPE in terminal.sent.decode()
        kept = (GOLDENS / "bookshop-120.txt").read_text(encoding="utf-8")
        assert terminal.lines == kept.splitlines()


def on_a_terminal(project: Project, *arguments: str, **environment: str) -> Terminal:
    """Run the command on a terminal of 120 columns."""
    asked_for = {"COLUMNS", "NO_COLOR", "DJANGO_COLORS"} - environment.keys()
    inherited = {
        name: value for name, value in project.environment.items() if name not in asked_for
    }
    with Terminal(columns=120, lines=50) as terminal:
        subprocess.run(
            [sys.executable, "manage.py", "checklifespan", *arguments],
            cwd=project.folder,
            env={**inherited, "TERM": "xterm", **environment},
            stdin=terminal.slave,
            stdout=terminal.slave,
            stderr=terminal.slave,
            check=False,
        )
    return terminal


class TestServiceTypes:
    def test_service_type_of_the_setting_is_shown(self, shop: Project) -> None:
        said = shop.manage("checklifespan", LIFESPAN_SERVICE_TYPE="worker").stdout

        assert said.startswith("Service type 'worker': ")

    def test_all_service_types_are_those_of_the_setting_and_of_hooks(self, shop: Project) -> None:
        said = shop.manage("checklifespan", "--service-type", "all").stdout

        assert re.findall(r"^Service type '(\w+)'", said, re.MULTILINE) == [
            "app",
            "scheduler",
            "server",
            "worker",
        ]

    def test_misspelt_service_type_is_pointed_out(self, shop: Project) -> None:
        done = shop.manage("checklifespan", "--service-type", "schedular")

        assert done.returncode == 0
        assert done.stderr == (
            "No hook names service type 'schedular'. Did you mean 'scheduler'?\n"
        )

    @pytest.mark.parametrize("word", ["worker", "test", "bot"])
    def test_service_type_of_ones_own_is_fine(self, shop: Project, word: str) -> None:
        done = shop.manage("checklifespan", "--service-type", word)

        assert (done.returncode, done.stderr) == (0, "")

    def test_problem_of_several_service_types_is_told_once(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan=HEAD + "@lifespan.on_start\nasync def count(tills): ...\n\n\n"
            '@lifespan.background(service_types=["worker"])\nasync def work(): ...\n',
        )

        said = project.manage("checklifespan", "--service-type", "all").stdout

        assert said.count("matches no resource") == 1


class TestExitCodes:
    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ([], 0),
            (["--fail-level", "ERROR"], 0),
            (["--fail-level", "WARNING"], 1),
            (["--fail-level", "INFO"], 1),
        ],
        ids=words,
    )
    def test_warning_fails_from_its_level_on(
        self, shop: Project, arguments: list[str], code: int
    ) -> None:
        assert shop.manage("checklifespan", *arguments).returncode == code

    @pytest.mark.parametrize("form", ["json", "mermaid", "dot"])
    def test_exit_code_is_the_same_in_every_format(self, shop: Project, form: str) -> None:
        """And what is said about it does not stand in the output."""
        done = shop.manage("checklifespan", "--format", form, "--fail-level", "INFO")

        assert done.returncode == 1
        assert done.stderr == "CommandError: 3 of these problems are INFO or higher.\n"
        assert "CommandError" not in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--fail-level", "LOUD"], "invalid choice: 'LOUD'"),
            (["--format", "yaml"], "invalid choice: 'yaml'"),
            (["--asgi", "nowhere:application"], "No module named 'nowhere'."),
            (["--asgi", "asgi:aplication"], "Did you mean 'application'?"),
            (["--asgi", "asgi"], "write 'module:application'"),
            (["--asgi", "site_settings:DEBUG"], "is not an ASGI application, but a bool."),
            (["surplus"], "unrecognized arguments: surplus"),
        ],
        ids=words,
    )
    def test_bad_argument_exits_with_2(
        self, shop: Project, arguments: list[str], said: str
    ) -> None:
        done = shop.manage("checklifespan", *arguments)

        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr

    def test_exit_codes_stand_in_the_help(self, shop: Project) -> None:
        said = shop.manage("checklifespan", "--help").stdout

        assert "  1  a problem at or over --fail-level\n" in said


class TestASettingThatIsAllWrong:
    """It is told of, once, whatever else is asked for."""

    @pytest.mark.parametrize(
        "arguments", [[], ["--service-type", "worker"], ["--service-type", "all"], ["--run"]]
    )
    def test_setting_of_the_wrong_type_is_told(
        self, project: Project, arguments: list[str]
    ) -> None:
        project.app("shop", lifespan=A_NOTE).settings(LIFESPAN=["SERVICE_TYPE"])

        done = project.manage("checklifespan", *arguments)

        assert done.returncode == 1
        assert done.stdout.startswith("Problems\n\nERROR  lifespan_app.E003\n")
        assert done.stdout.endswith("\n1 error.\n")
        assert "Traceback" not in done.stderr

    def test_setting_of_the_wrong_type_is_told_before_a_deployment(self, project: Project) -> None:
        project.app("shop", lifespan=A_NOTE).settings(LIFESPAN=["SERVICE_TYPE"])

        said = project.manage("check", "--deploy", "--tag", "lifespan").stderr

        assert said.count("(lifespan_app.") == 1
        assert "LIFESPAN must be a dictionary" in said

    def test_project_without_a_database_is_not_told_of_its_record(self, project: Project) -> None:
        project.app("shop", lifespan=HEAD + "@lifespan.on_start\ndef open_up(): ...\n")
        project.settings(DATABASES={})

        assert project.manage("checklifespan").stdout.endswith("No problems.\n")


class TestASGI:
    """An application is asked, and nothing is opened for it."""

    OPENS = HEAD + (
        "import journal\n\n\n@lifespan.on_start\nasync def open_up():\n    journal.write('opened')\n"
    )

    def test_asking_the_asgi_application_opens_nothing(self, project: Project) -> None:
        project.app("shop", lifespan=self.OPENS)

        done = project.manage("checklifespan")

        assert done.stdout.endswith("No problems.\n")
        assert project.events() == []

    @pytest.mark.parametrize(
        "opens",
        [
            "lifespan.as_lifespan()",
            "asynccontextmanager(own)",
        ],
        ids=["as_lifespan", "by hand"],
    )
    def test_another_application_may_open_the_plan(self, project: Project, opens: str) -> None:
        project.app("shop", lifespan=self.OPENS).asgi(
            f"""
            from contextlib import asynccontextmanager

            from lifespan_app import lifespan
            from starlette.applications import Starlette


            async def own(app):
                async with lifespan.run():
                    yield


            application = Starlette(lifespan={opens})
            """
        )

        assert project.manage("checklifespan").stdout.endswith("No problems.\n")

    def test_project_without_asgi_application_is_fine(self, project: Project) -> None:
        project.app("shop", lifespan=self.OPENS)
        (project.folder / "asgi.py").unlink()

        assert project.manage("checklifespan").stdout.endswith("No problems.\n")

    def test_asgi_application_that_imports_a_missing_package_is_not_a_missing_one(
        self, project: Project
    ) -> None:
        project.app("shop", lifespan=self.OPENS).settings(ROOT_URLCONF="queues_demo.urls")
        project.file("queues_demo/urls.py", "urlpatterns = []")
        project.file("queues_demo/asgi.py", "import queues")

        said = project.manage("checklifespan", COLUMNS="200").stdout

        assert "WARNING  lifespan_app.W007  queues_demo.asgi:application" in said
        assert "can't be imported: ModuleNotFoundError: No module named 'queues'." in said

    def test_asgi_application_of_the_setting_has_to_be_there(self, project: Project) -> None:
        project.app("shop", lifespan=self.OPENS).settings(ASGI_APPLICATION="shop.asgi.application")

        said = project.manage("checklifespan", COLUMNS="200").stdout

        assert "WARNING  lifespan_app.W007  shop.asgi.application" in said
        assert "can't be imported: ModuleNotFoundError: No module named 'shop.asgi'." in said

    def test_other_asgi_application_is_asked_by_its_path(self, project: Project) -> None:
        project.app("shop", lifespan=self.OPENS).file(
            "other.py", "async def application(scope, receive, send):\n    await send({})\n"
        )

        said = project.manage("checklifespan", "--asgi", "other:application", COLUMNS="200").stdout

        assert "WARNING  lifespan_app.W007  other:application" in said
        assert "does not handle lifespan: it returns without asking for a message." in said
        assert "application = LifespanMiddleware(application), from lifespan_app." in said

    def test_asgi_application_is_not_asked_for_a_worker(self, project: Project) -> None:
        project.app("shop", lifespan=self.OPENS).asgi("application = None")

        said = project.manage("checklifespan", "--service-type", "worker").stdout

        assert said.endswith("No problems.\n")

    def test_project_without_hooks_needs_no_asgi_application(self, project: Project) -> None:
        project.asgi("application = None")

        assert project.manage("checklifespan").stdout.endswith("No problems.\n")
