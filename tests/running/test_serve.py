"""``manage.py runlifespan --serve``: a server for development."""

from __future__ import annotations

import re
import signal
import socket
from signal import Signals

import pytest

from lifespan_app.cli.devserver import Address, address
from tests.projects import Project
from tests.running.processes import AtTerminal
from tests.servers import HOST, Kind, Server
from tests.terminals import Terminal

pytestmark = pytest.mark.once

SERVING = Kind(
    name="runlifespan --serve",
    command=("manage.py", "runlifespan", "--serve", HOST + ":{port}"),
    needs=("uvicorn",),
)

# As startproject writes it. What is started again imports it once more.
MANAGE = """
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
"""

HOOKS = """
from lifespan_app import lifespan
import journal

WORD = "first"

@lifespan.resource
async def word():
    journal.write("opens", WORD)
    yield WORD
    journal.write("closes", WORD)
"""

VIEWS = """
from django.http import HttpResponse
from .lifespan import word

def say(request):
    return HttpResponse(word(request))
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.file("manage.py", MANAGE)
    return project.app("shop", lifespan=HOOKS, views=VIEWS)


def serving(project: Project, *options: str, ready: bool = True) -> Server:
    return Server(project, SERVING, options=options, ready=ready)


@pytest.mark.slow
@pytest.mark.server
class TestServing:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signal_ends_serving_with_0(self, shop: Project, number: Signals) -> None:
        with serving(shop) as server:
            assert server.get("/say/").text == "first"
            server.signal(number)

            assert server.wait() == 0
        assert shop.events() == ["opens first", "closes first"]

    def test_hooks_have_their_lines_while_serving(self, shop: Project) -> None:
        with serving(shop) as server:
            assert re.search(r"^  ok +\d\.\d{3} s  shop\.word$", server.output, re.MULTILINE)

    def test_checks_and_unapplied_migrations_come_first(self, shop: Project) -> None:
        with serving(shop) as server:
            output = server.output

        assert output.startswith("Performing system checks...")
        assert re.search(r"You have \d+ unapplied migration", output)
        assert output.index("unapplied migration") < output.index("Starting 'app'")

    def test_project_that_fails_its_checks_is_not_served(self, shop: Project) -> None:
        shop.settings(LIFESPAN={"SHUTDOWN_TIMEOT": 3})

        with serving(shop, ready=False) as server:
            assert server.wait() == 1

        assert "lifespan_app.E" in server.output
        assert shop.events() == []

    @pytest.mark.parametrize("options", [(), ("--reload",)], ids=["", "reload"])
    def test_djangos_own_application_is_not_served_and_the_import_is_named(
        self, shop: Project, options: tuple[str, ...]
    ) -> None:
        shop.asgi(
            "from django.core.asgi import get_asgi_application\n\n"
            "application = get_asgi_application()\n"
        )

        with serving(shop, *options, ready=False) as server:
            server.wait_for_output("Import get_asgi_application from lifespan_app.asgi instead of")
            if not options:
                assert server.wait() == 1
        assert "Traceback" not in server.output

    def test_database_that_is_down_is_a_warning(self, shop: Project) -> None:
        shop.settings(
            DATABASES={
                "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/no/such/folder/db"}
            }
        )
        with serving(shop) as server:
            assert server.get("/say/").text == "first"
            assert "The database can't be asked for its migrations" in server.output

    def test_failed_start_returns_1(self, shop: Project) -> None:
        shop.app(
            "late",
            lifespan="from lifespan_app import lifespan\n"
            "@lifespan.on_start\nasync def fail():\n    raise OSError('no')\n",
        )
        with serving(shop, ready=False) as server:
            assert server.wait() == 1

        assert "lifespan_app: hook 'late.fail' (late/lifespan.py:2) failed" in server.output

    def test_failed_stop_returns_5(self, shop: Project) -> None:
        shop.app(
            "late",
            lifespan="from lifespan_app import lifespan\n"
            "@lifespan.on_shutdown\nasync def fail():\n    raise OSError('stuck')\n",
        )
        with serving(shop) as server:
            server.signal(signal.SIGTERM)

            assert server.wait() == 5

    def test_port_that_is_taken_returns_1_and_is_named(self, shop: Project) -> None:
        with socket.socket() as other, serving(shop, ready=False) as server:
            server.kill()
            other.bind((HOST, server.port))
            other.listen()
            server.start()

            assert server.wait() == 1
        assert "address already in use" in server.output

    def test_broken_lifespan_shows_its_traceback_and_returns_1(self, shop: Project) -> None:
        shop.file("shop/lifespan.py", "1 / 0\n")
        shop.settings(SILENCED_SYSTEM_CHECKS=["lifespan_app.E001"], ROOT_URLCONF="no_urls")
        shop.file("no_urls.py", "urlpatterns = []\n")

        with serving(shop, ready=False) as server:
            assert server.wait() == 1

        assert "shop/lifespan.py" in server.output
        assert "ZeroDivisionError: division by zero" in server.output
        assert "Traceback (most recent call last):\n  File" in server.output

    def test_serve_opens_the_service_type_that_is_asked_for(self, shop: Project) -> None:
        with serving(shop, "--service-type", "api") as server:
            assert "Starting 'api'" in server.output

    @pytest.mark.parametrize(("debug", "status"), [(True, 200), (False, 404)])
    def test_static_files_are_served_in_debug(
        self, shop: Project, debug: bool, status: int
    ) -> None:
        shop.file("shop/static/shop/page.css", "body {}")
        shop.settings(
            "INSTALLED_APPS.append('django.contrib.staticfiles')",
            DEBUG=debug,
            STATIC_URL="static/",
        )
        with serving(shop) as server:
            assert server.get("/static/shop/page.css").status == status
            assert server.get("/say/").text == "first"


@pytest.mark.slow
@pytest.mark.server
class TestReload:
    def test_change_closes_everything_and_opens_it_anew(self, shop: Project) -> None:
        with serving(shop, "--reload") as server:
            shop.file("shop/lifespan.py", HOOKS.replace("first", "second"))
            server.wait_for_event("opens second")
            server.until(lambda: answer(server) == "second", "it serves something else")
            server.signal(signal.SIGTERM)

            assert server.wait() == 0
        assert shop.events() == ["opens first", "closes first", "opens second", "closes second"]

    def test_broken_lifespan_shows_its_error_until_the_next_save(self, shop: Project) -> None:
        with serving(shop, "--reload") as server:
            shop.file("shop/lifespan.py", "1 / 0\n")
            server.wait_for_output("division by zero")
            server.wait_for_event("closes first")
            assert server.exit_code is None

            shop.file("shop/lifespan.py", HOOKS.replace("first", "mended"))
            server.wait_for_event("opens mended")
            server.until(lambda: answer(server) == "mended", "it does not serve")

    def test_lifespan_broken_from_the_start_waits_for_the_next_save(self, shop: Project) -> None:
        shop.file("shop/lifespan.py", "1 / 0\n")

        with serving(shop, "--reload", ready=False) as server:
            server.wait_for_output("division by zero")
            shop.file("shop/lifespan.py", HOOKS)
            server.wait_for_event("opens first")

    def test_failed_start_waits_for_the_next_save(self, shop: Project) -> None:
        shop.file("shop/lifespan.py", HOOKS.replace("yield", "open('/nowhere/at/all'); yield"))

        with serving(shop, "--reload", ready=False) as server:
            server.wait_for_output("Application startup failed")
            shop.file("shop/lifespan.py", HOOKS.replace("first", "mended"))
            server.wait_for_event("opens mended")

    def test_changed_template_is_shown(self, shop: Project) -> None:
        shop.file("shop/templates/page.html", "old")
        shop.file(
            "shop/views.py",
            "from django.shortcuts import render\n"
            "def say(request):\n    return render(request, 'page.html')\n",
        )
        shop.settings(
            DEBUG=True,
            TEMPLATES=[
                {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
            ],
        )
        with serving(shop, "--reload") as server:
            assert server.get("/say/").text == "old"
            shop.file("shop/templates/page.html", "new")

            server.until(lambda: answer(server) == "new", "the old page is shown")


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("options", [(), ("--reload",)], ids=["once", "reload"])
def test_ctrl_c_at_a_terminal_closes_everything(shop: Project, options: tuple[str, ...]) -> None:
    with (
        Terminal() as terminal,
        AtTerminal(shop, terminal, "--serve", f"{HOST}:0", *options) as command,
    ):
        terminal.wait_for("Application startup complete")
        terminal.type("\x03")

        assert command.wait() == 0
    assert shop.events() == ["opens first", "closes first"]


def answer(server: Server) -> str:
    """Return what is served now, or an empty string between two processes."""
    try:
        return server.get("/say/").text
    except OSError:
        return ""


# Before anything is served.


def test_serve_without_uvicorn_says_what_to_install(shop: Project) -> None:
    shop.settings("import sys\nsys.modules['uvicorn'] = None\n")

    done = shop.manage("runlifespan", "--serve")

    assert done.returncode == 1
    assert "pip install 'django-lifespan-app[server]'" in done.stderr


def test_serve_needs_allowed_hosts_or_debug(shop: Project) -> None:
    shop.settings(ALLOWED_HOSTS=[])

    done = shop.manage("runlifespan", "--serve")

    assert done.returncode == 1
    assert "set ALLOWED_HOSTS" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--serve", "nowhere"),
        ("--serve", "8000", "--once"),
        ("--serve", "8000", "--ready-file", "ready"),
        ("--serve", "8000", "--", "true"),
        ("--reload",),
    ],
    ids=" ".join,
)
def test_arguments_that_do_not_go_together_return_2(
    shop: Project, arguments: tuple[str, ...]
) -> None:
    done = shop.manage("runlifespan", *arguments)

    assert done.returncode == 2, done.stderr
    assert "CommandError: " in done.stderr
    assert shop.events() == []


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("8001", Address("127.0.0.1", 8001)),
        ("0.0.0.0:80", Address("0.0.0.0", 80)),
        ("[::1]:8000", Address("::1", 8000)),
        ("localhost:8000", Address("localhost", 8000)),
    ],
)
def test_address_is_read_as_runserver_reads_it(text: str, read: Address) -> None:
    assert address(text) == read


@pytest.mark.parametrize("text", ["", "host", "host:", "host:port", "70000", "::1"])
def test_bad_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is neither a port nor HOST:PORT"):
        address(text)
