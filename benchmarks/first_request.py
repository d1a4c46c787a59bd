"""
The first request after the start against the hundredth, with and without ``WARM_UP``. Each sample is a new uvicorn, over
the sandbox or over a project of 50 apps with 1,000 routes that is written for it. Plain Django, ours, and ours with ``WARM_UP``
take turns. A request has a connection of its own, and is timed twice: on the wall, from its first byte to the last one of
the response, and as the processor's time of the server, which other programs hardly change. On Linux only.
"""

from __future__ import annotations

import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import environment as environment_of
from benchmarks.processes import race
from benchmarks.results import AGAIN, Row, Table
from benchmarks.systems import OURS, PLAIN

TITLE = "The first request"
APPS, ROUTES = 50, 20
ROUNDS = 15
AT_MOST = 1.5
HUNDREDTH = range(90, 110)
"""The hundredth request is the median of these."""
STARTED = 0.2
"""Seconds for a server that is ready to end the threads of its start."""
REST = 0.01
"""Seconds for the server to end its work on a request that is answered."""
WARM = f"{OURS}, WARM_UP"
VARIANTS = (PLAIN, PLAIN + AGAIN, OURS, WARM)
SANDBOX = Path(__file__).resolve().parent.parent / "sandbox"
STEP = re.compile(r"^(django\.\w+) startup: ok after ([\d.]+) s", re.MULTILINE)

STORE_A_BOOK = """
from library.models import Book

Book.objects.create(isbn="9780141439587", title="Emma", author="Jane Austen", year=1815)
"""

ASGI = """
import os

if os.environ["VARIANT"] == "plain Django":
    from django.core.asgi import get_asgi_application
else:
    from lifespan_app.asgi import get_asgi_application

application = get_asgi_application()
"""

COMMON = """
DEBUG = False
ALLOWED_HOSTS = ["*"]
LIFESPAN = {"HISTORY": False, "WARM_UP": os.environ["VARIANT"].endswith("WARM_UP")}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"lifespan_app": {"handlers": ["console"], "level": "DEBUG"}},
}
"""

SANDBOX_SETTINGS = f"""
import os

from config.settings import *
{COMMON}
# They would be at work while the first request is answered.
LIFESPAN["HOOKS"] = {{
    key: {{"enabled": False}}
    for key in (
        "search.refresh", "search.spelling", "notices.notice_board", "library.forget_books"
    )
}}
LIFESPAN["CONFIG"] = {{"refresh_seconds": 300.0}}
"""

SETTINGS = f"""
import os
from pathlib import Path
from typing import NamedTuple

SITE = Path(__file__).resolve().parent
SECRET_KEY = "for a benchmark only"
ROOT_URLCONF = "site_urls"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "lifespan_app",
    *(f"app{{number}}" for number in range({APPS})),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {{
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        }},
    }},
]
STATIC_URL = "static/"
STATIC_ROOT = SITE / "static"
STORAGES = {{
    "default": {{"BACKEND": "django.core.files.storage.FileSystemStorage"}},
    "staticfiles": {{
        "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    }},
}}
DATABASES = {{
    "default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": SITE / "db.sqlite3"}},
}}
{COMMON}
"""

VIEWS = """
from django.db import connection
from django.shortcuts import render


def page(request, number=0):
    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return render(request, "{app}/page.html", {{"number": number, "books": range(20)}})
"""

URLS = """
from django.urls import path

from . import views

app_name = "{app}"
urlpatterns = [
    path(f"route{{route}}/<int:number>/", views.page, name=f"page{{route}}")
    for route in range({routes})
]
"""

BASE = """{% load static i18n %}<!doctype html>
<html><head><title>{% block title %}{% endblock %}</title>
<link rel="stylesheet" href="{% static "admin/css/base.css" %}"></head>
<body>{% translate "Home" %} {{ user }} {% block content %}{% endblock %}</body></html>
"""

PAGE = """{{% extends "base.html" %}}
{{% block title %}}{app} {{{{ number }}}}{{% endblock %}}
{{% block content %}}{{% for book in books %}}
<a href="{{% url "{app}:page7" number=book %}}">{{{{ book|add:1 }}}}</a>{{% endfor %}}{{% endblock %}}
"""


class Took(NamedTuple):
    """The milliseconds of one request."""

    wall: float
    processor: float


class Sample(NamedTuple):
    """What one server has taken, in milliseconds."""

    first: Took
    hundredth: Took
    start: float
    longest_step: float


def write(folder: Path, name: str, text: str) -> None:
    """Write a file of a project."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_site(folder: Path) -> None:
    """Write a project of many apps and routes."""
    write(folder, "asgi.py", ASGI)
    write(folder, "site_settings.py", SETTINGS)
    includes = [f'path("app{n}/", include("app{n}.urls")),' for n in range(APPS)]
    write(
        folder,
        "site_urls.py",
        "from django.contrib import admin\nfrom django.urls import include, path\n\nurlpatterns = [\n"
        + "\n".join(['path("admin/", admin.site.urls),', *includes])
        + "\n]\n",
    )
    write(folder, "app0/templates/base.html", BASE)
    for number in range(APPS):
        app = f"app{number}"
        write(folder, f"{app}/__init__.py", "")
        write(folder, f"{app}/views.py", VIEWS.format(app=app))
        write(folder, f"{app}/urls.py", URLS.format(app=app, routes=ROUTES))
        write(folder, f"{app}/templates/{app}/page.html", PAGE.format(app=app))


def manage(folder: Path, *arguments: str) -> None:
    """Run a management command of a project."""
    command = [sys.executable, "-m", "django", *arguments, "--settings=site_settings"]
    subprocess.run(command, cwd=folder, env=environment(folder, PLAIN), check=True, stdout=-3)


def environment(folder: Path, variant: str) -> dict[str, str]:
    """Return the environment of a process that serves a project."""
    return environment_of(
        [folder, SANDBOX],
        DJANGO_SETTINGS_MODULE="site_settings",
        VARIANT=variant.removesuffix(AGAIN),
        DATABASE_URL=f"sqlite:///{folder / 'db.sqlite3'}",
    )


def request(port: int, path: str, pid: int) -> Took:
    """Send a request on a connection of its own. Return what it took."""
    before = processor_time(pid)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        text = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        begun = time.perf_counter()
        connection.sendall(text.encode())
        answer = b""
        while received := connection.recv(65536):
            answer += received
        took = time.perf_counter() - begun
    status = answer.split(b"\r\n", 1)[0]
    if b" 200 " not in status:
        raise RuntimeError(f"{path} was answered with {status!r}")
    time.sleep(REST)
    return Took(took * 1000, (processor_time(pid) - before) * 1000)


def processor_time(pid: int) -> float:
    """Return the seconds of the processor that a process has had, with all of its threads. On Linux."""
    # The clock of another process, as clock_getcpuclockid(3) gives it.
    return time.clock_gettime((~pid << 3) | 2)


def until_it_listens(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server takes connections: uvicorn does once its startup is complete."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
        except ConnectionRefusedError:
            if server.poll() is not None:
                raise RuntimeError("The server has ended.") from None
            time.sleep(0.002)
        else:
            return


def sample(folder: Path, path: str, variant: str, hundredth: range) -> Sample:
    """Start a server, send requests to it, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = folder / "output.txt"
    command = [sys.executable, "-m", "uvicorn", "asgi:application", "--port", str(port)]
    begun = time.perf_counter()
    with output.open("wb") as said:
        server = subprocess.Popen(
            command, cwd=folder, env=environment(folder, variant), stdout=said, stderr=said
        )
    try:
        until_it_listens(port, server)
        start = (time.perf_counter() - begun) * 1000
        time.sleep(STARTED)
        taken = [request(port, path, server.pid) for _ in range(hundredth.stop)]
    except Exception:
        print(output.read_text(), file=sys.stderr)
        raise
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
    later = [taken[at] for at in hundredth]
    steps = [float(seconds) * 1000 for _, seconds in STEP.findall(output.read_text())]
    return Sample(
        first=taken[0],
        hundredth=Took(*(statistics.median(times) for times in zip(*later, strict=True))),
        start=start,
        longest_step=max(steps, default=0.0),
    )


def tables(project: str, folder: Path, path: str, rounds: int, hundredth: range) -> Iterator[Table]:
    """Measure one project."""
    taken = race(
        {name: partial(sample, folder, path, name, hundredth) for name in VARIANTS}, rounds
    )
    for clock, words in enumerate(("on the wall", "of the processor")):
        rows = [
            Row(
                name=name,
                samples=[each.first[clock] for each in samples],
                ratios=[each.first[clock] / each.hundredth[clock] for each in samples],
                goal=f"at most {AT_MOST} of the hundredth" if name == WARM else "",
                ratio_at_most=AT_MOST,
                note=f"the hundredth: {statistics.median(e.hundredth[clock] for e in samples):.1f} ms",
                why="the first request also runs code of the project that nothing can run before",
            )
            for name, samples in taken.items()
        ]
        yield Table(
            title=f"First request, {project}, {words}",
            unit="ms",
            rows=rows,
            against=1.0,
            against_words="the hundredth",
            control=[
                again / first
                for first, again in zip(
                    *(
                        next(row for row in rows if row.name == of).ratios
                        for of in (PLAIN, PLAIN + AGAIN)
                    ),
                    strict=True,
                )
            ],
            noise_at_most=0.3,
            plot="ratio",
        )
    rows = [
        Row(
            name=name,
            samples=[each.start for each in samples],
            note=f"longest step {statistics.median(each.longest_step for each in samples):.0f} ms"
            if name == WARM
            else "",
        )
        for name, samples in taken.items()
    ]
    title = f"From the process to ready, {project}"
    yield Table(title=title, unit="ms", rows=rows, against=PLAIN, plot="")


def measure(rounds: int = ROUNDS, hundredth: range = HUNDREDTH) -> Sequence[Table]:
    """Measure the sandbox, and the project of many routes."""
    found: list[Table] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "sandbox"
        write(folder, "asgi.py", ASGI)
        write(folder, "site_settings.py", SANDBOX_SETTINGS)
        manage(folder, "migrate", "--verbosity=0")
        manage(folder, "shell", "--no-imports", "--command", STORE_A_BOOK)
        found += tables("sandbox", folder, "/books/9780141439587/", rounds, hundredth)
        folder = Path(name) / "site"
        write_site(folder)
        manage(folder, "migrate", "--verbosity=0")
        manage(folder, "collectstatic", "--noinput", "--verbosity=0")
        routes = f"{APPS} apps with {APPS * ROUTES:,} routes"
        found += tables(routes, folder, "/app25/route9/7/", rounds, hundredth)
    return found
