"""A terminal shows of a run what the admin shows."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone, translation

from lifespan_app.history.reading import queries
from lifespan_app.history.reading.against_last_good import against_last_good
from lifespan_app.history.reading.as_json import document
from lifespan_app.history.reading.troubles import recent_failures
from lifespan_app.history.recording import spool
from lifespan_app.models import LifespanRun
from tests import records
from tests.documents import DOCS

if TYPE_CHECKING:
    from pytest_django import Settings

    from tests.projects import Project

pytestmark = pytest.mark.django_db

PAGE = DOCS / "commands" / "showlifespan.rst"


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    """Keep files of other processes away, and return where those of the test belong."""
    folder = tmp_path / "spool"
    settings.LIFESPAN = {"SPOOL_DIR": folder}
    return folder


def shown(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("showlifespan", *arguments, stdout=output, no_color=True, **options)
    return output.getvalue()


def test_newest_run_is_shown_with_what_failed_and_what_to_do() -> None:
    records.stopped()
    records.degraded(ago=300)

    text = shown()

    assert text.splitlines()[0] == shown("--last").splitlines()[0]
    assert (
        "notices.notice_board failed after 0.21 s; serving without it for 4 min 59 s" in text
        or ("notices.notice_board failed after 0.21 s; serving without it for 5 min" in text)
    )
    assert "What to do\n  - Look at notices/lifespan.py:24" in text
    assert "raised at /srv/shop/notices/board.py:21 in notices" in text
    assert "> WARNING notices: No answer from http://127.0.0.1:9/, once more" in text
    assert "catalogue.index *" in text
    assert "it needs 'notices.notice_board', which failed" in text


def test_what_to_do_is_on_the_page_of_the_command() -> None:
    run = records.timed_out()
    setting = "LIFESPAN['HOOKS']['catalogue.index']['timeout']"
    action = f"Raise timeout= of the hook, or {setting}. uvicorn itself has no limit."
    run.steps.filter(outcome="timed_out").update(action=action)
    needs = [["catalogue.index", "needs"]]
    skipped = records.step("search.warm_up", took=0, outcome="skipped", needs=needs, run=run)
    skipped.save()

    assert what_to_do(shown()) == what_to_do(PAGE.read_text())


def what_to_do(text: str) -> str:
    """Return the sentences below this heading, in one line."""
    found = re.search(r"^ *What to do\n(.+?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return " ".join(found[1].split())


def test_of_many_steps_those_that_failed_run_or_were_slow_are_listed_before_skipped_ones() -> None:
    skipped = [records.step(f"books.skipped_{n}", took=0, outcome="skipped") for n in range(30)]
    goes_on = records.step("books.goes_on", took=0.5, outcome="")
    slow = records.step("books.slow", took=0.4)
    records.recorded("degraded", steps=[*skipped, goes_on, slow, records.no_notices()])

    table = shown().partition("Startup: ")[2]

    for key in ("books.goes_on", "books.slow", "notices.notice_board"):
        assert key in table
    assert "  and 13 hooks more, which took less" in table


def test_star_of_a_hook_is_explained_once_below_the_hooks() -> None:
    records.degraded()

    *_, last = shown().splitlines()

    assert "library.http_client *" in shown()
    assert last == "* is on the longest chain, which determines the total time of the phase."


def test_frames_of_libraries_are_folded() -> None:
    records.degraded()

    lines = shown().splitlines()

    assert "  |   (2 frames of httpx, httpcore)" in lines
    assert not [line for line in lines if "site-packages/httpx/_client.py" in line]
    assert '  |   File "/srv/shop/notices/board.py", line 21, in notices' in lines


def test_place_where_a_hook_hung_is_said() -> None:
    records.timed_out()

    assert "it waited at catalogue/index.py:31 in read_all" in shown()


def test_blocks_of_the_event_loop_are_said() -> None:
    records.healthy()
    assert "event loop" not in shown()

    records.healthy(loop_blocks=3, longest_block=timedelta(seconds=2.5), ago=1)
    assert "\n  event loop: blocked 3 times, for 2.5 s at most\n" in shown()


def test_parts_of_the_start_stand_before_the_hooks() -> None:
    run = records.healthy()

    text = shown()
    said = "Ready 4.7 s after the process began: 4.3 s before the hooks, 0.42 s of hooks.\n"
    assert text.index(said) < text.index("Startup: 0.42 s")
    assert "\n     2.7 s  until the ready() of lifespan_app had run\n" in text

    boot = json.loads(shown("--format", "json"))["boot"]
    assert (boot["begins"], boot["forked"], boot["seconds"]) == ("process", False, 4.73)
    assert boot["parts"][0] == {"until": "imported", "seconds": 0.41}
    assert document(run, [])["boot"] == boot


def test_newest_run_that_failed_is_found_behind_others() -> None:
    records.startup_failed(ago=900)
    lost = records.silent(ago=800)
    records.healthy()

    assert str(lost.uuid) in shown("--last-failed")


def test_run_is_found_by_its_uuid_or_the_beginning_of_it() -> None:
    run = records.shutdown_failed()
    records.healthy()

    assert "library.http_client did not stop within 5.0 s" in shown(str(run.uuid))
    assert shown(str(run.uuid)[:8]).splitlines()[0] == f"{run}  shutdown failed"


def test_list_takes_a_line_per_run() -> None:
    records.stopped()
    records.silent()
    records.launch(3)
    records.degraded(host="web-2")

    lines = shown("--now").splitlines()

    assert len(lines) == 5
    assert lines[0].startswith("degraded  api")
    assert "web-2" in lines[0]


def test_list_says_which_hooks_of_a_degraded_process_have_failed() -> None:
    records.degraded()

    _first, second = shown("--now").splitlines()

    assert second == "    notices.notice_board failed after 0.21 s"


def test_jobs_are_a_table_with_their_last_success_and_crash() -> None:
    records.restarting_job()

    lines = shown().splitlines()

    start = lines.index("Jobs")
    table = [line.split() for line in lines[start + 1 : start + 6]]
    assert table[0] == ["Job", "State", "Count", "Next"]
    assert table[1][:6] == ["search.refresh", "crashed", "36", "attempts,", "36", "crashes"]
    assert table[1][6:9] == ["next", "attempt", "in"]
    assert table[2][:2] == ["last", "crash"]
    assert table[2][-2:] == ["KeyError:", "'isbn'"]
    assert table[3][:4] == ["search.sweep", "waiting", "10", "rounds"]
    assert table[4][:2] == ["last", "success"]


def test_jobs_beyond_the_first_are_counted_and_the_unwell_ones_are_first() -> None:
    jobs = [records.job(f"shop.job_{number}", "running") for number in range(30)]
    records.healthy(jobs=[*jobs, records.job("shop.last", "given_up", reason="it is given up")])

    text = shown()

    assert re.search(r"shop\.last +given up +1 attempt\n    it is given up\n", text)
    assert "  and 11 more" in text


def test_failed_run_is_compared_with_the_last_good_one() -> None:
    for n in range(3):
        good = records.stopped(ago=900 - n)
    records.timed_out(release="1.9.0")

    lines = shown().splitlines()

    start = lines.index("Compared with the last good run")
    assert lines[start + 1].startswith(f"  The last good run is {good.short_id}, started ")
    assert "  - Release: 1.9.0, was 1.8.2" in lines[start + 2 :]
    assert "  - Startup of catalogue.index: 10 s, usually 0.31 s (slowest 0.31 s, 3 runs)" in lines


def test_good_run_is_not_compared() -> None:
    records.stopped(ago=900)
    records.healthy(release="1.9.0")

    assert "last good run" not in shown()
    assert json.loads(shown("--format", "json"))["against_last_good"] is None


def test_first_run_without_a_server_is_not_called_slow() -> None:
    records.healthy(up_after=0.1, environment="", ago=900)
    records.healthy(up_after=2.0, environment="", mode="thread", server="")

    assert "last good run" not in shown()
    assert json.loads(shown("--format", "json"))["against_last_good"] is None


def test_comparison_is_in_the_json() -> None:
    good = records.stopped(ago=900)
    records.timed_out(release="1.9.0")

    found = json.loads(shown("--format", "json"))["against_last_good"]

    assert found["last_good"] == str(good.uuid)
    assert {"what": "release", "hook": None, "was": "1.8.2", "now": "1.9.0"} in found["differences"]


def test_run_is_shown_without_a_comparison_if_the_database_goes_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records.timed_out()

    def fail(*_arguments: Any) -> None:
        raise OperationalError("the connection is closed")

    monkeypatch.setattr("lifespan_app.cli.show.against_last_good", fail)

    assert "catalogue.index did not start within 10 s" in shown()


def test_jobs_in_json_have_their_times_as_iso_8601() -> None:
    records.restarting_job()

    told = json.loads(shown("--format", "json"))

    [refresh, sweep] = told["run"]["jobs"]
    assert (refresh["state"], refresh["crashes"]) == ("crashed", 36)
    assert datetime.fromisoformat(sweep["next_at"]) > datetime.now(UTC)


def test_attempts_of_a_start_are_shown_with_their_errors() -> None:
    retried = records.step("shop.broker", errors=["OSError: refused", "OSError: busy"], attempt=3)
    failed = records.no_notices(errors=[f"OSError: {n}" for n in range(30)], attempt=31)
    records.recorded("degraded", steps=[retried, failed])

    text = shown()

    assert "failed attempt 1: OSError: refused\n    failed attempt 2: OSError: busy" in text
    # Of many, the last ones.
    assert "failed attempt 11: OSError: 10" in text
    assert "failed attempt 10: OSError" not in text


def test_place_where_a_start_waits_is_shown_while_it_waits() -> None:
    records.starting()

    assert "    it waits at catalogue/index.py:31 in read_all" in shown()


def test_list_says_of_a_process_that_is_not_ready_why() -> None:
    records.not_ready()

    first, second = shown("--now").splitlines()

    assert first.startswith("not ready: check failed  api")
    assert second == "    library.http_client: check failed: ConnectionError: refused"


def test_json_is_what_the_admin_hands_out() -> None:
    run = records.degraded()

    told = json.loads(shown("--format", "json"))

    steps = list(run.steps.order_by("pk"))
    against = against_last_good(run, steps, timezone.now())
    expected = json.loads(json.dumps(document(run, steps, against=against)))
    for of_the_moment in ("headline", "run"):
        told.pop(of_the_moment)
        expected.pop(of_the_moment)
    assert told == expected
    assert [step["key"] for step in told["steps"]][:2] == [
        "library.http_client",
        "library.bookshelf",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "No run has been recorded yet."),
        (["--last-failed"], "No recorded run has failed."),
        (["--now"], "No process is recorded as running."),
        (["abc"], "No recorded run has a UUID that begins with 'abc'."),
    ],
    ids=["last", "last-failed", "now", "uuid"],
)
def test_missing_run_is_said_with_an_exit_code(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said) as refused:
        shown(*arguments)

    assert refused.value.returncode == 1


def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    records.startup_failed()

    lines = shown().splitlines()

    # A path or a line of a traceback is not broken.
    assert [line for line in lines if len(line) > 80 and not line.startswith("  |")] == []


def test_hostile_text_reaches_no_terminal_raw() -> None:
    records.hostile("\x1b[31mred\x07\u202e")

    text = shown()

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "red" in text


@pytest.mark.parametrize("story", sorted(records.STORIES))
def test_run_of_every_story_is_shown(story: str) -> None:
    records.STORIES[story]()

    assert len(shown().splitlines()) > 4


def spool_a_run(folder: Path) -> str:
    """Put a run into a file as the recorder does, and return its UUID."""
    identity = "0b7c8f3e-5a55-4a3a-9f52-0d2f0d0f6a11"
    file = spool.SpoolFile(folder, identity)
    row: dict[str, Any] = {
        "uuid": identity,
        "mode": "server",
        "service_type": "api",
        "pid": 7,
        "host": "web-1",
    }
    row |= {"status": "startup_failed", "started_at": 1.7e9, "last_seen_at": 1.7e9 + 2}
    step: dict[str, Any] = {
        "app_label": "shop",
        "name": "cache",
        "kind": "resource",
        "phase": "startup",
    }
    step |= {"offset": 0.0, "duration": 0.5, "outcome": "failed", "exception": "OSError"}
    step |= {"error": "nobody is there", "file": "shop/lifespan.py", "line": 3, "log": []}
    file.append({"run": row | {"status": "starting"}})
    file.append({"steps": [step | {"outcome": ""}], "phases": []})
    file.append({"run": row})
    file.append({"steps": [step], "phases": ["startup"]})
    file.close()
    return identity


def test_run_that_waits_in_a_file_is_shown_where_there_are_no_tables(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = spool_a_run(folder)
    monkeypatch.setattr(queries, "_migrated", set())
    monkeypatch.setattr(LifespanRun._meta, "db_table", "not_migrated")
    complaint = StringIO()

    text = shown("--last-failed", stderr=complaint)

    assert "shop.cache failed after 0.50 s; nothing was served." in text
    assert identity in text
    assert "manage.py migrate lifespan_app" in complaint.getvalue()


SPOOL = """
import sys
from pathlib import Path

import django

django.setup()

from tests.console.test_showlifespan import spool_a_run

print(spool_a_run(Path(sys.argv[1])))
"""


def test_run_that_waits_in_a_file_is_shown_where_the_database_is_down(
    folder: Path, project: Project
) -> None:
    nowhere = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "PORT": 9}
    nowhere |= {"NAME": "nowhere", "USER": "shop", "PASSWORD": "hunter2"}
    project.settings(DATABASES={"default": nowhere}, LIFESPAN={"SPOOL_DIR": str(folder)})
    project.file("spool_a_run.py", SPOOL)
    path = f"{Path(__file__).parents[2]}{os.pathsep}{project.environment['PYTHONPATH']}"
    identity = project.run("spool_a_run.py", str(folder), environment={"PYTHONPATH": path}).stdout

    for arguments in ([], ["--last-failed"], [identity[:8]]):
        told = project.manage("showlifespan", *arguments)
        assert told.returncode == 0, told.stderr
        assert "shop.cache failed after 0.50 s" in told.stdout
        assert "The database of the history does not respond" in told.stderr
        assert "hunter2" not in told.stderr


def test_terminal_and_checks_are_english_whatever_the_language() -> None:
    records.startup_failed()
    records.healthy(ago=300)

    with translation.override("de"):
        text = shown("--last") + shown("--now")
        [failure] = recent_failures()

    assert "Serving for 5 min" in text
    assert "serving" in text
    assert "in Betrieb" not in text
    assert failure.what.partition("the last one: ")[2].startswith("startup failed: ")
