"""A run that is opened inside of another is meant in its own block, and nowhere else."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

from lifespan_app import Lifespan, Resource
from tests.engine.apps import written_in

ROUNDS = 20


class Reader:
    """A thread that a resource has started, and that reads another resource whenever it is told."""

    def __init__(self, client: Resource[object]) -> None:
        self._client = client
        self._asked = threading.Semaphore(0)
        self._answered = threading.Semaphore(0)
        self.seen: list[object] = []
        threading.Thread(target=self._read, daemon=True).start()

    def ask(self) -> object:
        """Have it read; return what it has read, or the error."""
        self._asked.release()
        self._answered.acquire()
        return self.seen[-1]

    def _read(self) -> None:
        while True:
            self._asked.acquire()
            try:
                self.seen.append(self._client.current())
            except KeyError as error:
                self.seen.append(error)
            self._answered.release()


def declare(lifespan: Lifespan) -> tuple[Resource[object], Resource[Reader]]:
    """Declare a resource, and one that starts a thread which reads the first."""

    @lifespan.resource
    @written_in("shop.lifespan")
    def client() -> Iterator[object]:
        yield object()

    @lifespan.resource
    @written_in("shop.lifespan")
    def reader(client: object) -> Iterator[Reader]:
        yield Reader(handle)

    handle = client
    return client, reader


def test_thread_of_the_outer_run_reads_on_while_inner_ones_come_and_go() -> None:
    lifespan = Lifespan()
    client, _ = declare(lifespan)
    with lifespan.run_sync("app") as outer:
        for _ in range(ROUNDS):
            with lifespan.run_sync("worker") as inner:
                assert client.current() is inner["client"]
                assert outer["reader"].ask() is outer["client"]
            assert outer["reader"].ask() is outer["client"]


def test_thread_that_a_hook_of_an_inner_run_starts_carries_that_run() -> None:
    lifespan = Lifespan()
    declare(lifespan)
    with lifespan.run_sync("app") as outer, lifespan.run_sync("worker") as inner:
        assert inner["reader"].ask() is inner["client"]
        assert outer["reader"].ask() is outer["client"]


def test_task_of_a_request_reads_from_the_outer_run() -> None:
    lifespan = Lifespan()
    client, _ = declare(lifespan)

    async def main() -> None:
        outer = await lifespan.startup("app")

        async def view() -> None:
            async with lifespan.run("worker") as inner:
                assert client.current() is inner["client"]
                await asyncio.sleep(0.01)

        async def other() -> object:
            await asyncio.sleep(0)
            return client.current()

        _, seen = await asyncio.gather(view(), other())
        assert seen is outer["client"]
        await lifespan.shutdown()

    asyncio.run(main())


def test_report_call_and_stopping_mean_the_outer_run_outside_of_the_block() -> None:
    lifespan = Lifespan()
    declare(lifespan)
    seen: list[object] = []

    async def loop() -> object:
        return asyncio.get_running_loop()

    def look() -> None:
        report = lifespan.report()
        seen.append(report and report.service_type)
        seen.append(lifespan.call(loop))

    with lifespan.run_sync("app"):
        [outer] = lifespan.runs
        with lifespan.run_sync("worker"):
            thread = threading.Thread(target=look)
            # A thread carries the run of who starts it: this one belongs to nobody.
            contextvars.Context().run(thread.start)
            thread.join()
            look()
            inner = lifespan.runs[-1]
    assert seen == ["app", outer.loop, "worker", inner.loop]


def test_thread_start_is_left_as_it_was() -> None:
    before = threading.Thread.start
    lifespan = Lifespan()
    declare(lifespan)
    with lifespan.run_sync("app"):
        assert threading.Thread.start is before
        with lifespan.run_sync("worker"):
            assert threading.Thread.start is not before
    assert threading.Thread.start is before
