"""The faults of a database. Each lasts as long as its block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress

from tests.clusters import Cluster
from tests.torture.databases.place import Place

Fault = Callable[[Place], AbstractContextManager[None]]

EVERY = 2.0
"""Seconds between two restarts, migrations or cut connections while such a fault lasts."""
RECOVERED = 60.0
"""Seconds after a fault within which everything is recorded: the record waits up to 30 between attempts."""


@contextmanager
def stopped(place: Place) -> Iterator[None]:
    """Have no server."""
    place.cluster.stop()
    yield
    place.cluster.start()


@contextmanager
def restarted(place: Place) -> Iterator[None]:
    """Restart the server again and again."""

    def restart() -> None:
        place.cluster.restart()
        place.done["restarts"] += 1

    with again_and_again(restart):
        yield


def paused(place: Place) -> AbstractContextManager[None]:
    """Have the server stand still."""
    return place.cluster.paused()


WAITING = {
    "postgresql": "select pid from pg_stat_activity where wait_event_type = 'Lock'",
    "mariadb": "select trx_mysql_thread_id from information_schema.innodb_trx where trx_state = 'LOCK WAIT'",
}
CUT = {"postgresql": "select pg_terminate_backend({})", "mariadb": "kill {}"}


@contextmanager
def cut(place: Place) -> Iterator[None]:
    """End the connections that write to the history, in the middle of their writes.

    They wait there for the rows of the runs: a statement waits for the one that it changes, and a
    transaction that has replaced steps for the one that they belong to.
    """

    def cut_some() -> None:
        with holding(place, "BEGIN", "SELECT id FROM lifespan_app_lifespanrun FOR UPDATE"):
            until(lambda: place.database.query(WAITING[place.kind]))
            for [one] in place.database.query(WAITING[place.kind]):
                with suppress(Exception):  # it may have gone
                    place.database.query(CUT[place.kind].format(one))
                    place.done["writes cut"] += 1

    with again_and_again(cut_some):
        yield


LOCK = {
    "postgresql": ("BEGIN", "LOCK TABLE lifespan_app_lifespanrun IN ACCESS EXCLUSIVE MODE"),
    "mariadb": ("LOCK TABLES lifespan_app_lifespanrun WRITE",),
    "sqlite": ("BEGIN EXCLUSIVE",),
}


def locked(place: Place) -> AbstractContextManager[None]:
    """Lock the table of runs, or all of SQLite."""
    return holding(place, *LOCK[place.kind])


@contextmanager
def full(place: Place) -> Iterator[None]:
    """Have a disk without room; a server that ended of it is started again when there is room."""
    assert place.disk is not None
    place.disk.fill()
    with suppress(Exception):
        place.database.query(f"INSERT INTO visits VALUES {', '.join(['(1)'] * 100_000)}")
    yield
    place.disk.clear()
    if isinstance(place.database, Cluster):
        with suppress(Exception):
            place.database.query("select 1")
            return
        place.done["end of the server"] += 1
        place.database.restart()


@contextmanager
def migrated(place: Place) -> Iterator[None]:
    """Take back the newer half of the history's migrations, and apply it, again and again."""

    def back_and_forth() -> None:
        place.done["migrations"] += place.migrate("lifespan_app", "0004")
        until(lambda: place.migrate("lifespan_app"))

    with again_and_again(back_and_forth):
        yield


@contextmanager
def dropped(place: Place) -> Iterator[None]:
    """Take back all of the history's migrations, which drops its tables; then apply them."""
    until(lambda: place.migrate("lifespan_app", "zero"))
    yield
    until(lambda: place.migrate("lifespan_app"))


@contextmanager
def holding(place: Place, *statements: str) -> Iterator[None]:
    """Keep open the connection on which these statements ran."""
    with closing(place.database.connect()) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        yield
        cursor.execute("UNLOCK TABLES" if statements[0].startswith("LOCK") else "COMMIT")


@contextmanager
def again_and_again(act: Callable[[], None]) -> Iterator[None]:
    """Do something from another thread until the block ends; raise what it has raised."""
    over = threading.Event()
    errors: list[Exception] = []

    def run() -> None:
        try:
            while not over.is_set():
                act()
                over.wait(EVERY)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


def until(look: Callable[[], object], limit: float = RECOVERED) -> None:
    """Look again and again until something is true. Raises ``TimeoutError``."""
    give_up_at = time.monotonic() + limit
    while not look():
        if time.monotonic() > give_up_at:
            raise TimeoutError
        time.sleep(0.05)
