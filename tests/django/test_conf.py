"""The setting LIFESPAN, and the environment that wins over it."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured

from lifespan_app import Lifespan, LifespanContext, ServiceType, conf
from lifespan_app.engine.settings import Settings as Given
from tests.projects import Project

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the shell that runs the tests may have set."""
    for name in [*conf.FROM_ENVIRONMENT.values(), conf.CONFIG_FILE]:
        monkeypatch.delenv(name, raising=False)


def nothing() -> None:
    """Do nothing, as a hook."""


class TestDefaults:
    @pytest.mark.parametrize("value", [None, {}, {"SHUTDOWN_TIMEOUT": None, "HOOKS": None}])
    def test_defaults_without_settings(self, settings: Settings, value: object) -> None:
        settings.DEBUG = False
        settings.LIFESPAN = value
        assert conf.settings() == Given(
            service_type="app",
            environment="production",
            release="",
            config={},
            startup_deadline=None,
            shutdown_timeout=5.0,
            shutdown_deadline=8.0,
            hooks={},
        )

    def test_defaults_hold_without_the_setting(self, settings: Settings) -> None:
        settings.LIFESPAN = {}
        with_it = conf.settings()
        del settings.LIFESPAN
        assert conf.settings() == with_it

    def test_default_environment_is_development_with_debug(self, settings: Settings) -> None:
        settings.DEBUG = True
        assert conf.settings().environment == "development"


class TestSetting:
    def test_setting_reaches_the_engine(self, settings: Settings) -> None:
        hooks = {"shop.open_up": {"timeout": 3}}
        settings.LIFESPAN = {
            "SERVICE_TYPE": "worker",
            "ENVIRONMENT": "staging",
            "RELEASE": "1.2",
            "CONFIG": {"key": "value"},
            "STARTUP_DEADLINE": 30,
            "SHUTDOWN_TIMEOUT": 2,
            "SHUTDOWN_DEADLINE": 20,
            "HOOKS": hooks,
        }
        assert conf.settings() == Given(
            service_type="worker",
            environment="staging",
            release="1.2",
            config={"key": "value"},
            startup_deadline=30.0,
            shutdown_timeout=2.0,
            shutdown_deadline=20.0,
            hooks=hooks,
        )

    @pytest.mark.parametrize("given", [{"running": 5}, {"running": 5, "waiting": None}])
    def test_limit_of_spawn_that_is_not_given_is_the_default(
        self, settings: Settings, given: dict[str, int | None]
    ) -> None:
        settings.LIFESPAN = {"SPAWN": given}
        assert conf.settings().spawn == {"running": 5, "waiting": 1000}

    def test_setting_may_name_a_service_type_of_ours(self, settings: Settings) -> None:
        settings.LIFESPAN = {"SERVICE_TYPE": ServiceType.WORKER}
        assert conf.settings().service_type == "worker"

    def test_setting_may_be_a_member_of_the_projects_own_enum(
        self, settings: Settings, lifespan: Lifespan
    ) -> None:
        class Word(str, Enum):  # noqa: UP042  # str() of a StrEnum is its value anyway
            JOBS = "jobs"
            EU = "eu"

        settings.LIFESPAN = {"SERVICE_TYPE": Word.JOBS, "ENVIRONMENT": Word.EU, "RELEASE": Word.EU}
        lifespan.on_start(name="pick", service_types=[Word.JOBS])(nothing)
        lifespan.on_start(name="pack", service_types=["jobs"])(nothing)

        given = conf.settings()

        words = (given.service_type, given.environment, given.release)
        assert list(map(str, words)) == ["jobs", "eu", "eu"]
        assert lifespan.plan().service_type == "jobs"
        assert [node.hook.name for node in lifespan.plan().nodes if node.hook] == ["pick", "pack"]
        assert lifespan.plan(Word.JOBS) is lifespan.plan()
        assert LifespanContext(Word.JOBS, Word.EU).service_type == "jobs"

    def test_option_of_a_hook_that_is_set_in_place_is_in_the_next_plan(
        self, settings: Settings, lifespan: Lifespan
    ) -> None:
        options: dict[str, object] = {}
        settings.LIFESPAN = {"HOOKS": {"*": options}}
        lifespan.on_start(nothing)
        assert lifespan.plan().nodes[0].options.timeout is None

        options["timeout"] = 3

        assert lifespan.plan().nodes[0].options.timeout == 3

    def test_setting_is_read_anew_for_each_plan(
        self, settings: Settings, lifespan: Lifespan
    ) -> None:
        assert lifespan.plan().service_type == "app"
        settings.LIFESPAN = {"SERVICE_TYPE": "scheduler"}
        assert lifespan.plan().service_type == "scheduler"

    async def test_setting_is_in_the_context_of_hooks(
        self, settings: Settings, lifespan: Lifespan
    ) -> None:
        settings.LIFESPAN = {"SERVICE_TYPE": "worker", "CONFIG": {"key": "value"}}
        seen: list[LifespanContext] = []

        @lifespan.on_start
        async def look(context: LifespanContext) -> None:
            seen.append(context)

        async with lifespan.run():
            pass
        [context] = seen
        assert context.is_worker()
        assert context.environment == "production"
        assert context.get_config("key") == "value"

    def test_setting_of_the_wrong_type_is_refused_with_all_that_is_wrong(
        self, settings: Settings
    ) -> None:
        settings.LIFESPAN = {"STARTUP_DEADLINE": "soon", "HOOKS": {"*": {"required": "no"}}}
        with pytest.raises(ImproperlyConfigured) as caught:
            conf.settings()
        assert str(caught.value) == (
            "LIFESPAN['STARTUP_DEADLINE'] must be a number of seconds above 0, or 'auto', not "
            "'soon'.\n"
            "LIFESPAN['HOOKS']['*']['required'] must be True or False, not 'no'."
        )

    def test_setting_that_is_no_dictionary_is_refused(self, settings: Settings) -> None:
        settings.LIFESPAN = "app"
        with pytest.raises(
            ImproperlyConfigured, match=r"^LIFESPAN must be a dictionary, not 'app'"
        ):
            conf.settings()


class TestEnvironment:
    @pytest.mark.parametrize(
        ("variable", "field"),
        [
            ("LIFESPAN_SERVICE_TYPE", "service_type"),
            ("LIFESPAN_ENVIRONMENT", "environment"),
            ("LIFESPAN_RELEASE", "release"),
        ],
    )
    def test_environment_variable_wins_over_the_setting_unless_empty(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, variable: str, field: str
    ) -> None:
        settings.LIFESPAN = {field.upper(): "from the setting"}
        assert getattr(conf.settings(), field) == "from the setting"
        monkeypatch.setenv(variable, "from the environment")
        assert getattr(conf.settings(), field) == "from the environment"
        monkeypatch.setenv(variable, "")
        assert getattr(conf.settings(), field) == "from the setting"

    def test_keys_of_hooks_to_skip_are_separated_by_commas(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert conf.settings().skip == frozenset()
        monkeypatch.setenv("LIFESPAN_SKIP", " shop.cache,shop.mail ,")
        assert conf.settings().skip == {"shop.cache", "shop.mail"}


class TestConfigFile:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("LIFESPAN_CONFIG_FILE", str(tmp_path / "config.toml"))
        return tmp_path

    def test_config_file_in_toml_is_merged_over_the_setting_table_by_table(
        self, settings: Settings, folder: Path
    ) -> None:
        settings.LIFESPAN = {
            "CONFIG": {"cache": {"url": "redis://here", "size": 5}, "kept": True, "list": [1, 2]}
        }
        text = 'list = [3]\nnew = 1\n[cache]\nurl = "redis://there"\n'
        (folder / "config.toml").write_text(text)
        assert conf.settings().config == {
            "cache": {"url": "redis://there", "size": 5},
            "kept": True,
            "list": [3],
            "new": 1,
        }
        assert settings.LIFESPAN["CONFIG"]["cache"]["url"] == "redis://here"

    @pytest.mark.parametrize("name", ["config.json", "config.JSON"])
    def test_config_file_in_json_is_read_by_its_name(
        self, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        (folder / name).write_text(json.dumps({"cache": {"url": "redis://there"}}))
        monkeypatch.setenv("LIFESPAN_CONFIG_FILE", str(folder / name))
        settings.LIFESPAN = {"CONFIG": {"cache": "none"}}
        assert conf.settings().config == {"cache": {"url": "redis://there"}}

    def test_config_file_may_hold_non_ascii_text(self, folder: Path) -> None:
        (folder / "config.toml").write_bytes('name = "Brontë"'.encode())
        assert conf.settings().config == {"name": "Brontë"}

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("missing.toml", None, "which can't be read: [Errno 2] No such file or directory"),
            ("folder", "", "which can't be read: [Errno 21] Is a directory"),
            ("broken.toml", b"key = ", "which can't be read: Invalid value"),
            ("broken.json", b"{", "which can't be read: Expecting property name"),
            ("latin.toml", b'name = "Bront\xeb"', "which can't be read: 'utf-8' codec can't"),
            ("list.json", b"[1]", "which holds a list; it must hold keys and values."),
            ("json.toml", b'{"key": 1}', "It takes a TOML file, or a JSON file whose name ends"),
        ],
    )
    def test_config_file_that_cannot_be_used_is_named_with_the_reason(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        content: bytes | str | None,
        told: str,
    ) -> None:
        path = folder / name
        if content == "":
            path.mkdir()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        monkeypatch.setenv("LIFESPAN_CONFIG_FILE", str(path))
        with pytest.raises(ImproperlyConfigured) as caught:
            conf.settings()
        assert str(caught.value).startswith(f"LIFESPAN_CONFIG_FILE names '{path}', which ")
        assert told in str(caught.value)

    def test_config_file_is_found_from_the_working_directory_of_the_process(
        self, project: Project
    ) -> None:
        project.app(
            "shop",
            lifespan="""
                from lifespan_app import lifespan


                @lifespan.on_start
                async def look(context):
                    print(context.service_type, context.environment, context.config)
            """,
        )
        project.file("deploy/config.json", '{"key": "value"}')
        run = "import asyncio, django; django.setup(); from lifespan_app import lifespan\n"
        run += "async def main():\n    async with lifespan.run(): pass\nasyncio.run(main())"
        environment = {
            "LIFESPAN_CONFIG_FILE": "deploy/config.json",
            "LIFESPAN_SERVICE_TYPE": "worker",
            "LIFESPAN_ENVIRONMENT": "staging",
        }
        done = project.run("-c", run, environment=environment)
        assert done.stdout == "worker staging {'key': 'value'}\n", done.stderr
