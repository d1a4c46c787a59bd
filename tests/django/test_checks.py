"""System checks: what is wrong is said with its place and with what to do, one id a kind."""

from __future__ import annotations

import logging
import sys
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error, Warning, run_checks
from django.core.management.base import SystemCheckError
from django.core.management.commands import migrate, runserver

from lifespan_app import Lifespan, conf
from lifespan_app.checks import limits, system_checks
from lifespan_app.checks.plans import PROBLEM_IDS
from lifespan_app.errors import Problem
from lifespan_app.integration import autodiscover
from tests.messages import problem_codes
from tests.projects import Project

if TYPE_CHECKING:
    from pytest_django import Settings

KEYS = ", ".join(sorted(conf.KEYS))
OPTIONS = "enabled, priority, required, retry, shutdown_timeout, state_name, timeout, wait"


def of_the_setting() -> list[CheckMessage]:
    """Return what the checks of the setting say."""
    return [
        *system_checks.check_keys(),
        *system_checks.check_types(),
        *system_checks.check_hook_names(),
    ]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    modules: dict[str, str] = {}
    monkeypatch.setattr(autodiscover, "silent", modules)
    return modules


def test_project_without_the_setting_has_nothing_to_mend() -> None:
    assert run_checks(tags=[system_checks.TAG]) == []


class TestE001ABrokenModule:
    def test_e001_names_module_location_and_error(self, lifespan: Lifespan) -> None:
        lifespan.broken["shop.lifespan"] = Problem(
            "'shop.lifespan' of app 'shop' can't be imported: ValueError: two\nlines",
            "Mend it.",
            "/site/shop/lifespan.py",
            12,
        )
        text = "'shop.lifespan' of app 'shop' can't be imported: ValueError: two"
        assert system_checks.check_broken_modules() == [
            Error(
                text,
                hint="Mend it.",
                obj="/site/shop/lifespan.py:12",
                id="lifespan_app.E001",
            )
        ]

    @pytest.mark.django_db
    def test_e001_stops_every_checked_command_but_migrate(self, lifespan: Lifespan) -> None:
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

    def test_w001_names_a_module_outside_the_installed_apps(self, package: Path) -> None:
        module = package / "lifespan.py"
        module.write_text("raise AssertionError('looked at, not imported')")
        assert system_checks.check_lonely_module() == [
            Warning(
                f"{module} is never imported, since '{package.name}' is not in INSTALLED_APPS.",
                hint=f"Add '{package.name}' to INSTALLED_APPS, or move the file into an installed "
                "app.",
                obj=f"{package.name}.lifespan",
                id="lifespan_app.W001",
            )
        ]

    def test_w001_is_silent_where_there_is_no_module(self, package: Path) -> None:
        assert system_checks.check_lonely_module() == []

    def test_w001_is_silent_in_an_installed_package(
        self, package: Path, settings: Settings
    ) -> None:
        (package / "lifespan.py").touch()
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, package.name]
        assert system_checks.check_lonely_module() == []

    def test_w001_is_silent_where_the_project_imports_the_module(self, package: Path) -> None:
        (package / "lifespan.py").touch()
        __import__(f"{package.name}.lifespan")
        assert system_checks.check_lonely_module() == []

    @pytest.mark.parametrize("urlconf", ["urls", "no_such_package.urls", "", "tests.urls.inner"])
    def test_w001_is_silent_without_a_package(self, settings: Settings, urlconf: str) -> None:
        settings.ROOT_URLCONF = urlconf
        assert system_checks.check_lonely_module() == []

    def test_w001_is_silent_without_urls(self, settings: Settings) -> None:
        del settings.ROOT_URLCONF
        assert system_checks.check_lonely_module() == []


class TestW002ASilentModule:
    def test_w002_names_the_decorators(self, silent: dict[str, str]) -> None:
        silent.update({"shop.lifespan": "shop", "library.lifespan": "library"})
        library, shop = system_checks.check_silent_modules()
        assert library.obj == "library.lifespan"
        assert shop == Warning(
            "'shop.lifespan' declares no hook.",
            hint="Decorate its functions with @lifespan.resource, @lifespan.on_start, "
            "@lifespan.on_shutdown, @lifespan.background or @lifespan.on_drain, of 'from "
            "lifespan_app import lifespan'; or remove the file. If the module is not meant for lifespan_app, leave it "
            "out: LIFESPAN = {'AUTODISCOVER': {'exclude': ['shop']}}.",
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
    def test_e002_suggests_the_key(self, settings: Settings, key: str, meant: str) -> None:
        settings.LIFESPAN = {key: 5}
        assert of_the_setting() == [
            Error(
                f"LIFESPAN['{key}'] is not known.",
                hint=f"{meant}There are: {KEYS}.",
                id="lifespan_app.E002",
            )
        ]

    def test_e002_suggests_the_key_of_the_platform(self, settings: Settings) -> None:
        settings.LIFESPAN = {"PLATFORM": {"startup_": 5}}
        assert of_the_setting() == [
            Error(
                "LIFESPAN['PLATFORM']['startup_'] is not known.",
                hint="Did you mean 'startup'? There are: startup, termination_grace.",
                id="lifespan_app.E002",
            )
        ]

    def test_e002_finds_a_key_that_is_no_string(self, settings: Settings) -> None:
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
            ({"PLATFORM": 5}, "LIFESPAN['PLATFORM'] must be a dictionary, not 5."),
            ({"WARM_UP": "yes"}, "LIFESPAN['WARM_UP'] must be True or False, not 'yes'."),
            (
                {"SPAWN": {"running": 0}},
                "LIFESPAN['SPAWN']['running'] must be a whole number above 0, not 0.",
            ),
            (
                {"SPAWN": {"waiting": -1}},
                "LIFESPAN['SPAWN']['waiting'] must be a whole number, 0 or more, not -1.",
            ),
            ({"ALERTS": "mail"}, "LIFESPAN['ALERTS'] must be a list, not 'mail'."),
            ({"ALERTS": ["mail"]}, "LIFESPAN['ALERTS'][0] must be a dictionary, not 'mail'."),
            ({"ALERTS": [{}]}, "LIFESPAN['ALERTS'][0]['to'] must be a string, not None."),
            (
                {"ALERTS": [{"to": "a.b", "on": ["fails"]}]},
                "LIFESPAN['ALERTS'][0]['on'] must be a list of changes, which are serving, degraded, "
                "not_ready, recovered, failed, lost, stopped, not ['fails'].",
            ),
            (
                {"ALERTS": [{"to": "a.b", "on": "failed"}]},
                "LIFESPAN['ALERTS'][0]['on'] must be a list of changes, which are serving, degraded, "
                "not_ready, recovered, failed, lost, stopped, not 'failed'.",
            ),
            (
                {"ALERTS": [{"to": "a.b", "options": ["url"]}]},
                "LIFESPAN['ALERTS'][0]['options'] must be a dictionary, not ['url'].",
            ),
            (
                {"PLATFORM": {"startup": "30"}},
                "LIFESPAN['PLATFORM']['startup'] must be a number of seconds above 0, not '30'.",
            ),
        ],
    )
    def test_e003_names_the_type_of_a_value(
        self, settings: Settings, value: object, told: str
    ) -> None:
        settings.LIFESPAN = value
        assert of_the_setting() == [
            Error(
                told,
                hint="Correct the value, or remove the key to get its default. No process can open "
                "its lifespan until then.",
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
            ("wait", None, "True or False"),
        ],
    )
    def test_e003_names_the_type_of_a_hooks_option(
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
            {
                "HOOKS": {
                    "*": {"required": False, "priority": -5, "state_name": "client", "wait": True}
                }
            },
            {"PLATFORM": {"startup": 30, "termination_grace": 10.5}},
            {"PLATFORM": {"startup": None}},
            {"SPAWN": {"running": 1, "waiting": 0}, "WARM_UP": True},
        ],
    )
    def test_e003_is_silent_where_all_is_right(self, settings: Settings, value: object) -> None:
        settings.LIFESPAN = value
        assert of_the_setting() == []

    def test_e003_reports_all_at_once(self, settings: Settings) -> None:
        settings.LIFESPAN = {"SERVICE_TYPE": 5, "RELEASE": 5, "HOOKS": {"*": {"timeout": "5"}}}
        assert [message.id for message in of_the_setting()] == ["lifespan_app.E003"] * 3


class TestE004AnUnknownOption:
    @pytest.mark.parametrize(
        ("option", "meant"), [("timout", "Did you mean 'timeout'? "), ("colour", "")]
    )
    def test_e004_suggests_the_option(self, settings: Settings, option: str, meant: str) -> None:
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

    def test_w003_suggests_the_hook(self, settings: Settings, hooks: Lifespan) -> None:
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

    def test_w003_without_any_hooks(self, settings: Settings, lifespan: Lifespan) -> None:
        settings.LIFESPAN = {"HOOKS": {"shop.open_up": {}}}
        [message] = of_the_setting()
        assert message.hint == "There are: none."

    def test_w003_is_silent_of_declared_hooks(self, settings: Settings, hooks: Lifespan) -> None:
        settings.LIFESPAN = {"HOOKS": {self.key_of("open_up"): {}, "*": {}}}
        assert of_the_setting() == []

    def test_w003_is_silent_where_a_module_is_broken(
        self, settings: Settings, lifespan: Lifespan
    ) -> None:
        lifespan.broken["shop.lifespan"] = Problem("broken", "Mend it.")
        settings.LIFESPAN = {"HOOKS": {"shop.open_up": {}}}
        assert of_the_setting() == []

    def test_w003_is_silent_where_no_app_was_searched(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, lifespan: Lifespan
    ) -> None:
        monkeypatch.setattr(autodiscover, "done", False)
        settings.LIFESPAN = {"HOOKS": {"shop.open_up": {}}}
        assert of_the_setting() == []


class TestThePlan:
    """What would keep a plan from being made is said beforehand, each with its place."""

    def test_every_problem_of_a_plan_has_an_id(self) -> None:
        assert set(PROBLEM_IDS) == problem_codes()

    def test_problem_of_a_plan_is_a_message_with_its_location(self, lifespan: Lifespan) -> None:
        @lifespan.on_start
        async def warm_up(klient: object) -> None: ...

        @lifespan.resource
        async def client() -> str:
            return "a client"

        [message] = system_checks.check_plan()
        assert message.id == "lifespan_app.E007"
        assert "matches no resource. Did you mean 'client'?" in message.msg
        assert str(message.obj).startswith(f"{__file__}:")
        assert message.hint

    def test_broken_module_is_reported_instead_of_the_plan(self, lifespan: Lifespan) -> None:
        @lifespan.on_start
        async def warm_up(client: object) -> None: ...

        lifespan.broken["shop.lifespan"] = Problem("broken", "Mend it.")
        assert system_checks.check_plan() == []


class TestW004ARequiredHookThatNeedsAnOptionalOne:
    def test_w004_names_the_consequence(self, lifespan: Lifespan) -> None:
        @lifespan.resource(required=False)
        async def client() -> str:
            return "a client"

        @lifespan.on_start
        async def warm_up(client: object) -> None: ...

        [message] = system_checks.check_plan()
        assert message.id == "lifespan_app.W004"
        assert "warm_up' is required and needs" in message.msg
        assert "is skipped" in str(message.hint)

    def test_w004_is_silent_with_a_default(self, lifespan: Lifespan) -> None:
        @lifespan.resource(required=False)
        async def client() -> str:
            return "a client"

        @lifespan.on_start
        async def warm_up(client: object = None) -> None: ...

        assert system_checks.check_plan() == []


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return the servers that are installed, as the test will have it."""
    servers: set[str] = set()
    monkeypatch.setattr(limits, "is_installed", servers.__contains__)
    return servers


class TestW005AStartupThatMayTakeTooLong:
    """Limits add up along a chain; who waits for the startup gives up before."""

    @pytest.fixture
    def chain(self, lifespan: Lifespan) -> Lifespan:
        @lifespan.resource(timeout=20)
        async def pool() -> str:
            return "a pool"

        @lifespan.resource(required=False)
        async def beside(pool: object) -> str:
            return "limited to 10 s, as it is optional"

        @lifespan.on_start(timeout=15)
        async def warm_up(pool: object) -> None: ...

        return lifespan

    def told(self) -> list[str]:
        return [
            message.msg
            for message in system_checks.check_plan()
            if message.id == "lifespan_app.W005"
        ]

    def test_w005_names_the_chain_and_the_server(
        self, chain: Lifespan, installed: set[str]
    ) -> None:
        installed.update({"gunicorn", "hypercorn", "celery"})
        assert self.told() == [
            "Limits of hooks that start one after the other add up to 35 s, and gunicorn's own "
            "asgi worker gives a startup up after 30 s: "
            f"'{__name__}.pool' -> '{__name__}.warm_up'."
        ]

    def test_w005_is_silent_of_a_server_that_is_not_here(
        self, chain: Lifespan, installed: set[str]
    ) -> None:
        assert self.told() == []

    def test_w005_names_a_start_that_is_tried_again_for_longer_than_the_startup_may_take(
        self, lifespan: Lifespan, installed: set[str], settings: Settings
    ) -> None:
        @lifespan.resource(retry=20)
        async def pool() -> str:
            return "a pool"

        @lifespan.resource(retry=600, wait=False)
        async def model() -> str:
            return "a model"

        assert self.told() == []
        settings.LIFESPAN = {"HOOKS": {f"{__name__}.pool": {"retry": 400}}}
        text = f"'{__name__}.pool' is tried again for 400 s, and the whole startup has"
        assert self.told() == [f"{text} 300 s."]
        settings.LIFESPAN["STARTUP_DEADLINE"] = 60
        assert self.told() == [f"{text} 60 s."]

    def test_w005_adds_up_the_time_of_retries(
        self, lifespan: Lifespan, installed: set[str]
    ) -> None:
        installed.add("gunicorn")

        @lifespan.resource(timeout=5, retry=40)
        async def pool() -> str:
            return "a pool"

        assert "add up to 40 s" in self.told()[0]

    def test_w005_ignores_hooks_that_the_startup_does_not_wait_for(
        self, lifespan: Lifespan, installed: set[str]
    ) -> None:
        installed.add("gunicorn")

        @lifespan.resource(wait=False, timeout=90)
        async def model() -> str:
            return "a model"

        assert self.told() == []

    def test_w005_goes_by_the_platforms_limit(
        self, chain: Lifespan, installed: set[str], settings: Settings
    ) -> None:
        installed.add("gunicorn")
        settings.LIFESPAN = {"PLATFORM": {"startup": 35}}
        assert self.told() == []
        settings.LIFESPAN = {"PLATFORM": {"startup": 34}}
        [told] = self.told()
        assert "and the platform gives a startup up after 34 s" in told

    def test_w005_goes_by_celery_for_a_worker(
        self,
        chain: Lifespan,
        installed: set[str],
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.delitem(sys.modules, "lifespan_app.contrib.celery", raising=False)
        installed.update({"gunicorn", "celery"})
        settings.LIFESPAN = {"SERVICE_TYPE": "worker"}
        monkeypatch.delitem(sys.modules, "celery", raising=False)
        assert self.told() == []  # another worker's project may have it in its environment
        monkeypatch.setitem(sys.modules, "celery", ModuleType("celery"))
        [told] = self.told()
        assert "a process of Celery's pool gives a startup up after 4 s" in told

    def test_w005_is_silent_of_celery_where_its_processes_do_not_wait(
        self,
        chain: Lifespan,
        installed: set[str],
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.LIFESPAN = {"SERVICE_TYPE": "worker"}
        monkeypatch.setitem(sys.modules, "celery", ModuleType("celery"))
        monkeypatch.setitem(sys.modules, "lifespan_app.contrib.celery", ModuleType("celery"))
        assert self.told() == []

    def test_w005_looks_at_the_deadline_alone_too(
        self, lifespan: Lifespan, installed: set[str], settings: Settings
    ) -> None:
        installed.update({"gunicorn", "hypercorn"})
        settings.LIFESPAN = {"STARTUP_DEADLINE": 50}
        assert self.told() == [
            "LIFESPAN['STARTUP_DEADLINE'] is 50 s, and gunicorn's own asgi worker gives a startup "
            "up after 30 s."
        ]

    def test_w005_names_a_few_of_a_long_chain(
        self, lifespan: Lifespan, installed: set[str]
    ) -> None:
        installed.add("hypercorn")
        for number in range(9):
            lifespan.on_start(name=f"step_{number}", timeout=10)(lambda: None)
        [told] = self.told()
        key = f"{__name__}.step_"
        assert told.endswith(f"up after 60 s: '{key}0' -> '{key}1' -> 6 more -> '{key}8'.")


class TestW006AShutdownThatMayTakeTooLong:
    def told(self) -> list[CheckMessage]:
        return [
            message for message in system_checks.check_plan() if message.id == "lifespan_app.W006"
        ]

    def test_w006_for_a_platform_that_kills_earlier(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        @lifespan.resource
        async def pool() -> str:
            return "a pool"

        @lifespan.on_shutdown(timeout=4)
        async def save(pool: object) -> None: ...

        settings.LIFESPAN = {"PLATFORM": {"termination_grace": 7}}
        [message] = self.told()
        assert message.msg == (
            "The shutdown of service type 'app' may take 8 s, and the platform kills after 7 s, by "
            "LIFESPAN['PLATFORM']['termination_grace']."
        )
        settings.LIFESPAN = {"PLATFORM": {"termination_grace": 7}, "SHUTDOWN_TIMEOUT": 3}
        assert self.told() == []

    @pytest.mark.parametrize(("notice", "told"), [(True, ["may take 8 s"]), (False, [])])
    def test_w006_counts_the_drain_where_there_is_a_notice(
        self, lifespan: Lifespan, settings: Settings, notice: bool, told: list[str]
    ) -> None:
        @lifespan.resource
        async def pool() -> str:
            return "a pool"

        settings.LIFESPAN = {
            "PLATFORM": {"termination_grace": 7},
            "SHUTDOWN_NOTICE": notice,
            "DRAIN_SECONDS": 3,
        }
        assert [message.msg.partition("' ")[2][:12] for message in self.told()] == told

    def test_w006_does_not_count_the_last_write_of_the_history(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        @lifespan.resource(shutdown_timeout=8)
        async def pool() -> str:
            return "a pool"

        entry = {"to": "lifespan_app.alerts.email_admins"}
        settings.LIFESPAN = {"PLATFORM": {"termination_grace": 8}, "ALERTS": [entry]}
        assert self.told() == []
        settings.LIFESPAN |= {"PLATFORM": {"termination_grace": 7.9}}
        assert len(self.told()) == 1

    def test_w006_names_a_limit_that_the_shutdown_cuts_short(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        @lifespan.resource(shutdown_timeout=9)
        async def pool() -> str:
            return "a pool"

        [message] = self.told()
        assert message.msg == (f"'{__name__}.pool' has 9 s to stop, and the whole shutdown 8 s.")
        settings.LIFESPAN = {"SHUTDOWN_DEADLINE": 9}
        assert self.told() == []


class TestI001AHookForTheServer:
    def test_i001_names_the_command_for_server_hooks(self, lifespan: Lifespan) -> None:
        @lifespan.on_start(service_types=["server", "worker"])
        async def take_a_lock() -> None: ...

        [message] = system_checks.check_plan()
        assert message.id == "lifespan_app.I001"
        assert "runs once per server" in message.msg
        assert "runlifespan" in str(message.hint)

    def test_i001_is_silent_in_the_servers_own_plan(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        @lifespan.on_start(service_types=["server"])
        async def take_a_lock() -> None: ...

        settings.LIFESPAN = {"SERVICE_TYPE": "server"}
        assert system_checks.check_plan() == []


class TestE016AHookToSkip:
    def test_e016_names_a_key_that_no_hook_has(
        self, lifespan: Lifespan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @lifespan.on_start(name="warm_up")
        async def warm() -> None: ...

        monkeypatch.setenv("LIFESPAN_SKIP", "tests.django.test_checks.warm_ip")
        [message] = system_checks.check_plan()
        assert message.id == "lifespan_app.E016"
        assert message.msg == (
            "LIFESPAN_SKIP names 'tests.django.test_checks.warm_ip', which is no hook's key. Did you "
            "mean 'tests.django.test_checks.warm_up'?"
        )

    def test_e016_is_silent_for_a_hook_that_is_there(
        self, lifespan: Lifespan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @lifespan.on_start(name="warm_up")
        async def warm() -> None: ...

        monkeypatch.setenv("LIFESPAN_SKIP", "tests.django.test_checks.warm_up")
        assert system_checks.check_plan() == []


class TestE005AConfigFile:
    def test_e005_names_a_config_file_that_cannot_be_read(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "config.toml"
        monkeypatch.setenv("LIFESPAN_CONFIG_FILE", str(path))
        [message] = system_checks.check_config_file()
        assert message.id == "lifespan_app.E005"
        assert message.msg.startswith(f"LIFESPAN_CONFIG_FILE names '{path}', which can't be read:")
        assert message.hint == (
            "Correct the file, or remove LIFESPAN_CONFIG_FILE from the environment."
        )

    def test_e005_is_silent_of_a_sound_config_file(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        path = tmp_path / "config.toml"
        path.write_text("key = 5")
        monkeypatch.setenv("LIFESPAN_CONFIG_FILE", str(path))
        assert system_checks.check_config_file() == []


@pytest.mark.every_pair
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

    def test_check_command_shows_everything_and_fails(self, project: Project) -> None:
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

    def test_migrate_and_shell_run_in_spite_of_errors(self, project: Project) -> None:
        migrated = project.manage("migrate", "--run-syncdb")
        assert migrated.returncode == 0, migrated.stderr
        assert "Creating table shop_book" in migrated.stdout
        assert project.manage("shell", "-v", "0", "-c", "print(6 * 7)").stdout == "42\n"

    @pytest.mark.parametrize("program", ["import asgi", "lifespan.plan()"])
    def test_commands_that_make_a_plan_name_the_correction(
        self, project: Project, program: str
    ) -> None:
        set_up = "import django; django.setup(); from lifespan_app import lifespan; "
        done = project.run("-c", set_up + program)
        assert done.returncode == 1
        assert "ImproperlyConfigured: LIFESPAN['SERVICE_TYPE'] must be a string" in done.stderr
        assert "LIFESPAN['STARTUP_DEADLINE'] must be a number of seconds above 0" in done.stderr


class TestW010SecondsToDrainThatNothingKeeps:
    def test_w010_names_seconds_to_drain_without_a_notice(self, settings: Settings) -> None:
        settings.LIFESPAN = {"DRAIN_SECONDS": 2.5}
        assert list(system_checks.check_drain()) == [
            Warning(
                "LIFESPAN['DRAIN_SECONDS'] is 2.5, and LIFESPAN['SHUTDOWN_NOTICE'] is off: nothing "
                "waits for them.",
                hint="Set LIFESPAN['SHUTDOWN_NOTICE'] to True, or remove DRAIN_SECONDS. Functions "
                "of on_drain run in any case, when the shutdown begins.",
                id="lifespan_app.W010",
            )
        ]

    @pytest.mark.parametrize(
        "setting",
        [
            {},
            {"DRAIN_SECONDS": 0},
            {"DRAIN_SECONDS": 5, "SHUTDOWN_NOTICE": True},
            {"DRAIN_SECONDS": "long"},
        ],
        ids=["none", "zero", "with the notice", "no number"],
    )
    def test_w010_is_silent_where_the_drain_is_kept_or_none(
        self, settings: Settings, setting: dict[str, object]
    ) -> None:
        settings.LIFESPAN = setting
        assert list(system_checks.check_drain()) == []

    def test_w010_is_silent_of_drain_functions(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        @lifespan.on_drain
        async def say_goodbye() -> None: ...

        settings.LIFESPAN = {}
        assert list(system_checks.check_drain()) == []
        assert [message.id for message in system_checks.check_plan()] == []


def has_logging(monkeypatch: pytest.MonkeyPatch, setting: object) -> None:
    """Have the project say ``LOGGING``. Django 6.1 would carry out what its own override is given."""
    monkeypatch.setattr(django_settings, "LOGGING", setting)


class TestW011ALoggerThatIsDisabled:
    DISABLING: dict[str, Any] = {"version": 1, "root": {"level": "INFO"}}

    @pytest.mark.parametrize("more", [{}, {"disable_existing_loggers": True}])
    def test_w011_names_the_key(
        self, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
    ) -> None:
        has_logging(monkeypatch, {**self.DISABLING, **more})
        [message] = system_checks.check_logger()
        assert message.id == "lifespan_app.W011"
        assert "'disable_existing_loggers': False" in str(message.hint)

    @pytest.mark.parametrize(
        "more",
        [
            {"disable_existing_loggers": False},
            {"loggers": {"lifespan_app": {"level": "CRITICAL"}}},
            {"incremental": True},
        ],
    )
    def test_w011_is_silent_of_a_logger_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
    ) -> None:
        has_logging(monkeypatch, {**self.DISABLING, **more})
        assert system_checks.check_logger() == []

    @pytest.mark.parametrize("setting", [{}, None])
    def test_w011_is_silent_without_the_setting(
        self, monkeypatch: pytest.MonkeyPatch, setting: object
    ) -> None:
        has_logging(monkeypatch, setting)
        assert system_checks.check_logger() == []

    def test_w011_is_silent_where_django_does_not_read_the_setting(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        has_logging(monkeypatch, self.DISABLING)
        monkeypatch.setattr(django_settings, "LOGGING_CONFIG", None)
        assert system_checks.check_logger() == []

    def test_w011_finds_a_logger_that_was_disabled_otherwise(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logging.getLogger("lifespan_app"), "disabled", True)
        [message] = system_checks.check_logger()
        assert (message.id, message.obj) == ("lifespan_app.W011", "LOGGING")


class TestW013AServerThatPatchesThreads:
    @pytest.fixture(autouse=True)
    def hooks(self, lifespan: Lifespan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        @lifespan.resource
        async def client() -> int:
            return 1

        monkeypatch.chdir(tmp_path)

    @pytest.mark.parametrize(
        ("arguments", "library"),
        [
            ("-k gevent", "gevent"),
            ("--workers 4 --worker-class=gevent_pywsgi", "gevent"),
            ("-w 2 -k eventlet", "eventlet"),
            ("-kgunicorn.workers.ggevent.GeventWorker", "gevent"),
        ],
    )
    def test_reported_from_the_arguments_of_gunicorn(
        self, monkeypatch: pytest.MonkeyPatch, arguments: str, library: str
    ) -> None:
        monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments)
        assert system_checks.check_patched_threads() == [
            Warning(
                f"Threads are patched by {library}, according to GUNICORN_CMD_ARGS: no background "
                "thread can open the plan there, and reading a resource raises NotRunning.",
                hint="Serve with 'gunicorn -k gthread --threads 8', or with an ASGI server whose "
                "lifespan is on. If nothing reads resources there, set "
                "LIFESPAN['WITHOUT_SERVER_LIFESPAN'] to 'error'.",
                obj="GUNICORN_CMD_ARGS",
                id="lifespan_app.W013",
            )
        ]

    def test_reported_from_the_configuration_of_gunicorn(self) -> None:
        Path("gunicorn.conf.py").write_text("workers = 2\nworker_class = 'gevent'\n")
        [message] = system_checks.check_patched_threads()
        assert message.obj == "gunicorn.conf.py"

    def test_reported_in_a_patched_process(self, project: Project) -> None:
        project.app("shop", lifespan="from lifespan_app import lifespan\nlifespan.on_start(print)")
        project.file(
            "patched.py",
            """
            from gevent import monkey

            monkey.patch_all()

            import manage
            """,
        )
        done = project.run("patched.py", "check")
        assert "Threads are patched by gevent, according to this process" in done.stderr

    @pytest.mark.parametrize("arguments", ["", "-k gthread", "-k", "-k 'gevent", "--reload"])
    def test_other_arguments_are_not_reported(
        self, monkeypatch: pytest.MonkeyPatch, arguments: str
    ) -> None:
        monkeypatch.setenv("GUNICORN_CMD_ARGS", arguments)
        assert system_checks.check_patched_threads() == []

    @pytest.mark.parametrize("source", ["", "worker_class = ", "worker_class = 1", "workers = 2"])
    def test_other_configurations_are_not_reported(self, source: str) -> None:
        Path("gunicorn.conf.py").write_text(source)
        assert system_checks.check_patched_threads() == []

    def test_projects_that_read_nothing_there_get_no_warning(
        self, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        monkeypatch.setenv("GUNICORN_CMD_ARGS", "-k gevent")
        settings.LIFESPAN = {"WITHOUT_SERVER_LIFESPAN": "error"}
        assert system_checks.check_patched_threads() == []
        settings.LIFESPAN = {}
        Lifespan.get_instance().clear()
        assert system_checks.check_patched_threads() == []
