"""Pages of the admin with random paths, filters, searches, page numbers and forms: never an error of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from django.http import HttpResponseBase
from django.test import Client
from hypothesis import example, given
from hypothesis import strategies as some

from lifespan_app.models import LifespanLease, LifespanRun
from tests import records
from tests.admin.conftest import client_of, site_urls
from tests.admin.project import HOME, LEASES, LIST
from tests.bad_input.examples import examples, texts
from tests.history.conftest import history_database, prepared
from tests.history.databases import postgresql_in_latin1
from tests.leases import stored
from tests.needs import needs_postgresql

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

    from tests.history.databases import HistoryDatabase

__all__ = ["history_database", "prepared", "site_urls"]

Request = tuple[str, list[tuple[str, str]]]

LIST_PARAMETERS = (
    *("q", "p", "o", "e", "all", "status", "service_type", "started", "mode", "launch"),
    *("fingerprint", "host", "release", "_facets", "_popup", "_to_field", "_changelist_filters"),
    *("pk", "id__in", "uuid", "started_at__gte", "steps__name", "hook__regex"),
)
LEASE_PARAMETERS = (
    *("q", "p", "o", "e", "all", "once", "once__exact", "once__in", "once__isnull"),
    *("environment", "environment__exact", "environment__isnull", "until__gte", "_facets"),
)
NUMBERS = (
    "0",
    "1",
    "2",
    "-1",
    str(2**31),
    str(2**63 - 1),
    str(2**63),
    "9" * 30,
    "9" * 5_000,
    "1e9",
    "²",
)
KNOWN = ("all", "broken", "live", "lost", "serving", "stopped", "app", "day", "server", "host")

values = some.sampled_from(NUMBERS) | some.sampled_from(KNOWN) | texts


def query_of(names: tuple[str, ...]) -> some.SearchStrategy[list[tuple[str, str]]]:
    return some.lists(
        some.tuples(some.sampled_from(names) | texts if names else texts, values), max_size=4
    )


def page_of(home: str, places: tuple[str, ...]) -> some.SearchStrategy[str]:
    return some.builds("{}{}/{}".format, some.just(home), values, some.sampled_from(places))


PLACES = ("", "change/", "delete/", "history/")
requests = some.one_of(
    some.tuples(some.just(LIST), query_of(LIST_PARAMETERS)),
    some.tuples(some.just(LEASES), query_of(LEASE_PARAMETERS)),
    some.tuples(page_of(LIST, (*PLACES, "json/")), query_of(LIST_PARAMETERS)),
    some.tuples(page_of(LEASES, PLACES), query_of(LEASE_PARAMETERS)),
    some.tuples(some.builds("{}hook/{}/{}/".format, some.just(LIST), texts, texts), query_of(())),
    some.tuples(some.just(HOME), query_of(LIST_PARAMETERS)),
)
forms = some.fixed_dictionaries(
    {},
    optional={
        "action": some.sampled_from(("delete_selected", "release")) | texts,
        "_selected_action": some.lists(texts, max_size=3),
        "select_across": some.sampled_from(("0", "1")) | texts,
        "post": some.just("yes") | texts,
        "index": texts,
        "form-TOTAL_FORMS": texts,
        "_save": texts,
    },
)


@pytest.fixture
def root(db: None, history_database: HistoryDatabase) -> Client:
    """Return a client that may do everything, in a site with some runs and leases."""
    records.degraded()
    records.stopped(ago=100)
    stored.held()
    return client_of("root", is_root=True)


def is_an_answer(answer: HttpResponseBase) -> bool:
    return answer.status_code < 500


def spelled(address: str, query: list[tuple[str, str]]) -> str:
    """Return an address as it stands in the first line of a request."""
    path = quote(address, errors="surrogatepass")
    return f"{path}?{urlencode(query, errors='surrogatepass')}" if query else path


@pytest.mark.once
@examples(60)
@given(request=requests)
@example(request=(f"{LEASES}\0/change/", []))
@example(request=(f"{LIST}hook/shop/\0/", []))
@example(request=(f"{LIST}hook/shop/\x80/", []))
@example(request=(LIST, [("host", "\0")]))
def test_address_is_answered(root: Client, request: Request) -> None:
    assert is_an_answer(root.get(spelled(*request)))


@pytest.mark.once
@needs_postgresql
@pytest.mark.parametrize("address", [f"{LIST}?q=🐍", f"{LIST}?host=🐍", f"{LIST}hook/shop/🐍/"])
def test_character_that_the_columns_lack_is_found_nowhere(
    db: None, settings: Settings, django_db_blocker: DjangoDbBlocker, address: str
) -> None:
    settings.LIFESPAN = {"HISTORY_DATABASE": "latin"}
    client = client_of("root", is_root=True)
    with django_db_blocker.unblock(), postgresql_in_latin1("latin"):
        assert client.get(address).status_code == 404


@examples(30)
@given(request=requests, form=forms)
def test_form_is_answered(root: Client, request: Request, form: dict[str, Any]) -> None:
    body = urlencode(form, doseq=True, errors="surrogatepass")

    answer = root.post(spelled(*request), body, content_type="application/x-www-form-urlencoded")

    assert is_an_answer(answer)
    assert LifespanRun.objects.count() + LifespanLease.objects.count() <= 3
