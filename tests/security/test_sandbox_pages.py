"""Each address of the sandbox, over HTTP, as each kind of user: who sees what, under a strict policy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import httpx
import pytest
from django.http import HttpResponse

from tests.projects import Project
from tests.sandboxes import Sandbox, manage_sandbox
from tests.security.crawler import Visit, crawl

pytestmark = [pytest.mark.slow, pytest.mark.once, pytest.mark.server]

STARTS = ("/", "/notices/", "/catalogue/", "/health/livez", "/health/readyz", "/admin/")
HISTORY = "/admin/lifespan_app/"

KINDS = {"user": (), "staff": ("is_staff",), "superuser": ("is_staff", "is_superuser")}

LOG_IN = f"""
import json
from django.contrib.auth.models import User
from django.test import Client

sessions = {{}}
for kind, flags in {KINDS!r}.items():
    client = Client()
    client.force_login(User.objects.create_user(kind, **dict.fromkeys(flags, True)))
    sessions[kind] = client.cookies["sessionid"].value
print(json.dumps(sessions))
"""


class Browser:
    """Ask a server as one user."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, address: str) -> HttpResponse:
        """Return the answer for an address of the server."""
        answer = self._http.get(address)
        names = ("Content-Type", "Location")
        headers = {name: answer.headers[name] for name in names if name in answer.headers}
        return HttpResponse(answer.content, status=answer.status_code, headers=headers)


def visits_of(url: str, session: str, starts: Iterable[str]) -> dict[str, Visit]:
    """Return what comes of the addresses that links lead to, for the user of a session."""
    cookies = {"sessionid": session} if session else {}
    with httpx.Client(base_url=url, cookies=cookies, timeout=30) as http:
        return crawl(Browser(http), starts, queries=2)


@pytest.fixture
def visits(project: Project) -> Iterator[dict[str, dict[str, Visit]]]:
    """Return what comes of each address, by the kind of user."""
    with Sandbox(project) as sandbox:
        sandbox.wait_for_refresh()
        made = manage_sandbox(project, "shell", "--verbosity", "0", "--command", LOG_IN)
        assert made.returncode == 0, made.stderr
        sessions = {"anonymous": "", **json.loads(made.stdout)}
        everywhere = [*STARTS, *visits_of(sandbox.url, sessions["superuser"], STARTS)]
        yield {
            kind: visits_of(sandbox.url, session, everywhere) for kind, session in sessions.items()
        }


def test_pages_of_the_sandbox_are_for_everybody_and_its_admin_for_those_who_may(
    visits: dict[str, dict[str, Visit]],
) -> None:
    statuses = {
        kind: {address.partition("?")[0]: visit.status for address, visit in found.items()}
        for kind, found in visits.items()
    }
    public = {
        kind: {
            one: status
            for one, status in found.items()
            if not one.startswith(("/admin/", "/static/"))
        }
        for kind, found in statuses.items()
    }

    assert len(public["anonymous"]) > 10
    assert HISTORY in statuses["superuser"]
    for kind, found in statuses.items():
        assert public[kind] == public["anonymous"]
        assert [one for one, status in found.items() if status >= 500] == [], kind
    for kind in ("anonymous", "user"):
        closed = {
            one: status for one, status in statuses[kind].items() if one.startswith("/admin/")
        }
        assert closed.pop("/admin/login/") == 200
        assert set(closed.values()) == {302}
    assert statuses["superuser"][f"{HISTORY}lifespanrun/"] == 200
    assert statuses["staff"][f"{HISTORY}lifespanrun/"] == 403
    for kind in ("anonymous", "user", "staff"):
        assert visits[kind]["/health/readyz"].text == "degraded\n"
    assert "notices.notice_board: " in visits["superuser"]["/health/readyz"].text

    inline = {
        address: visit.inline
        for address, visit in visits["superuser"].items()
        if visit.status == 200 and visit.inline
    }
    assert inline == {}
