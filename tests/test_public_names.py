"""Names that projects import: where they are today is where they stay."""

from __future__ import annotations

from importlib import import_module

import pytest

PUBLIC = {
    "lifespan_app": [
        "Lifespan",
        "LifespanContext",
        "LifespanMiddleware",
        "Resource",
        "Retry",
        "ServiceType",
        "ShutdownHook",
        "StartupHook",
        "get_lifespan",
        "lifespan",
    ],
    "lifespan_app.admin": ["register"],
    "lifespan_app.apps": ["LifespanConfig", "SimpleLifespanConfig"],
    "lifespan_app.asgi": ["get_asgi_application"],
    "lifespan_app.contrib.celery": ["open_lifespan"],
    "lifespan_app.contrib.health_check": ["LifespanCheck"],
    "lifespan_app.errors": [
        "HookError",
        "LifespanError",
        "LimitPassed",
        "NotRunning",
        "PlanError",
        "QueueFull",
        "ResourceClosed",
        "ResourceNotReady",
        "UndeclaredUse",
        "WrongLoop",
    ],
    "lifespan_app.failures": ["Analysis", "analyzer"],
    "lifespan_app.handler": ["LifespanASGIHandler"],
    "lifespan_app.health": ["livez", "readyz", "startupz"],
    "lifespan_app.middleware": ["AsyncMiddleware", "LifespanMiddleware", "LifespanStateMiddleware"],
    "lifespan_app.models": ["LifespanRun", "LifespanStep"],
    "lifespan_app.observers": ["Observer", "Report", "Step"],
    "lifespan_app.probe": ["main"],
    "lifespan_app.pytest_plugin": ["async_lifespan_running", "lifespan_running"],
    "lifespan_app.register": ["register_lifespan_manager"],
    "lifespan_app.routers": ["HistoryRouter"],
    "lifespan_app.signals": ["asgi_lifespan", "asgi_shutdown", "asgi_startup"],
    "lifespan_app.testing": [
        "InjectedFailure",
        "LifespanAwareAsyncClient",
        "inject",
        "lifespan_running",
        "override",
    ],
    "lifespan_app.types": ["LifespanManager", "ShutdownHook", "StartupHook", "State"],
    "lifespan_app.urls": ["urlpatterns"],
    "lifespan_app.wsgi": ["get_wsgi_application"],
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in names]
)
def test_public_name_can_be_imported(module: str, name: str) -> None:
    assert hasattr(import_module(module), name)
