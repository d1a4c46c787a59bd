"""Each address that links lead to, as each kind of user: who sees what, and that pages need no inline code."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import include, path

import lifespan_app.admin
from tests import records
from tests.admin.conftest import site_urls as middleware
from tests.admin.project import HOME, LEASES, LIST
from tests.leases import stored
from tests.security.crawler import Visit, crawl

if TYPE_CHECKING:
    from pytest_django import Settings

__all__ = ["middleware"]

STARTS = ("/admin/", "/operations/", "/health/livez", "/health/readyz", "/health/startupz")
RECORDED = ("notice_board", "web-2", "search.index", "startup failed")
"""Words that only the records have."""

VIEW = ("view_lifespanrun", "view_lifespanlease")
CHANGE = ("change_lifespanrun", "change_lifespanlease")
KINDS: dict[str, dict[str, Any]] = {
    "anonymous": {},
    "user": {"is_staff": False},
    "staff": {"is_staff": True},
    "viewer": {"is_staff": True, "permissions": VIEW},
    "changer": {"is_staff": True, "permissions": (*VIEW, *CHANGE)},
    "deleter": {"is_staff": True, "permissions": (*VIEW, "delete_lifespanrun")},
    "superuser": {"is_staff": True, "is_superuser": True},
}
SEE = {"viewer", "changer", "deleter", "superuser"}


@pytest.fixture
def _site(settings: Settings, db: None) -> None:
    """Serve two admin sites and the views for platforms, with runs of every status."""
    operations = admin.AdminSite(name="operations")
    lifespan_app.admin.register(operations)
    urls = ModuleType("urls_of_the_crawl")
    vars(urls)["urlpatterns"] = [
        path("admin/", admin.site.urls),
        path("operations/", operations.urls),
        path("health/", include("lifespan_app.urls")),
    ]
    settings.ROOT_URLCONF = urls
    records.startup_failed(host="web-2")
    records.degraded(host="web-2")
    records.hostile()
    stored.held()
    stored.failed()


pytestmark = [pytest.mark.usefixtures("_site"), pytest.mark.slow, pytest.mark.once]


def client_of(kind: str) -> Client:
    client = Client(raise_request_exception=False)
    given = dict(KINDS[kind])
    if given:
        permissions = given.pop("permissions", ())
        user = User.objects.create_user(kind, **given)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
    return client


def client_again(kind: str) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username=kind))
    return client


def in_first_site(address: str) -> str:
    return address.replace("/operations/", "/admin/", 1)


def expected(kind: str, address: str) -> set[int]:
    """Return the statuses that an address may have for a kind of user."""
    address = in_first_site(address).partition("?")[0]
    if address.startswith("/health/"):
        return {200} if address == "/health/livez" else {503}  # no lifespan runs in a test
    if address.startswith("/static/"):
        return {404}  # served by another view
    if address == "/":
        return {404}
    if address == "/admin/login/":
        return {200} if kind in ("anonymous", "user") else {200, 302}
    if address == "/admin/jsi18n/" or kind in ("anonymous", "user"):
        return {302} if kind in ("anonymous", "user") else {200}
    if address in ("/admin/", "/admin/password_change/"):
        return {200}
    if address.startswith(LIST):
        if kind not in SEE or address.endswith("/add/"):
            return {403}
        if address.endswith("/delete/"):
            return {200} if kind in ("deleter", "superuser") else {403}
        return {200}
    if address.startswith(LEASES):
        return {403} if kind not in SEE or address.endswith(("/add/", "/delete/")) else {200}
    if address == HOME:
        return {200} if kind in SEE else {404, 200, 403}
    return {200} if kind == "superuser" else {403, 404}


def told(visits: dict[str, Visit]) -> list[str]:
    """Return the addresses whose pages say what only records say."""
    return [
        address for address, visit in visits.items() if any(word in visit.text for word in RECORDED)
    ]


def test_each_address_answers_each_kind_of_user_as_it_should() -> None:
    everywhere = list(crawl(client_of("superuser"), STARTS))
    wrong: list[str] = []

    for kind in KINDS:
        client = Client(raise_request_exception=False)
        if kind != "anonymous":
            client = client_of(kind) if kind != "superuser" else client_again(kind)
        visits = crawl(client, [*STARTS, *everywhere], queries=2)
        wrong += [
            f"{kind}: {visit.status} {address}, from {visit.origin}"
            for address, visit in visits.items()
            if visit.status not in expected(kind, address)
        ]
        if kind not in SEE:
            wrong += [f"{kind} is told what is recorded: {address}" for address in told(visits)]

    assert len({address.partition("?")[0] for address in everywhere}) > 30
    assert "\n".join(wrong) == ""


def test_everything_recorded_is_reached_with_the_permission() -> None:
    reached = {
        in_first_site(one).partition("?")[0] for one in told(crawl(client_of("viewer"), STARTS))
    }

    assert {HOME, LIST} <= reached
    assert any(one.endswith("/change/") for one in reached)
    assert any("/hook/" in one for one in reached)
    assert any(one.endswith("/json/") for one in reached)


def test_redirects_for_visitors_lead_to_the_login_and_back() -> None:
    visits = crawl(client_of("anonymous"), [HOME, LIST, f"{LIST}1/json/"])

    assert visits[LIST].location == f"/admin/login/?next={LIST}"


def test_no_page_needs_inline_code_or_style() -> None:
    """A policy of ``default-src 'self'`` refuses it; Chromium is asked in tests/admin/test_browser.py."""
    visits = crawl(client_of("superuser"), STARTS)
    pages = {address: visit.inline for address, visit in visits.items() if visit.status == 200}

    assert len(pages) > 30
    assert not {address: inline for address, inline in pages.items() if inline}
