"""The recipes of the page "Alerts" do what it says: mail, webhook, Sentry, Prometheus, OpenTelemetry."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import django
import pytest
from aiosmtpd.controller import Controller

from tests.documents import SETTINGS, example, paste
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.once, pytest.mark.slow, pytest.mark.server]

FAILS = """
import asyncio

from lifespan_app import lifespan


@lifespan.on_start{options}
async def warm_up():
    {body}
"""


def failing(project: Project, recipe: str, options: str = "", body: str = "") -> Project:
    """Do what a recipe says in a project, and have its hook fail."""
    paste(example("howto/alerts", recipe), project)
    project.with_tables()
    body = body or "raise OSError('no catalogue')"
    project.file("books/lifespan.py", FAILS.format(options=options, body=body))
    spool = str(project.folder / "spool")
    append(project, f"LIFESPAN = {{**globals().get('LIFESPAN', {{}}), 'SPOOL_DIR': {spool!r}}}")
    return project


def append(project: Project, source: str) -> None:
    """Append a line to the settings of a project."""
    with (project.folder / "mysite" / "settings.py").open("a") as settings:
        settings.write(f"\n{source}\n")


def mails_to(port: str) -> str:
    """Return the settings with which Django sends mails to a port of this host."""
    if django.VERSION < (6, 1):
        return f"EMAIL_PORT = {port}"
    backend = "django.core.mail.backends.smtp.EmailBackend"
    mailer = {"BACKEND": backend, "OPTIONS": {"host": "127.0.0.1", "port": int(port)}}
    return f"MAILERS = { ({'default': mailer})!r}"


def start(project: Project, **environment: str) -> str:
    """Start a server, which fails, and return what it says."""
    command = ["-m", "uvicorn", "mysite.asgi:application", "--port", "0", "--lifespan", "on"]
    ran = project.run(*command, environment={**SETTINGS, **environment})
    assert ran.returncode == 3, ran.stderr
    return ran.stdout + ran.stderr


class Mails:
    """A mail server, and what it got."""

    def __init__(self) -> None:
        self.got: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.got.append(envelope.content.decode())
        return "250 OK"


@pytest.fixture
def mails() -> Iterator[tuple[list[str], str]]:
    """Return the mails that have been sent, and the port of the server."""
    handler = Mails()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port)
    controller.start()
    yield handler.got, str(port)
    controller.stop()


def test_failed_start_is_mailed_by_the_alert_and_the_process_waits_for_it(
    project: Project, mails: tuple[list[str], str]
) -> None:
    got, port = mails
    failing(project, "the setting")
    append(project, f"{mails_to(port)}\nLIFESPAN['ALERTS'] = LIFESPAN['ALERTS'][:1]")

    start(project)
    start(project)

    [mail] = got
    sent = message_from_string(mail)
    assert sent["Subject"] == "[Django] app failed to start (development, 1.8.2)"
    body = sent.get_payload(decode=True)
    assert isinstance(body, bytes)
    line = project.line_of("books/lifespan.py", "@lifespan.on_start")
    assert f"books.warm_up (books/lifespan.py:{line}): OSError: no catalogue" in body.decode()


def test_failed_start_is_mailed_by_the_log(project: Project, mails: tuple[list[str], str]) -> None:
    got, port = mails
    failing(project, "the log")

    append(project, mails_to(port))
    start(project)

    [mail] = got
    assert "Subject: [Django] ERROR: Lifespan hook 'books.warm_up'" in mail


def test_change_is_told_to_a_function_of_the_project_and_by_the_signal(project: Project) -> None:
    failing(project, "the signal")

    assert "noted: app was starting, and is failed" in start(project)


class Posted(BaseHTTPRequestHandler):
    """Keep what is posted."""

    got: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        zipped = self.headers.get("Content-Encoding") == "gzip"
        self.got.append(gzip.decompress(body) if zipped else body)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[str]:
    """Return the host and port of an HTTP server."""
    Posted.got = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Posted) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def sentry_events() -> list[dict[str, Any]]:
    """Return the events that Sentry got: https://develop.sentry.dev/sdk/data-model/envelopes/."""
    events = []
    for envelope in Posted.got:
        lines = envelope.split(b"\n")
        for header, payload in zip(lines[1::2], lines[2::2], strict=False):
            if header and json.loads(header).get("type") == "event":
                events.append(json.loads(payload))
    return events


def with_few_packages(project: Project) -> None:
    """Have Sentry take no package for the project's but Django: it imports the others, for many seconds."""
    settings = project.folder / "mysite" / "settings.py"
    recipe = settings.read_text()
    options = "integrations=[DjangoIntegration()], auto_enabling_integrations=False, "
    assert "sentry_sdk.init(" in recipe
    settings.write_text(
        "from sentry_sdk.integrations.django import DjangoIntegration\n"
        + recipe.replace("sentry_sdk.init(", f"sentry_sdk.init({options}")
    )


@pytest.mark.parametrize(
    ("options", "body"),
    [("", "raise OSError('no catalogue')"), ("(timeout=0.1)", "await asyncio.Event().wait()")],
    ids=["error", "time limit"],
)
def test_sentry_gets_one_event_of_a_failed_start_with_its_run(
    project: Project, receiver: str, options: str, body: str
) -> None:
    failing(project, "Sentry", options, body)
    with_few_packages(project)

    start(project, SENTRY_DSN=f"http://key@{receiver}/1")

    [event] = sentry_events()
    assert event["release"] == "1.8.2"
    assert event["tags"]["service_type"] == "api"
    assert event["tags"]["hook"] == "books.warm_up"
    assert len(event["tags"]["run"]) == 36
    assert event["fingerprint"] == ["{{ default }}", "books.warm_up", "startup"]


def test_hanging_webhook_holds_a_failing_start_up_for_two_seconds(project: Project) -> None:
    """It accepts the connection, and never answers: the process ends, and has sent it."""
    failing(project, "the setting")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        # Longer than the test may take.
        options = {"url": url, "timeout": 600}
        alert = {"to": "lifespan_app.alerts.webhook", "options": options}
        append(project, f"LIFESPAN['ALERTS'] = [{alert!r}]")
        begun = time.monotonic()
        start(project)
        assert time.monotonic() - begun > 2
        connection, _ = silent.accept()
        with connection:
            assert b"app failed to start" in connection.recv(65536)


def test_metrics_are_on_the_page(project: Project) -> None:
    paste(example("howto/alerts", "Prometheus"), project)
    with Server(project, application="mysite.asgi:application", environment=SETTINGS) as server:
        page = server.get("/metrics/").text

    assert 'lifespan_ready{service_type="app"} 1.0' in page
    assert 'hook="books.warm_up",outcome="ok"' in page


def spans(output: str) -> list[dict[str, Any]]:
    """Return the spans that are printed as JSON between other lines."""
    found, decoder, at = [], json.JSONDecoder(), output.find("{\n")
    while at >= 0:
        span, end = decoder.raw_decode(output, at)
        found.append(span)
        at = output.find("{\n", end)
    return found


@pytest.mark.parametrize("stop", ["interrupt", "terminate"])
def test_startup_and_shutdown_are_a_trace_each_with_a_span_for_each_hook(
    project: Project, stop: str
) -> None:
    paste(example("howto/alerts", "OpenTelemetry"), project)
    with Server(project, application="mysite.asgi:application", environment=SETTINGS) as server:
        if stop == "interrupt":
            server.interrupt()
        else:
            server.process.terminate()
        server.wait()

    found = spans(server.output)
    roots = {span["name"]: span for span in found if span["parent_id"] is None}
    assert set(roots) == {"lifespan startup", "lifespan shutdown"}
    of_hooks = [span for span in found if span["name"] == "books.shelf"]
    assert {span["parent_id"] for span in of_hooks} == {
        root["context"]["span_id"] for root in roots.values()
    }
    assert len({span["context"]["trace_id"] for span in found}) == 2
    assert {span["attributes"]["outcome"] for span in of_hooks} == {"ok"}
