"""Each problem has its id, level, place and hint, in the command and in the system checks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lifespan_app import migrations
from tests.commands.schemas import errors_of
from tests.messages import source_of_checks
from tests.projects import Project

# Each starts a process or two: over half a minute in all.
pytestmark = [pytest.mark.once, pytest.mark.slow]

# Broken projects, one for each problem that can be found before anything runs.

MIGRATIONS = len([*Path(migrations.__file__).parent.glob("[0-9]*.py")])

HEAD = "from lifespan_app import lifespan\n\n\n"
SOUND = HEAD + "@lifespan.resource\nasync def till():\n    yield 'till'\n"

MOUNTED = """
from contextlib import asynccontextmanager

from lifespan_app.asgi import get_asgi_application
from starlette.applications import Starlette
from starlette.routing import Mount


@asynccontextmanager
async def own(app):
    yield


application = Starlette(routes=[Mount("/", get_asgi_application())], lifespan=own)
"""
CHANNELS = """
from channels.routing import ProtocolTypeRouter
from lifespan_app.asgi import get_asgi_application

application = ProtocolTypeRouter({"http": get_asgi_application()})
"""
HIDING = """
from lifespan_app.asgi import get_asgi_application


async def tools(scope, receive, send): ...


application = get_asgi_application(mounts={"/api": tools, "/tools": tools})
"""
VIEWS = """
def tools(request): ...
"""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """One broken project."""

    id: str
    what: str
    make: Callable[[Project], object]
    says: str
    """What its message holds."""
    place: str = ""
    """A file, and a text that the line of the problem holds."""
    level: str = "ERROR"
    hint: str
    """What its hint holds."""
    environment: dict[str, str] = field(default_factory=dict)
    in_deployment: bool = False
    """Whether ``manage.py check`` looks for it only with ``--deploy``."""
    asks_database: bool = False
    """Whether it does so only where a database is named, too."""

    def __str__(self) -> str:
        return f"{self.id} {self.what}"


def shop(lifespan: str) -> Callable[[Project], object]:
    """Return what makes a project of one app with these hooks."""
    return lambda project: project.app("shop", lifespan=HEAD + lifespan)


def sound(**settings: object) -> Callable[[Project], object]:
    """Return what makes a project of one sound app with these settings."""
    return lambda project: project.app("shop", lifespan=SOUND).settings(**settings)


def lonely(project: Project) -> None:
    project.app("shop", lifespan=SOUND, installed=False, urls="urlpatterns = []")
    project.settings(ROOT_URLCONF="shop.urls")


def without_tables(project: Project) -> None:
    project.app("shop", lifespan=SOUND)
    (project.folder / "db.sqlite3").unlink()


def with_a_failed_run(project: Project) -> None:
    project.app(
        "shop", lifespan=HEAD + "@lifespan.on_start\ndef fail():\n    raise ValueError('no')"
    )
    opened = "import django; django.setup(); from lifespan_app import lifespan; "
    project.run("-c", f"{opened}lifespan.run_sync().__enter__()")


def with_asgi(source: str) -> Callable[[Project], object]:
    """Return what makes a project of one sound app with this ASGI application."""
    return lambda project: project.app("shop", lifespan=SOUND).asgi(source)


CIRCLE = """
@lifespan.resource(depends_on=["shop.door"])
async def till(): ...


@lifespan.resource
async def door(safe): ...


@lifespan.resource
async def safe(till): ...
"""

TWO_TILLS = """
@lifespan.resource
async def till(): ...


@lifespan.resource(name="till")
async def other_till(): ...
"""

TWO_NAMES = """
@lifespan.resource
async def till(): ...


@lifespan.resource(state_name="till")
async def other_till(): ...
"""

BROKEN = (
    Broken(
        id="E001",
        what="a module that raises",
        make=shop('import json\n\njson.loads("no JSON")\n'),
        says="'shop.lifespan' of app 'shop' can't be imported: JSONDecodeError: Expecting value",
        place="shop/lifespan.py: json.loads",
        hint="leave it out: LIFESPAN = {'AUTODISCOVER': {'exclude': ['shop']}}.",
    ),
    Broken(
        id="E002",
        what="an unknown setting",
        make=sound(LIFESPAN={"SHUTDOWN_TIMOUT": 5}),
        says="LIFESPAN['SHUTDOWN_TIMOUT'] is not known.",
        hint="Did you mean 'SHUTDOWN_TIMEOUT'?",
    ),
    Broken(
        id="E003",
        what="a setting of the wrong type",
        make=sound(LIFESPAN={"SHUTDOWN_TIMEOUT": "5 s"}),
        says="LIFESPAN['SHUTDOWN_TIMEOUT'] must be a number of seconds above 0, not '5 s'.",
        hint="remove the key to get its default.",
    ),
    Broken(
        id="E003",
        what="a word where a list is wanted",
        make=sound(LIFESPAN={"AUTODISCOVER": {"exclude": "shop"}}),
        says="LIFESPAN['AUTODISCOVER']['exclude'] must be a list of app labels, not 'shop'.",
        hint="remove the key to get its default.",
    ),
    Broken(
        id="E004",
        what="an unknown option of a hook",
        make=sound(LIFESPAN={"HOOKS": {"shop.till": {"timout": 5}}}),
        says="LIFESPAN['HOOKS']['shop.till']['timout'] is not known.",
        hint="Did you mean 'timeout'?",
    ),
    Broken(
        id="E005",
        what="a configuration file that is missing",
        make=sound(),
        says="LIFESPAN_CONFIG_FILE names 'no-such-file.toml', which can't be read",
        hint="remove LIFESPAN_CONFIG_FILE from the environment",
        environment={"LIFESPAN_CONFIG_FILE": "no-such-file.toml"},
    ),
    Broken(
        id="E015",
        what="a function that runs once for each release, and no release",
        make=shop('@lifespan.on_start(once="release")\ndef migrate(): ...'),
        says="'shop.migrate' has once='release', and this process knows no release.",
        place="shop/lifespan.py: @lifespan.on_start",
        hint="Set LIFESPAN['RELEASE'], or the environment variable LIFESPAN_RELEASE",
    ),
    Broken(
        id="E016",
        what="a hook to skip that there is not",
        make=sound(),
        says="LIFESPAN_SKIP names 'shop.tall', which is no hook's key. Did you mean 'shop.till'?",
        hint="Correct the key, or remove it.",
        environment={"LIFESPAN_SKIP": "shop.tall"},
    ),
    Broken(
        id="E006",
        what="a circle",
        make=shop(CIRCLE),
        says="'shop.safe' (shop/lifespan.py:13) waits for 'shop.till': needs, parameter 'till'",
        place="shop/lifespan.py: depends_on",
        hint="Remove one of these dependencies",
    ),
    Broken(
        id="E007",
        what="a parameter that names nothing",
        make=shop(SOUND.removeprefix(HEAD) + "\n\n@lifespan.on_start\nasync def count(tills): ..."),
        says="Parameter 'tills' of 'shop.count' matches no resource. Did you mean 'till'?",
        place="shop/lifespan.py: @lifespan.on_start",
        hint="Resources there are: till.",
    ),
    Broken(
        id="E008",
        what="a hook that needs one which is left out",
        make=shop(
            '@lifespan.resource(service_types=["worker"])\nasync def till(): ...\n\n\n'
            "@lifespan.on_start\nasync def count(till): ..."
        ),
        says="Hook 'shop.count' needs 'shop.till' (shop/lifespan.py:4), which is left out here",
        place="shop/lifespan.py: @lifespan.on_start",
        hint="Let both run for the same service types",
    ),
    Broken(
        id="E009",
        what="two hooks with one key",
        make=shop(TWO_TILLS),
        says="Two hooks have the key 'shop.till': shop/lifespan.py:5 and shop/lifespan.py:9.",
        place='shop/lifespan.py: name="till"',
        hint="Rename one of them",
    ),
    Broken(
        id="E009",
        what="two resources with one name in the state",
        make=shop(TWO_NAMES),
        says="Two resources are called 'till' in the state",
        place='shop/lifespan.py: state_name="till"',
        hint='set LIFESPAN = {"HOOKS": {"shop.other_till": {"state_name": "shop_other_till"}}}',
    ),
    Broken(
        id="E010",
        what="our ASGI middleware among Django's",
        make=sound(MIDDLEWARE=["lifespan_app.LifespanMiddleware"]),
        says="'lifespan_app.LifespanMiddleware' is in MIDDLEWARE",
        hint="write in asgi.py",
    ),
    Broken(
        id="E011",
        what="a method without its object",
        make=shop("class Shop:\n    @lifespan.on_start\n    async def open(self): ..."),
        says="Hook 'shop.open' is a method without its object",
        place="shop/lifespan.py: @lifespan.on_start",
        hint="Register the bound method",
    ),
    Broken(
        id="W001",
        what="a module of a package that is not installed",
        make=lonely,
        says="since 'shop' is not in INSTALLED_APPS",
        level="WARNING",
        hint="Add 'shop' to INSTALLED_APPS",
    ),
    Broken(
        id="W002",
        what="a module that declares nothing",
        make=shop("async def till(): ..."),
        says="'shop.lifespan' declares no hook.",
        level="WARNING",
        hint="Decorate its functions",
    ),
    Broken(
        id="W003",
        what="options of a hook that there is not",
        make=sound(LIFESPAN={"HOOKS": {"shop.tills": {"timeout": 5}}}),
        says="LIFESPAN['HOOKS']['shop.tills'] names no declared hook.",
        level="WARNING",
        hint="Did you mean 'shop.till'?",
    ),
    Broken(
        id="W003",
        what="an app to leave alone that there is not",
        make=sound(LIFESPAN={"AUTODISCOVER": {"exclude": ["shp"]}}),
        says="LIFESPAN['AUTODISCOVER']['exclude'] names 'shp', which is no installed app's label.",
        level="WARNING",
        hint="Did you mean 'shop'?",
    ),
    Broken(
        id="W004",
        what="a required hook that needs an optional one",
        make=shop(
            "@lifespan.resource(required=False)\nasync def till(): ...\n\n\n"
            "@lifespan.on_start\nasync def count(till): ..."
        ),
        says="'shop.count' is required and needs 'shop.till', which is optional.",
        place="shop/lifespan.py: @lifespan.on_start",
        level="WARNING",
        hint="Make both required or both optional",
    ),
    Broken(
        id="W005",
        what="a startup that the platform does not wait for",
        make=sound(LIFESPAN={"STARTUP_DEADLINE": 40, "PLATFORM": {"startup": 30}}),
        says="LIFESPAN['STARTUP_DEADLINE'] is 40 s, and the platform gives a startup up after 30 s",
        level="WARNING",
        hint="LIFESPAN['PLATFORM']['startup']",
    ),
    Broken(
        id="W006",
        what="a shutdown that the platform does not wait for",
        make=sound(LIFESPAN={"SHUTDOWN_TIMEOUT": 8, "PLATFORM": {"termination_grace": 7}}),
        says="may take 8 s, and the platform kills after 7 s",
        level="WARNING",
        hint="Lower LIFESPAN['SHUTDOWN_DEADLINE']",
    ),
    Broken(
        id="W007",
        what="Django's own ASGI application",
        make=with_asgi(
            "from django.core.asgi import get_asgi_application\n\n"
            "application = get_asgi_application()\n"
        ),
        says="The ASGI application 'asgi:application' does not handle lifespan: ValueError: Django can",
        level="WARNING",
        hint="Import get_asgi_application from lifespan_app.asgi",
        in_deployment=True,
    ),
    Broken(
        id="W007",
        what="a router of Channels that has nobody for lifespan",
        make=with_asgi(CHANNELS),
        says="does not handle lifespan: ValueError: No application configured for scope type 'lifespan'",
        level="WARNING",
        hint="ProtocolTypeRouter({'http': django, 'lifespan': django, ...})",
        in_deployment=True,
    ),
    Broken(
        id="W007",
        what="Django mounted in an application with a lifespan of its own",
        make=with_asgi(MOUNTED),
        says="The ASGI application 'asgi:application' has a lifespan of its own, which opens no plan",
        level="WARNING",
        hint="application = LifespanMiddleware(application)",
        in_deployment=True,
    ),
    Broken(
        id="W007",
        what="an application that ends the process",
        make=with_asgi("async def application(scope, receive, send):\n    raise SystemExit(3)"),
        says="The ASGI application 'asgi:application' does not handle lifespan: SystemExit: 3.",
        level="WARNING",
        hint="application = LifespanMiddleware(application)",
        in_deployment=True,
    ),
    Broken(
        id="W007",
        what="a module that raises",
        make=with_asgi("application = 1 / 0"),
        says="'asgi:application' can't be imported: ZeroDivisionError: division by zero.",
        level="WARNING",
        hint="Name the right one in ASGI_APPLICATION",
        in_deployment=True,
    ),
    Broken(
        id="W008",
        what="a database without the tables of the history",
        make=without_tables,
        says=f"Runs are not recorded: {MIGRATIONS} migrations are not applied to the database 'default'.",
        level="WARNING",
        hint="manage.py migrate lifespan_app",
        in_deployment=True,
        asks_database=True,
    ),
    Broken(
        id="W009",
        what="a run that has failed lately",
        make=with_a_failed_run,
        says="1 run of service type 'app' failed or got lost in the last 24 hours; the last one: "
        "startup failed: ValueError: no",
        level="WARNING",
        hint="manage.py showlifespan ",
        in_deployment=True,
        asks_database=True,
    ),
    Broken(
        id="W010",
        what="seconds to drain that nothing keeps",
        make=sound(LIFESPAN={"DRAIN_SECONDS": 5}),
        says="LIFESPAN['DRAIN_SECONDS'] is 5, and LIFESPAN['SHUTDOWN_NOTICE'] is off",
        level="WARNING",
        hint="Set LIFESPAN['SHUTDOWN_NOTICE'] to True",
    ),
    Broken(
        id="E013",
        what="a database of the history that is not there",
        make=sound(LIFESPAN={"HISTORY_DATABASE": "defualt"}),
        says="LIFESPAN['HISTORY_DATABASE'] is 'defualt', which is no alias in DATABASES.",
        hint="Did you mean 'default'? There are: default.",
    ),
    Broken(
        id="W011",
        what="a LOGGING that disables loggers",
        make=sound(LOGGING={"version": 1}),
        says="LOGGING disables every logger that exists when it is read",
        level="WARNING",
        hint="Add 'disable_existing_loggers': False to LOGGING",
    ),
    Broken(
        id="W012",
        what="a folder in which no record can wait",
        make=sound(LIFESPAN={"SPOOL_DIR": "/proc/spool"}),
        says="Records of runs that the database does not take can't wait in a file: /proc",
        level="WARNING",
        hint="Set LIFESPAN['SPOOL_DIR'] to a folder that belongs to the user of the server alone",
    ),
    Broken(
        id="W013",
        what="a server that patches threads",
        make=sound(),
        says="Threads are patched by gevent, according to GUNICORN_CMD_ARGS",
        level="WARNING",
        hint="Serve with 'gunicorn -k gthread --threads 8'",
        environment={"GUNICORN_CMD_ARGS": "--worker-class gevent"},
    ),
    Broken(
        id="E014",
        what="a command that opens no plan",
        make=sound(LIFESPAN={"COMMANDS": {"migrate": "worker"}}),
        says="LIFESPAN['COMMANDS']['migrate']: 'migrate' is a command of django.core, which needs no "
        "lifespan or opens its own.",
        hint="Remove it.",
    ),
    Broken(
        id="W014",
        what="a command that there is not",
        make=sound(LIFESPAN={"COMMANDS": {"db_wroker": "worker"}}),
        says="LIFESPAN['COMMANDS']['db_wroker'] names no command of this project",
        level="WARNING",
        hint="",
    ),
    Broken(
        id="W015",
        what="a mounted application that hides a view",
        make=lambda project: project.app("shop", lifespan=SOUND, views=VIEWS).asgi(HIDING),
        says="mounts[/tools] hides 'tools/' of the URLconf: the mounted application gets the requests.",
        level="WARNING",
        hint="Remove the routes, or mount the application at another prefix.",
        in_deployment=True,
    ),
    Broken(
        id="E017",
        what="an alert to a function that there is not",
        make=sound(LIFESPAN={"ALERTS": [{"to": "lifespan_app.alerts.email_admin"}]}),
        says="LIFESPAN['ALERTS'][0]['to'] is 'lifespan_app.alerts.email_admin', which can't be "
        "imported: ImportError:",
        hint="Name a function, such as 'lifespan_app.alerts.email_admins'",
    ),
    Broken(
        id="W016",
        what="alerts without a history",
        make=sound(LIFESPAN={"HISTORY": False, "ALERTS": [{"to": "lifespan_app.alerts.webhook"}]}),
        says="LIFESPAN['ALERTS'] sends nothing, as LIFESPAN['HISTORY'] is False",
        level="WARNING",
        hint="Set HISTORY to True, or remove ALERTS.",
    ),
    Broken(
        id="W017",
        what="a mail to nobody",
        make=sound(LIFESPAN={"ALERTS": [{"to": "lifespan_app.alerts.email_admins"}]}),
        says="LIFESPAN['ALERTS'][0]['to'] is 'lifespan_app.alerts.email_admins', and ADMINS is empty",
        level="WARNING",
        hint="Add an address to ADMINS.",
    ),
    Broken(
        id="I001",
        what="a hook that runs once per server",
        make=shop('@lifespan.on_start(service_types=["server"])\nasync def lock(): ...'),
        says="'shop.lock' is for service type 'server'",
        place="shop/lifespan.py: @lifespan.on_start",
        level="INFO",
        hint="manage.py runlifespan -- COMMAND",
    ),
)


# What is told of them.


@pytest.fixture(params=BROKEN, ids=str)
def broken(request: pytest.FixtureRequest, project: Project) -> Broken:
    """Return a broken project, which has been made."""
    found: Broken = request.param
    found.make(project)
    return found


def found_by_checklifespan(project: Project, **environment: str) -> tuple[int, list[Any]]:
    """Return the exit code of the command, and the problems of its JSON."""
    done = project.manage("checklifespan", "--format", "json", **environment)
    assert "Traceback" not in done.stderr
    assert errors_of(done.stdout) == []
    return done.returncode, json.loads(done.stdout)["problems"]


def test_problem_is_told_with_id_level_place_and_hint(broken: Broken, project: Project) -> None:
    code, problems = found_by_checklifespan(project, **broken.environment)

    [problem] = problems
    assert problem["id"] == f"lifespan_app.{broken.id}"
    assert problem["level"] == broken.level
    assert broken.says in problem["message"]
    assert ".." not in problem["message"].replace("...", "")
    assert broken.hint in problem["hint"]
    assert code == (1 if broken.level == "ERROR" else 0)
    if broken.place:
        file, text = broken.place.split(": ")
        assert problem["file"] == file
        assert problem["line"] == project.line_of(file, text)


def test_problem_is_a_system_check_too(broken: Broken, project: Project) -> None:
    tag = "database" if broken.asks_database else "lifespan"
    arguments = ["check", "--tag", tag, "--fail-level", "INFO"]
    if broken.in_deployment:
        without = project.manage("check", **broken.environment)
        assert f"lifespan_app.{broken.id}" not in without.stderr
        arguments.append("--deploy")
    if broken.asks_database:
        # Since Django 6.1 the tag alone is enough to have every database asked.
        without = project.manage("check", "--deploy", **broken.environment)
        assert f"lifespan_app.{broken.id}" not in without.stderr
        arguments += ["--database", "default"]

    done = project.manage(*arguments, **broken.environment)

    assert done.returncode == 1
    # Its paths are whole ones.
    said = done.stderr.replace(f"{project.folder}/", "")
    assert f"(lifespan_app.{broken.id}) " in said
    assert broken.says in said
    assert broken.hint in said
    assert said.count("(lifespan_app.") == 1


def test_every_id_has_a_broken_project() -> None:
    ids = set(re.findall(r'"(?:lifespan_app\.)?([EWI]\d{3})"', source_of_checks()))

    assert {broken.id for broken in BROKEN} == ids


class TestABrokenModule:
    """It is named, and the others are still shown."""

    @pytest.fixture
    def done(self, project: Project) -> dict[str, Any]:
        project.app("till", lifespan="raise ValueError('no till')")
        project.app(
            "door",
            lifespan="from lifespan_app import lifespan\n\n\n"
            "@lifespan.on_start\ndef open_up(till): ...\n\n\n"
            "@lifespan.on_start\ndef greet(): ...\n",
        )
        done = project.manage("checklifespan", "--format", "json")
        assert done.returncode == 1
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def test_broken_module_is_named_alone(self, done: dict[str, Any]) -> None:
        """What others miss may be in it: until it is mended nobody can tell."""
        assert [problem["id"] for problem in done["problems"]] == ["lifespan_app.E001"]
        assert "of app 'till'" in done["problems"][0]["message"]

    def test_broken_module_leaves_the_hooks_of_others_in_sight(self, done: dict[str, Any]) -> None:
        [plan] = done["plans"]
        assert [hook["key"] for hook in plan["hooks"]] == ["door.open_up", "door.greet"]
        assert plan["complete"] is False

    def test_broken_module_shows_its_traceback_when_asked(self, project: Project) -> None:
        project.app("till", lifespan="def fail():\n    raise ValueError('no till')\n\n\nfail()\n")

        assert "Traceback" not in project.manage("checklifespan").stdout
        shown = project.manage("checklifespan", "--verbosity", "2").stdout

        assert 'till/lifespan.py", line 2, in fail' in shown


class TestACircle:
    def test_circle_is_told_whole_beside_the_hooks_outside_it(self, project: Project) -> None:
        project.app(
            "shop",
            lifespan="from lifespan_app import lifespan\n\n\n"
            "@lifespan.resource\nasync def a(b): ...\n\n\n"
            "@lifespan.resource\nasync def b(a): ...\n\n\n"
            "@lifespan.resource\nasync def behind(a): ...\n\n\n"
            "@lifespan.resource\nasync def beside(): ...\n",
        )

        done = project.manage("checklifespan", "--format", "json")

        found = json.loads(done.stdout)
        [plan] = found["plans"]
        assert [hook["key"] for hook in plan["hooks"]] == ["shop.beside"]
        assert {hook["key"]: hook["reason"] for hook in plan["left_out"]} == dict.fromkeys(
            ("shop.a", "shop.b", "shop.behind"), "stands in a cycle, or needs a hook that does"
        )
        [problem] = found["problems"]
        assert problem["message"].splitlines()[1:] == [
            "      'shop.a' (shop/lifespan.py:4) waits for 'shop.b': needs, parameter 'b'",
            "      'shop.b' (shop/lifespan.py:8) waits for 'shop.a': needs, parameter 'a'",
        ]


def test_silenced_problem_is_not_told(project: Project) -> None:
    project.app("shop", lifespan="").settings(SILENCED_SYSTEM_CHECKS=["lifespan_app.W002"])

    assert found_by_checklifespan(project) == (0, [])
