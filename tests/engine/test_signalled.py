"""A signal gives the notice, and reaches whoever handled it before: at once, or after the drain."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.adapter import Adapter
from lifespan_app.engine.running import shutdown_event
from lifespan_app.engine.running.run import Run
from lifespan_app.engine.settings import Settings
from tests.engine.conftest import LOOPS
from tests.forks import in_a_fork

Install = Callable[[Callable[[], None]], None]


class NoticedHost(Adapter):
    """Hold signals back for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def settings(self) -> Settings:
        return Settings(shutdown_notice=True, drain_seconds=self.seconds)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put the handlers back that the test run has."""
    before = {number: signal.getsignal(number) for number in shutdown_event.ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Return what runs coroutines on each kind of loop."""
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner


def by_signal(call: Callable[[], None]) -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: call())


def by_loop(call: Callable[[], None]) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, call)


WAYS = pytest.mark.parametrize("install", [by_signal, by_loop], ids=["signal", "loop"])


async def opened(seconds: float) -> Run:
    """Return a run under a server that is not known."""
    run = Lifespan(NoticedHost(seconds)).prepare("app", server="")
    await run.start()
    return run


def kill() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@WAYS
def test_servers_handler_is_called_too(runner: asyncio.Runner, install: Install) -> None:
    async def main() -> None:
        handled = asyncio.Event()
        install(handled.set)
        run = await opened(0)
        kill()
        await handled.wait()
        await run.lifespan.stopping.wait()
        assert run.readiness == "stopping"
        await run.stop()

    runner.run(main())


@pytest.mark.parametrize(("echo", "calls"), [(600.0, 1), (0.0, 2)], ids=["at once", "later"])
def test_second_signal_that_comes_at_once_is_taken_for_the_first(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, echo: float, calls: int
) -> None:
    monkeypatch.setattr(shutdown_event, "ECHO", echo)

    async def main() -> None:
        called: list[str] = []
        by_signal(lambda: called.append("handled"))
        run = await opened(0)
        kill()
        kill()
        assert len(called) == calls
        await run.stop()

    runner.run(main())


@WAYS
def test_servers_handler_is_called_after_the_drain_or_a_second_signal(
    runner: asyncio.Runner, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)
    monkeypatch.setattr(shutdown_event, "ECHO", 0.0)

    async def main() -> None:
        calls: list[str] = []
        handled = asyncio.Event()

        def handle() -> None:
            calls.append("handled")
            handled.set()

        install(handle)
        run = await opened(600)
        await held()
        kill()
        await run.lifespan.stopping.wait()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert calls == []
        kill()
        await handled.wait()
        await run.stop()

    runner.run(main())


@WAYS
def test_echo_of_a_signal_ends_no_drain(
    runner: asyncio.Runner, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)
    monkeypatch.setattr(shutdown_event, "ECHO", 600.0)

    async def main() -> None:
        calls: list[str] = []
        install(lambda: calls.append("handled"))
        run = await opened(600)
        await held()
        for _ in range(20):
            kill()
            await asyncio.sleep(0.001)
        assert calls == []
        await run.stop()

    runner.run(main())


def test_one_signal_is_handed_on_where_two_have_come(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)
    monkeypatch.setattr(shutdown_event, "ECHO", 600.0)

    async def main() -> None:
        calls: list[int] = []
        for number in shutdown_event.ENDING:
            signal.signal(number, lambda number, frame: calls.append(number))
        run = await opened(600)
        await held()
        # Ctrl+C, and what the server's main process makes of it.
        os.kill(os.getpid(), signal.SIGINT)
        kill()
        await run.lifespan.stopping.wait()
        await run.stop()
        await asyncio.sleep(0)
        assert calls == [signal.SIGINT]

    runner.run(main())


@WAYS
def test_servers_handler_is_called_when_the_drain_is_over(
    runner: asyncio.Runner, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)

    async def main() -> None:
        handled = asyncio.Event()
        install(handled.set)
        run = await opened(0.05)
        await held()
        kill()
        await handled.wait()
        assert run.status == "serving"
        assert run.stopping.is_set()
        await run.stop()

    runner.run(main())


@WAYS
def test_signal_that_waits_at_the_runs_end_is_handed_on(
    runner: asyncio.Runner, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)

    async def main() -> None:
        handled = asyncio.Event()
        install(handled.set)
        run = await opened(600)
        await held()
        kill()
        await run.lifespan.stopping.wait()
        await run.stop()
        await handled.wait()

    runner.run(main())


def test_loop_that_is_run_once_more_is_held_too(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As granian does: once for the startup, once to serve."""
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)
    calls: list[str] = []

    async def start() -> Run:
        by_loop(lambda: calls.append("handled"))
        run = await opened(600)
        await held()
        return run

    async def serve(run: Run) -> None:
        await held()
        kill()
        await run.lifespan.stopping.wait()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert calls == []
        await run.stop()

    runner.run(serve(runner.run(start())))


def test_handlers_are_as_before_when_the_run_is_over(runner: asyncio.Runner) -> None:
    async def main() -> None:
        by_signal(lambda: None)
        before = [signal.getsignal(number) for number in shutdown_event.ENDING]
        wakeup = wakeup_fd()
        run = await opened(600)
        assert [signal.getsignal(number) for number in shutdown_event.ENDING] != before
        await run.stop()
        assert [signal.getsignal(number) for number in shutdown_event.ENDING] == before
        assert wakeup_fd() == wakeup

    runner.run(main())


def test_second_run_beside_it_goes_on_when_the_first_one_is_over(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)

    async def main() -> None:
        handled = asyncio.Event()
        by_signal(handled.set)
        before = signal.getsignal(signal.SIGTERM)
        wakeup = wakeup_fd()
        one, other = await opened(0.05), await opened(0.05)
        await held()
        await one.stop()
        assert not other.stopping.is_set()
        kill()
        await other.lifespan.stopping.wait()
        await handled.wait()
        await other.stop()
        assert signal.getsignal(signal.SIGTERM) is before
        assert wakeup_fd() == wakeup

    runner.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system knows no fork")
def test_fork_has_the_handlers_that_were_there_before_and_wakes_no_loop(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown_event, "FIRST_LOOK", 0.001)

    def handle(number: int, frame: object) -> None:
        raise LookupError(f"handled, with {wakeup_fd()} to wake")

    async def main() -> None:
        signal.signal(signal.SIGTERM, handle)
        run = await opened(600)
        await held()
        assert in_a_fork(kill) == "LookupError: handled, with -1 to wake"
        assert not run.stopping.is_set()
        await run.stop()

    runner.run(main())


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_ignored_and_default_signals_stay_so(runner: asyncio.Runner, handler: Any) -> None:
    async def main() -> None:
        signal.signal(signal.SIGTERM, handler)
        run = await opened(0)
        assert signal.getsignal(signal.SIGTERM) is handler
        await run.stop()

    runner.run(main())


def test_loop_in_another_thread_gets_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        before = signal.getsignal(signal.SIGTERM)
        run = await opened(0)
        assert signal.getsignal(signal.SIGTERM) is before
        await run.stop()

    with caplog.at_level(logging.WARNING):
        thread = threading.Thread(target=lambda: asyncio.run(main()), name="apart")
        thread.start()
        thread.join()
    [message] = caplog.messages
    assert message.startswith("shutdown_notice has no effect here: the event loop runs in thread")


async def held() -> None:
    """Wait until signals are held back from the loop."""
    while shutdown_event.SIGNALS._wakeup is None or not shutdown_event.SIGNALS._wakeup.holds():
        await asyncio.sleep(0.001)


def wakeup_fd() -> int:
    number = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(number)
    return number
