"""`lifespan.spawn()` in a test: the work sees the test's rows, and is done when the block ends."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse

from lifespan_app import Lifespan
from lifespan_app.testing import lifespan_running
from tests.django.conftest import MountViews


@pytest.fixture
def seen(lifespan: Lifespan, mount: MountViews) -> list[str]:
    """Serve views that spawn work, and return what it has seen."""
    seen: list[str] = []

    def work() -> None:
        seen.extend(User.objects.values_list("username", flat=True))

    async def async_work() -> None:
        seen.extend([user.username async for user in User.objects.all()])

    def sync_view(request: HttpRequest) -> HttpResponse:
        lifespan.spawn(work)
        lifespan.spawn(async_work)
        return HttpResponse()

    async def async_view(request: HttpRequest) -> HttpResponse:
        return sync_view(request)

    mount(sync_view=sync_view, async_view=async_view)
    return seen


@pytest.mark.django_db
@pytest.mark.parametrize("view", ["sync_view", "async_view"])
def test_work_of_a_sync_test_sees_its_rows(seen: list[str], view: str) -> None:
    with lifespan_running() as running:
        User.objects.create(username="ann")
        assert running.client.get(f"/{view}/").status_code == 200
    assert seen == ["ann", "ann"]


@pytest.mark.django_db
@pytest.mark.parametrize("view", ["sync_view", "async_view"])
async def test_work_of_an_async_test_sees_its_rows(seen: list[str], view: str) -> None:
    async with lifespan_running() as running:
        await User.objects.acreate(username="ann")
        response = await running.async_client.get(f"/{view}/")
        assert response.status_code == 200
    assert seen == ["ann", "ann"]
