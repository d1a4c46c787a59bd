"""The lifespan among the checks of django-health-check."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.test import AsyncClient
from django.urls import path

from lifespan_app import Lifespan

if TYPE_CHECKING:
    from pytest_django import Settings

pytestmark = pytest.mark.asyncio

CHECK = "lifespan_app.contrib.health_check.LifespanCheck"


@pytest.fixture(autouse=True)
def urls(settings: Settings) -> None:
    from health_check.views import HealthCheckView

    urls = ModuleType("urls_of_a_test")
    vars(urls)["urlpatterns"] = [path("health/", HealthCheckView.as_view(checks=[CHECK]))]
    settings.ROOT_URLCONF = urls
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "health_check"]


async def asked() -> tuple[int, Any]:
    answer = await AsyncClient().get("/health/", {"format": "json"})
    [said] = answer.json().values()
    return answer.status_code, said


async def test_process_that_serves_is_well(lifespan: Lifespan) -> None:
    async with lifespan.run():
        assert await asked() == (200, "OK")


async def test_process_without_a_run_is_not(lifespan: Lifespan) -> None:
    status, said = await asked()
    assert status == 500
    assert "not_running" in said


@pytest.mark.parametrize(
    ("required", "text"), [(True, "Unavailable: crashed"), (False, "Warning: degraded")]
)
async def test_crash_is_reported_with_its_reason_and_without_names(
    lifespan: Lifespan, required: bool, text: str
) -> None:
    @lifespan.background(required=required)
    async def feed() -> None:
        raise ConnectionError("password=hunter2 refused")

    async with lifespan.run():
        while (report := lifespan.report()) is None or report.status != "degraded":
            await asyncio.sleep(0)
        _, said = await asked()
        assert text in said
        assert "hunter2" not in said
        assert "feed" not in said
