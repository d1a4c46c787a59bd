"""`LIFESPAN["WARM_UP"]`: Django does the work of its first request while the hooks start."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any, cast

import pytest
from django.core.signals import got_request_exception, request_finished, request_started
from django.template import engines
from django.urls import get_resolver
from django.urls.resolvers import get_ns_resolver

from lifespan_app import Lifespan
from lifespan_app.handler import LifespanASGIHandler
from lifespan_app.integration import warm_django
from lifespan_app.testing import lifespan_running
from tests.clusters import PostgreSQL
from tests.engine.lookups import report_of
from tests.needs import needs_postgresql
from tests.projects import Project
from tests.scopes import started
from tests.servers import Server

if TYPE_CHECKING:
    from pytest_django import Settings

TEMPLATES = "django.template.backends.django.DjangoTemplates"


def steps(lifespan: Lifespan) -> dict[str, Any]:
    """Return the startup's steps of Django, by their names."""
    found = report_of(lifespan).steps
    return {step.name: step for step in found if step.app_label == "django"}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that writes a module which nothing has imported."""
    written: list[str] = []

    def write(source: str) -> str:
        name = f"written_{len(written)}"
        (tmp_path / f"{name}.py").write_text(dedent(source))
        written.append(name)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in written:
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def warm(settings: Settings, lifespan: Lifespan) -> None:
    """Turn the warm-up on."""
    settings.LIFESPAN = {"HISTORY": False, "WARM_UP": True}


class TestTheSteps:
    async def test_steps_of_django_are_recorded(self, lifespan: Lifespan) -> None:
        async with started(LifespanASGIHandler()):
            found = steps(lifespan)
        assert {"urls", "middleware", "translations"} <= set(found)
        assert {step.outcome for step in found.values()} == {"ok"}
        assert report_of(lifespan).status == "stopped"
        assert found["urls"].key == "django.urls"

    async def test_no_steps_of_django_without_the_setting(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        settings.LIFESPAN = {"HISTORY": False}
        async with started(LifespanASGIHandler()):
            assert steps(lifespan) == {}

    def test_run_without_a_server_has_none(self, lifespan: Lifespan) -> None:
        with lifespan.run_sync():
            assert steps(lifespan) == {}

    async def test_run_of_a_test_has_none(self, lifespan: Lifespan) -> None:
        async with lifespan_running():
            assert steps(lifespan) == {}

    async def test_steps_and_hooks_run_side_by_side(
        self, lifespan: Lifespan, settings: Settings, module: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("urls_wait", "hook_waits"):
            monkeypatch.setattr(warm_django, name, threading.Event(), raising=False)
        settings.ROOT_URLCONF = module(
            """
            from lifespan_app.integration import warm_django

            warm_django.urls_wait.set()
            assert warm_django.hook_waits.wait(10)
            urlpatterns = []
            """
        )

        @lifespan.on_start(priority=-1)
        def first() -> None:
            assert warm_django.urls_wait.wait(10)  # type: ignore[attr-defined]
            warm_django.hook_waits.set()  # type: ignore[attr-defined]

        async with started(LifespanASGIHandler()):
            assert steps(lifespan)["urls"].outcome == "ok"


class TestFailures:
    async def test_broken_urlconf_fails_its_step_and_not_the_start(
        self, lifespan: Lifespan, settings: Settings, module: Any
    ) -> None:
        settings.ROOT_URLCONF = module("raise LookupError('no such view')")
        async with started(LifespanASGIHandler()):
            step = steps(lifespan)["urls"]
            assert step.outcome == "failed"
            assert "no such view" in step.error
            assert report_of(lifespan).status == "degraded"

    async def test_step_that_hangs_is_left_at_its_limit(
        self, lifespan: Lifespan, settings: Settings, module: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(warm_django, "STEP_TIMEOUT", 0.05)
        monkeypatch.setattr(warm_django, "released", threading.Event(), raising=False)
        settings.ROOT_URLCONF = module(
            """
            from lifespan_app.integration import warm_django

            warm_django.released.wait(10)
            urlpatterns = []
            """
        )
        async with started(LifespanASGIHandler()):
            step = steps(lifespan)["urls"]
            assert step.error.startswith("'django.urls' (")
            assert "did not start within its limit of 0.05 s. It waits at " in step.error
            warm_django.released.set()  # type: ignore[attr-defined]

    async def test_template_that_can_not_be_compiled_is_left_to_its_view(
        self, lifespan: Lifespan, settings: Settings, tmp_path: Path
    ) -> None:
        (tmp_path / "broken.html").write_text("{% no_such_tag %}")
        (tmp_path / "whole.html").write_text("{{ word }}")
        settings.TEMPLATES = [{"BACKEND": TEMPLATES, "DIRS": [tmp_path]}]
        async with started(LifespanASGIHandler()):
            assert steps(lifespan)["templates"].outcome == "ok"
            [loader] = engines["django"].engine.template_loaders  # type: ignore[attr-defined]
            assert "whole.html" in loader.get_template_cache


class TestWhatIsWarm:
    async def test_urls_are_imported_and_reversed(
        self, lifespan: Lifespan, settings: Settings, module: Any
    ) -> None:
        inner = module(
            """
            from django.urls import path

            app_name = "shop"
            urlpatterns = [path("<int:number>/", print, name="page")]
            """
        )
        settings.ROOT_URLCONF = module(
            f"""
            from django.urls import include, path

            urlpatterns = [path("shop/", include("{inner}"))]
            """
        )
        of_namespaces: Any = get_ns_resolver
        of_namespaces.cache_clear()
        async with started(LifespanASGIHandler()):
            assert inner in sys.modules
            [pattern] = cast("list[Any]", get_resolver().url_patterns)
            assert "regex" in vars(pattern.url_patterns[0].pattern)
            assert of_namespaces.cache_info().currsize == 1

    async def test_catalogues_of_the_chosen_languages_are_loaded(
        self, lifespan: Lifespan, settings: Settings
    ) -> None:
        from django.utils.translation import trans_real

        settings.LANGUAGES = [("en", "English"), ("fi", "Finnish")]
        settings.MIDDLEWARE = ["django.middleware.locale.LocaleMiddleware"]
        catalogues = vars(trans_real)["_translations"]
        catalogues.clear()
        async with started(LifespanASGIHandler()):
            assert "fi" in catalogues
            assert "de" not in catalogues

    async def test_manifest_of_static_files_is_read(
        self, lifespan: Lifespan, settings: Settings, tmp_path: Path
    ) -> None:
        from django.contrib.staticfiles.storage import staticfiles_storage

        manifest = '{"version": "1.1", "paths": {"a.css": "a.123.css"}, "hash": "1"}'
        (tmp_path / "staticfiles.json").write_text(manifest)
        settings.STATIC_ROOT, settings.STATIC_URL = str(tmp_path), "/static/"
        backend = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
        settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": backend}}
        async with started(LifespanASGIHandler()):
            assert steps(lifespan)["static"].outcome == "ok"
            assert vars(staticfiles_storage)["_wrapped"].hashed_files == {"a.css": "a.123.css"}


class TestTheRequest:
    """Django's own middleware answers one, and nobody else sees it."""

    async def test_projects_own_code_does_not_see_the_request_of_the_warm_up(
        self, lifespan: Lifespan, settings: Settings, module: Any
    ) -> None:
        seen: list[object] = []
        own = module(
            """
            seen = []

            def middleware(get_response):
                def answer(request):
                    seen.append(request)
                    return get_response(request)
                return answer

            def processor(request):
                seen.append(request)
                return {}
            """
        )
        settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware", f"{own}.middleware"]
        processors = ["django.template.context_processors.request", f"{own}.processor"]
        options = {"context_processors": processors}
        settings.TEMPLATES = [{"BACKEND": TEMPLATES, "OPTIONS": options}]
        signals = [request_started, request_finished, got_request_exception]
        for signal in signals:
            signal.connect(seen.append, dispatch_uid="a test of the warm-up")
        try:
            async with started(LifespanASGIHandler()):
                assert steps(lifespan)["middleware"].outcome == "ok"
        finally:
            for signal in signals:
                signal.disconnect(dispatch_uid="a test of the warm-up")
        assert seen == []
        assert sys.modules[own].seen == []

    @pytest.mark.parametrize(
        "changes",
        [
            {"ALLOWED_HOSTS": [".example.com"]},
            {"SECURE_SSL_REDIRECT": True},
            {"MIDDLEWARE": ["django.contrib.sites.middleware.CurrentSiteMiddleware"]},
            {"SECURE_SSL_REDIRECT": True, "SECURE_PROXY_SSL_HEADER": ("HTTP_X_SCHEME", "https")},
        ],
        ids=lambda changes: ", ".join(changes),
    )
    async def test_request_of_the_warm_up_is_answered(
        self,
        lifespan: Lifespan,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        changes: dict[str, Any],
    ) -> None:
        from lifespan_app.integration import warm_middleware

        answered = []
        get_response = warm_middleware.Handler.get_response_async

        async def noting(self: Any, request: Any) -> Any:
            response = await get_response(self, request)
            answered.append(response.status_code)
            return response

        monkeypatch.setattr(warm_middleware.Handler, "get_response_async", noting)
        settings.MIDDLEWARE = [
            "django.middleware.security.SecurityMiddleware",
            "django.middleware.common.CommonMiddleware",
        ]
        for name, value in changes.items():
            setattr(settings, name, value)
        async with started(LifespanASGIHandler()):
            pass
        assert answered == [200] * warm_middleware.TIMES

    async def test_middleware_that_fails_without_the_projects_own_is_no_error(
        self, lifespan: Lifespan, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        # A session middleware of the project's own stands before it.
        settings.MIDDLEWARE = ["django.contrib.auth.middleware.AuthenticationMiddleware"]
        async with started(LifespanASGIHandler()):
            assert steps(lifespan)["middleware"].outcome == "ok"
        assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


@needs_postgresql
@pytest.mark.server
def test_pool_is_filled_before_the_first_request(project: Project) -> None:
    with PostgreSQL() as postgresql:
        postgresql.serve(project, OPTIONS={"pool": {"min_size": 3, "max_size": 3}})
        project.settings(LIFESPAN={"HISTORY": False, "WARM_UP": True})
        views = """
from django.db import connection
from django.http import HttpResponse


def available(request):
    return HttpResponse(connection.pool.get_stats()["pool_available"])
"""
        project.app("shop", views=views)
        with Server(project) as server:
            assert server.get("/available/").text == "3"
