"""A start reads the settings once, and makes its plan once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.planning import builder
from lifespan_app.engine.settings import Settings
from tests.engine.apps import HostWithApps, written_in
from tests.engine.virtual_clock import VirtualLoop, run_virtually


class Counting(HostWithApps):
    """Count how often the settings are read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def settings(self) -> Settings:
        """Return the defaults."""
        self.reads += 1
        return Settings()


def client_of(lifespan: Lifespan, name: str = "client") -> None:
    @lifespan.resource(name=name)
    @written_in("shop.lifespan")
    async def client() -> AsyncIterator[str]:
        yield "client"


def test_start_reads_the_settings_once() -> None:
    host = Counting()

    async def main(_: Lifespan, loop: VirtualLoop) -> None:
        lifespan = Lifespan(host)
        client_of(lifespan)
        async with lifespan.run():
            pass

    run_virtually(main)
    assert host.reads == 1


def test_plan_is_made_anew_only_when_something_has_changed(
    monkeypatch: pytest.MonkeyPatch, lifespan: Lifespan
) -> None:
    made: list[str] = []
    build = builder.build_plan

    def build_and_count(hooks: object, service_type: str, **options: object) -> object:
        made.append(service_type)
        return build(hooks, service_type, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builder, "build_plan", build_and_count)
    client_of(lifespan)
    one, two = lifespan.plan("app"), lifespan.plan("app")
    assert one is two
    client_of(lifespan, "search")
    assert lifespan.plan("app").order == ["shop.client", "shop.search"]
    changed = Settings(hooks={"shop.search": {"enabled": False}})
    assert lifespan.plan("app", changed).order == ["shop.client"]
    assert made == ["app", "app", "app"]


def test_plans_are_compared_by_value_and_do_not_change(lifespan: Lifespan) -> None:
    client_of(lifespan)
    one = lifespan.plan("app")
    slower = Settings(hooks={"*": {"timeout": 3}})
    assert one != lifespan.plan("app", slower)
    assert one == lifespan.plan("app")
    with pytest.raises(AttributeError):
        one.nodes[0].waits = ()  # type: ignore[misc]
