"""What a fresh clone does with make alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import Project
from tests.sandboxes import sandbox_environment
from tests.servers import Server

CHECKOUT = Path(os.environ.get("LIFESPAN_TEST_CHECKOUT") or Path(__file__).resolve().parent.parent)
LEFT_OUT = (
    ".git",
    ".venv",
    ".tox",
    ".*_cache",
    "__pycache__",
    "*.sqlite3*",
    "dist",
    "htmlcov",
    "mutants",
)


class Demo(Server):
    """`make demo` in a copy of the checkout, as one types it."""

    def __init__(self, project: Project, clone: Path) -> None:
        super().__init__(project, limit=300)
        self.command = ["make", "-C", str(clone), "demo", f"PORT={self.port}"]
        # What a make that runs these tests says to those below it is not meant for this one.
        self._environment = {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "MAKEFLAGS": "",
            "MAKELEVEL": "",
            "PYTHON": sys.executable,
            "PYTHONPATH": "",
            "VENV": ".venv",
        }


class DemoUnder(Server):
    """`make demo SERVER=...` where everything is installed already."""

    def __init__(self, project: Project, server: str) -> None:
        super().__init__(project)
        venv = project.folder / "venv"
        self.command = [
            *("make", "--directory", str(CHECKOUT), "demo"),
            *(f"SERVER={server}", f"PORT={self.port}", f"VENV={venv}"),
            # What is there is older than the files it is made from, and good enough.
            *(f"--assume-old={venv}/{made}" for made in ("pyvenv.cfg", ".demo-is-set-up")),
            f"--assume-old={venv}/.{server}-is-installed",
        ]
        self._environment = sandbox_environment(project) | {"MAKEFLAGS": "", "MAKELEVEL": ""}
        python = venv / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of the checkout without anything that make made."""
    folder = tmp_path / "clone"
    shutil.copytree(CHECKOUT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return folder


def test_help_lists_every_target() -> None:
    targets = re.findall(r"^\.PHONY: (\S+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)

    run = subprocess.run(
        ["make", "-C", str(CHECKOUT), "help"], capture_output=True, text=True, check=True
    )

    assert re.findall(r"^  make (\S+) +\S", run.stdout, re.MULTILINE) == targets
    assert len(targets) > 5


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.timeout(600)
def test_demo_serves_the_sandbox_until_ctrl_c(project: Project, clone: Path) -> None:
    with Demo(project, clone) as demo:
        assert re.search(r"(?i)^name: +\S+$", demo.output, re.MULTILINE)
        assert re.search(r"(?i)^password: +\S+$", demo.output, re.MULTILINE)
        demo.wait_for_output("Index refreshed")
        assert "Oliver Twist" in demo.get("/?q=dickens").text
        before = len(demo.output)
        demo.interrupt()
        demo.wait()

    ending = demo.output[before:]
    assert "Application shutdown complete" in ending
    assert "***" not in ending
    assert "Traceback" not in ending


def servers() -> list[str]:
    """Return what `make demo SERVER=...` knows."""
    listed = re.search(r"^SERVERS := (.+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert listed
    return listed[1].split()


def dry(*words: str) -> subprocess.CompletedProcess[str]:
    """Ask make what it would do on a machine where it has done nothing yet."""
    return subprocess.run(
        ["make", "-C", str(CHECKOUT), "--dry-run", "VENV=/nowhere", *words],
        env={**os.environ, "MAKEFLAGS": "", "MAKELEVEL": ""},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("server", ["nginx", "granian uvicorn", ""])
def test_demo_says_in_a_line_which_servers_it_knows(server: str) -> None:
    made = dry("demo", f"SERVER={server}")

    assert made.returncode == 2
    assert "pip" not in made.stdout
    assert len(made.stderr.splitlines()) == 1
    assert f'SERVER is one of: {" ".join(servers())}; not "{server}"' in made.stderr


def test_other_targets_do_not_mind_an_unknown_server() -> None:
    assert dry("lint", "SERVER=nginx").returncode == 0


def test_demo_installs_only_the_server_it_serves_with() -> None:
    listed = (CHECKOUT / "sandbox" / "servers.txt").read_text()
    to_install = re.findall(r"^([a-z-]+)>=", listed, re.MULTILINE)

    installed = {
        server: re.findall(r"--constraint sandbox/servers.txt (.+)$", made.stdout, re.MULTILINE)
        for server in servers()
        if (made := dry("demo", f"SERVER={server}"))
    }

    assert set(to_install) | {"uvicorn", "runserver"} == set(servers())
    assert installed == {server: [server] * (server in to_install) for server in servers()}


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.server
@pytest.mark.parametrize("server", servers()[1:])
def test_demo_serves_the_sandbox_under_each_other_server(server: str, project: Project) -> None:
    with DemoUnder(project, server) as demo:
        # Where the server has no lifespan, the first page opens the plan.
        assert "Find a book" in demo.get("/").text
        demo.wait_for_output("Index refreshed")
        assert "Oliver Twist" in demo.get("/?q=dickens").text
        assert "Log in" in demo.get("/admin/login/").text
        assert demo.get("/static/admin/css/base.css").status == 200
        book = demo.get("/books/9780141439587/")
        assert "Looked up in the catalogue over HTTP" in book.text
        before = len(demo.output)
        demo.interrupt()
        demo.wait()

    ending = demo.output[before:]
    assert "***" not in ending
    # Django's reloader gives the process that serves a quarter of a second.
    assert "Lifespan 'app' stopped" in ending or server == "runserver"
    assert "Traceback" not in ending
