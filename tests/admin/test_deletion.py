"""Runs are deleted with their steps, after a page that counts both, with an entry a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.admin import site
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext

from lifespan_app.admin import deletion
from lifespan_app.models import LifespanRun, LifespanStep
from tests import records
from tests.admin.conftest import client_of
from tests.admin.project import LIST

if TYPE_CHECKING:
    from pytest_django import Settings


def selected(*runs: LifespanRun, **more: str) -> dict[str, object]:
    return {"action": "delete_selected", "_selected_action": [run.pk for run in runs], **more}


def test_selected_runs_are_counted_then_deleted(root: Client) -> None:
    gone, kept = [records.healthy(), records.stopped()], records.healthy()

    question = root.post(LIST, selected(*gone))
    text = " ".join(question.content.decode().split())
    assert "2 runs, with 13 steps, will be deleted permanently." in text
    assert LifespanRun.objects.count() == 3

    answer = root.post(LIST, selected(*gone, post="yes"), follow=True)
    assert "2 runs were deleted." in answer.content.decode()
    assert list(LifespanRun.objects.all()) == [kept]
    assert set(LifespanStep.objects.values_list("run", flat=True)) == {kept.pk}
    entries = LogEntry.objects.filter(action_flag=DELETION)
    assert {entry.object_repr for entry in entries} == {str(run) for run in gone}


def test_one_run_is_deleted_from_its_page(root: Client) -> None:
    run = records.degraded()

    question = root.get(f"{LIST}{run.pk}/delete/").content.decode()
    assert "runs: 1" in question.lower() or "run: 1" in question.lower()
    assert "steps: 7" in question.lower()
    root.post(f"{LIST}{run.pk}/delete/", {"post": "yes"})

    assert LifespanRun.objects.count() == LifespanStep.objects.count() == 0
    assert [entry.object_repr for entry in LogEntry.objects.all()] == [str(run)]


class WritesElsewhere:
    """A router of a project that does not know the history."""

    def db_for_write(self, model: type[Model], **hints: object) -> str | None:
        return "elsewhere" if issubclass(model, LifespanRun) else None


def test_run_is_deleted_where_it_is_whatever_a_router_says(db: None, settings: Settings) -> None:
    settings.DATABASE_ROUTERS = [WritesElsewhere()]
    run = records.degraded()

    site.get_model_admin(LifespanRun).delete_model(HttpRequest(), run)

    assert LifespanRun.objects.count() == LifespanStep.objects.count() == 0


def test_all_runs_that_fit_a_filter_are_deleted_across_pages(root: Client) -> None:
    for _ in range(103):
        records.recorded("stopped", host="web-1")
    kept = records.recorded("stopped", host="web-2")
    address = f"{LIST}?q=web-1"
    first = LifespanRun.objects.first()
    assert first is not None

    question = root.post(address, selected(first, select_across="1")).content.decode()
    assert "103 runs" in question
    assert question.count('name="_selected_action"') == 1
    root.post(address, selected(select_across="1", post="yes") | {"_selected_action": ["0"]})

    assert list(LifespanRun.objects.all()) == [kept]
    assert LogEntry.objects.count() == 103


def test_number_of_queries_follows_the_batches_and_not_the_steps(root: Client) -> None:
    def queries(runs: int, hooks: int) -> int:
        for _ in range(runs):
            records.recorded("stopped", steps=[records.step(f"a.h{n}") for n in range(hooks)])
        user = User.objects.get()
        with CaptureQueriesContext(connection) as captured:
            assert deletion.delete(LifespanRun.objects.all(), user) == runs
        return len(captured)

    assert queries(20, 1) == queries(2, 1) == queries(2, 60)


def test_permission_to_view_and_delete_deletes(db: None) -> None:
    client = client_of("keeper", "view_lifespanrun", "delete_lifespanrun")
    run = records.healthy()

    client.post(LIST, selected(run, post="yes"))

    assert not LifespanRun.objects.exists()
