"""A claim in the thread that keeps leases: it ends, whatever the database does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lifespan_app.engine.lease import Lease
from lifespan_app.leases.claim import DatabaseClaim
from lifespan_app.leases.keeper import Keeper
from lifespan_app.leases.locks import Lock, taken
from tests.clusters import MariaDB, PostgreSQL
from tests.history.databases import opened, sqlite
from tests.leases.stored import MIGRATE
from tests.needs import needs_mariadb, needs_postgresql

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker, Settings

SECONDS = 1.0


class Hook:
    """A start function that claims a lease, and what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.error: BaseException | None = None

    def waits_behind(self, who: str) -> None:
        self.told.append("waits")

    def has_turn(self, lease: Lease) -> None:
        self.told.append("has its turn")

    def loses_lease(self, reason: str) -> None:
        self.told.append("loses it")

    def is_answered(self, who: str, error: BaseException | None) -> None:
        self.told.append("is answered")
        self.error = error


def claimed(keeper: Keeper, hook: Hook) -> DatabaseClaim:
    claim = DatabaseClaim(MIGRATE, hook, keeper.wake, is_for_start=True, seconds=SECONDS)
    keeper.add(claim)
    return claim


async def until(look: Callable[[], object]) -> None:
    while not look():
        await asyncio.sleep(0.01)


def test_start_is_answered_with_the_error_of_an_alias_that_is_missing(settings: Settings) -> None:
    settings.LIFESPAN = {"HISTORY_DATABASE": "nowhere"}
    hook = Hook()

    async def main() -> None:
        claimed(Keeper(), hook)
        await until(lambda: hook.error)

    asyncio.run(main())
    assert hook.told == ["waits", "is answered"]
    assert str(hook.error) == "The connection 'nowhere' doesn't exist."


@needs_postgresql
def test_lock_that_ended_with_its_database_is_taken_again_by_the_same_process(
    settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    async def main() -> list[str]:
        keeper, first, second = Keeper(), Hook(), Hook()
        claim = claimed(keeper, first)
        await until(lambda: first.told)
        await asyncio.to_thread(cluster.stop)
        claim.end(success=True, error="", still_runs=False)
        await claim.over
        await asyncio.to_thread(cluster.start)
        claim = claimed(keeper, second)
        await until(lambda: second.told)
        claim.end(success=True, error="", still_runs=False)
        await claim.over
        return second.told

    with django_db_blocker.unblock(), PostgreSQL() as cluster, opened(cluster.database):
        settings.LIFESPAN = {"HISTORY_DATABASE": "history"}
        assert asyncio.run(main()) == ["has its turn"]


def test_lock_of_an_sqlite_file_in_a_folder_called_memory_has_one_holder(
    tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    one, other = Lock(MIGRATE.id), Lock(MIGRATE.id)
    with django_db_blocker.unblock(), opened(sqlite(folder / "history.sqlite3")):
        settings.LIFESPAN = {"HISTORY_DATABASE": "history"}
        assert one.take()
        taken.clear()  # as in another process
        try:
            assert not other.take()
        finally:
            one.give_back(for_good=True)


@needs_mariadb
def test_projects_on_one_mariadb_do_not_wait_for_each_others_locks(
    settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    def take(alias: str) -> bool:
        settings.LIFESPAN = {"HISTORY_DATABASE": alias}
        taken.clear()  # as in another process
        return Lock(MIGRATE.id).take()

    with (
        django_db_blocker.unblock(),
        MariaDB() as cluster,
        opened(cluster.database, alias="shop") as shop,
        opened(cluster.database, alias="other_process_of_shop"),
        opened({**cluster.database, "NAME": "blog"}, alias="blog"),
    ):
        shop.run("CREATE DATABASE blog")
        assert take("shop")
        assert not take("other_process_of_shop")
        assert take("blog")
    taken.clear()
