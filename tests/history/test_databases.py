"""The databases of these tests are what their names say."""

from __future__ import annotations

from threading import Thread

import pytest
from django.db import DatabaseError, connections

from lifespan_app.models import LifespanRun
from tests.history.databases import HistoryDatabase
from tests.history.records import a_run


def test_record_is_kept_in_each_database(history_database: HistoryDatabase) -> None:
    a_run(host="here")

    assert history_database.run("SELECT host FROM lifespan_app_lifespanrun")[0][0] == "here"
    vendor = {"latin1": "mysql", "mariadb": "mysql"}
    assert history_database.connection.vendor == vendor.get(
        history_database.kind, history_database.kind
    )


def test_test_begins_with_empty_tables(history_database: HistoryDatabase) -> None:
    assert not LifespanRun.objects.exists()


def test_other_threads_see_the_same_rows(history_database: HistoryDatabase) -> None:
    a_run(host="here")
    seen: list[str] = []

    def look() -> None:
        seen.extend(LifespanRun.objects.values_list("host", flat=True))
        connections[history_database.alias].close()

    thread = Thread(target=look)
    thread.start()
    thread.join()

    assert seen == ["here"]


def test_one_database_refuses_an_emoji(history_database: HistoryDatabase) -> None:
    if history_database.kind != "latin1":
        a_run(host="\N{SNAKE}")
        return
    with pytest.raises(DatabaseError, match="Incorrect string value"):
        a_run(host="\N{SNAKE}")
