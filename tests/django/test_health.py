"""`livez`, `readyz` and `startupz`: what a process says of itself by HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import AsyncClient, Client, RequestFactory

from lifespan_app import Lifespan, Retry
from lifespan_app.health.views import readyz
from lifespan_app.testing import lifespan_running
from tests.exchanges import Answer, ask, lifespan_of
from tests.projects import Project
from tests.servers import Server

if TYPE_CHECKING:
    from pytest_django import Settings

PATHS = ["/livez", "/readyz", "/startupz"]
JSON = [(b"accept", b"application/json")]
SECRET = "password=hunter2 refused"
MASKED = "password=******************** refused"


@pytest.fixture(autouse=True)
def urls(settings: Settings) -> None:
    settings.ROOT_URLCONF = "lifespan_app.urls"


@pytest.fixture
def application(lifespan: Lifespan) -> Any:
    from lifespan_app.asgi import get_asgi_application

    return get_asgi_application()


async def crashing_job(lifespan: Lifespan, *, required: bool) -> None:
    @lifespan.background(required=required)
    async def feed() -> None:
        raise ConnectionError(SECRET)


async def until_degraded(lifespan: Lifespan) -> None:
    while (report := lifespan.report()) is None or report.status != "degraded":
        await asyncio.sleep(0)


def told(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.text.strip()


@pytest.mark.asyncio
@pytest.mark.parametrize("path", PATHS)
async def test_serving_process_answers_ok_in_text_and_in_json(application: Any, path: str) -> None:
    async with lifespan_of(application):
        answer = await ask(application, path)
        assert told(answer) == (200, "ok")
        assert (answer.header("Content-Type") or "").startswith("text/plain")
        answer = await ask(application, path, headers=JSON)
        assert json.loads(answer.text) == {"status": 200, "reason": "ok"}
        assert answer.header("Content-Type") == "application/json"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "accept", [b"*/*", b"text/html,application/xhtml+xml,*/*;q=0.8", b"image/png"]
)
async def test_text_is_the_answer_unless_json_is_asked_for(application: Any, accept: bytes) -> None:
    async with lifespan_of(application):
        assert told(await ask(application, "/readyz", headers=[(b"accept", accept)])) == (200, "ok")


@pytest.mark.asyncio
async def test_answers_are_not_cached(application: Any) -> None:
    async with lifespan_of(application):
        answer = await ask(application, "/readyz")
        assert "no-store" in (answer.header("Cache-Control") or "")


@pytest.mark.asyncio
async def test_project_with_atomic_requests_is_answered_without_a_transaction(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    async with lifespan_of(application):
        assert [told(await ask(application, path)) for path in PATHS] == [(200, "ok")] * 3


@pytest.mark.server
def test_second_database_with_atomic_requests_may_be_down(project: Project) -> None:
    sqlite = "django.db.backends.sqlite3"
    project.settings(
        ROOT_URLCONF="lifespan_app.urls",
        DATABASES={
            "default": {"ENGINE": sqlite, "NAME": ":memory:"},
            "reports": {"ENGINE": sqlite, "NAME": "/nowhere/db", "ATOMIC_REQUESTS": True},
        },
    )
    with Server(project) as server:
        answers = [server.get(path) for path in PATHS]

    assert [(answer.status, answer.text.strip()) for answer in answers] == [(200, "ok")] * 3


@pytest.mark.asyncio
async def test_head_is_answered_and_post_is_refused(application: Any) -> None:
    async with lifespan_of(application):
        head = await ask(application, "/readyz", method="HEAD")
        assert head.status == 200
        assert (await ask(application, "/readyz", method="POST")).status == 405


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("required", "expected"), [(True, (503, "crashed")), (False, (200, "degraded"))]
)
async def test_crashed_job_makes_the_process_not_ready_or_degraded(
    lifespan: Lifespan, application: Any, required: bool, expected: tuple[int, str]
) -> None:
    await crashing_job(lifespan, required=required)
    async with lifespan_of(application):
        await until_degraded(lifespan)
        assert told(await ask(application, "/readyz")) == expected
        assert told(await ask(application, "/livez")) == (200, "ok")
        assert told(await ask(application, "/startupz")) == (200, "ok")


@pytest.mark.asyncio
async def test_process_is_not_ready_while_its_hooks_stop_nor_after(
    lifespan: Lifespan, application: Any
) -> None:
    asked: list[Answer] = []

    @lifespan.resource
    async def connection() -> AsyncIterator[None]:
        yield
        asked.append(await ask(application, "/readyz"))
        asked.append(await ask(application, "/startupz"))

    async with lifespan_of(application):
        pass
    asked.append(await ask(application, "/readyz"))
    assert [told(answer) for answer in asked] == [(503, "stopping"), (200, "ok"), (503, "stopped")]


@pytest.mark.asyncio
async def test_process_is_not_ready_while_its_hooks_start(
    lifespan: Lifespan, application: Any
) -> None:
    asked: list[Answer] = []

    @lifespan.on_start
    async def look() -> None:
        asked.extend([await ask(application, path) for path in PATHS])

    async with lifespan_of(application):
        pass
    assert [told(answer) for answer in asked] == [(200, "ok"), (503, "starting"), (503, "starting")]


@pytest.mark.asyncio
async def test_process_without_a_run_is_alive_and_not_ready(
    lifespan: Lifespan, application: Any
) -> None:
    answers = [told(await ask(application, path)) for path in PATHS]
    assert answers == [(200, "ok"), (503, "not_running"), (503, "not_running")]


@pytest.mark.asyncio
async def test_check_is_asked_and_its_failure_is_the_reason(
    lifespan: Lifespan, application: Any
) -> None:
    @lifespan.resource
    async def connection() -> AsyncIterator[str]:
        yield "a line"

    @connection.check
    def answers(connection: str) -> None:
        raise ConnectionError(SECRET)

    async with lifespan_of(application):
        assert told(await ask(application, "/readyz")) == (503, "check_failed")
        assert told(await ask(application, "/livez")) == (200, "ok")


def test_wsgi_asks_the_checks_of_a_run_on_another_loop(
    lifespan: Lifespan,
) -> None:
    @lifespan.resource
    async def connection() -> AsyncIterator[str]:
        yield "a line"

    @connection.check
    async def answers(connection: str) -> bool:
        return False

    with lifespan.run_sync():
        answer = Client().get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"check_failed\n")


# Who is told more.


@pytest.fixture
def with_users(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]


async def ask_as(user: Any, lifespan: Lifespan, **headers: str) -> Any:
    await crashing_job(lifespan, required=True)

    @lifespan.resource
    async def connection() -> AsyncIterator[str]:
        yield "a line"

    @connection.check
    async def answers(connection: str) -> None:
        raise ConnectionError("the line is cut")

    client = AsyncClient()
    if user is not None:
        await client.aforce_login(user)
    async with lifespan.run():
        await until_degraded(lifespan)
        return await client.get("/readyz", headers=headers)


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("with_users")
async def test_callers_without_permission_get_status_and_reason_only(
    lifespan: Lifespan,
) -> None:
    answer = await ask_as(None, lifespan, accept="application/json")
    assert answer.status_code == 503
    assert answer.json() == {"status": 503, "reason": "crashed"}
    lifespan.clear()
    user = await get_user_model().objects.acreate_user("reader")
    answer = await ask_as(user, lifespan, accept="application/json")
    assert answer.json() == {"status": 503, "reason": "crashed"}


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("with_users")
async def test_permission_to_view_runs_shows_hooks_and_errors(lifespan: Lifespan) -> None:
    user = await get_user_model().objects.acreate_user("operator")
    permission = await Permission.objects.aget(codename="view_lifespanrun")
    await user.user_permissions.aadd(permission)
    answer = await ask_as(user, lifespan, accept="application/json")
    body = answer.json()
    assert (body["status"], body["reason"], body["service_type"]) == (503, "crashed", "app")
    assert body["troubles"] == [
        {
            "hook": "tests.django.test_health.feed",
            "what": "crashed",
            "error": f"ConnectionError: {MASKED}",
            "required": True,
        },
        {
            "hook": "tests.django.test_health.connection",
            "what": "check_failed",
            "error": "ConnectionError: the line is cut",
            "required": True,
        },
    ]
    [job] = body["jobs"]
    crashed_at = job.pop("last_crash_at")
    assert job == {
        "key": "tests.django.test_health.feed",
        "state": "crashed",
        "reason": "",
        "every": None,
        "rounds": 1,
        "crashes": 1,
        "last_crash": f"ConnectionError: {MASKED}",
        "last_success_at": None,
        "next_at": None,
        "leads": False,
    }
    assert datetime.fromisoformat(crashed_at) <= datetime.now(UTC)
    lifespan.clear()
    answer = await ask_as(user, lifespan)
    *troubles, job = answer.content.decode().splitlines()
    assert troubles == [
        "crashed",
        f"tests.django.test_health.feed: crashed: ConnectionError: {MASKED}",
        "tests.django.test_health.connection: check_failed: ConnectionError: the line is cut",
    ]
    assert job.startswith("tests.django.test_health.feed: crashed; 1 crash, last at 20")
    assert job.endswith(f": ConnectionError: {MASKED}")


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("with_users")
async def test_error_is_one_line_of_text_and_unchanged_in_json(
    lifespan: Lifespan,
) -> None:
    hostile = "no\nshop.other: crashed\x1b[2J <b>\udcff"
    user = await get_user_model().objects.acreate_superuser("admin")

    @lifespan.on_start(required=False)
    async def fail() -> None:
        raise OSError(hostile)

    client = AsyncClient()
    await client.aforce_login(user)
    async with lifespan.run():
        body = (await client.get("/readyz", headers={"accept": "application/json"})).json()
        text = await client.get("/readyz")
    [trouble] = body["troubles"]
    assert trouble["error"] == "OSError: no shop.other: crashed\x1b[2J <b>\udcff"
    assert text["Content-Type"] == "text/plain; charset=utf-8"
    assert text.content.decode() == (
        "degraded\ntests.django.test_health.fail: failed: "
        "OSError: no shop.other: crashed\\x1b[2J <b>\\udcff\n"
    )


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("with_users")
async def test_permission_to_view_runs_shows_the_attempt_that_failed_and_the_next_one(
    lifespan: Lifespan,
) -> None:
    user = await get_user_model().objects.acreate_superuser("admin")

    @lifespan.resource(wait=False, retry=Retry(600, first=300, longest=300))
    async def broker() -> AsyncIterator[str]:
        if user:
            raise ConnectionRefusedError("connection refused")
        yield "broker"

    client = AsyncClient()
    await client.aforce_login(user)
    async with lifespan.run():
        while not (report := lifespan.report()) or not report.pending[0].doing:
            await asyncio.sleep(0)
        text = (await client.get("/readyz")).content.decode()
    assert "attempt 1: ConnectionRefusedError: connection refused, next in " in text


@pytest.mark.asyncio
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("with_users")
async def test_permission_to_view_runs_shows_pending_hooks_and_progress(
    lifespan: Lifespan,
) -> None:
    user = await get_user_model().objects.acreate_superuser("admin")

    @lifespan.resource(wait=False)
    async def model() -> AsyncIterator[str]:
        lifespan.progress(0.6, "loading shard 3 of 5")
        await asyncio.Event().wait()
        yield "model"

    client = AsyncClient()
    async with lifespan.run():
        while not (report := lifespan.report()) or report.pending[0].progress is None:
            await asyncio.sleep(0)
        anonymous = await client.get("/readyz", headers={"accept": "application/json"})
        assert anonymous.json() == {"status": 503, "reason": "warming_up"}
        await client.aforce_login(user)
        body = (await client.get("/readyz", headers={"accept": "application/json"})).json()
        text = (await client.get("/readyz")).content.decode()
    [pending] = body["pending"]
    seconds = pending.pop("seconds")
    assert seconds >= 0
    assert pending == {
        "hook": "tests.django.test_health.model",
        "progress": 0.6,
        "doing": "loading shard 3 of 5",
    }
    first, second = text.splitlines()
    assert first == "warming_up"
    assert second.startswith("tests.django.test_health.model: pending for ")
    assert second.endswith(" s: 60%, loading shard 3 of 5")


@pytest.mark.asyncio
async def test_database_that_is_down_takes_the_details_and_not_the_answer(
    lifespan: Lifespan,
) -> None:
    async def gone() -> Any:
        raise ConnectionError("the database is down")

    request = RequestFactory().get("/readyz")
    request.auser = gone
    async with lifespan.run():
        answer = await readyz(request)
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_run_of_a_test_is_asked(lifespan: Lifespan) -> None:
    with lifespan_running() as running:
        assert running.client.get("/readyz").content == b"ok\n"
