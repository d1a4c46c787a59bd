"""Where there is nothing to show, a page says why and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from lifespan_app.history.reading import queries
from tests import records
from tests.admin.project import HOME, LIST

if TYPE_CHECKING:
    from pytest_django import Settings

PAGES = [HOME, LIST, f"{LIST}1/change/", f"{LIST}hook/library/http_client/"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("address", PAGES)
@pytest.mark.usefixtures("no_tables")
def test_missing_tables_are_named(root: Client, address: str) -> None:
    answer = root.get(address)

    assert answer.status_code == 200
    assert "manage.py migrate lifespan_app" in answer.content.decode()


@pytest.mark.parametrize("address", [*PAGES, "/admin/"])
def test_error_of_the_database_is_shown_without_its_secrets(
    root: Client, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def refuse(execute: Any, sql: str, *words: Any) -> Any:
        if "sqlite_master" in sql:
            raise OperationalError("no route to postgres://shop:hunter2Zq8vXw3Kp6@db:5432/shop")
        return execute(sql, *words)

    monkeypatch.setattr(queries, "_migrated", set())
    with connection.execute_wrapper(refuse):
        text = root.get(address).content.decode()

    assert "hunter2Zq8vXw3Kp6" not in text
    assert ("no route to postgres://" in text) == (address != "/admin/")


def test_pages_say_that_there_is_no_run_yet(reader: Client) -> None:
    for address in (HOME, LIST):
        text = reader.get(address).content.decode()
        assert "No run has been recorded yet." in text
        assert "--lifespan on" in text


def test_filter_that_nothing_fits_is_told_from_no_run_at_all(reader: Client) -> None:
    records.healthy()

    text = reader.get(f"{LIST}?status=lost").content.decode()

    assert "No runs match." in text
    assert "No run has been recorded yet." not in text


@pytest.mark.parametrize("address", [HOME, LIST])
def test_history_that_is_off_is_said_beside_what_was_recorded_before(
    reader: Client, settings: Settings, address: str
) -> None:
    settings.LIFESPAN = {"HISTORY": False}
    run = records.healthy()

    text = reader.get(address).content.decode()

    assert "Nothing is recorded: LIFESPAN['HISTORY'] is False." in text
    assert run.service_type in text


def test_hook_that_no_run_has_is_said_so(reader: Client) -> None:
    answer = reader.get(f"{LIST}hook/library/nothing/")

    assert answer.status_code == 404
    assert "No recorded run has a hook “library.nothing”." in answer.content.decode()


def test_run_that_is_gone_leads_back(reader: Client) -> None:
    assert reader.get(f"{LIST}999/change/").status_code == 302
    assert reader.get(f"{LIST}999/json/").status_code == 404


def test_hostile_text_is_escaped_on_every_page(reader: Client) -> None:
    run = records.hostile()
    for address in (HOME, LIST, f"{LIST}{run.pk}/change/"):
        text = reader.get(address).content.decode()
        assert "<script>document" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;document" in text
