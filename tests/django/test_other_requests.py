"""The requests that other packages hand to views lead to the resources too."""

# Django REST framework comes without types.
# mypy: disable-error-code="import-untyped, untyped-decorator, misc"

from __future__ import annotations

from collections.abc import AsyncIterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.http import HttpRequest
from django.urls import path
from ninja import NinjaAPI
from rest_framework.decorators import api_view, authentication_classes, renderer_classes
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from lifespan_app import Lifespan
from lifespan_app.handler import LifespanASGIHandler
from tests.exchanges import ask, lifespan_of

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture
def catalogue(lifespan: Lifespan) -> Any:
    """Declare a resource and return its handle."""

    @lifespan.resource
    async def catalogue() -> AsyncIterator[list[str]]:
        yield ["Emma"]

    return catalogue


async def answer_of(settings: Settings, *patterns: Any, view: str) -> tuple[int, str]:
    """Serve these URL patterns by our handler, and ask for one."""
    urls = ModuleType("urls_of_a_test")
    vars(urls)["urlpatterns"] = patterns
    settings.ROOT_URLCONF = urls
    application = LifespanASGIHandler()
    async with lifespan_of(application) as state:
        answer = await ask(application, view, state=dict(state))
    return answer.status, answer.text


class TestDjangoRestFramework:
    """Its Request wraps Django's."""

    async def test_rest_framework_function_view_reads_a_resource(
        self, settings: Settings, catalogue: Any
    ) -> None:
        @api_view(["GET"])
        @authentication_classes([])
        @renderer_classes([JSONRenderer])
        def books(request: Request) -> Response:
            assert isinstance(request, Request)
            return Response([catalogue(request), request.state["catalogue"]])

        answer = await answer_of(settings, path("books/", books), view="/books/")
        assert answer == (200, '[["Emma"],["Emma"]]')

    async def test_rest_framework_class_view_reads_a_resource(
        self, settings: Settings, catalogue: Any
    ) -> None:
        class Books(APIView):
            authentication_classes = ()
            renderer_classes = (JSONRenderer,)

            def get(self, request: Request) -> Response:
                return Response([catalogue(request), catalogue(self.request)])

        answer = await answer_of(settings, path("books/", Books.as_view()), view="/books/")
        assert answer == (200, '[["Emma"],["Emma"]]')


class TestDjangoNinja:
    """Its operations get Django's request."""

    async def test_ninja_sync_operation_reads_a_resource(
        self, settings: Settings, catalogue: Any
    ) -> None:
        api = NinjaAPI(urls_namespace="sync")

        @api.get("/books")
        def books(request: HttpRequest) -> list[str]:
            titles: list[str] = catalogue(request)
            return titles

        answer = await answer_of(settings, path("api/", api.urls), view="/api/books")
        assert answer == (200, '["Emma"]')

    async def test_ninja_async_operation_reads_a_resource(
        self, settings: Settings, catalogue: Any
    ) -> None:
        api = NinjaAPI(urls_namespace="async")

        @api.get("/books")
        async def books(request: HttpRequest) -> list[str]:
            titles: list[str] = catalogue(request)
            return titles

        answer = await answer_of(settings, path("api/", api.urls), view="/api/books")
        assert answer == (200, '["Emma"]')
