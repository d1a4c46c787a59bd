"""The README's start in 60 seconds, pasted by a new user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent
from threading import Thread

import pytest

from tests.projects import Project
from tests.servers import Server

README = Path(__file__).resolve().parent.parent / "README.rst"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "mysite.settings"}

pytestmark = [pytest.mark.slow, pytest.mark.server]


class ExampleDotCom(BaseHTTPRequestHandler):
    """Answers for any host, as HTTP proxies do."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "http://example.com/" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def proxy() -> Iterator[str]:
    """Return the address of a proxy that plays the network."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ExampleDotCom)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def blocks_of_code() -> dict[str, str]:
    """Return the README's Python by the file that each block names in its first line."""
    blocks = re.findall(
        r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", README.read_text(), re.MULTILINE
    )
    return {re.split(r"[# ,\n]+", dedent(block), maxsplit=2)[1]: dedent(block) for block in blocks}


@pytest.fixture
def mysite(project: Project) -> Project:
    """Do what the README says, in an empty folder."""
    (project.folder / "manage.py").unlink()
    for command in (("startproject", "mysite", "."), ("startapp", "books")):
        made = project.run("-m", "django", *command, environment={"DJANGO_SETTINGS_MODULE": ""})
        assert made.returncode == 0, made.stderr
    for name, code in blocks_of_code().items():
        path = project.folder / name
        before = path.read_text() if name.endswith("settings.py") else ""
        path.write_text(before + code)
    return project


def test_the_files_of_the_start_are_found_in_the_readme() -> None:
    assert list(blocks_of_code()) == [
        "mysite/settings.py",
        "mysite/asgi.py",
        "books/lifespan.py",
        "books/views.py",
        "mysite/urls.py",
    ]


def test_a_new_user_serves_a_view_with_a_client_that_closes(mysite: Project, proxy: str) -> None:
    environment = {**SETTINGS, "HTTP_PROXY": proxy, "http_proxy": proxy, "NO_PROXY": ""}

    with Server(
        mysite,
        application="mysite.asgi:application",
        options=["--lifespan", "on"],
        environment=environment,
    ) as server:
        assert server.get("/").text == "example.com says 200"
        server.interrupt()
        server.wait()

    assert "Application shutdown complete" in server.output
    assert "Traceback" not in server.output


def test_django_finds_nothing_to_complain_of(mysite: Project) -> None:
    checked = mysite.manage("check", "--fail-level", "INFO", **SETTINGS)

    assert checked.returncode == 0, checked.stderr
