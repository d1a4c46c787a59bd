"""Users, clients and pages of the admin."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import path

import lifespan_app.admin
from lifespan_app.history.reading import queries
from lifespan_app.models import LifespanRun, LifespanStep

from .project import MIDDLEWARE

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture(autouse=True)
def site_urls(settings: Settings) -> None:
    """Serve the admin, and a site of the project's own."""
    operations = admin.AdminSite(name="operations")
    lifespan_app.admin.register(operations)
    urls = ModuleType("urls_of_the_admin")
    vars(urls)["urlpatterns"] = [
        path("admin/", admin.site.urls),
        path("operations/", operations.urls),
    ]
    settings.ROOT_URLCONF = urls
    settings.MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("policy.")]


def client_of(name: str, *codenames: str, is_root: bool = False) -> Client:
    """Return a client of a member of staff with these permissions."""
    user = User.objects.create_user(name, is_staff=True, is_superuser=is_root)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def root(db: None) -> Client:
    """Return a client that may do everything."""
    return client_of("root", is_root=True)


@pytest.fixture
def reader(db: None) -> Client:
    """Return a client that may see runs and nothing else."""
    return client_of("reader", "view_lifespanrun")


@pytest.fixture
def stranger(db: None) -> Client:
    """Return a client of a member of staff who has no permission."""
    return client_of("stranger")


@pytest.fixture
def no_tables(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take the tables of the history away."""
    monkeypatch.setattr(queries, "_migrated", set())
    with connection.schema_editor() as editor:
        editor.delete_model(LifespanStep)
        editor.delete_model(LifespanRun)
    yield
    with connection.schema_editor() as editor:
        editor.create_model(LifespanRun)
        editor.create_model(LifespanStep)
