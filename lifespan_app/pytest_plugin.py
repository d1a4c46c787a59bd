"""Fixtures for pytest: a lifespan around one test.

``lifespan_running`` is for sync tests, ``async_lifespan_running`` for async ones; ``running`` and
``async_running`` are short names for them, unless a suite has its own fixtures of these names. They
work like the function ``lifespan_running()``; the mark ``lifespan`` takes its arguments::

    @pytest.mark.lifespan(only=[http_client])
    def test_book(db, lifespan_running):
        assert lifespan_running.client.get("/book/1/").status_code == 200

Nothing of Django is imported before a test asks for one of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .testing.running import LifespanRunning, Running

MARK = "lifespan"
DATABASES = (
    "db",
    "transactional_db",
    "django_db_reset_sequences",
    "django_db_serialized_rollback",
    "live_server",
)
"""Fixtures of pytest-django that give a test its database."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark, and the fixture for async tests."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(service_type=None, *, only=None, lifespan=None, history=False, background=False): "
        "the arguments of lifespan_app.testing.lifespan_running() for the fixture lifespan_running",
    )
    make: Any = pytest.fixture
    if config.pluginmanager.hasplugin("asyncio"):
        # In strict mode pytest-asyncio handles its own fixtures only:
        # https://pytest-asyncio.readthedocs.io/en/stable/concepts.html#strict-mode
        from pytest_asyncio import fixture as make
    # pytest collects fixtures from modules, and has collected this one already.
    fixtures = ModuleType(f"{__name__}.async_fixtures")
    vars(fixtures)["async_lifespan_running"] = make(async_lifespan_running)
    config.pluginmanager.register(fixtures, fixtures.__name__)


@pytest.fixture
def lifespan_running(request: pytest.FixtureRequest, _lifespan_database: None) -> Iterator[Running]:
    """Open the lifespan around a sync test, and return the open run: state, clients, report."""
    if inspect.iscoroutinefunction(request.function):
        pytest.fail("An async test asks for the fixture 'async_lifespan_running'.", pytrace=False)
    with opening(request) as running:
        yield running


async def async_lifespan_running(
    request: pytest.FixtureRequest, _lifespan_database: None
) -> AsyncIterator[Running]:
    """Open the lifespan around an async test, on its loop, and return the open run."""
    async with opening(request) as running:
        yield running


@pytest.fixture
def running(lifespan_running: Running) -> Running:
    """Return the value of ``lifespan_running``. A suite's own fixture of this name wins."""
    return lifespan_running


@pytest.fixture
def async_running(async_lifespan_running: Running) -> Running:
    """Return the value of ``async_lifespan_running``. A suite's own fixture of this name wins."""
    return async_lifespan_running


@pytest.fixture
def _lifespan_database(request: pytest.FixtureRequest) -> None:
    # The test's database comes first, in whatever order the test names its fixtures.
    for name in DATABASES:
        if name in request.fixturenames:
            request.getfixturevalue(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> None:
    """Explain the error of ``request.state`` on a request of Django's RequestFactory."""
    if call.excinfo is not None and "django.http" in sys.modules:
        from .integration.advice import note_missing_state

        note_missing_state(call.excinfo.value)


def opening(request: pytest.FixtureRequest) -> LifespanRunning:
    """Return the lifespan that a test's mark asks for."""
    from .testing import lifespan_running

    mark = request.node.get_closest_marker(MARK)
    return lifespan_running() if mark is None else lifespan_running(*mark.args, **mark.kwargs)
