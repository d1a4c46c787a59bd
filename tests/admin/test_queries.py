"""A page costs the same few queries, however many runs and hooks there are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests import records
from tests.admin.project import HOME, LIST


def queries_of(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured if "lifespan_app_" in query["sql"]]


@pytest.mark.parametrize(
    ("address", "most"),
    [(HOME, 8), (LIST, 6), (f"{LIST}?status=startup_failed", 6), (f"{LIST}?q=web", 9)],
    ids=["overview", "list", "filter", "search"],
)
def test_more_runs_cost_no_more_queries(reader: Client, address: str, most: int) -> None:
    records.of_every_status()
    few = queries_of(reader, address)
    for _ in range(3):
        records.of_every_status()
        records.launch(8)

    assert len(few) == len(queries_of(reader, address)) <= most


@pytest.mark.parametrize("address", [f"{LIST}{{}}/change/", f"{LIST}{{}}/json/"])
def test_more_hooks_cost_no_more_queries(reader: Client, address: str) -> None:
    records.of_every_status()
    counts = set()
    for hooks in (3, 300):
        run = records.with_many_hooks(hooks, service_type="api")
        counts.add(len(queries_of(reader, address.format(run.pk))))

    (count,) = counts
    assert count <= 10


def test_hook_costs_as_many_queries_after_many_runs(reader: Client) -> None:
    address = f"{LIST}hook/catalogue/index/"
    records.healthy()
    few = len(queries_of(reader, address))
    for _ in range(30):
        records.healthy()

    assert len(queries_of(reader, address)) == few == 2


def test_runs_of_several_statuses_are_the_newest_of_all(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifespan_app.history.reading.queries.WINDOW", 2)
    writers = (records.lost, records.startup_failed, records.shutdown_failed, records.silent)
    broken = [write(ago=900 - n) for n in range(3) for write in writers]
    records.healthy()

    text = reader.get(f"{LIST}?status=broken").content.decode()

    places = [text.index(f"/{run.pk}/change/") for run in broken]
    assert places == sorted(places, reverse=True)
    assert text.count("/change/") == 12


def test_list_counts_nothing(reader: Client) -> None:
    records.of_every_status()

    for query in ("", "?status=lost", "?q=web-1", "?started=day", "?mode=all", "?p=1"):
        assert not [sql for sql in queries_of(reader, LIST + query) if "COUNT(" in sql]


def test_list_pages_without_knowing_how_many_there_are(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifespan_app.admin.lists.MORE_THAN", 200)
    runs = [records.recorded("stopped", host=f"web-{n % 3}") for n in range(250)]

    def shown(query: str) -> str:
        return " ".join(reader.get(LIST + query).content.decode().split())

    assert "more than 200 runs" in shown("")
    assert 'rel="next"' in shown("?p=2")
    last = shown("?p=3")
    assert "250 runs" in last
    assert 'rel="next"' not in last
    assert f"/{runs[0].pk}/change/" in last
    assert "84 runs" in shown("?q=web-0")


@pytest.fixture
def page_of(reader: Client) -> Callable[[str], str]:
    return lambda query: reader.get(LIST + query).content.decode()


def test_runs_of_one_launch_stand_together(reader: Client) -> None:
    first, *others = records.launch(3)
    between = records.healthy(host="web-5")
    late = records.healthy(launch=first.launch)

    text = reader.get(LIST).content.decode()

    places = [text.index(f"/{run.pk}/change/") for run in (late, *others, first)]
    assert not min(places) < text.index(f"/{between.pk}/change/") < max(places)
    assert "4 workers of one server start" in text


def test_columns_without_an_index_are_not_asked_for(reader: Client) -> None:
    for query in ("?error__contains=x", "?ended_by=x", "?host__icontains=x"):
        assert reader.get(LIST + query).status_code == 400
