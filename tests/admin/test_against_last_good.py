"""The page of a failed run shows what differs from the last good one."""

from __future__ import annotations

from django.test import Client

from tests import records
from tests.admin.project import LIST


def text(client: Client, address: str) -> str:
    return " ".join(client.get(address).content.decode().split())


def test_page_shows_the_differences_with_a_link_to_the_last_good_run(reader: Client) -> None:
    good = records.stopped(ago=900)
    run = records.timed_out(release="1.9.0")

    shown = text(reader, f"{LIST}{run.pk}/change/")

    assert '<h2 id="lifespan-against">Compared with the last good run</h2>' in shown
    assert f'/{good.pk}/change/">The last good run is {good.short_id}, started' in shown
    assert "<li>Release: 1.9.0, was 1.8.2</li>" in shown
    assert shown.index("lifespan-against") < shown.index("lifespan-trouble-1")


def test_page_of_a_good_run_has_no_comparison(reader: Client) -> None:
    records.stopped(ago=900)
    run = records.healthy(release="1.9.0")

    assert "last good run" not in text(reader, f"{LIST}{run.pk}/change/")


def test_page_says_that_there_is_no_good_run(reader: Client) -> None:
    run = records.timed_out()

    assert "No earlier good run of api (production, server) is found." in text(
        reader, f"{LIST}{run.pk}/change/"
    )


def test_json_has_the_differences(reader: Client) -> None:
    good = records.stopped(ago=900)
    run = records.timed_out(release="1.9.0")

    found = reader.get(f"{LIST}{run.pk}/json/").json()["against_last_good"]

    assert found["last_good"] == str(good.uuid)
    assert found["differences"][0]["now"] == "1.9.0"
