"""Whatever hooks are called, say and log: it is stored, or cut with a word, and never an error."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.reporting.log_capture import MOST_BYTES, LogLine
from lifespan_app.engine.reporting.report import Phase, Step
from lifespan_app.history.recording import record, rows
from lifespan_app.history.recording.maintenance import import_spooled
from lifespan_app.history.recording.rows import Rows
from lifespan_app.history.recording.sanitize import LONGEST, ascii_only, sanitize
from lifespan_app.history.recording.spool import SpoolFile, claimed
from lifespan_app.history.recording.store import Writer
from lifespan_app.models import LifespanRun, LifespanStep
from tests.history.databases import HistoryDatabase, postgresql_in_latin1
from tests.history.records import a_run, a_step
from tests.needs import needs_postgresql

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

TEXTS = {
    "markup": "<script>alert(1)</script>",
    "quotes": """'"`; DROP TABLE lifespan_app_lifespanrun; -- %s %(name)s {} \\""",
    "long": "x" * 100_000,
    "nul": "before\x00after",
    "surrogates": "\ud800 and \udfff",
    "emoji": "\N{SNAKE}\N{FAMILY}\ufe0f",
    "right-to-left": "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd",
    "controls": "\x1b[31mred\x1b[0m\r\n\t\x07\u2028",
    "long emoji": "\N{SNAKE}" * 100_000,
    "long nul": "\x00" * 100_000,
}


@pytest.fixture(params=list(TEXTS))
def text(request: pytest.FixtureRequest) -> str:
    return TEXTS[request.param]


def stored_as(text: str, database: HistoryDatabase, length: int | None = None) -> str:
    """Return what a text should be in a column."""
    # Latin letters are all that the columns of this one take; what can't be stored is spelled out.
    if database.kind == "latin1" and not text.isascii():
        text = ascii_only(text)
    return sanitize(text, length)


def a_row_of_a_run(uuid: str, text: str) -> dict[str, Any]:
    now = time.time()
    named = {"mode": "server", "service_type": "app", "status": "serving", "pid": 1, "uuid": uuid}
    said = dict.fromkeys(("host", "release", "server", "error", "ended_by", "slowest_hook"), text)
    return {**named, **said, "started_at": now, "last_seen_at": now}


def a_row_of_a_step(text: str) -> dict[str, Any]:
    named = {"app_label": text, "name": text, "kind": "resource", "phase": "startup"}
    said = dict.fromkeys(("error", "traceback", "reason", "waiting_at", "file", "exception"), text)
    plain = {"offset": 0.5, "duration": 0.25, "outcome": "failed"}
    log = [[1, "ERROR", text, text], [2, "INFO", "books", "plain"]]
    return {**named, **said, **plain, "log": log, "needs": [[text, "needs"]]}


def entries(uuid: str, text: str) -> list[dict[str, Any]]:
    return [
        {"run": a_row_of_a_run(uuid, text)},
        {"steps": [a_row_of_a_step(text), a_row_of_a_step("plain")], "phases": ["startup"]},
    ]


def assert_is_stored(text: str, database: HistoryDatabase) -> None:
    """Assert that the one run, and the first of its two steps, say this text."""
    [run] = LifespanRun.objects.all()
    step, plain = run.steps.using(database.alias).order_by("pk")

    assert run.host == stored_as(text, database, 255)
    assert run.release == stored_as(text, database, 128)
    assert run.error == stored_as(text, database)
    assert step.name == stored_as(text, database, 200)
    assert step.error == step.traceback == stored_as(text, database)
    assert step.log == [
        [1, "ERROR", stored_as(text, database), stored_as(text, database)],
        [2, "INFO", "books", "plain"],
    ]
    assert step.needs == [[stored_as(text, database), "needs"]]
    assert len(step.error) <= LONGEST
    assert plain.error == "plain"


def test_hostile_text_is_stored_and_stored_again(
    history_database: HistoryDatabase, text: str
) -> None:
    uuid = str(uuid4())

    for writer in (Writer(uuid), Writer(uuid, late=True)):
        for entry in entries(uuid, text):
            writer.write(entry)

        assert_is_stored(text, history_database)


def test_step_of_a_hook_with_any_name_is_replaced(
    history_database: HistoryDatabase, text: str
) -> None:
    uuid = uuid4().hex
    writer = Writer(uuid)
    writer.write({"run": a_row_of_a_run(uuid, "plain")})

    for _ in range(2):
        writer.write({"steps": [a_row_of_a_step(text)], "phases": []})

    [step] = LifespanStep.objects.all()
    assert step.name == stored_as(text, history_database, 200)


def test_hostile_text_is_stored_after_it_has_waited(
    history_database: HistoryDatabase, text: str, tmp_path: Path
) -> None:
    uuid = str(uuid4())
    file = SpoolFile(tmp_path / "spool", uuid, bound=2**26)
    for entry in entries(uuid, text):
        file.append(entry)
    file.close()

    for waiting in claimed(tmp_path / "spool"):
        for _ in import_spooled(waiting):
            pass

    assert_is_stored(text, history_database)
    assert LifespanRun.objects.get().recorded_late


def test_hostile_text_is_found_again(history_database: HistoryDatabase, text: str) -> None:
    host, name = stored_as(text, history_database, 255), stored_as(text, history_database, 200)
    run = a_run(host=host)
    a_step(run, name=name)

    assert LifespanRun.objects.get(host=host) == run
    assert LifespanStep.objects.get(name=name, run=run).name == name


@pytest.mark.once
@needs_postgresql
def test_hostile_text_is_stored_in_an_old_encoding_of_postgresql(
    settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    settings.LIFESPAN = {"HISTORY_DATABASE": "latin"}
    with django_db_blocker.unblock(), postgresql_in_latin1("latin") as database:
        uuid = str(uuid4())
        text = TEXTS["emoji"]
        for one in entries(uuid, text):
            Writer(uuid).write(one)
        assert_is_stored(text, database)

        # Also where only JSON has the character.
        logged = {**a_row_of_a_step("plain"), "log": [[1, "INFO", "books", text]]}
        Writer(uuid).write({"steps": [logged], "phases": ["startup"]})
        assert LifespanStep.objects.get().log == [[1, "INFO", "books", ascii_only(text)]]


def test_run_that_says_hostile_text_is_recorded(
    lifespan: Lifespan,
    history_database: HistoryDatabase,
    text: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    settings.LIFESPAN = {
        **settings.LIFESPAN,
        "RELEASE": text,
        "ENVIRONMENT": text,
        "SPOOL_DIR": str(tmp_path / "spool"),
        "SHUTDOWN_DEADLINE": 120,
    }
    # A busy machine is no reason for a file.
    monkeypatch.setattr(record, "PATIENCE", 60)
    monkeypatch.setattr(record, "LAST_PATIENCE", 60)
    monkeypatch.setattr(socket, "gethostname", lambda: text)
    rows.facts.cache_clear()

    @lifespan.on_start(name="says", required=False)
    async def says() -> None:
        logging.getLogger("books").error("%s", text[:1_000])
        raise OSError(text)

    async def main() -> None:
        async with lifespan.run():
            pass

    asyncio.run(main())
    rows.facts.cache_clear()
    [run] = LifespanRun.objects.all()
    [step] = run.steps.using(history_database.alias)

    assert run.status == "stopped"
    assert run.host == stored_as(text, history_database, 255)
    assert run.release == stored_as(text, history_database, 128)
    # What waits in a file is cut already.
    assert step.error == stored_as(sanitize(text), history_database)
    assert step.log[0][3] == stored_as(text[:1_000], history_database)
    assert step.traceback.startswith("Traceback (most recent call last):\n")
    assert not (tmp_path / "spool").exists()


def test_waiting_text_is_no_longer_than_what_is_kept() -> None:
    text = "x" * 100_000
    line = LogLine(1.0, "ERROR", "books", text)
    step = Step("books", "shelf", "resource", Phase.STARTUP, None, error=text, traceback=text)

    [row] = Rows(30).step(step._replace(reason=text, waiting_at=text, log=(line,)))["steps"]

    kept = [row["reason"], row["error"], row["traceback"], row["waiting_at"], row["log"][0][3]]
    assert max(map(len, kept)) <= LONGEST


@pytest.mark.slow
@pytest.mark.parametrize("character", ["\x00", "\N{SNAKE}"], ids=repr)
def test_text_of_many_hooks_is_stored(history_database: HistoryDatabase, character: str) -> None:
    uuid = str(uuid4())
    writer = Writer(uuid)
    writer.write({"run": a_row_of_a_run(uuid, "plain")})
    # As much as the engine keeps of the log of one hook.
    said = character * (MOST_BYTES // len(character.encode()))
    steps = [{**a_row_of_a_step("plain"), "log": [[1, "INFO", "books", said]]} for _ in range(300)]

    writer.write({"steps": steps, "phases": ["startup"]})

    assert LifespanStep.objects.count() == 300
