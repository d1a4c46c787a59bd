"""Planted secrets are in nothing that leaves a process, as far as anybody could recognise them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lifespan_app import conf
from lifespan_app.checks.unknown_words import check_keys
from lifespan_app.integration.redaction import MASK, masked
from tests.admin.project import APPS, TESTS, AdminProject
from tests.projects import Project
from tests.security import planted
from tests.security.planted import BY_FORM, KEY, NOT_RECOGNISED, PRIVATE_KEY, TEXTS

if TYPE_CHECKING:
    from pytest_django import Settings


def test_there_are_sixty_kinds() -> None:
    assert len(TEXTS) + len(BY_FORM) + 1 >= 60


@pytest.mark.parametrize("kind", TEXTS)
def test_secret_with_a_name_or_in_an_address_is_masked(kind: str) -> None:
    said = masked(f"it failed: {TEXTS[kind]} and so on")

    assert KEY not in said
    assert MASK in said
    assert said.startswith("it failed: ")


@pytest.mark.parametrize("kind", BY_FORM)
def test_secret_is_masked_by_its_form(kind: str) -> None:
    assert masked(f"refused: {BY_FORM[kind]}, sorry") == f"refused: {MASK}, sorry"


def test_private_key_is_masked_whole() -> None:
    assert masked(f"can't read {PRIVATE_KEY}\nsorry") == f"can't read {MASK}\nsorry"
    cut = PRIVATE_KEY.rpartition("\n")[0]
    assert masked(f"can't read {cut}") == f"can't read {MASK}"
    assert masked(repr(PRIVATE_KEY)) == f"'{MASK}'"


@pytest.mark.parametrize("text", NOT_RECOGNISED)
def test_secret_that_nothing_tells_from_a_word_stays(text: str) -> None:
    """The documentation says so; a change here is one there."""
    assert masked(text) == text


def test_value_of_the_wrong_type_is_told_without_its_secrets(settings: Settings) -> None:
    settings.LIFESPAN = {
        "CONFIG": [f"postgres://shop:{KEY}@db/shop"],
        "STATUS_FILE": {"password": KEY},
        "ALERTS": [f"token={KEY}", {"to": "shop.note", "options": f"https://shop:{KEY}@hooks"}],
        f"api_key={KEY}": 1,
    }

    told = [*conf.wrong_types(), *(problem.msg for problem in check_keys())]

    assert len(told) == 5
    assert KEY not in "".join(told)


def test_token_of_an_alert_is_masked_wherever_it_appears(settings: Settings) -> None:
    options = {"url": "https://chat.example/", "headers": {"X-Token": KEY}}
    settings.LIFESPAN = {"ALERTS": [{"to": "lifespan_app.alerts.webhook", "options": options}]}

    assert masked(f"refused: {KEY}") == f"refused: {MASK}"


HOOKS = """
import asyncio
import logging
import os

from lifespan_app import lifespan
from planted import BY_FORM, PRIVATE_KEY, TEXTS

ALL = [*TEXTS.values(), *BY_FORM.values(), PRIVATE_KEY]


def failing(texts):
    error = OSError("the first of the chain")
    for text in texts:
        try:
            raise ConnectionError(text) from error
        except ConnectionError as caught:
            error = caught
            error.add_note(f"note: {text}")
    return error


@lifespan.resource(required=False)
async def chained():
    raise failing(ALL)
    yield


@lifespan.on_start(required=False)
async def grouped():
    raise ExceptionGroup("all of them", [ValueError(text) for text in ALL])


@lifespan.on_start(required=False)
def tried():
    raise OSError("\\n".join(ALL))


@lifespan.resource(wait=False)
async def slow():
    for text in ALL:
        lifespan.progress(0.5, text)
    yield "up"


@lifespan.resource
async def closing():
    yield "open"
    raise RuntimeError("; ".join(ALL))


@lifespan.on_start(required=False, once="launch")
def led():
    raise failing(ALL)
"""

IN_SERVICE = """

@closing.check
async def answers(value):
    raise failing(ALL)


@lifespan.background(on_crash="restart", every=3600)
async def job():
    if not os.environ.get("WARMS"):
        raise failing(ALL)


@lifespan.on_start(name="strict")
async def strict():
    for text in ALL:
        logging.getLogger("shop").warning("log line: %s", text)
    if os.environ.get("FAILS"):
        raise failing(ALL)


@lifespan.resource(wait=False, name="warming")
async def warming():
    if os.environ.get("WARMS"):
        lifespan.progress(0.5, "\\n".join(["loading", *ALL]))
        await asyncio.Event().wait()
    yield "up"


lifespan.observe(Metrics())
"""

OURS = """
import logging

class Lines(logging.Handler):
    def emit(self, record):
        with open("lines.txt", "a") as file:
            file.write(record.getMessage() + "\\n")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"lines": {"()": Lines}},
    "loggers": {"lifespan_app": {"handlers": ["lines"], "level": "DEBUG", "propagate": False}},
}
"""

METRICS = """
from lifespan_app.contrib.prometheus import Metrics
"""

ASGI = """
from lifespan_app.asgi import get_asgi_application

application = get_asgi_application()
"""

SHOWN = {
    "posted": '"change": "not_ready"',
    "noted.txt": "not_ready",
    "shown/startup.complete": "lifespan.startup.complete",
    "shown/startup.failed": "ConnectionError",
    "shown/shutdown": "RuntimeError",
    "shown/readyz": "ConnectionError",
    "shown/readyz.json": "ConnectionError",
    "shown/readyz of a visitor": "",
    "shown/showlifespan --now": "ConnectionError",
    "shown/showlifespan --now --format json": "ConnectionError",
    "shown/showlifespan --now --expect app=2 --fail-on not_ready": "exit code 2",
    "shown/showlifespan --leases": "shop.led",
    "shown/overview while it serves": "ConnectionError",
    "shown/status file": "crashed",
    "shown/readyz of the warm-up": "loading",
    "shown/showlifespan of the warm-up": "loading",
    "shown/overview of the warm-up": "warming",
    "shown/status file of the warm-up": "loading",
    "shown/metrics": "lifespan_job_crashes_total",
}
"""Words that show that an output is what it should be."""

STEPS: dict[str, dict[str, str]] = {
    "warm_up": {"WARMS": "1"},
    "serve": {},
    "fail": {"FAILS": "1"},
    "pages": {},
}
"""The processes, in their order, with their variables."""

SECRETS = (KEY, *BY_FORM.values(), "MIIEvQIBADANBgkqhkiG9w0BAQ")


def planted_in(project: Project) -> Project:
    project.app("shop", lifespan=HOOKS)
    project.file("planted.py", Path(planted.__file__).read_text())
    project.settings(
        LIFESPAN={"STATUS_FILE": "status.json", "SPOOL_DIR": str(project.folder / "spool")}
    )
    project.settings(OURS)
    return project


def kept(project: Project) -> dict[str, bytes]:
    """Return what the project's processes have written, by the name of the file."""
    return {
        str(path.relative_to(project.folder)): path.read_bytes()
        for path in project.folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }


def assert_is_clean(outputs: dict[str, bytes]) -> None:
    found = {
        name: [secret for secret in SECRETS if secret.encode() in text]
        for name, text in outputs.items()
    }
    assert not {name: secrets for name, secrets in found.items() if secrets}


class Receiver(BaseHTTPRequestHandler):
    """Keep what is posted."""

    posted: list[bytes]

    def do_POST(self) -> None:
        self.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def receiver() -> Iterator[str]:
    """Return the address of an HTTP server, whose requests are in `Receiver.posted`."""
    Receiver.posted = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


ALERTING = """
def note(run, change, previous):
    with open("noted.txt", "a") as file:
        file.write(f"{change} {vars(run)}\\n")
        for step in run.steps.all():
            file.write(f"{vars(step)}\\n")
"""

URLS = """
from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("health/", include("lifespan_app.urls"))]
"""


@pytest.mark.slow
@pytest.mark.once
def test_nothing_shown_or_sent_has_a_planted_secret(tmp_path: Path, receiver: str) -> None:
    pytest.importorskip("prometheus_client")
    project = AdminProject(tmp_path)
    project.app("shop", lifespan=f"{METRICS}{HOOKS}{IN_SERVICE}")
    project.file("planted.py", Path(planted.__file__).read_text())
    project.file("alerting.py", ALERTING)
    project.file("site_urls.py", URLS)
    project.asgi(ASGI)
    changes = ["serving", "degraded", "not_ready", "recovered", "failed", "lost", "stopped"]
    project.settings(
        INSTALLED_APPS=["lifespan_app", *APPS, "shop"],
        ROOT_URLCONF="watched_urls",
        LANGUAGE_CODE="en",
        LIFESPAN={
            "STATUS_FILE": "status.json",
            "ALERTS": [
                {"to": "lifespan_app.alerts.email_admins", "on": changes},
                {"to": "lifespan_app.alerts.webhook", "on": changes, "options": {"url": receiver}},
                {"to": "alerting.note", "on": changes},
            ],
        },
        ADMINS=["ann@example.com"],
        MAILERS={
            "default": {
                "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
                "OPTIONS": {"file_path": str(tmp_path / "mails")},
            }
        },
    )
    project.file("watched_urls.py", URLS)
    project.settings(OURS)
    project.migrate()

    path = f"{TESTS}:{project.environment['PYTHONPATH']}"
    outputs: dict[str, bytes] = {}
    for what, variables in STEPS.items():
        ran = project.run(
            *("-m", "tests.security.outputs", what),
            environment={"PYTHONPATH": path, **variables},
        )
        assert ran.returncode == 0, ran.stderr
    outputs["posted"] = b"\n".join(Receiver.posted)
    outputs |= kept(project)

    for name, words in SHOWN.items():
        assert words.encode() in outputs[name], name
    assert len([name for name in outputs if name.startswith("mails/")]) >= 2
    assert len([name for name in outputs if name.startswith("shown/page")]) > 12
    assert_is_clean(outputs)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("has_tables", [True, False], ids=["database", "spool"])
def test_no_output_has_a_planted_secret(project: Project, has_tables: bool) -> None:
    planted_in(project)
    if has_tables:
        assert project.manage("migrate", "--verbosity", "0").returncode == 0

    ran = project.manage("runlifespan", "--once")
    outputs = {"runlifespan": f"{ran.stdout}{ran.stderr}".encode()}
    for command in (
        ("showlifespan",),
        ("showlifespan", "--format", "json"),
        ("showlifespan", "--blame"),
        ("checklifespan", "--run"),
        ("checklifespan", "--run", "--format", "json"),
    ):
        done = project.manage(*command)
        outputs[" ".join(command)] = f"{done.stdout}{done.stderr}".encode()

    kinds = {name.partition("/")[0] for name in kept(project)}
    assert {"lines.txt", "db.sqlite3"} <= kinds if has_tables else {"lines.txt", "spool"} <= kinds
    assert b"failed to start" in kept(project)["lines.txt"]
    assert b"ConnectionError" in outputs["showlifespan"]
    assert_is_clean(outputs | kept(project))
