"""The page of leases: who has which, and their release by hand."""

from __future__ import annotations

import re

import pytest

from lifespan_app.leases import rows
from tests.admin.conftest import client_of
from tests.leases.stored import HERE, POLL, failed, held

pytestmark = pytest.mark.django_db

LIST = "/admin/lifespan_app/lifespanlease/"


def test_page_shows_leases() -> None:
    held()
    failed()

    page = client_of("somebody", "view_lifespanlease").get(LIST).content.decode()

    for text in ("books.poll, cluster, production", "web-1 pid 5", "held", "failed: OSError"):
        assert text in page


def test_page_shows_the_age_of_a_lease_and_its_exact_time_with_the_zone() -> None:
    held()

    page = client_of("somebody", "view_lifespanlease").get(LIST).content.decode()

    [since] = re.findall(r'<td class="field-last_taken[^"]*">(.*?)</td>', page)
    assert re.search(
        r'^<time datetime=".*(just now|s ago) <span .*\(\d\d:\d\d:\d\d [A-Z]+\)', since
    )


def test_page_releases_leases() -> None:
    held()
    client = client_of("somebody", "view_lifespanlease", "change_lifespanlease")

    answer = client.post(LIST, {"action": "release", "_selected_action": [POLL.id]}, follow=True)

    assert "1 lease was released." in answer.content.decode()
    assert not rows.renew(POLL, HERE, 60)


def test_reader_of_the_page_can_not_release() -> None:
    held()
    client = client_of("somebody", "view_lifespanlease")

    client.post(LIST, {"action": "release", "_selected_action": [POLL.id]})

    assert rows.renew(POLL, HERE, 60)


def test_page_is_closed_to_others() -> None:
    assert client_of("somebody").get(LIST).status_code == 403


@pytest.mark.parametrize("page", ["add/", f"{POLL.id}/delete/"])
def test_nobody_adds_or_deletes_a_lease(page: str) -> None:
    held()
    client = client_of(
        "somebody", "add_lifespanlease", "delete_lifespanlease", "view_lifespanlease"
    )

    assert client.get(f"{LIST}{page}").status_code == 403
