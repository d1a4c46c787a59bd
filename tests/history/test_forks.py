"""A fork waits for the records that are at work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import pytest

from lifespan_app.history.recording import forks as module
from lifespan_app.history.recording.forks import forks

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def what_a_child_says(question: Callable[[], bool]) -> bool:
    """Fork, and return what the child answers."""
    pid = os.fork()
    if not pid:
        os._exit(int(question()))
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Thread:
    """A thread that does something until it is told to leave, and notes when it has left."""

    def __init__(self, *around: AbstractContextManager[None]) -> None:
        self.left = False
        self._inside, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, args=around)
        self._thread.start()
        self._inside.wait(60)

    def _work(self, *around: AbstractContextManager[None]) -> None:
        with ExitStack() as stack:
            for one in around:
                stack.enter_context(one)
            self._inside.set()
            self._leave.wait(60)
            self.left = True

    def leave(self) -> None:
        self._leave.set()

    def join(self) -> None:
        self.leave()
        self._thread.join()


@pytest.fixture
def at_work() -> Iterator[Thread]:
    """Return a thread that is at work."""
    thread = Thread(forks.wait())
    yield thread
    thread.join()


def test_fork_happens_when_the_work_is_done(
    at_work: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 60)
    wait_for = forks._changed.wait_for

    def leave_once_it_is_waited_for(done: Callable[[], bool], seconds: float) -> bool:
        at_work.leave()
        return wait_for(done, seconds)

    monkeypatch.setattr(forks._changed, "wait_for", leave_once_it_is_waited_for)

    assert what_a_child_says(lambda: at_work.left)


def test_work_that_does_not_end_keeps_no_process_from_forking(
    at_work: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0)

    assert what_a_child_says(lambda: not at_work.left)


def test_fork_does_not_wait_for_a_thread_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 3_600)
    resting = Thread(forks.wait(), forks.go_on())

    assert what_a_child_says(lambda: not resting.left)
    resting.join()


def test_fork_does_not_wait_for_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 3_600)

    with forks.wait():
        assert what_a_child_says(lambda: True)


@pytest.mark.usefixtures("at_work")
def test_child_of_a_fork_has_no_thread_that_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0)

    def goes_to_work() -> bool:
        with forks.wait():
            return forks._writing == {threading.get_ident()}

    assert what_a_child_says(goes_to_work)


@pytest.mark.usefixtures("at_work")
def test_work_goes_on_in_the_parent_of_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0)
    what_a_child_says(lambda: True)

    with forks.wait():
        assert len(forks._writing) == 2


def test_work_that_raises_is_done() -> None:
    with pytest.raises(OSError, match="gone"), forks.wait():
        raise OSError("gone")

    assert threading.get_ident() not in forks._writing
