"""W015: routes of the URLconf that a mounted application hides."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from django.conf.urls.i18n import i18n_patterns
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.utils import translation

from lifespan_app.asgi import get_asgi_application
from lifespan_app.checks.shadowed import shadow_messages

pytestmark = pytest.mark.usefixtures("lifespan")


async def mounted(scope: Any, receive: Any, send: Any) -> None:
    """Be an application."""


def view(request: HttpRequest) -> HttpResponse:
    """Be a view."""
    return HttpResponse()


def hidden(settings: Any, *patterns: Any, prefix: str = "/mcp") -> list[str]:
    """Return the messages for these routes and a mount."""
    urls = ModuleType("urls_of_a_test")
    vars(urls)["urlpatterns"] = list(patterns)
    settings.ROOT_URLCONF = urls
    application = get_asgi_application(mounts={prefix: mounted})
    # Handlers of other tests may still be there.
    own = f"mounts[{application.mounts[0].prefix}]"  # type: ignore[attr-defined]
    return [str(message.msg) for message in shadow_messages() if message.obj == own]


@pytest.mark.parametrize(
    "pattern",
    [
        path("mcp", view),
        path("mcp/", view),
        path("mcp/<int:number>/", view),
        path("mcp/", include([path("tools/<slug:name>", view)])),
        path("", include([path("mcp/tools", view)])),
        re_path("^mcp/", view),
        re_path("^mcp/(?P<number>[0-9]+)/$", view),
        re_path("^mcp$", view),
        re_path("^mcp/", include([re_path("^tools", view)])),
        re_path("^mcp/", include([re_path("tools", view)])),
        re_path("mcp/[a-z]+$", view),
        *i18n_patterns(path("mcp/", view), prefix_default_language=False),
    ],
    ids=[
        "page",
        "folder",
        "parameter",
        "included",
        "included at the root",
        "open pattern",
        "pattern",
        "whole pattern",
        "included pattern",
        "included pattern without a caret",
        "pattern that has to match the whole path",
        "with languages",
    ],
)
def test_route_below_a_prefix_is_hidden(pattern: Any, settings: Any) -> None:
    (message,) = hidden(settings, path("other/", view), pattern)

    assert message.startswith("mounts[/mcp] hides '")


def test_language_of_an_earlier_request_does_not_count(settings: Any) -> None:
    pattern = i18n_patterns(path("mcp/", view), prefix_default_language=False)
    with translation.override("de"):
        assert hidden(settings, *pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        path("", view),
        path("mcpx/", view),
        path("mcp<int:number>/", view),
        path("<path:rest>", view),
        path("x/mcp/", view),
        path("<slug:word>/", include([path("mcp/", view)])),
        re_path("^mcp", view),
        re_path("^mcp/?$", view),
        re_path("^(mcp|other)/$", view),
        re_path("^mcp/a|other$", view),
        re_path("mcp.$", view),
        re_path("mcp/", view),
        re_path(r"mcp/\Z", view),
        re_path("mcp/", include([re_path("^tools", view)])),
        path("", include([re_path("mcp/", view)])),
    ],
    ids=[
        "root",
        "longer word",
        "parameter in the word",
        "any path",
        "deeper",
        "below a parameter",
        "open pattern",
        "optional slash",
        "group",
        "alternative",
        "any character",
        "pattern that may match later in the path",
        "end of a pattern that may match later in the path",
        "routes behind a pattern that may match later in the path",
        "included pattern that may match later in the path",
    ],
)
def test_route_with_another_path_is_not_hidden(pattern: Any, settings: Any) -> None:
    assert hidden(settings, pattern) == []


def test_message_names_the_first_routes_and_counts_the_rest(settings: Any) -> None:
    routes = [path(f"mcp/{name}", view) for name in "abcde"]

    (message,) = hidden(settings, *routes)

    assert "hides 'mcp/a', 'mcp/b', 'mcp/c' and 2 more routes of the URLconf" in message


def test_urlconf_that_cannot_be_imported_is_left_to_django(settings: Any) -> None:
    application = get_asgi_application(mounts={"/mcp": mounted})
    settings.ROOT_URLCONF = "no_such_module"

    assert list(shadow_messages()) == []
    del application
