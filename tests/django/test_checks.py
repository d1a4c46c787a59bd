"""System checks: what is wrong is said with its place and with what to do, one id a kind."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import CheckMessage, Error, Warning, run_checks
from django.core.management.base import SystemCheckError
from django.core.management.commands import migrate, runserver

from lifespan_app import Lifespan, checks, discovery
from lifespan_app.errors import Problem
from tests.projects import Project

if TYPE_CHECKING:
    from pytest_django import Settings

KEYS = (
    "CONFIG, ENVIRONMENT, HOOKS, RELEASE, SERVICE_TYPE, SHUTDOWN_DEADLINE, SHUTDOWN_TIMEOUT, "
    "STARTUP_DEADLINE"
)
OPTIONS = "enabled, priority, required, shutdown_timeout, state_name, timeout"


def of_the_setting() -> list[CheckMessage]:
    """Return what the checks of the setting say."""
    return [*checks.check_keys(), *checks.check_types(), *checks.check_hook_names()]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    modules: set[str] = set()
    monkeypatch.setattr(discovery, "silent", modules)
    return modules


def test_a_project_without_the_setting_has_nothing_to_mend() -> None:
    assert run_checks(tags=[checks.TAG]) == []


class TestE001ABrokenModule:
    def test_names_module_place_and_error(self, lifespan: Lifespan) -> None:
        lifespan.broken["shop.lifespan"] = Problem(
            "'shop.lifespan' of app 'shop' can't be imported: ValueError: two\nlines",
            "Mend it.",
            "/site/shop/lifespan.py",
            12,
        )
        text = "'shop.lifespan' of app 'shop' can't be imported: ValueError: two"
        assert checks.check_broken_modules() == [
            Error(
                f"/site/shop/lifespan.py:12: {text}",
                hint="Mend it.",
                obj="shop.lifespan",
                id="lifespan_app.E001",
            )
        ]

    def test_stops_every_command_that_runs_the_checks_but_migrate(self, lifespan: Lifespan) -> None:
        class MigrateEverything(migrate.Command):
            """Commands that extend migrate are migrate to us."""

        lifespan.broken["shop.lifespan"] = Problem("broken", "Mend it.")
        for command in (migrate.Command, MigrateEverything):
            said = StringIO()
            command(stderr=said, no_color=True).check(databases=["default"])
            assert "WARNINGS:\nshop.lifespan: (lifespan_app.E001) broken" in said.getvalue()
        with pytest.raises(
            SystemCheckError, match=r"ERRORS:\nshop.lifespan: \(lifespan_app.E001\)"
        ):
            runserver.Command().check(databases=["default"])


class TestW001ALonelyModule:
    """A lifespan.py beside the URLconf of a package that is not installed."""

    @pytest.fixture
    def package(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        settings: Settings,
    ) -> Path:
        name = f"config_{request.node.name}"
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        settings.ROOT_URLCONF = f"{name}.urls"
        return folder

    def test_is_pointed_out(self, package: Path) -> None:
        module = package / "lifespan.py"
        module.write_text("raise AssertionError('looked at, not imported')")
        assert checks.check_lonely_module() == [
            Warning(
                f"{module} is never imported, since '{package.name}' is not in INSTALLED_APPS.",
                hint=f"Add '{package.name}' to INSTALLED_APPS, or move the file into an installed "
                "app.",
                obj=f"{package.name}.lifespan",
                id="lifespan_app.W001",
            )
        ]

    def test_is_fine_where_there_is_none(self, package: Path) -> None:
        assert checks.check_lonely_module() == []

    def test_is_fine_in_an_installed_package(self, package: Path, settings: Settings) -> None:
        (package / "lifespan.py").touch()
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, package.name]
        assert checks.check_lonely_module() == []

    def test_is_fine_where_the_project_imports_it(self, package: Path) -> None:
        (package / "lifespan.py").touch()
        __import__(f"{package.name}.lifespan")
        assert checks.check_lonely_module() == []

    @pytest.mark.parametrize("urlconf", ["urls", "no_such_package.urls", "", "tests.urls.inner"])
    def test_is_not_looked_for_where_there_is_no_package(
        self, settings: Settings, urlconf: str
    ) -> None:
        settings.ROOT_URLCONF = urlconf
        assert checks.check_lonely_module() == []

    def test_is_not_looked_for_without_urls(self, settings: Settings) -> None:
        del settings.ROOT_URLCONF
        assert checks.check_lonely_module() == []


class TestW002ASilentModule:
    def test_is_pointed_out_with_the_decorators(self, silent: set[str]) -> None:
        silent.update({"shop.lifespan", "library.lifespan"})
        library, shop = checks.check_silent_modules()
        assert library.obj == "library.lifespan"
        assert shop == Warning(
            "'shop.lifespan' declares no hook.",
            hint="Decorate its functions with @lifespan.resource, @lifespan.on_start, "
            "@lifespan.on_shutdown or @lifespan.background, of 'from lifespan_app import "
            "lifespan'; or remove the file.",
            obj="shop.lifespan",
            id="lifespan_app.W002",
        )


class TestE002AnUnknownKey:
    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("STARTUP_DEADLIN", "Did you mean 'STARTUP_DEADLINE'? "),
            ("shutdown_timeout", "Did you mean 'SHUTDOWN_TIMEOUT'? "),
            ("COLOUR", ""),
        ],
    )
    def test_is_told_with_what_was_meant(self, settings: Settings, key: str, meant: str) -> None:
        settings.LIFESPAN = {key: 5}
        assert of_the_setting() == [
            Error(
                f"LIFESPAN['{key}'] is not known.",
                hint=f"{meant}There are: {KEYS}.",
                id="lifespan_app.E002",
            )
        ]

    def test_that_is_no_string_is_told_too(self, settings: Settings) -> None:
        settings.LIFESPAN = {5: 5}
        [message] = of_the_setting()
        assert message.msg == "LIFESPAN[5] is not known."


class TestE003AWrongType:
    @pytest.mark.parametrize(
        ("value", "told"),
        [
            (["SERVICE_TYPE"], "LIFESPAN must be a dictionary, not ['SERVICE_TYPE']."),
            ("app", "LIFESPAN must be a dictionary, not 'app'."),
            ({"SERVICE_TYPE": 5}, "LIFESPAN['SERVICE_TYPE'] must be a string, not 5."),
            ({"ENVIRONMENT": True}, "LIFESPAN['ENVIRONMENT'] must be a string, not True."),
            ({"RELEASE": 1.2}, "LIFESPAN['RELEASE'] must be a string, not 1.2."),
            ({"CONFIG": "file"}, "LIFESPAN['CONFIG'] must be a dictionary, not 'file'."),
            (
                {"STARTUP_DEADLINE": "soon"},
                "LIFESPAN['STARTUP_DEADLINE'] must be a number of seconds above 0, or 'auto', "
                "not 'soon'.",
            ),
            (
                {"STARTUP_DEADLINE": 0},
                "LIFESPAN['STARTUP_DEADLINE'] must be a number of seconds above 0, or 'auto', "
                "not 0.",
            ),
            (
                {"SHUTDOWN_TIMEOUT": "5"},
                "LIFESPAN['SHUTDOWN_TIMEOUT'] must be a number of seconds above 0, not '5'.",
            ),
            (
                {"SHUTDOWN_DEADLINE": -1},
                "LIFESPAN['SHUTDOWN_DEADLINE'] must be a number of seconds above 0, not -1.",
            ),
            (
                {"SHUTDOWN_DEADLINE": True},
                "LIFESPAN['SHUTDOWN_DEADLINE'] must be a number of seconds above 0, not True.",
            ),
            ({"HOOKS": ["*"]}, "LIFESPAN['HOOKS'] must be a dictionary, not ['*']."),
            ({"HOOKS": {"*": 5}}, "LIFESPAN['HOOKS']['*'] must be a dictionary, not 5."),
        ],
    )
    def test_is_told_with_what_it_must_be(
        self, settings: Settings, value: object, told: str
    ) -> None:
        settings.LIFESPAN = value
        assert of_the_setting() == [
            Error(
                told,
                hint="Until then no process can open its lifespan. Left out, the default holds.",
                id="lifespan_app.E003",
            )
        ]

    @pytest.mark.parametrize(
        ("option", "value", "wanted"),
        [
            ("enabled", 1, "True or False"),
            ("required", "yes", "True or False"),
            ("timeout", 0, "a number of seconds above 0, or None"),
            ("shutdown_timeout", "5", "a number of seconds above 0, or None"),
            ("priority", 1.5, "a whole number"),
            ("priority", True, "a whole number"),
            ("state_name", "", "a string"),
        ],
    )
    def test_of_a_hooks_option_is_told_with_what_it_must_be(
        self, settings: Settings, option: str, value: object, wanted: str
    ) -> None:
        settings.LIFESPAN = {"HOOKS": {"*": {option: value}}}
        [message] = of_the_setting()
        assert message.id == "lifespan_app.E003"
        assert message.msg == f"LIFESPAN['HOOKS']['*']['{option}'] must be {wanted}, not {value!r}."

    @pytest.mark.parametrize(
        "value",
        [
            None,
            {},
            {"SERVICE_TYPE": "worker", "ENVIRONMENT": "staging", "RELEASE": "1.2"},
            {"CONFIG": {"key": object()}, "STARTUP_DEADLINE": "auto"},
            {"STARTUP_DEADLINE": 30, "SHUTDOWN_TIMEOUT": 0.5, "SHUTDOWN_DEADLINE": 9.5},
            {"SERVICE_TYPE": None, "STARTUP_DEADLINE": None, "CONFIG": None, "HOOKS": None},
            {"HOOKS": {"*": {"timeout": None, "shutdown_timeout": 2, "enabled": False}}},
            {"HOOKS": {"*": {"required": False, "priority": -5, "state_name": "client"}}},
        ],
    )
    def test_is_not_found_in_what_is_right(self, settings: Settings, value: object) -> None:
        settings.LIFESPAN = value
        assert of_the_setting() == []

    def test_all_are_told_at_once(self, settings: Settings) -> None:
        settings.LIFESPAN = {"SERVICE_TYPE": 5, "RELEASE": 5, "HOOKS": {"*": {"timeout": "5"}}}
        assert [message.id for message in of_the_setting()] == ["lifespan_app.E003"] * 3


class TestE004AnUnknownOption:
    @pytest.mark.parametrize(
        ("option", "meant"), [("timout", "Did you mean 'timeout'? "), ("colour", "")]
    )
    def test_is_told_with_what_was_meant(self, settings: Settings, option: str, meant: str) -> None:
        settings.LIFESPAN = {"HOOKS": {"*": {option: 5}}}
        assert of_the_setting() == [
            Error(
                f"LIFESPAN['HOOKS']['*']['{option}'] is not known.",
                hint=f"{meant}There are: {OPTIONS}.",
                id="lifespan_app.E004",
            )
        ]


class TestW003AnUnknownHook:
    @pytest.fixture
    def hooks(self, lifespan: Lifespan) -> Lifespan:
        for name in ("open_up", "warm_catalogue"):
            lifespan.on_start(name=name)(lambda: None)
        return lifespan

    def key_of(self, name: str) -> str:
        return f"{__name__}.{name}"

    def test_is_told_with_what_was_meant(self, settings: Settings, hooks: Lifespan) -> None:
        key = self.key_of("warm_catalog")
        settings.LIFESPAN = {"HOOKS": {key: {"enabled": False}}}
        assert of_the_setting() == [
            Warning(
                f"LIFESPAN['HOOKS']['{key}'] names no declared hook.",
                hint=f"Did you mean '{self.key_of('warm_catalogue')}'? There are: "
                f"{self.key_of('open_up')}, {self.key_of('warm_catalogue')}.",
                id="lifespan_app.W003",
            )
        ]

    def test_is_told_where_there_are_no_hooks(self, settings: Settings, lifespan: Lifespan) -> None:
        settings.LIFESPAN = {"HOOKS": {"shop.open_up": {}}}
        [message] = of_the_setting()
        assert message.hint == "There are: none."

    def test_is_not_found_in_what_is_declared(self, settings: Settings, hooks: Lifespan) -> None:
        settings.LIFESPAN = {"HOOKS": {self.key_of("open_up"): {}, "*": {}}}
        assert of_the_setting() == []

    def test_may_be_in_a_broken_module(self, settings: Settings, lifespan: Lifespan) -> None:
        lifespan.broken["shop.lifespan"] = Problem("broken", "Mend it.")
        settings.LIFESPAN = {"HOOKS": {"shop.open_up": {}}}
        assert of_the_setting() == []

    def test_may_be_imported_later_where_no_app_was_searched(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, lifespan: Lifespan
    ) -> None:
        monkeypatch.setattr(discovery, "done", False)
        settings.LIFESPAN = {"HOOKS": {"shop.open_up": {}}}
        assert of_the_setting() == []


class TestE006ThePlan:
    """What would keep a plan from being made is said beforehand, each with its place."""

    def test_each_problem_is_a_message_with_its_place(self, lifespan: Lifespan) -> None:
        @lifespan.on_start
        async def warm_up(klient: object) -> None: ...

        @lifespan.resource
        async def client() -> str:
            return "a client"

        [message] = checks.check_plan()
        assert message.id == "lifespan_app.E006"
        assert "names no resource. Did you mean 'client'?" in message.msg
        assert str(message.obj).startswith(f"{__file__}:")
        assert message.hint

    def test_a_broken_module_is_told_of_instead(self, lifespan: Lifespan) -> None:
        @lifespan.on_start
        async def warm_up(client: object) -> None: ...

        lifespan.broken["shop.lifespan"] = Problem("broken", "Mend it.")
        assert checks.check_plan() == []


class TestW004ARequiredHookThatNeedsAnOptionalOne:
    def test_is_told_of_with_what_would_happen(self, lifespan: Lifespan) -> None:
        @lifespan.resource(required=False)
        async def client() -> str:
            return "a client"

        @lifespan.on_start
        async def warm_up(client: object) -> None: ...

        [message] = checks.check_plan()
        assert message.id == "lifespan_app.W004"
        assert "warm_up' is required and needs" in message.msg
        assert "is skipped" in str(message.hint)

    def test_is_fine_with_a_default(self, lifespan: Lifespan) -> None:
        @lifespan.resource(required=False)
        async def client() -> str:
            return "a client"

        @lifespan.on_start
        async def warm_up(client: object = None) -> None: ...

        assert checks.check_plan() == []


class TestE005AConfigFile:
    def test_that_cannot_be_read_is_told(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "config.toml"
        monkeypatch.setenv("LIFESPAN_CONFIG_FILE", str(path))
        [message] = checks.check_config_file()
        assert message.id == "lifespan_app.E005"
        assert message.msg.startswith(f"LIFESPAN_CONFIG_FILE names '{path}', which can't be read:")
        assert message.hint == (
            "Correct the file, or remove LIFESPAN_CONFIG_FILE from the environment."
        )

    def test_that_can_be_read_is_fine(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "config.toml"
        path.write_text("key = 5")
        monkeypatch.setenv("LIFESPAN_CONFIG_FILE", str(path))
        assert checks.check_config_file() == []


class TestCommands:
    """A setting that is all wrong is reported; it makes no command unusable."""

    WRONG: dict[str, Any] = {
        "SERVICE_TYP": "app",
        "SERVICE_TYPE": ["app"],
        "CONFIG": 5,
        "STARTUP_DEADLINE": "soon",
        "SHUTDOWN_TIMEOUT": "5 s",
        "HOOKS": {"shop.open_up": {"timeout": "5 s", "colour": "red"}, "*": None, 5: []},
    }

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, tmp_path_factory: pytest.TempPathFactory) -> Project:
        hooks = "from lifespan_app import lifespan\n\n\n@lifespan.on_start\ndef open_up(): ..."
        models = "from django.db import models\n\n\nclass Book(models.Model):\n    pass"
        project = Project(tmp_path_factory.mktemp("project"))
        return project.app("shop", lifespan=hooks, models=models).settings(LIFESPAN=cls.WRONG)

    def test_check_shows_everything_and_fails(self, project: Project) -> None:
        done = project.manage("check", LIFESPAN_CONFIG_FILE="no-such-file.toml")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        for text in (
            "(lifespan_app.E002) LIFESPAN['SERVICE_TYP'] is not known.",
            "(lifespan_app.E003) LIFESPAN['SERVICE_TYPE'] must be a string, not ['app'].",
            "(lifespan_app.E003) LIFESPAN['CONFIG'] must be a dictionary, not 5.",
            "(lifespan_app.E003) LIFESPAN['SHUTDOWN_TIMEOUT'] must be a number of seconds",
            "(lifespan_app.E003) LIFESPAN['HOOKS']['shop.open_up']['timeout'] must be",
            "(lifespan_app.E003) LIFESPAN['HOOKS']['*'] must be a dictionary, not None.",
            "(lifespan_app.E003) LIFESPAN['HOOKS'][5] must be a dictionary, not [].",
            "(lifespan_app.E004) LIFESPAN['HOOKS']['shop.open_up']['colour'] is not known.",
            "(lifespan_app.E005) LIFESPAN_CONFIG_FILE names 'no-such-file.toml', which can't",
            "(lifespan_app.W003) LIFESPAN['HOOKS'][5] names no declared hook.",
        ):
            assert text in done.stderr

    def test_migrate_and_shell_run(self, project: Project) -> None:
        migrated = project.manage("migrate", "--run-syncdb")
        assert migrated.returncode == 0, migrated.stderr
        assert "Creating table shop_book" in migrated.stdout
        assert project.manage("shell", "-v", "0", "-c", "print(6 * 7)").stdout == "42\n"

    @pytest.mark.parametrize("program", ["import asgi", "lifespan.plan()"])
    def test_what_makes_a_plan_says_what_to_correct(self, project: Project, program: str) -> None:
        set_up = "import django; django.setup(); from lifespan_app import lifespan; "
        done = project.run("-c", set_up + program)
        assert done.returncode == 1
        assert "ImproperlyConfigured: LIFESPAN['SERVICE_TYPE'] must be a string" in done.stderr
        assert "LIFESPAN['STARTUP_DEADLINE'] must be a number of seconds above 0" in done.stderr
