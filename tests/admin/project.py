"""A project whose admin shows recorded runs, under a strict Content-Security-Policy."""

from __future__ import annotations

from pathlib import Path

from tests.projects import Project
from tests.servers import HOST, Server

HOME = "/admin/lifespan_app/"
LIST = f"{HOME}lifespanrun/"
LEASES = f"{HOME}lifespanlease/"

TESTS = Path(__file__).resolve().parents[2]

APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "policy.ContentSecurityPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

POLICY = """
class ContentSecurityPolicy:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        response["Content-Security-Policy"] = "default-src 'self'; object-src 'none'"
        return response
"""

ASGI = """
import django
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

application = ASGIStaticFilesHandler(get_asgi_application())
"""

URLS = """
from django.contrib import admin
from django.urls import path

import lifespan_app.admin

operations = admin.AdminSite(name="operations")
lifespan_app.admin.register(operations)

urlpatterns = [path("admin/", admin.site.urls), path("operations/", operations.urls)]
"""

FILL = """
import sys

import django

django.setup()

from django.contrib.auth.models import Permission, User

from lifespan_app.leases.rows import Key
from tests import records
from tests.leases import stored

records.HEARTBEAT = 3_600  # those that are there stay there while the tests run

User.objects.create_superuser("root", password="root")
reader = User.objects.create_user("reader", password="reader", is_staff=True)
reader.user_permissions.set(Permission.objects.filter(codename="view_lifespanrun"))
User.objects.create_user("stranger", password="stranger", is_staff=True)
if "empty" not in sys.argv:
    for number in range(12):
        release = "1.8.1" if number < 6 else "1.8.2"
        run = records.stopped(ago=82_000 - number * 5_000, up_after=0.3 + number % 5 * 0.06, release=release)
if not sys.argv[1:]:
    print("many", records.with_many_hooks(3_000, ago=19_000, service_type="plugins", host="web-9").pk)
    print("hostile", records.hostile(ago=16_000).pk)
if "empty" not in sys.argv:
    stored.held(seconds=3_600)
    stored.held(Key("notices.daily_letters", "cluster", "", "production"), seconds=3_600)
    stored.failed()
    for story, run in records.of_every_status().items():
        print(story, run.pk)
"""


class AdminProject(Project):
    """A project with an admin; `fill()` records runs of every status."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settings(
            INSTALLED_APPS=["lifespan_app", *APPS],
            MIDDLEWARE=MIDDLEWARE,
            TEMPLATES=TEMPLATES,
            DEBUG=True,
            STATIC_URL="static/",
            ROOT_URLCONF="admin_urls",
        )
        self.file("policy.py", POLICY)
        self.file("admin_urls.py", URLS)
        self.file("fill.py", FILL)
        self.asgi(ASGI)
        self.pks: dict[str, int] = {}

    def migrate(self) -> None:
        migrated = self.manage("migrate", "--verbosity", "0")
        assert migrated.returncode == 0, migrated.stderr

    def fill(self, *words: str) -> None:
        """
        Make users and runs; what was made is in `pks` by its story.

        `empty` makes no runs, `plain` leaves out what is hostile or huge.
        """
        path = f"{TESTS}:{self.environment['PYTHONPATH']}"
        filled = self.run("fill.py", *words, environment={"PYTHONPATH": path})
        assert filled.returncode == 0, filled.stderr
        self.pks = {story: int(pk) for story, pk in map(str.split, filled.stdout.splitlines())}


class AdminServer(Server):
    """Serve such a project."""

    def __init__(self, project: Project) -> None:
        super().__init__(project, options=("--lifespan", "off"))
        self.url = f"http://{HOST}:{self.port}"
