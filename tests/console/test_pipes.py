"""A command whose output nobody reads to its end, as with ``| head``, ends without a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifespan_app.engine.proc import started
from tests.projects import Project

pytestmark = pytest.mark.once

COMMANDS = [
    ["showlifespan", "--help"],
    ["showlifespan", "--last"],
    ["showlifespan", "--format", "json"],
    ["prunelifespan"],
    ["prunelifespan", "--dry-run"],
    ["checklifespan"],
    ["checklifespan", "--run"],
    ["runlifespan", "--once"],
    ["runlifespan", "--", "true"],
]

HOOKS = """
from lifespan_app import lifespan

for number in range(300):
    @lifespan.on_start(name=f"start_{number}", service_types=["app", "server"])
    async def start():
        pass
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project of many hooks with a recorded run."""
    project = Project(tmp_path_factory.mktemp("project")).app("shop", lifespan=HOOKS)
    project.with_tables()
    assert project.manage("runlifespan", "--once").returncode == 0
    return project


def unread(project: Project, arguments: list[str], **environment: str) -> tuple[int, str]:
    """Run a command whose output has no reader; return its exit code and its standard error."""
    with subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=project.folder,
        env={**project.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        return process.wait(60), process.stderr.read()


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_closed_pipe_prints_no_traceback(
    project: Project, arguments: list[str], unbuffered: str
) -> None:
    code, errors = unread(project, arguments, PYTHONUNBUFFERED=unbuffered)

    assert "Traceback" not in errors
    assert "BrokenPipeError" not in errors
    assert code in (0, 128 + 13)


STATUS = {"reason": "ok", "ready": True, "started": True, "every": 3600}


@pytest.mark.parametrize("output", ["no reader", "closed"])
@pytest.mark.parametrize(("question", "code"), [("ready", 0), ("started", 0), ("nothing", 2)])
def test_probe_answers_by_its_exit_status_into_a_closed_pipe(
    tmp_path: Path, output: str, question: str, code: int
) -> None:
    me = {"pid": os.getpid(), "process_started": started(os.getpid())}
    file = tmp_path / "status.json"
    file.write_text(json.dumps({**STATUS, **me, "written_at": time.time()}))
    reader = "| :" if output == "no reader" else ">&-"
    # What a pipeline returns is its last command's: the status is kept in a file.
    command = f'( "$0" -m lifespan_app.probe {question} "$1"; echo $? > "$1.code" ) {reader}'

    ran = subprocess.run(
        ["sh", "-c", command, sys.executable, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (tmp_path / "status.json.code").read_text() == f"{code}\n"
    assert "Traceback" not in ran.stderr
    assert "BrokenPipeError" not in ran.stderr


def test_what_runlifespan_keeps_open_is_closed_all_the_same(project: Project) -> None:
    project.app(
        "stock",
        lifespan="""
        import journal
        from lifespan_app import lifespan

        @lifespan.resource(service_types=["server"])
        def stock():
            journal.write("opens")
            yield
            journal.write("closes")
        """,
    )
    child = [sys.executable, "-c", "import journal; journal.write('runs')"]

    code, errors = unread(project, ["runlifespan", "--", *child])

    assert project.events() == ["opens", "runs", "closes"]
    assert "Traceback" not in errors
    assert code == 0
