"""The lifespan.py of every installed app is imported; a broken one keeps the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.projects import Project

DECLARES = """
from lifespan_app import lifespan


@lifespan.on_start
async def open_up():
    pass
"""

# Broken where it calls another module of its app, after it has declared a hook.
BREAKS = """
from lifespan_app import lifespan


@lifespan.on_start
async def never_declared():
    pass


from . import clients
"""

CLIENTS = """
import json


def read(text):
    return json.loads(text)


read("no JSON")
"""

SHOP_CONFIG = """
from django.apps import AppConfig


class InnerConfig(AppConfig):
    name = "shop.inner"
    label = "inner"
"""

TELL = """
import json

import django

django.setup()

from lifespan_app.integration import autodiscover as discovery
from lifespan_app import lifespan

print(
    json.dumps(
        {
            "hooks": [f"{hook.module}.{hook.name}" for hook in lifespan.hooks],
            "broken": {
                name: {"problem": str(problem), "cause": type(problem.cause).__name__}
                for name, problem in lifespan.broken.items()
            },
            "silent": sorted(discovery.silent),
        }
    )
)
"""


def told(project: Project) -> Any:
    """Set Django up, and return what was found."""
    done = project.run("-c", TELL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class TestSearch:
    def test_hooks_are_registered_in_the_order_of_apps(self, project: Project) -> None:
        for label in ("shop", "library", "search"):
            project.app(label, lifespan=DECLARES)
        names = [f"{label}.lifespan.open_up" for label in ("shop", "library", "search")]
        assert told(project) == {"hooks": names, "broken": {}, "silent": []}

    def test_apps_without_lifespan_or_not_installed_are_passed_over(self, project: Project) -> None:
        project.app("plain").app("absent", lifespan=DECLARES, installed=False)
        assert told(project) == {"hooks": [], "broken": {}, "silent": []}

    def test_lifespan_may_be_a_package(self, project: Project) -> None:
        project.app("shop")
        project.file("shop/lifespan/__init__.py", "from . import http")
        project.file("shop/lifespan/http.py", DECLARES)
        assert told(project)["hooks"] == ["shop.lifespan.http.open_up"]
        assert told(project)["silent"] == []

    def test_app_that_only_looks_like_one_is_not_imported(self, project: Project) -> None:
        """An AppConfig may stand in a module of a package; what counts is the package's name."""
        project.app("shop", apps=SHOP_CONFIG, installed=False)
        project.file("shop/inner/__init__.py", "").file("shop/inner/lifespan.py", DECLARES)
        project.file("shop/lifespan.py", "raise AssertionError('not its module')")
        project.settings(INSTALLED_APPS=["lifespan_app", "shop.apps.InnerConfig"])
        assert told(project)["hooks"] == ["shop.inner.lifespan.open_up"]
        assert told(project)["broken"] == {}

    def test_module_imported_before_is_neither_broken_nor_silent(self, project: Project) -> None:
        models = "from .lifespan import open_up"
        project.app("shop", lifespan=DECLARES, models=models)
        assert told(project) == {
            "hooks": ["shop.lifespan.open_up"],
            "broken": {},
            "silent": [],
        }

    def test_module_that_declares_nothing_is_silent(self, project: Project) -> None:
        project.app("shop", lifespan="def open_up(): pass").app("library", lifespan=DECLARES)
        assert told(project)["silent"] == ["shop.lifespan"]


class TestBroken:
    """A module that can't be imported is kept with its error; all others are there."""

    @pytest.fixture
    def broken(self, project: Project) -> Project:
        project.app("before", lifespan=DECLARES)
        project.app("shop", lifespan=BREAKS, clients=CLIENTS)
        return project.app("behind", lifespan=DECLARES)

    def test_broken_module_lets_the_others_register(self, broken: Project) -> None:
        assert told(broken)["hooks"] == ["before.lifespan.open_up", "behind.lifespan.open_up"]

    def test_broken_module_keeps_its_error_and_innermost_line(self, broken: Project) -> None:
        line = broken.line_of("shop/clients.py", "return json.loads")
        [(name, kept)] = told(broken)["broken"].items()
        assert name == "shop.lifespan"
        assert kept["cause"] == "JSONDecodeError"
        assert f"shop/clients.py:{line}: 'shop.lifespan' of app 'shop' can't be" in kept["problem"]
        assert "JSONDecodeError: Expecting value" in kept["problem"]

    @pytest.mark.parametrize(
        ("source", "cause", "line"),
        [
            ("import no_such_package", "ModuleNotFoundError", 1),
            ("def open_up(:\n    pass", "SyntaxError", 1),
            ("import sys\n\nsys.exit('not here')", "SystemExit", 3),
            ("from .models import NoSuchModel", "ImportError", 1),
            (
                "from lifespan_app import lifespan\n\n\n@lifespan.on_strat\ndef open_up(): ...",
                "AttributeError",
                4,
            ),
        ],
        ids=["missing package", "syntax", "exit", "missing name", "decorator misspelt"],
    )
    def test_every_way_to_break_a_module_is_kept(
        self, project: Project, source: str, cause: str, line: int
    ) -> None:
        project.app("shop", lifespan=source, models="").app("library", lifespan=DECLARES)
        found = told(project)
        [kept] = found["broken"].values()
        assert kept["cause"] == cause
        assert f"shop/lifespan.py:{line}: " in kept["problem"]
        assert found["hooks"] == ["library.lifespan.open_up"]

    def test_every_broken_module_is_kept_with_its_error(self, broken: Project) -> None:
        broken.app("till", lifespan="raise LookupError('no drawer')")
        assert sorted(told(broken)["broken"]) == ["shop.lifespan", "till.lifespan"]

    def test_module_imported_by_a_broken_one_keeps_its_hooks(self, project: Project) -> None:
        project.app("shop", lifespan="import library.lifespan\n\nraise LookupError")
        project.app("library", lifespan=DECLARES)
        found = told(project)
        assert found["hooks"] == ["library.lifespan.open_up"]
        assert found["silent"] == []


class TestCommands:
    """With a broken module every command runs that opens no lifespan."""

    @pytest.fixture(scope="class")
    @classmethod
    def broken(cls, tmp_path_factory: pytest.TempPathFactory) -> Project:
        project = Project(tmp_path_factory.mktemp("project"))
        models = "from django.db import models\n\n\nclass Book(models.Model):\n    pass"
        project.app("shop", lifespan=BREAKS, clients=CLIENTS, models=models)
        return project.app("till", lifespan="raise LookupError('no drawer')")

    def test_check_command_shows_each_broken_module_and_fails(self, broken: Project) -> None:
        done = broken.manage("check")
        line = broken.line_of("shop/clients.py", "return json.loads")
        assert done.returncode == 1
        assert done.stderr.count("(lifespan_app.E001)") == 2
        place = f"shop/clients.py:{line}: (lifespan_app.E001)"
        assert f"{place} 'shop.lifespan' of app 'shop' can't be imported" in done.stderr
        assert "'till.lifespan' of app 'till' can't be imported: LookupError: no" in done.stderr
        assert "HINT: Fix the import error: no server can start until then." in done.stderr
        assert "{'AUTODISCOVER': {'exclude': ['till']}}" in done.stderr

    def test_migrate_warns_of_a_broken_module_and_makes_the_tables(self, broken: Project) -> None:
        done = broken.manage("migrate", "--run-syncdb")
        assert done.returncode == 0, done.stderr
        assert "Creating table shop_book" in done.stdout
        assert done.stderr.count("(lifespan_app.E001)") == 2
        assert "WARNINGS:" in done.stderr
        assert "ERRORS:" not in done.stderr

    def test_shell_runs_with_a_broken_module(self, broken: Project) -> None:
        assert broken.manage("shell", "-v", "0", "-c", "print(6 * 7)").stdout == "42\n"

    @pytest.mark.parametrize(
        "program",
        [
            "import asgi",
            "import django; django.setup(); from lifespan_app import lifespan; lifespan.plan()",
        ],
        ids=["get_asgi_application", "plan"],
    )
    def test_plan_of_a_broken_module_raises_its_traceback(
        self, broken: Project, program: str
    ) -> None:
        done = broken.run("-c", program)
        line = broken.line_of("shop/clients.py", "return json.loads")
        assert done.returncode == 1
        original, _, raised = done.stderr.partition("direct cause of the following exception")
        assert f'shop/clients.py", line {line}, in read' in original
        assert "JSONDecodeError: Expecting value" in original
        assert "PlanError: The plan of service type 'app' has 2 problems:" in raised
        assert "'shop.lifespan' of app 'shop' can't be imported" in raised
        assert "'till.lifespan' of app 'till' can't be imported" in raised

    def test_run_of_a_broken_module_is_refused(self, broken: Project) -> None:
        program = """
            import asyncio

            import django

            django.setup()

            from lifespan_app import lifespan
            from lifespan_app.errors import PlanError


            async def run():
                async with lifespan.run():
                    print("it runs")


            try:
                asyncio.run(run())
            except PlanError as error:
                print(type(error.__cause__).__name__)
        """
        done = broken.file("run.py", program).run("run.py")
        assert done.stdout == "JSONDecodeError\n"


def test_project_that_mends_its_module_has_its_plan(project: Project) -> None:
    project.app("shop", lifespan="raise LookupError")
    assert project.run("-c", "import asgi").returncode == 1
    project.file("shop/lifespan.py", DECLARES)
    done = project.run("-c", "import asgi")
    assert (done.returncode, done.stderr) == (0, "")


class TestAnAppThatIsExcluded:
    """``AUTODISCOVER`` leaves the module of an app alone."""

    @pytest.fixture
    def project(self, project: Project) -> Project:
        project.app("shop", lifespan=DECLARES).app(
            "till", lifespan="raise LookupError('no drawer')"
        )
        return project.settings(LIFESPAN={"AUTODISCOVER": {"exclude": ["till"]}})

    def test_excluded_app_keeps_no_server_from_starting(self, project: Project) -> None:
        assert told(project) == {"hooks": ["shop.lifespan.open_up"], "broken": {}, "silent": []}
        assert project.run("-c", "import asgi").returncode == 0

    def test_excluded_app_is_named_by_checklifespan(self, project: Project) -> None:
        done = project.manage("checklifespan")
        assert "Not imported, by AUTODISCOVER: the lifespan.py of till\n" in done.stdout
        done = project.manage("checklifespan", "--format", "json")
        assert json.loads(done.stdout)["excluded_apps"] == ["till"]

    def test_app_that_declares_nothing_may_be_excluded(self, project: Project) -> None:
        project.app("about", lifespan="SPAN = 9")
        done = project.manage("check")
        assert "'about.lifespan' declares no hook." in done.stderr
        assert "{'AUTODISCOVER': {'exclude': ['about']}}" in done.stderr
