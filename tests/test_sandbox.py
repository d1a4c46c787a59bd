"""The sandbox, run as its README says."""

from __future__ import annotations

import json
import re
import signal
import socket
from typing import Any

import httpx
import pytest

from tests.projects import Project
from tests.sandboxes import DEVELOPMENT, FOLDER, Sandbox, manage_sandbox, sandbox_environment
from tests.servers import DAPHNE, HOST, Kind, Server

EMMA = "9780141439587"
"""A book that only the catalogue has."""


def books_of(name: str) -> list[dict[str, Any]]:
    books: list[dict[str, Any]] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return books


class TestItsData:
    def test_every_isbn_of_the_catalogue_is_valid_and_unique(self) -> None:
        isbns = [book["isbn"] for book in books_of("catalogue/books.json")]

        wrong = [
            isbn
            for isbn in isbns
            if len(isbn) != 13 or sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(isbn)) % 10
        ]

        assert wrong == []
        assert len(set(isbns)) == len(isbns) >= 60

    def test_catalogue_and_shelf_say_the_same_of_a_book(self) -> None:
        catalogue = books_of("catalogue/books.json")

        assert [book for book in books_of("library/shelf.json") if book not in catalogue] == []


@pytest.mark.slow
@pytest.mark.once
class TestItsCommands:
    def test_system_checks_find_nothing_in_the_sandbox(self, project: Project) -> None:
        checked = manage_sandbox(project, "check", "--fail-level", "INFO")

        assert checked.returncode == 0, checked.stderr

    def test_sandbox_misses_no_migration(self, project: Project) -> None:
        made = manage_sandbox(project, "makemigrations", "--check", "--dry-run")

        assert made.returncode == 0, made.stdout

    def test_prepare_demo_prints_where_the_sandbox_is_served(self, project: Project) -> None:
        prepared = manage_sandbox(project, "prepare_demo", PORT="8765")

        assert "http://127.0.0.1:8765/\n" in prepared.stdout
        assert "http://127.0.0.1:8765/admin/\n" in prepared.stdout

    def test_last_password_of_prepare_demo_logs_in(self, project: Project) -> None:
        first = credentials(manage_sandbox(project, "prepare_demo").stdout)
        last = credentials(manage_sandbox(project, "prepare_demo").stdout)

        with Sandbox(project) as sandbox:
            assert not logs_in(sandbox, *first)
            assert logs_in(sandbox, *last)

    def test_runlifespan_starts_and_stops_the_sandbox(self, project: Project) -> None:
        manage_sandbox(project, "migrate", "--verbosity", "0")

        ran = manage_sandbox(project, "runlifespan", "--once")

        assert ran.returncode == 0, ran.stderr
        outcomes = dict(re.findall(r"^  (\w+) .*? (\w+\.\w+)$", ran.stdout, re.MULTILINE))
        assert outcomes.keys() >= {"ok", "failed"}
        assert outcomes["failed"] == "notices.notice_board"
        assert ", degraded: 1 failed" in ran.stdout

    def test_runlifespan_serves_the_sandbox_with_static_files(self, project: Project) -> None:
        manage_sandbox(project, "migrate", "--verbosity", "0")
        kind = Kind(
            name="runlifespan --serve",
            command=(str(FOLDER / "manage.py"), "runlifespan", "--serve", HOST + ":{port}"),
            needs=("uvicorn",),
        )
        with Server(project, kind, environment=sandbox_environment(project)) as served:
            assert served.get("/?q=emma").status == 200
            assert served.get("/static/sandbox/page.css").status == 200


def credentials(printed: str) -> tuple[str, str]:
    name = re.search(r"^Name: +(\S+)$", printed, re.MULTILINE)
    password = re.search(r"^Password: +(\S+)$", printed, re.MULTILINE)
    assert name, printed
    assert password, printed
    return name[1], password[1]


def logs_in(sandbox: Sandbox, name: str, password: str) -> bool:
    with httpx.Client(base_url=sandbox.url, trust_env=False) as browser:
        browser.get("/admin/login/")
        answer = browser.post(
            "/admin/login/?next=/admin/library/book/",
            data={
                "username": name,
                "password": password,
                "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            },
            follow_redirects=True,
        )
    return "Select book to change" in answer.text


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
class TestServing:
    def test_front_page_finds_a_book_without_its_accents(self, sandbox: Sandbox) -> None:
        assert "Emily Brontë, 1847" in sandbox.get("/?q=bronte+wuth").text

    def test_front_page_says_what_it_did_not_find(self, sandbox: Sandbox) -> None:
        assert "Nothing for “&lt;unheard&gt;”" in sandbox.get("/?q=%3Cunheard%3E").text

    def test_front_page_corrects_a_search_that_finds_nothing(self, sandbox: Sandbox) -> None:
        once_all_is_up(sandbox)

        assert 'Did you mean <a href="?q=dracula">dracula</a>?' in sandbox.get("/?q=Draculla").text

    def test_front_page_shows_how_each_hook_went(self, sandbox: Sandbox) -> None:
        shown = once_all_is_up(sandbox)

        for job in ("search.refresh", "library.forget_books"):
            assert shown.pop(job) in ("waiting", "running", "standing by")
        assert shown == {
            "catalogue.books": "open",
            "library.bookshelf": "open",
            "library.http_client": "open",
            "notices.notice_board": "failed",
            "search.announce": "done",
            "search.index": "open",
            "search.spelling": "open",
        }

    def test_front_page_shows_how_often_its_index_was_refreshed(self, sandbox: Sandbox) -> None:
        def shown() -> str:
            page = " ".join(sandbox.get("/").text.split())
            return page if 'refresh <span class="kind">1 round</span>' in page else ""

        page = sandbox.until(shown, "The index was not refreshed")

        row = page[page.index('refresh <span class="kind">') :].partition("</tr>")[0]
        last_success, next_round = re.findall(r"<td[^>]*>(\d\d:\d\d:\d\d)</td>", row)
        assert last_success != next_round

    def test_front_page_says_that_this_process_leads(self, sandbox: Sandbox) -> None:
        def leads() -> bool:
            return ", this process leads" in sandbox.get("/").text

        sandbox.until(leads, "The only process does not lead")

    def test_front_page_says_why_the_process_is_degraded(self, sandbox: Sandbox) -> None:
        page = sandbox.get("/").text

        assert '<span class="mark warn">degraded</span>' in page
        assert "It serves without notices.notice_board" in page
        assert "No notice service at http://127.0.0.1:9/notices.txt" in page

    def test_view_copes_with_a_resource_that_is_not_up(self, sandbox: Sandbox) -> None:
        answer = sandbox.get("/notices/")

        assert answer.status == 200
        assert "The notice service is not up." in answer.text
        assert "notice_board" in answer.text

    def test_book_is_looked_up_over_http_once_and_kept(self, sandbox: Sandbox) -> None:
        assert "Looked up in the catalogue over HTTP" in sandbox.get(f"/books/{EMMA}/").text
        assert "Read from what is kept" in sandbox.get(f"/books/{EMMA}/").text
        assert sandbox.kept_isbns() == [EMMA]

    def test_book_that_is_not_in_the_catalogue_is_not_found(self, sandbox: Sandbox) -> None:
        answer = sandbox.get("/books/9780000000000/")

        assert answer.status == 404
        assert "The catalogue has no book" in answer.text

    def test_sandbox_serves_static_files(self, sandbox: Sandbox) -> None:
        assert sandbox.get("/static/sandbox/page.css").status == 200
        assert sandbox.get("/static/admin/css/base.css").status == 200


def once_all_is_up(sandbox: Sandbox) -> dict[str, str]:
    """Wait for what the startup does not wait for; return the outcomes that are shown."""

    def shown() -> dict[str, str]:
        outcomes = hooks_shown(sandbox.get("/").text)
        return outcomes if outcomes.get("search.spelling") == "open" else {}

    return sandbox.until(shown, "The words were not learnt")


def hooks_shown(page: str) -> dict[str, str]:
    rows = re.findall(
        r'<th scope="row">(\w+)\.<wbr>(\w+) .*?<td><span class="mark \w*">(.*?)</span>',
        page,
        re.DOTALL,
    )
    return {f"{app}.{name}": outcome for app, name, outcome in rows}


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
class TestStartingAndStopping:
    def test_ctrl_c_closes_the_sandbox(self, project: Project) -> None:
        with Sandbox(project) as sandbox:
            sandbox.get("/?q=emma")
            sandbox.interrupt()

            assert sandbox.wait() in (0, -signal.SIGINT)

        ends = re.findall(
            r"1 searches answered|HTTP client closed|Application shutdown complete",
            sandbox.output,
        )
        assert sorted(ends[:2]) == ["1 searches answered", "HTTP client closed"]
        assert ends[2:] == ["Application shutdown complete"]
        assert "Traceback" not in sandbox.output.partition("Shutting down")[2]

    def test_kept_books_are_found_at_the_next_start_without_the_catalogue(
        self, project: Project
    ) -> None:
        nowhere = {"CATALOGUE_URL": "http://127.0.0.1:9/"}
        with Sandbox(project) as sandbox:
            sandbox.get(f"/books/{EMMA}/")

        with Sandbox(project, environment=nowhere) as sandbox:
            assert f"/books/{EMMA}/" in sandbox.get("/?q=emma").text

    def test_catalogue_that_does_not_answer_is_named_with_what_to_do(
        self, project: Project
    ) -> None:
        with Sandbox(project, environment={"CATALOGUE_URL": "http://127.0.0.1:9/"}) as sandbox:
            answer = sandbox.get(f"/books/{EMMA}/")

            assert answer.status == 502
            assert "No catalogue at http://127.0.0.1:9/" in answer.text
            assert "Set CATALOGUE_URL" in answer.text

    def test_optional_hook_switched_off_leaves_the_process_well(self, project: Project) -> None:
        with Sandbox(project, environment={"NOTICES": "off"}) as sandbox:
            page = sandbox.get("/").text

            assert '<span class="mark ok">serving</span>' in page
            assert "notices.notice_board" not in hooks_shown(page)
            assert "The notice service is not up." in sandbox.get("/notices/").text

    def test_notices_are_shown_once_their_service_is_up(self, project: Project) -> None:
        with Sandbox(project) as other:
            here = {"NOTICES_URL": f"{other.url}/static/sandbox/icon.svg"}
            with Sandbox(project, environment=here) as sandbox:
                assert hooks_shown(sandbox.get("/").text)["notices.notice_board"] == "open"
                assert '<span class="mark ok">serving</span>' in sandbox.get("/").text
                assert "viewBox" in sandbox.get("/notices/").text

    def test_stream_of_notices_ends_with_the_process(self, project: Project) -> None:
        with Sandbox(project) as other:
            here = {"NOTICES_URL": f"{other.url}/static/sandbox/icon.svg"}
            with (
                Sandbox(project, environment=here) as sandbox,
                socket.create_connection((HOST, sandbox.port), sandbox.limit) as reader,
                reader.makefile("rb") as heard,
            ):
                reader.sendall(b"GET /notices/events/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                first = next(line for line in heard if line.startswith(b"data: "))
                sandbox.interrupt()

                assert first.startswith(b"data: <svg ")
                assert heard.read().endswith(b"\r\n0\r\n\r\n")
                assert sandbox.wait() in (0, -signal.SIGINT)

    def test_stream_of_notices_without_their_service_is_refused(self, sandbox: Sandbox) -> None:
        answer = sandbox.get("/notices/events/")

        assert answer.status == 503
        assert "notice_board" in answer.text

    @pytest.mark.parametrize(
        ("kind", "end"),
        [(DEVELOPMENT, signal.SIGINT), (DAPHNE, signal.SIGTERM)],
        ids=["runserver", "daphne"],
    )
    def test_server_without_a_lifespan_opens_and_closes_the_sandbox(
        self, project: Project, kind: Kind, end: signal.Signals
    ) -> None:
        with Sandbox(project, kind) as sandbox:
            assert "Looked up in the catalogue" in sandbox.get(f"/books/{EMMA}/").text
            shown = hooks_shown(sandbox.get("/?q=emma").text)
            assert shown["search.refresh"] in ("waiting", "running")
            sandbox.signal(end)
            sandbox.wait()

        assert sandbox.output.count("so a background thread opens it") == 1
        ends = re.findall(r"1 searches answered|HTTP client closed", sandbox.output)
        assert sorted(ends) == ["1 searches answered", "HTTP client closed"]
