"""Somebody is told of what fails, once an hour in the whole cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.core import mail
from django.db import connections
from django.utils import timezone, translation

from lifespan_app.alerts import claims, delivery, email_admins, webhook
from lifespan_app.alerts.claims import Claim
from lifespan_app.history.recording.store import with_retries
from lifespan_app.models import LifespanAlert, LifespanRun
from tests.history.databases import HistoryDatabase, opened
from tests.history.records import a_run, a_step

if TYPE_CHECKING:
    from pytest_django import Settings

HERE = f"{__name__}.note"
CLAIM = Claim("failed", "production", "app", "f1")
HOUR = timedelta(hours=1)

noted: list[tuple[str, str, str]] = []


def note(run: LifespanRun, change: str, previous: str, *, fails: bool = False) -> None:
    """Be an alert of a project's own."""
    noted.append((run.service_type, change, previous))
    if fails:
        raise OSError("no network")


def read(run: LifespanRun, change: str, previous: str) -> None:
    """Be an alert that asks the history, as a mail does."""
    list(run.steps.all())


@pytest.fixture(autouse=True)
def _nothing_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "in_this_process", claims.InThisProcess())
    noted.clear()


@pytest.fixture
def another_process(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what forgets the claims that this process has in its memory."""
    return lambda: monkeypatch.setattr(claims, "in_this_process", claims.InThisProcess())


@pytest.fixture
def alerts(settings: Settings) -> Any:
    """Return what sets the alerts."""

    def set_alerts(*entries: dict[str, Any]) -> None:
        settings.LIFESPAN = {**settings.LIFESPAN, "ALERTS": list(entries)}

    return set_alerts


def tell(run: LifespanRun, change: str = "failed", previous: str = "starting") -> bool:
    """Send the alerts on a change, wait for them, and return whether there were any."""
    thread = delivery.alert(LifespanRun, run=run, change=change, previous=previous)
    if thread is not None:
        thread.join()
    return thread is not None


# Who is told of what.


def test_alert_is_sent_on_what_it_names(sqlite_history: HistoryDatabase, alerts: Any) -> None:
    alerts({"to": HERE, "on": ["degraded"]})
    run = a_run(status="degraded", service_type="api")

    assert tell(run, "degraded", "serving")
    assert not tell(run, "failed")
    assert noted == [("api", "degraded", "serving")]


def test_alert_that_names_no_change_is_on_failed_lost_and_not_ready(
    sqlite_history: HistoryDatabase, alerts: Any
) -> None:
    alerts({"to": HERE})
    run = a_run()
    changes = ["serving", "degraded", "not_ready", "recovered", "failed", "lost", "stopped"]

    assert [change for change in changes if tell(run, change)] == ["not_ready", "failed", "lost"]


@pytest.mark.parametrize("mode", ["reload", "check", "test"])
def test_development_server_alerts_nobody(
    sqlite_history: HistoryDatabase, alerts: Any, mode: str
) -> None:
    alerts({"to": HERE})

    assert not tell(a_run(mode=mode))


def test_alert_that_fails_is_logged_and_the_others_are_sent(
    sqlite_history: HistoryDatabase, alerts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    alerts(
        {"to": HERE, "options": {"fails": True}},
        {"to": "nowhere.at_all"},
        {"to": HERE, "options": {"no": "option"}},
        {"to": HERE},
    )
    run = a_run()

    assert tell(run)
    assert len(noted) == 2
    name = str(run.uuid)[:8]
    assert [message.replace(name, "<run>") for message in caplog.messages] == [
        f"The alert to '{HERE}' that run <run> is 'failed' failed.",
        "The alert to 'nowhere.at_all' that run <run> is 'failed' failed.",
        f"The alert to '{HERE}' that run <run> is 'failed' failed.",
    ]


# Once an hour.


def test_same_alert_is_sent_once_an_hour(
    history_database: HistoryDatabase, alerts: Any, another_process: Any
) -> None:
    alerts({"to": HERE})
    run = a_run(environment="production", fingerprint="f1")

    assert [tell(run), tell(run)] == [True, False]
    another_process()
    assert not tell(run)

    LifespanAlert.objects.update(quiet_until=timezone.now() - timedelta(seconds=1))
    another_process()
    assert tell(run)
    assert LifespanAlert.objects.count() == 1


@pytest.mark.parametrize(
    "other",
    [{"fingerprint": "f2"}, {"service_type": "api"}, {"environment": "staging"}],
    ids=str,
)
def test_another_failure_is_another_alert(
    sqlite_history: HistoryDatabase, alerts: Any, other: dict[str, str]
) -> None:
    alerts({"to": HERE})
    same = {"environment": "production", "fingerprint": "f1"}

    assert tell(a_run(**same))
    assert tell(a_run(**{**same, **other}))
    assert not tell(a_run(**same))


def test_one_of_many_processes_sends_an_alert(history_database: HistoryDatabase) -> None:
    workers = 8
    begin = threading.Barrier(workers)

    def ask(_: int) -> bool:
        try:
            begin.wait(60)
            return with_retries(lambda: claims.claim_in_database(CLAIM), 60)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(workers) as pool:
        assert sorted(pool.map(ask, range(workers))) == [False] * (workers - 1) + [True]
        LifespanAlert.objects.update(quiet_until=timezone.now() - HOUR)
        assert sorted(pool.map(ask, range(workers))) == [False] * (workers - 1) + [True]


def test_alert_that_could_not_be_sent_is_left_to_another_process_after_a_minute(
    sqlite_history: HistoryDatabase, alerts: Any
) -> None:
    alerts({"to": HERE, "options": {"fails": True}})

    tell(a_run())

    [row] = LifespanAlert.objects.all()
    assert timedelta(0) < row.quiet_until - timezone.now() <= timedelta(minutes=1)


def test_alert_that_was_sent_is_quiet_for_an_hour(
    sqlite_history: HistoryDatabase, alerts: Any
) -> None:
    alerts({"to": HERE}, {"to": HERE, "options": {"fails": True}})

    tell(a_run())

    [row] = LifespanAlert.objects.all()
    assert timedelta(minutes=59) < row.quiet_until - timezone.now() <= HOUR


def test_alert_that_has_read_a_database_without_autocommit_is_quiet_for_an_hour(
    sqlite_history: HistoryDatabase, alerts: Any, settings: Settings
) -> None:
    run = a_run()
    with opened({**sqlite_history.entry, "AUTOCOMMIT": False}, alias="manual") as database:
        settings.LIFESPAN = {"HISTORY_DATABASE": database.alias}
        alerts({"to": f"{__name__}.read"})

        tell(run)

        [row] = LifespanAlert.objects.all()
    assert timedelta(minutes=59) < row.quiet_until - timezone.now() <= HOUR


def test_alert_that_was_sent_while_the_clock_was_ahead_is_sent_again(
    history_database: HistoryDatabase, another_process: Any
) -> None:
    assert claims.claim(CLAIM, in_database=True)
    LifespanAlert.objects.update(quiet_until=timezone.now() + timedelta(days=3650))

    another_process()
    assert claims.claim(CLAIM, in_database=True)

    another_process()
    assert not claims.claim(CLAIM, in_database=True)


def test_outdated_rows_are_deleted_with_the_next_alert(
    sqlite_history: HistoryDatabase, alerts: Any
) -> None:
    alerts({"to": HERE})
    old = {"change": "failed", "service_type": "app", "quiet_until": timezone.now() - 25 * HOUR}
    LifespanAlert.objects.create(fingerprint="old", **old)

    tell(a_run(fingerprint="new"))

    assert [row.fingerprint for row in LifespanAlert.objects.all()] == ["new"]


@pytest.mark.parametrize(
    "where", ["caf\xe9", "\N{SNAKE}", "\N{SNAKE}" * 100, "x" * 100, "a\x00b", "\ud800"], ids=ascii
)
def test_alert_of_an_environment_that_a_column_can_not_store_is_sent_once(
    history_database: HistoryDatabase, another_process: Any, where: str
) -> None:
    claim = CLAIM._replace(environment=where)

    assert claims.claim(claim, in_database=True)
    claims.was_sent(claim, in_database=True)

    another_process()
    assert not claims.claim(claim, in_database=True)
    assert LifespanAlert.objects.get().quiet_until > timezone.now() + HOUR * 0.9


def test_process_without_a_database_sends_it_once_by_itself(
    sqlite_history: HistoryDatabase, alerts: Any
) -> None:
    alerts({"to": HERE})
    run = LifespanRun(service_type="api", status="startup_failed", mode="server")

    assert [tell(run), tell(run)] == [True, False]
    assert LifespanAlert.objects.count() == 0


def test_alert_is_sent_though_its_table_is_missing(
    sqlite_history: HistoryDatabase, alerts: Any
) -> None:
    alerts({"to": HERE})
    run = a_run()
    sqlite_history.run("DROP TABLE lifespan_app_lifespanalert")

    assert [tell(run), tell(run)] == [True, False]


# What they are told.


@pytest.fixture
def admins(settings: Settings) -> None:
    # Since Django 6.0 pairs of name and address are deprecated; before, only they are taken.
    address = "ann@example.com"
    settings.ADMINS = [address] if django.VERSION >= (6,) else [("Ann", address)]
    # Django 6.1 has no default one; before, the setting is not known.
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}


def failed_run(**values: Any) -> LifespanRun:
    """Write a run of an API that failed, with the step that did."""
    facts = {"service_type": "api", "environment": "production", "release": "1.8.2"}
    run = a_run(**{**facts, "status": "startup_failed", "host": "web-1", "pid": 4952, **values})
    place = {"file": "books/lifespan.py", "line": 12}
    a_step(run, outcome="failed", exception="OSError", error="no <index> & no shelf", **place)
    return run


def test_mail_to_the_admins_says_what_failed_and_what_to_do(
    sqlite_history: HistoryDatabase, admins: None
) -> None:
    run = failed_run()

    email_admins(run, "failed", "starting")

    [message] = mail.outbox
    assert message.subject == "[Django] api failed to start (production, 1.8.2)"
    assert message.to == ["ann@example.com"]
    for line in (
        "books.shelf failed after 3 ms; nothing was served.",
        "books.shelf (books/lifespan.py:12): OSError: no <index> & no shelf",
        "api, 1.8.2, production, web-1, pid 4952",
        f"More: manage.py showlifespan {run.uuid}",
    ):
        assert line in message.body.splitlines()
    assert "- Look at books/lifespan.py:12, and check" in message.body


def test_mail_is_in_the_language_of_the_project(
    sqlite_history: HistoryDatabase, admins: None
) -> None:
    with translation.override("de"):
        email_admins(failed_run(), "failed", "starting")

    [message] = mail.outbox
    assert message.subject == "[Django] api konnte nicht starten (production, 1.8.2)"
    assert "books.shelf ist nach 3 ms fehlgeschlagen; nichts wurde bedient." in message.body


@pytest.mark.parametrize(
    ("change", "status", "subject"),
    [
        ("serving", "serving", "api is serving"),
        ("degraded", "degraded", "api is degraded"),
        ("not_ready", "serving", "api is not ready"),
        ("recovered", "serving", "api has recovered"),
        ("failed", "startup_failed", "api failed to start"),
        ("failed", "shutdown_failed", "api failed to stop"),
        ("lost", "lost", "api is lost"),
        ("stopped", "stopped", "api stopped"),
    ],
)
def test_subject_says_what_has_changed(
    sqlite_history: HistoryDatabase, admins: None, change: str, status: str, subject: str
) -> None:
    email_admins(failed_run(status=status), change, "serving")

    assert mail.outbox[0].subject == f"[Django] {subject} (production, 1.8.2)"


def test_subject_with_line_breaks_is_one_line(
    sqlite_history: HistoryDatabase, admins: None
) -> None:

    email_admins(failed_run(release="1\nBcc: all@example.com"), "failed", "starting")

    assert mail.outbox[0].subject.endswith("(production, 1 Bcc: all@example.com)")


class Receiver(BaseHTTPRequestHandler):
    """Keep what is posted; answer with the code that the path ends with."""

    posted: list[tuple[dict[str, str], dict[str, Any]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.posted.append((dict(self.headers), json.loads(body)))
        self.send_response(int(self.path.rpartition("/")[2]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[str]:
    """Return the address of an HTTP server."""
    Receiver.posted = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_webhook_posts_json_that_slack_shows(
    sqlite_history: HistoryDatabase, receiver: str
) -> None:
    run = failed_run(fingerprint="f1")

    webhook(run, "failed", "starting", url=f"{receiver}/200", headers={"X-Token": "abc"})

    [(headers, posted)] = Receiver.posted
    assert (headers["Content-Type"], headers["X-Token"]) == ("application/json", "abc")
    assert posted.pop("text").splitlines() == [
        "*api failed to start (production, 1.8.2)*",
        "books.shelf failed after 3 ms; nothing was served.",
        "books.shelf (books/lifespan.py:12): OSError: no &lt;index&gt; &amp; no shelf",
        str(run.uuid),
    ]
    assert posted == {
        "change": "failed",
        "previous": "starting",
        "run": str(run.uuid),
        "started_at": run.started_at.isoformat(),
        "service_type": "api",
        "environment": "production",
        "release": "1.8.2",
        "host": "web-1",
        "pid": 4952,
        "status": "startup_failed",
        "error": "",
        "fingerprint": "f1",
    }


def test_webhook_that_is_refused_raises(sqlite_history: HistoryDatabase, receiver: str) -> None:
    with pytest.raises(OSError, match="500"):
        webhook(failed_run(), "failed", "starting", url=f"{receiver}/500")


def test_webhook_opens_no_file(sqlite_history: HistoryDatabase) -> None:
    with pytest.raises(ValueError, match="must begin with http:// or https://"):
        webhook(failed_run(), "failed", "starting", url="file:///etc/passwd")
