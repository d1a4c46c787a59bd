"""What the engine says of limits and options: in a Django project it names the setting to change."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from typing import TYPE_CHECKING, Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.conf import KEYS
from lifespan_app.engine.settings import Settings as EngineSettings
from lifespan_app.errors import HookError, PlanError
from lifespan_app.integration.adapter import DjangoAdapter
from lifespan_app.integration.server import ServerAdapter

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture
def lifespan() -> Lifespan:
    """Return a registry of the test's own, with Django around it."""
    return Lifespan(DjangoAdapter())


KEY = f"{__name__}.slow"


def declare_slow(lifespan: Lifespan, **options: Any) -> None:
    @lifespan.resource(**options)
    async def slow() -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"timeout": 0.01},
            f"Raise timeout= of the hook, or LIFESPAN['HOOKS']['{KEY}']['timeout'].",
        ),
        ({}, "Raise LIFESPAN['STARTUP_DEADLINE'], or make the hook optional with required=False."),
    ],
    ids=["its own limit", "the startup's"],
)
async def test_hook_that_starts_too_slowly_is_reported_with_the_setting(
    lifespan: Lifespan, settings: Settings, options: dict[str, Any], said: str
) -> None:
    settings.LIFESPAN = {"STARTUP_DEADLINE": 0.1}
    declare_slow(lifespan, **options)
    with pytest.raises(HookError) as caught:
        await lifespan.startup("app")
    assert str(caught.value).endswith(said)


async def test_hook_that_never_begins_is_reported_with_the_setting(
    lifespan: Lifespan, settings: Settings
) -> None:
    settings.LIFESPAN = {"STARTUP_DEADLINE": 0.1}
    declare_slow(lifespan, required=False)

    @lifespan.on_start(1)
    def late() -> None: ...

    with pytest.raises(HookError, match=r"could begin\. Raise LIFESPAN\['STARTUP_DEADLINE'\]\.$"):
        await lifespan.startup("app")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "SHUTDOWN_TIMEOUT",
            f"Raise shutdown_timeout= of the hook, LIFESPAN['HOOKS']['{KEY}']['shutdown_timeout'], or "
            "LIFESPAN['SHUTDOWN_TIMEOUT'] for all.",
        ),
        (
            "SHUTDOWN_DEADLINE",
            "Raise LIFESPAN['SHUTDOWN_DEADLINE'], and the limits of the server and the platform with it.",
        ),
    ],
)
async def test_hook_that_stops_too_slowly_is_reported_with_the_setting(
    lifespan: Lifespan, settings: Settings, setting: str, said: str
) -> None:
    settings.LIFESPAN = {setting: 1.1 if setting == "SHUTDOWN_DEADLINE" else 0.01}

    @lifespan.resource
    async def slow() -> Any:
        yield "slow"
        await asyncio.Event().wait()

    await lifespan.startup("app")
    with pytest.RaisesGroup(HookError) as caught:
        await lifespan.shutdown()
    assert str(caught.value.exceptions[0]).endswith(said)


def test_hook_that_the_setting_disables_is_left_out_by_its_name(
    lifespan: Lifespan, settings: Settings
) -> None:
    settings.LIFESPAN = {"HOOKS": {KEY: {"enabled": False}}}
    declare_slow(lifespan)
    [excluded] = lifespan.plan("app").excluded
    assert excluded.reason == "disabled by the HOOKS setting"


def test_forbidden_state_name_in_the_setting_is_reported_by_its_name(
    lifespan: Lifespan, settings: Settings
) -> None:
    settings.LIFESPAN = {"HOOKS": {KEY: {"state_name": "items"}}}
    declare_slow(lifespan)
    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")
    assert caught.value.problems[0].hint == "Change the HOOKS setting."


def test_setting_that_is_printed_for_two_equal_state_names_repairs_them(
    lifespan: Lifespan, settings: Settings
) -> None:
    declare_slow(lifespan)
    declare_slow(lifespan, name="other", state_name="slow")
    with pytest.raises(PlanError) as caught:
        lifespan.plan("app")
    printed: dict[str, Any] = {}
    exec(caught.value.problems[0].hint.partition("or set ")[2].rstrip("."), printed)
    settings.LIFESPAN = printed["LIFESPAN"]
    assert len(lifespan.plan("app").hooks) == 2


@pytest.mark.parametrize(
    "name", ["startup_deadline", "shutdown_timeout", "shutdown_notice", "hooks"]
)
def test_settings_of_the_engine_are_called_as_their_keys(name: str) -> None:
    advice = DjangoAdapter().advice
    assert advice.name_of(name) in KEYS
    assert advice.setting(name) == f"LIFESPAN['{advice.name_of(name)}']"


@pytest.mark.parametrize(
    ("server", "seconds"),
    [
        (None, 300),
        ("", 25),
        ("gunicorn 25.1.0", 25),
        ("hypercorn 0.18.0", 55),
        ("uvicorn 0.54.0", 300),
        ("granian 2.7.0", 300),
    ],
)
def test_automatic_deadline_stays_below_the_server_s_own(
    server: str | None, seconds: float
) -> None:
    host = DjangoAdapter()
    assert host.startup_deadline(EngineSettings(), server) == seconds
    assert host.startup_deadline(EngineSettings(startup_deadline=7), server) == 7


def test_servers_are_known_without_django_as_well() -> None:
    from lifespan_app import lifespan

    assert isinstance(lifespan.adapter, ServerAdapter)


def ask_to_stop(server: str) -> None:
    ServerAdapter().stop_server(server)


@pytest.mark.parametrize(
    ("server", "asked"), [("hypercorn 0.18.0", "parent"), ("uvicorn 0.54.0", "worker")]
)
def test_server_is_asked_to_stop_where_it_listens(server: str, asked: str) -> None:
    """Workers of hypercorn die of SIGTERM without closing anything."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        worker = multiprocessing.get_context("spawn").Process(target=ask_to_stop, args=(server,))
        worker.start()
        worker.join(60)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (heard, worker.exitcode) == (
        ([signal.SIGTERM], 0) if asked == "parent" else ([], -signal.SIGTERM)
    )
