"""The fixtures `lifespan_running` and `async_lifespan_running`, and their short names, in suites of other projects."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

pytestmark = pytest.mark.slow

PLUGIN = "lifespan_app.pytest_plugin"

SETTINGS = """
SECRET_KEY = "for tests only"
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["lifespan_app", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
"""

LIFESPAN = """
import asyncio

from lifespan_app import lifespan

opened = []


@lifespan.resource
async def shelf():
    opened.append("shelf")
    yield asyncio.get_running_loop()
    opened.remove("shelf")


@lifespan.resource(service_types=["app"])
def lamp():
    opened.append("lamp")
    yield "lamp"
    opened.remove("lamp")
"""

CONFIGURATION = """
[pytest]
DJANGO_SETTINGS_MODULE = site_settings
asyncio_default_fixture_loop_scope = function
filterwarnings = error
strict = true
"""


def is_installed() -> bool:
    """Tell whether pytest finds the plugin by itself, as where the package is installed."""
    return any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with one app, whose tests are still to be written."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    pytester.makepyfile(site_settings=SETTINGS, urls="urlpatterns = []")
    shop = pytester.mkpydir("shop")
    (shop / "lifespan.py").write_text(LIFESPAN)
    pytester.makeini(CONFIGURATION)
    return pytester


def run(suite: pytest.Pytester, *options: str) -> pytest.RunResult:
    plugin = () if is_installed() else ("-p", PLUGIN)
    return suite.runpytest_subprocess("-p", "no:cacheprovider", *plugin, *options)


def test_sync_test_has_a_lifespan_around_it(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        from shop.lifespan import opened

        def test_open(running):
            assert sorted(opened) == ["lamp", "shelf"]
            assert running.state.lamp == "lamp"
            assert running.client.get("/").status_code == 404

        def test_closed():
            assert opened == []
        """
    )
    run(suite).assert_outcomes(passed=2)


ASYNC_TEST = """
import asyncio

from shop.lifespan import opened, shelf

{mark}async def test_open(async_running):
    assert sorted(opened) == ["lamp", "shelf"]
    assert async_running.state.shelf is asyncio.get_running_loop()
    assert shelf.current() is asyncio.get_running_loop()
    assert (await async_running.async_client.get("/")).status_code == 404

def test_closed():
    assert opened == []
"""


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_async_test_has_a_lifespan_on_its_loop(suite: pytest.Pytester, mode: str) -> None:
    mark = "import pytest\n@pytest.mark.asyncio\n" if mode == "strict" else ""
    suite.makepyfile(ASYNC_TEST.format(mark=mark))
    run(suite, "--asyncio-mode", mode).assert_outcomes(passed=2)


def test_anyio_test_has_a_lifespan_on_its_loop(suite: pytest.Pytester) -> None:
    suite.makepyfile(ASYNC_TEST.format(mark="import pytest\n@pytest.mark.anyio\n"))
    suite.makeconftest(
        """
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
        """
    )
    suite.makeini(CONFIGURATION.replace("asyncio_default_fixture_loop_scope = function\n", ""))
    run(suite, "-p", "no:asyncio").assert_outcomes(passed=2)


def test_mark_chooses_the_hooks(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        from shop.lifespan import opened, lamp

        @pytest.mark.lifespan(only=[lamp])
        def test_only(running):
            assert opened == ["lamp"]

        @pytest.mark.lifespan("worker")
        async def test_service_type(async_running):
            assert opened == ["shelf"]
            assert async_running.context.service_type == "worker"
        """
    )
    run(suite, "--asyncio-mode", "auto").assert_outcomes(passed=2)


def test_hooks_find_the_database_whatever_the_order_of_the_fixtures(
    suite: pytest.Pytester,
) -> None:
    (suite.path / "shop" / "lifespan.py").write_text(
        "from django.db import connection\n"
        "from lifespan_app import lifespan\n"
        "@lifespan.on_start\n"
        "def ask():\n"
        "    assert 'shop_book' not in connection.introspection.table_names()\n"
    )
    suite.makepyfile(
        """
        import pytest

        def test_running_first(running, db):
            assert running.report.status == "serving"

        async def test_async_running_first(async_running, transactional_db):
            assert async_running.report.status == "serving"

        @pytest.mark.django_db
        def test_marked(running):
            assert running.report.status == "serving"
        """
    )
    run(suite, "--asyncio-mode", "auto").assert_outcomes(passed=3)


def test_suite_that_has_a_fixture_running_keeps_it(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest

        @pytest.fixture
        def running():
            return "a race"

        def test_theirs_and_ours(running, lifespan_running):
            assert running == "a race"
            assert lifespan_running.state.lamp == "lamp"
        """
    )
    run(suite).assert_outcomes(passed=1)


@pytest.mark.parametrize("short", ["running", "async_running"])
def test_short_name_is_the_same_lifespan(suite: pytest.Pytester, short: str) -> None:
    whole = short.replace("running", "lifespan_running")
    keyword = "async def" if short.startswith("async") else "def"
    suite.makepyfile(f"{keyword} test_same({whole}, {short}): assert {short} is {whole}")
    run(suite, "-o", "asyncio_mode=auto").assert_outcomes(passed=1)


def test_async_test_with_the_sync_fixture_gets_the_name_of_the_other(
    suite: pytest.Pytester,
) -> None:
    suite.makepyfile("async def test_open(running): ...")
    result = run(suite, "--asyncio-mode", "auto")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*asks for the fixture 'async_lifespan_running'*"])


def test_suite_without_django_is_left_alone(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]")
    suite.makepyfile(
        """
        import sys

        def test_modules():
            assert "lifespan_app.pytest_plugin" in sys.modules
            assert "django" not in sys.modules
        """
    )
    run(suite, "-p", "no:django", "-p", "no:asyncio").assert_outcomes(passed=1)
