"""An app that is not in INSTALLED_APPS, lifespan_app itself, and a module with two names."""

from __future__ import annotations

import pytest

from tests.projects import Project
from tests.servers import GUNICORN_WSGI, Server

pytestmark = pytest.mark.slow

LIFESPAN = """
from lifespan_app import lifespan


@lifespan.resource
async def client():
    yield "a client"
"""
VIEWS = """
from django.http import HttpResponse

from {module} import client


def handle(request):
    return said(lambda: client(request))


def state(request):
    return said(lambda: request.state["client"])


def said(read):
    try:
        return HttpResponse(read())
    except Exception as error:
        return HttpResponse(f"{{type(error).__name__}}: {{error}}")
"""


def answers(project: Project) -> list[str]:
    """Return what the views of the shop answer under uvicorn."""
    with Server(project, options=["--lifespan", "on"]) as server:
        return [server.get(f"/{view}/").text for view in ("handle", "state")]


def warnings_of(project: Project, *command: str) -> str:
    done = project.manage(*command)
    return done.stdout + done.stderr


class TestAnAppThatIsNotInstalled:
    @pytest.fixture
    def shop(self, project: Project) -> Project:
        views = VIEWS.format(module="shop.lifespan")
        return project.app("shop", lifespan=LIFESPAN, views=views, installed=False)

    @pytest.mark.server
    def test_app_not_installed_is_named_where_its_resource_is_read(self, shop: Project) -> None:
        for answer in answers(shop):
            assert answer.startswith("NotRunning: Resource 'client'")
            assert "'shop' is not in INSTALLED_APPS" in answer

    @pytest.mark.parametrize("command", ["check", "checklifespan"])
    def test_app_not_installed_is_named_beside_an_installed_one(
        self, shop: Project, command: str
    ) -> None:
        shop.app("library", lifespan=LIFESPAN.replace("client", "catalogue"))
        said = warnings_of(shop, command)
        assert "W001" in said
        assert "shop/lifespan.py is never imported, since 'shop' is not in INSTALLED_APPS" in (
            " ".join(said.split())
        )

    def test_app_without_hooks_may_stay_uninstalled(self, project: Project) -> None:
        project.app("shop", lifespan="raise AssertionError", installed=False).app("library")
        assert "W001" not in warnings_of(project, "check")

    def test_app_that_is_not_installed_may_be_imported_by_an_installed_one(
        self, shop: Project
    ) -> None:
        shop.app("library", lifespan="import shop.lifespan")
        assert "W001" not in warnings_of(shop, "check")


class TestOurselvesNotInstalled:
    @pytest.fixture
    def shop(self, project: Project) -> Project:
        project.app("shop", lifespan=LIFESPAN, views=VIEWS.format(module="shop.lifespan"))
        return project.settings(INSTALLED_APPS=["shop"])

    @pytest.mark.server
    def test_lifespan_app_not_installed_is_named_where_a_resource_is_read(
        self, shop: Project
    ) -> None:
        for answer in answers(shop):
            assert answer.startswith("NotRunning: Resource 'client'")
            assert "'lifespan_app' is not in INSTALLED_APPS" in answer

    @pytest.mark.server
    def test_lifespan_app_not_installed_is_logged_when_a_server_starts(self, shop: Project) -> None:
        shop.file(
            "wsgi.py",
            "from lifespan_app.wsgi import get_wsgi_application as get\n\napplication = get()\n",
        )
        said = "'lifespan_app' is not in INSTALLED_APPS, so it does not import 'shop.lifespan'."
        with Server(shop) as server:
            assert server.output.count(said) == 1
        with Server(shop, GUNICORN_WSGI) as server:
            assert server.output.count(said) == 1

    def test_lifespan_app_not_installed_is_found_by_the_checks(self, shop: Project) -> None:
        shop.file("shop/models.py", "import lifespan_app\n\nlifespan_app.lifespan\n")
        assert "so it does not import 'shop.lifespan'" in warnings_of(shop, "check")


class TestAFileWithTwoNames:
    """`shop/` is in sys.path, and `src/`, which it stands in."""

    @pytest.fixture
    def shop(self, project: Project) -> Project:
        views = VIEWS.format(module="src.shop.lifespan")
        project.app("src").app("library", views=views)
        project.file("src/shop/__init__.py", "").file("src/shop/lifespan.py", LIFESPAN)
        project.settings(
            "import pathlib, sys\nsys.path.append(f'{pathlib.Path(__file__).parent}/src')"
        )
        return project.settings(INSTALLED_APPS=["lifespan_app", "shop", "library"])

    SAID = (
        "The same file is imported as 'shop.lifespan' and as 'src.shop.lifespan': import it as "
        "'shop.lifespan'."
    )

    @pytest.mark.server
    def test_file_with_two_names_is_named_where_its_resource_is_read(self, shop: Project) -> None:
        handle, state = answers(shop)
        assert handle.startswith("NotRunning: Resource 'client'")
        assert self.SAID in handle
        assert state == "a client"

    def test_file_with_two_names_is_one_problem_of_the_plan(self, shop: Project) -> None:
        shop.file("shop_too.py", "import src.shop.lifespan")
        shop.app("again", lifespan="import src.shop.lifespan")
        shop.settings(INSTALLED_APPS=["lifespan_app", "shop", "library", "again"])
        said = " ".join(warnings_of(shop, "check").split())
        assert said.count(self.SAID) == 1
        assert "state_name=" not in said
