"""Every page opens on every admin site, and its numbers and words are right."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone

from lifespan_app.history.reading import time_text
from lifespan_app.history.reading.overview import overview
from lifespan_app.models import LifespanRun, Status
from tests import records
from tests.admin.project import HOME, LIST


@pytest.mark.parametrize("site", ["/admin/", "/operations/"])
def test_every_page_opens_for_runs_of_every_status(reader: Client, site: str) -> None:
    runs = records.of_every_status()
    addresses = [HOME, LIST, f"{LIST}?mode=all", f"{LIST}hook/catalogue/index/"]
    for run in runs.values():
        addresses += [f"{LIST}{run.pk}/change/", f"{LIST}{run.pk}/json/"]

    for address in addresses:
        answer = reader.get(address.replace("/admin/", site))
        assert answer.status_code == 200, address
        if not address.endswith("/json/"):
            # Links stay on the site that the page belongs to.
            other = "/operations/" if site == "/admin/" else "/admin/"
            assert f'href="{other}' not in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("stories", "headline"),
    [
        (["healthy"], "1 process is serving."),
        (["degraded"], "1 process is serving, degraded."),
        (["healthy", "healthy"], "2 of 2 processes are serving."),
        (["healthy", "starting"], "1 of 2 processes is serving."),
        (["starting"], "0 of 1 processes are serving."),
        (["healthy", "degraded"], "2 of 2 processes are serving, 1 of them degraded."),
    ],
)
def test_overview_begins_with_the_number_of_serving_processes(
    stories: list[str], headline: str
) -> None:
    for name in stories:
        records.STORIES[name]()

    assert overview(timezone.now()).headline == headline


@pytest.mark.django_db
def test_overview_without_processes_shows_the_time_of_the_last_heartbeat() -> None:
    records.stopped()
    last = records.lost()
    LifespanRun.objects.filter(pk=last.pk).update(last_seen_at=timezone.now())
    last.refresh_from_db()

    words = f"No process has been heard of since {time_text.clock(last.last_seen_at)}."
    assert overview(timezone.now()).headline == words


def test_run_page_counts_failed_skipped_and_cancelled_hooks(reader: Client) -> None:
    run = records.startup_failed()
    page = reader.get(f"{LIST}{run.pk}/change/").content.decode()

    assert f"{run.hooks_total}: 1 failed, " in page


def test_run_page_shows_what_came_before_the_hooks(reader: Client) -> None:
    run = records.healthy()
    page = reader.get(f"{LIST}{run.pk}/change/").content.decode()

    assert "Ready 4.7 s after the process began: 4.3 s before the hooks, 0.42 s of hooks." in page
    assert "<dt>Until the ASGI application was made</dt><dd>0.50 s</dd>" in page
    assert page.index("Until the ASGI") < page.index("lifespan-waterfall")


def test_run_page_counts_the_blocks_of_the_event_loop(reader: Client) -> None:
    calm = records.stopped()
    blocked = records.stopped(loop_blocks=3, longest_block=timedelta(seconds=2.5))

    def page(run: LifespanRun) -> str:
        return reader.get(f"{LIST}{run.pk}/change/").content.decode()

    assert "event loop" not in page(calm)
    assert "The event loop was blocked 3 times, for 2.5 s at most." in page(blocked)


def test_page_of_a_hook_is_linked_whatever_dots_and_slashes_its_key_has(reader: Client) -> None:
    keys = [
        "shop.v1.2",
        "shop.index.",
        "shop.files/v1.2",
        "plugins.shop.index",
        f"shop.{'.' * 150}end",
    ]
    steps = [records.step(key) for key in keys]
    for step, key in zip(steps, keys, strict=True):
        step.app_label = "plugins.shop" if key.startswith("plugins") else "shop"
        step.name = key.removeprefix(f"{step.app_label}.")
    run = records.recorded(Status.SERVING, steps=steps)

    text = reader.get(f"{LIST}{run.pk}/change/").content.decode()
    links = re.findall(r'href="([^"]*/hook/[^"]*)"', text)

    assert len(set(links)) == len(keys)
    for link in links:
        assert reader.get(unescape(link)).status_code == 200, link
    assert reader.get(f"{LIST}hook/shop/v1.2/").status_code == 200
    assert reader.get(f"{LIST}hook/shop.v1/2/").status_code == 200
    assert reader.get(f"{LIST}hook/shop/v1/").status_code == 404
    assert f"/{run.pk}/change/" in reader.get(f"{LIST}?q=shop.v1.2").content.decode()


@pytest.mark.parametrize("outcome", ["failed", "timed_out"])
def test_log_line_of_a_failed_hook_is_shown_once_however_many_have_failed(
    reader: Client, outcome: str
) -> None:
    failed = [
        records.step(
            f"books.hook_{number}", outcome=outcome, log=[[1.0, "INFO", "books", f"line {number}."]]
        )
        for number in range(25)
    ]
    run = records.recorded(Status.DEGRADED, steps=failed)

    page = reader.get(f"{LIST}{run.pk}/change/").content.decode()

    assert [page.count(f"line {number}.") for number in range(25)] == [1] * 25
