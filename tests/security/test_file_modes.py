"""A process without an umask creates no file that another user may write to, nor read without a reason."""

from __future__ import annotations

import json
import re
import sys

import pytest

from tests.projects import Project

LOOK = """
import json
import stat
from contextlib import suppress
from pathlib import Path


def look():
    with open("seen.txt", "a") as file:
        for path in Path().rglob("*"):
            with suppress(FileNotFoundError):  # it may have been renamed meanwhile
                mode = oct(stat.S_IMODE(path.lstat().st_mode))
                print(json.dumps([str(path), mode]), file=file)


if __name__ == "__main__":
    look()
"""

HOOKS = """
from lifespan_app import lifespan
from look import look


@lifespan.on_start(once="release", service_types=["server"])
def led():
    look()
"""

WITHOUT_UMASK = (
    "import os, sys; os.umask(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)

OF_OTHERS = {"seen.txt", "db.sqlite3", "db.sqlite3-journal"}
"""The test's own file, and those of the project's database, whose modes are the project's."""

PRIVATE = ("kept/spool", "tmp/")
"""What is recorded. A platform reads the other files, maybe as another user."""


@pytest.mark.once
def test_files_of_a_process_are_for_its_user_and_the_platform_reads_two(project: Project) -> None:
    project.app("shop", lifespan=HOOKS)
    project.file("look.py", LOOK)
    project.settings(
        LIFESPAN={"STATUS_FILE": "status.json", "SPOOL_DIR": "kept/spool", "RELEASE": "1"}
    )
    temporary = project.folder / "tmp"
    temporary.mkdir()
    before = {path.relative_to(project.folder).as_posix() for path in project.folder.rglob("*")}

    ran = project.run(
        *("-c", WITHOUT_UMASK, "manage.py", "runlifespan", "--ready-file", "ready"),
        *("--", sys.executable, "look.py"),
        environment={"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
    )

    assert ran.returncode == 0, ran.stderr
    seen = map(json.loads, (project.folder / "seen.txt").read_text().splitlines())
    modes = {name: mode for name, mode in seen if name not in before | OF_OTHERS}
    private = {name for name in modes if name.startswith(PRIVATE)}
    assert {modes[name] for name in private} == {"0o600", "0o700"}
    assert {modes[name] for name in modes.keys() - private} == {"0o644", "0o755"}
    names = " ".join(sorted(modes))
    assert {"ready", "status.json", "kept", "kept/spool"} <= modes.keys()
    assert re.search(r"kept/spool/\S+\.jsonl", names)
    assert re.search(r"tmp/lifespan-\w+/starts", names)
    assert re.search(r"db\.sqlite3-lifespan-\w+\.lock", names)
