"""Under real servers: what is kept is what happened, and a database in trouble changes no answer."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.clusters import PostgreSQL
from tests.needs import needs_postgresql
from tests.projects import Project
from tests.servers import Server

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.once, needs_postgresql]

LIFESPAN = """
    from journal import write
    from lifespan_app import lifespan


    @lifespan.resource
    async def shelf():
        write("opened")
        yield "ten books"
        write("closed")
"""

VIEWS = """
    from django.http import HttpResponse

    from .lifespan import shelf


    def books(request):
        return HttpResponse(shelf(request))
"""

RUNS = """
    select r.status, r.recorded_late, r.ready_at is not null, count(s.id)
    from lifespan_app_lifespanrun r left join lifespan_app_lifespanstep s on s.run_id = r.id
    group by r.id order by r.started_at
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with PostgreSQL() as cluster:
        yield cluster


@pytest.fixture
def shop(project: Project, cluster: PostgreSQL, tmp_path: Path) -> Project:
    """Return a project whose history is empty."""
    project.app("shop", lifespan=dedent(LIFESPAN), views=dedent(VIEWS))
    cluster.serve(project)
    project.settings(LIFESPAN={"SPOOL_DIR": str(tmp_path / "spool")})
    migrated = project.manage("migrate", "--verbosity=0")
    assert migrated.returncode == 0, migrated.stderr
    cluster.query("delete from lifespan_app_lifespanstep")
    cluster.query("delete from lifespan_app_lifespanrun")
    return project


def spooled(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "spool"
    return list(folder.iterdir()) if folder.exists() else []


def runs(cluster: PostgreSQL) -> list[tuple[str, bool, bool, int]]:
    """Return the status, whether it was late, whether it was ready, and the steps of each run."""
    return [tuple(row) for row in cluster.query(RUNS)]


def is_recorded(server: Server, cluster: PostgreSQL, status: str, steps: int) -> None:
    server.until(
        lambda: [(run[0], run[3]) for run in runs(cluster)][-1:] == [(status, steps)],
        f"no run is recorded as {status} with {steps} steps",
    )


def test_paused_database_changes_no_answer(
    shop: Project, cluster: PostgreSQL, tmp_path: Path
) -> None:
    with Server(shop, options=("--lifespan", "on")) as server:
        with cluster.paused():
            assert {server.get("/books/").text for _ in range(1000)} == {"ten books"}
        is_recorded(server, cluster, "serving", 1)
        server.signal(signal.SIGTERM)
        server.wait()

    assert runs(cluster) == [("stopped", False, True, 2)]
    assert spooled(tmp_path) == []


def test_paused_database_does_not_hold_up_the_startup(shop: Project, cluster: PostgreSQL) -> None:
    with cluster.paused():
        server = Server(shop, options=("--lifespan", "on"))
        with server:
            # It answers, while the first write has not even been given up.
            assert server.get("/books/").text == "ten books"
            assert "Can't write run history" not in server.output
            server.wait_for_output(
                r"Can't write run history to the database .*: a write has taken more than 5 s"
            )
            server.kill()


def test_database_that_stops_and_starts_while_serving_misses_nothing(
    shop: Project, cluster: PostgreSQL, tmp_path: Path
) -> None:
    with Server(shop, options=("--lifespan", "on")) as server:
        is_recorded(server, cluster, "serving", 1)
        cluster.restart()
        assert server.get("/books/").text == "ten books"
        server.signal(signal.SIGTERM)
        server.wait()

    assert runs(cluster) == [("stopped", False, True, 2)]
    assert spooled(tmp_path) == []


def test_process_killed_while_the_database_is_down_is_recorded_late(
    shop: Project, cluster: PostgreSQL, tmp_path: Path
) -> None:
    cluster.stop()
    with Server(shop, options=("--lifespan", "on")) as server:
        assert server.get("/books/").text == "ten books"
        server.until(
            lambda: [
                entry
                for file in spooled(tmp_path)
                for entry in map(json.loads, file.read_text().splitlines())
                if entry.get("run", {}).get("status") == "serving"
            ],
            "the run is in no file",
        )
        server.kill()
    cluster.start()

    with Server(shop, options=("--lifespan", "on")) as server:
        is_recorded(server, cluster, "serving", 1)
        server.until(lambda: not spooled(tmp_path), "the file was not imported")
        server.until(lambda: runs(cluster)[0][0] == "lost", "the killed run is not lost")
        server.signal(signal.SIGTERM)
        server.wait()

    assert runs(cluster) == [("lost", True, True, 1), ("stopped", False, True, 2)]
    assert shop.events() == ["opened", "opened", "closed"]
