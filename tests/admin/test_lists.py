"""The list says why a run failed, and finds one by what people have in their hands."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from lifespan_app.models import LifespanRun
from tests import records
from tests.admin.project import HOME, LIST


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def listed(client: Client, query: str) -> list[int]:
    """Return the primary keys of the listed runs."""
    found = re.findall(r"lifespanrun/(\d+)/change/", text_of(client, LIST + query))
    return [int(pk) for pk in dict.fromkeys(found)]


@pytest.mark.parametrize("number", [0, -1, 1])
def test_page_before_the_first_is_the_first(reader: Client, number: int) -> None:
    run = records.healthy()

    assert listed(reader, f"?p={number}") == [run.pk]


def test_row_of_a_failed_run_says_why(reader: Client) -> None:
    records.startup_failed()
    records.silent()
    records.healthy()

    text = text_of(reader, LIST)

    assert "ConnectionRefusedError: [Errno 111] Connect call failed" in text
    assert "1 of 5 hooks failed" in text
    assert "No heartbeat since" in text
    assert "Serving for 10 min" in text


def test_run_is_found_by_its_id_its_pid_a_hook_and_the_class_of_its_error(reader: Client) -> None:
    failed = records.startup_failed(pid=77_123)
    records.healthy()
    terms = (
        failed.short_id,
        failed.short_id.upper(),
        str(failed.uuid),
        "77123",
        "catalogue.prices",
        "ConnectionRefusedError",
    )

    for term in terms:
        assert listed(reader, f"?q={term}") == [failed.pk], term


def test_search_may_be_narrowed_by_a_filter(reader: Client) -> None:
    failed = records.startup_failed()
    records.healthy()

    assert listed(reader, "?q=catalogue.index&status=startup_failed") == [failed.pk]
    assert listed(reader, "?q=web&status=startup_failed") == [failed.pk]


def test_list_and_overview_lead_to_each_other(reader: Client) -> None:
    run = records.healthy()

    assert f'href="{LIST}">All runs' in text_of(reader, HOME)
    for address in (LIST, f"{LIST}{run.pk}/change/"):
        assert f'href="{HOME}">Overview of all processes' in text_of(reader, address)


def test_exact_time_and_zone_are_text(reader: Client) -> None:
    records.healthy()

    assert re.search(r"10 min ago <span[^>]*>\((\S+ )?\d\d:\d\d:\d\d \w+\)", text_of(reader, LIST))


class TestTheFirstPageOfTheSite:
    @pytest.mark.parametrize("site", ["/admin/", "/operations/"])
    def test_first_page_of_the_site_has_a_line_of_state_and_a_link(
        self, reader: Client, site: str
    ) -> None:
        records.healthy(service_type="app")
        records.startup_failed(service_type="api")

        text = text_of(reader, site)

        assert "api: 0 running, has not served" in text
        assert "app: 1 of 1 serving" in text
        assert f'href="{site}lifespan_app/">Overview of all processes' in text

    def test_first_page_of_the_site_shows_nothing_to_those_who_may_not_see_runs(
        self, stranger: Client
    ) -> None:
        records.healthy()

        assert "Overview of all processes" not in text_of(stranger, "/admin/")

    def test_first_page_of_the_site_opens_while_the_history_can_not_be_read(
        self, reader: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse() -> bool:
            raise DatabaseError("connection refused")

        monkeypatch.setattr("lifespan_app.admin.tags.tables_exist", refuse)

        text = text_of(reader, "/admin/")

        assert "Not known: the database of the recorded runs does not respond." in text

    def test_template_of_the_projects_own_stays(self) -> None:
        from django.contrib import admin

        import lifespan_app.admin

        site = admin.AdminSite(name="own")
        site.index_template = "own.html"
        lifespan_app.admin.register(site)

        assert site.index_template == "own.html"


def test_json_of_a_database_that_is_down_is_an_error_in_json(
    reader: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = records.healthy()

    def refuse(*args: object, **options: object) -> None:
        raise DatabaseError("connection to postgres://shop:secret@db refused")

    monkeypatch.setattr(LifespanRun.objects, "filter", refuse)
    answer = reader.get(f"{LIST}{run.pk}/json/")

    assert answer.status_code == 503
    assert "secret" not in answer.json()["error"]


def test_left_out_hooks_are_named_on_the_page_of_the_run(reader: Client) -> None:
    run = records.healthy(left_out=[["shop.cache", "left out by LIFESPAN_SKIP"]])

    text = text_of(reader, f"{LIST}{run.pk}/change/")

    assert "LIFESPAN_SKIP leaves out:" in text
    assert "shop.cache" in text


def test_advice_names_the_hooks_that_are_skipped_with_a_failed_one(reader: Client) -> None:
    run = records.startup_failed()

    text = text_of(reader, f"{LIST}{run.pk}/change/")

    assert "set LIFESPAN_SKIP=library.http_client in the environment" in text
    assert "These are then skipped: catalogue.index." in text


def test_deleting_a_run_leads_back_to_the_list(root: Client) -> None:
    run = records.stopped()

    answer = root.post(f"{LIST}{run.pk}/delete/", {"post": "yes"})

    assert answer.headers["Location"] == LIST
    assert not LifespanRun.objects.exists()


def test_runs_of_running_processes_are_named_before_they_are_deleted(root: Client) -> None:
    runs = [records.healthy(), records.stopped()]
    chosen = {"action": "delete_selected", "_selected_action": [run.pk for run in runs]}

    text = root.post(LIST, chosen).content.decode()

    assert "1 of them is of a running process" in text


def test_timeout_is_told_once(reader: Client) -> None:
    run = records.timed_out()
    step = run.steps.get(outcome="timed_out")
    step.waiting_at = "catalogue/index.py:31 in read_all"
    step.traceback = f"lifespan_app.errors.HookError: {step.error}\n"
    step.save()

    text = text_of(reader, f"{LIST}{run.pk}/change/")
    box = text[text.index('id="lifespan-trouble-1"') : text.index('id="lifespan-startup"')]

    assert box.count("did not start within") == 2  # the headline, and the error
    assert "It waited at" not in box
    assert 'aria-label="Traceback"' not in box


def test_usual_time_is_that_of_the_phase(reader: Client) -> None:
    for number in range(3):
        records.stopped(ago=5_000 + number)
    run = records.shutdown_failed(ago=900)

    text = text_of(reader, f"{LIST}{run.pk}/change/")

    box = text[text.index('id="lifespan-trouble-1"') : text.index('id="lifespan-startup"')]
    assert "usually 50 ms (slowest 50 ms, 3 runs)" in box


def test_usual_time_of_two_runs_is_not_shown(reader: Client) -> None:
    for number in range(2):
        records.stopped(ago=5_000 + number)
    run = records.shutdown_failed(ago=900)

    assert "usually" not in text_of(reader, f"{LIST}{run.pk}/change/")


@pytest.mark.parametrize(
    ("columns", "is_slow"),
    [({}, True), ({"mode": "thread", "server": ""}, False), ({"environment": "staging"}, False)],
    ids=["the same", "without a server", "environment"],
)
def test_list_marks_a_slow_start_among_runs_like_it(
    reader: Client, columns: dict[str, Any], is_slow: bool
) -> None:
    for number in range(3):
        records.stopped(ago=5_000 + number, **columns)
    records.healthy(up_after=9.0)

    assert ("taken is-slow" in text_of(reader, LIST)) is is_slow
