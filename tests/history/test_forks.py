"""A fork waits for the records that are inside a database driver."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from queue import Queue

import pytest

from lifespan_app.history import forks
from lifespan_app.history.forks import Drivers, drivers

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def child(work: object) -> int:
    """Fork, end the child with what `work` returns, and return that."""
    pid = os.fork()
    if not pid:
        os._exit(int(bool(work() if callable(work) else work)))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def busy() -> Iterator[threading.Event]:
    """Have a thread inside a driver until the event is set."""
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with drivers.inside():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(60)
    yield leave
    leave.set()
    thread.join()


def test_it_happens_after_the_record_has_left_its_driver(
    busy: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 60)
    asked: Queue[str] = Queue()
    happened: list[str] = []

    def leaves() -> None:
        asked.get(timeout=60)
        happened.append("left")
        busy.set()

    thread = threading.Thread(target=leaves)
    thread.start()
    wait_for = drivers._changed.wait_for

    def told(predicate: object, timeout: float) -> bool:
        asked.put("fork")
        return wait_for(predicate, timeout)  # type: ignore[arg-type]

    monkeypatch.setattr(drivers._changed, "wait_for", told)

    assert child(lambda: happened == ["left"]) == 1
    thread.join()


@pytest.mark.usefixtures("busy")
def test_a_database_that_does_not_answer_keeps_no_process_from_forking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0)

    assert child(True) == 1


@pytest.mark.usefixtures("busy")
def test_nobody_is_inside_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0)

    def goes_in() -> bool:
        alone = drivers._inside == 0
        with drivers.inside():
            return alone and drivers._inside == 1

    assert child(goes_in) == 1


@pytest.mark.usefixtures("busy")
def test_the_parent_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "PATIENCE", 0)
    child(True)

    with drivers.inside():
        assert drivers._inside == 2


def test_one_that_raises_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    own = Drivers()

    with pytest.raises(OSError, match="gone"), own.inside():
        raise OSError("gone")

    assert own._inside == 0
