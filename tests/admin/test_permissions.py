"""Who may see runs, and who may delete them; nobody adds or changes one."""

from __future__ import annotations

import pytest
from django.test import Client

from lifespan_app.models import LifespanRun, LifespanStep
from tests import records
from tests.admin.conftest import client_of
from tests.admin.project import HOME, LIST

DELETE = "delete_lifespanrun"


def addresses() -> dict[str, str]:
    run = records.degraded()
    return {
        "overview": HOME,
        "list": LIST,
        "run": f"{LIST}{run.pk}/change/",
        "JSON": f"{LIST}{run.pk}/json/",
        "hook": f"{LIST}hook/notices/notice_board/",
        "log": f"{LIST}{run.pk}/history/",
        "deletion": f"{LIST}{run.pk}/delete/",
        "add": f"{LIST}add/",
    }


def test_address_says_nothing_without_the_permission(stranger: Client) -> None:
    for name, address in addresses().items():
        answer = stranger.get(address)
        assert answer.status_code in (403, 404), name
        assert b"notice" not in answer.content, name


def test_anonymous_visitor_is_sent_to_the_login(db: None) -> None:
    for name, address in addresses().items():
        answer = Client().get(address)
        assert answer.status_code == 302, name
        assert "/admin/login/" in answer["Location"]


def test_permission_to_delete_alone_shows_nothing_of_a_run(db: None) -> None:
    client = client_of("deleter", DELETE)
    shown = addresses()

    assert "don’t have permission" in client.get(HOME).content.decode()
    assert b"notice" not in client.get(HOME).content
    for name in ("list", "run", "JSON", "hook"):
        assert client.get(shown[name]).status_code == 403, name


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_reader_can_write_by_no_method(reader: Client, method: str) -> None:
    shown = addresses()
    before = list(LifespanRun.objects.values()), list(LifespanStep.objects.values())
    data = {"status": "stopped", "_save": "1", "action": "delete_selected", "post": "yes"}
    data["_selected_action"] = str(before[0][0]["id"])

    for address in shown.values():
        answer = getattr(reader, method)(address, data if method == "post" else None)
        assert answer.status_code in (200, 302, 403, 405), address

    assert (list(LifespanRun.objects.values()), list(LifespanStep.objects.values())) == before


def test_reader_is_not_offered_what_is_not_allowed(reader: Client) -> None:
    shown = addresses()

    assert b"delete_selected" not in reader.get(LIST).content
    assert b"/delete/" not in reader.get(shown["run"]).content
    assert reader.get(shown["add"]).status_code == 403
    assert reader.get(shown["deletion"]).status_code == 403


def test_not_even_root_adds_or_changes_a_run(root: Client) -> None:
    shown = addresses()

    assert root.get(shown["add"]).status_code == 403
    assert root.post(shown["add"], {}).status_code == 403
    assert root.post(shown["run"], {"status": "stopped", "_save": "1"}).status_code == 403
    assert LifespanRun.objects.get().status == "degraded"
