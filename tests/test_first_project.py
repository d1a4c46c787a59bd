"""The projects of the README and of the tutorial, as they stand, under each kind of server."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from tests.documents import SETTINGS, example, paste
from tests.projects import Project
from tests.servers import GUNICORN_WSGI, RUNSERVER, UVICORN, Kind, Server

pytestmark = pytest.mark.once

HOME = {"/": "The login page of the admin answers 200."}
PAGES = {
    "README": HOME,
    "tutorial": {**HOME, "/recommended/": "Nothing to recommend today."},
}

GUNICORN = replace(
    GUNICORN_WSGI,
    command=tuple(word.replace("wsgi:", "mysite.wsgi:") for word in GUNICORN_WSGI.command),
)
ASKS_ITSELF = ("-k", "gthread", "--threads", "4")
"""The view asks its own site, so it needs a second thread to answer."""
SERVERS: dict[str, tuple[Kind, tuple[str, ...], str]] = {
    "uvicorn": (UVICORN, ("--lifespan", "on"), "django.core.wsgi"),
    "runserver": (RUNSERVER, ("--noreload",), "django.core.wsgi"),
    "gunicorn": (GUNICORN, ASKS_ITSELF, "lifespan_app.wsgi"),
}


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("page", PAGES)
def test_views_of_a_first_project_use_the_client_under_every_kind_of_server(
    page: str, server: str, project: Project
) -> None:
    """With the import in `wsgi.py` that the server needs; `startproject` has written the rest."""
    kind, options, imported = SERVERS[server]
    paste(example(page), project)
    wsgi = project.folder / "mysite" / "wsgi.py"
    wsgi.write_text(wsgi.read_text().replace("django.core.wsgi", imported))
    assert project.manage("migrate", "--verbosity", "0", **SETTINGS).returncode == 0

    with Server(
        project, kind, application="mysite.asgi:application", options=options, environment=SETTINGS
    ) as serving:
        for path, text in PAGES[page].items():
            assert serving.get(path).text == text
        if server == "gunicorn":
            # Ctrl+C reaches its worker twice, which then waits for a lock that it holds itself:
            # ThreadWorker.handle_quit of gunicorn 27, called inside of itself.
            serving.signal(signal.SIGTERM)
        else:
            serving.interrupt()
        serving.wait()

    assert serving.output.count("Lifespan 'app' started: ") == 1
    assert serving.output.count("Lifespan 'app' stopped ") == 1
