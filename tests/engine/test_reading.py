"""Reading a resource: inside a hook (rule 4.6), while it is up, and when it is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from lifespan_app import Lifespan, Resource
from lifespan_app.errors import (
    LifespanError,
    NotRunning,
    ReadError,
    ResourceClosed,
    ResourceNotReady,
    UndeclaredUse,
    WrongLoop,
)
from tests.engine.apps import written_in
from tests.engine.conftest import RunOnLoop
from tests.engine.journal import Journal
from tests.engine.virtual_clock import VirtualLoop, run_virtually

HERE = __name__.replace(".", "/") + ".py"


def caught(call: Callable[[], object]) -> Exception | None:
    """Return what a call raises, as a value that a hook can leave behind."""
    try:
        call()
    except Exception as error:
        return error
    return None


def client_of(lifespan: Lifespan) -> Resource[str]:
    @lifespan.resource
    @written_in("shop.lifespan")
    async def client() -> AsyncIterator[str]:
        yield "a client"

    return client


def time_of_day(seconds: float) -> str:
    """Return a virtual second as errors write it."""
    moment = time.localtime(1_700_000_000 + 1000 + seconds)
    return time.strftime("%Y-%m-%d %H:%M:%S", moment)


# While it is up.


def test_handle_and_the_state_give_one_and_the_same_object(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def box() -> object:
            return object()

        async with lifespan.run("app") as state:
            value = box.current()
            assert value is state["box"]
            assert value is state.box
            assert value is box({"type": "http"})

    run(main)


@pytest.mark.parametrize(
    "error",
    [NotRunning, ResourceClosed, ResourceNotReady, UndeclaredUse, WrongLoop],
)
def test_read_errors_are_key_and_attribute_errors_with_a_sentence(
    error: type[ReadError],
) -> None:
    assert issubclass(error, (LifespanError))
    assert issubclass(error, KeyError)
    assert issubclass(error, AttributeError)
    assert str(error("It isn't there.")) == "It isn't there."


# Inside a hook.


def declare_one_that_reads(lifespan: Lifespan, kind: str, read: Callable[[], object]) -> None:
    """Declare a hook of a kind that reads what it has not asked for."""

    async def coroutine() -> None:
        read()

    async def opening() -> AsyncIterator[None]:
        read()
        yield

    async def closing() -> AsyncIterator[None]:
        yield
        read()

    def sync_opening() -> Iterator[None]:
        read()
        yield

    def sync_closing() -> Iterator[None]:
        yield
        read()

    async def child_task() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(coroutine())

    declare, function = {
        "start": (lifespan.on_start, coroutine),
        "sync start": (lifespan.on_start, read),
        "shutdown": (lifespan.on_shutdown, coroutine),
        "sync shutdown": (lifespan.on_shutdown, read),
        "resource opening": (lifespan.resource, opening),
        "resource closing": (lifespan.resource, closing),
        "sync resource opening": (lifespan.resource, sync_opening),
        "sync resource closing": (lifespan.resource, sync_closing),
        "child task": (lifespan.on_start, child_task),
    }[kind]
    place: Any = declare
    place(1, name="reads")(written_in("search.lifespan")(function))


KINDS = [
    "start",
    "sync start",
    "shutdown",
    "sync shutdown",
    "resource opening",
    "resource closing",
    "sync resource opening",
    "sync resource closing",
    "child task",
]


@pytest.mark.parametrize("kind", KINDS)
def test_hook_that_reads_an_undeclared_resource_is_advised_to_add_a_parameter(
    run: RunOnLoop, kind: str
) -> None:
    async def main(lifespan: Lifespan) -> None:
        client = client_of(lifespan)
        raised: list[Exception | None] = []

        def read() -> None:
            raised.append(caught(client.current))

        declare_one_that_reads(lifespan, kind, read)
        async with lifespan.run("app"):
            pass

        [error] = raised
        assert type(error) is UndeclaredUse
        assert f"'shop.client' ({HERE}:{client.hook.line})" in str(error)
        assert "Hook 'search.reads' (" in str(error)
        assert "Add a parameter: 'def reads(client)', or name it in depends_on=." in str(error)

    run(main)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "through", ["the state's item", "the state's attribute", "a scope", "a scope of this run"]
)
def test_undeclared_use_is_found_on_every_way_to_read(kind: str, through: str) -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = client_of(lifespan)
        raised: list[Exception | None] = []

        def read() -> None:
            [open_here] = lifespan.runs
            ways: dict[str, Callable[[], object]] = {
                "the state's item": lambda: open_here.state["client"],
                "the state's attribute": lambda: open_here.state.client,
                "a scope": lambda: client({"type": "http"}),
                "a scope of this run": lambda: client({"lifespan_app.run": open_here}),
            }
            raised.append(caught(ways[through]))

        declare_one_that_reads(lifespan, kind, read)
        async with lifespan.run("app"):
            pass

        assert [type(error) for error in raised] == [UndeclaredUse]

    run_virtually(main)


def test_declared_use_may_be_read_in_any_way(run: RunOnLoop) -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        client = client_of(lifespan)

        @lifespan.on_start
        async def by_parameter(client: str, state: Any) -> None:
            read.extend([handle.current(), state["client"], state.client])

        @lifespan.on_start(depends_on=["shop.client"])
        async def by_depends_on(state: Any) -> None:
            read.extend([handle.current(), state["client"]])

        @lifespan.on_shutdown
        async def at_shutdown(client: str) -> None:
            read.append(handle.current())

        @lifespan.resource
        async def dressed(client: str) -> AsyncIterator[str]:
            read.append(handle.current())
            yield "dressed"
            read.append(handle.current())

        handle = client
        async with lifespan.run("app"):
            pass

    run(main)

    assert read == ["a client"] * 8


def test_resource_reads_itself_neither_before_it_is_up_nor_while_it_closes(
    run: RunOnLoop,
) -> None:
    raised: list[Exception | None] = []

    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource
        async def client() -> AsyncIterator[str]:
            raised.append(caught(client.current))
            yield "a client"
            raised.append(caught(client.current))

        async with lifespan.run("app"):
            pass

    run(main)

    assert all(isinstance(error, ReadError) for error in raised)
    assert len(raised) == 2


def test_hook_reads_resources_of_another_registry_that_is_open_here(run: RunOnLoop) -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        client = client_of(lifespan)
        other = Lifespan()

        @other.on_start
        async def warm_up() -> None:
            read.append(client.current())

        async with lifespan.run("app"), other.run("app"):
            pass

    run(main)

    assert read == ["a client"]


# While serving, nothing is inside.


def test_job_may_read_any_handle(run: RunOnLoop) -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan) -> None:
        client = client_of(lifespan)

        @lifespan.background
        async def refresh() -> None:
            read.append(client.current())

        async with lifespan.run("app"):
            await asyncio.sleep(0)

    run(main)

    assert read == ["a client"]


def test_job_that_is_being_stopped_may_read_any_handle_too() -> None:
    """Every hook is still up then: nothing about the order could be wrong."""
    read: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = client_of(lifespan)

        @lifespan.background
        async def refresh() -> None:
            try:
                await asyncio.sleep(1_000)
            finally:
                read.append(client.current())

        async with lifespan.run("app"):
            await asyncio.sleep(1)
        report = lifespan.report()
        assert report is not None
        assert report.status == "stopped"

    run_virtually(main)

    assert read == ["a client"]


def test_task_left_by_a_start_function_may_read_any_handle() -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = client_of(lifespan)
        tasks = []

        @lifespan.on_start
        async def warm_up() -> None:
            async def later() -> None:
                await asyncio.sleep(5)
                read.append(client.current())

            tasks.append(asyncio.create_task(later()))

        async with lifespan.run("app"):
            await tasks[0]

    run_virtually(main)

    assert read == ["a client"]


def test_task_group_of_a_resource_may_read_any_handle_while_serving() -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = client_of(lifespan)

        @lifespan.resource
        async def group() -> AsyncIterator[asyncio.TaskGroup]:
            async with asyncio.TaskGroup() as group:
                yield group

        async def later() -> None:
            read.append(client.current())

        async with lifespan.run("app"):
            await group.current().create_task(later())

    run_virtually(main)

    assert read == ["a client"]


# Not ready yet.


def test_resource_that_is_starting_is_not_ready() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(lifespan, "client", opens=5)
        index = journal.resource(lifespan, "index", opens=5, depends_on=[client])
        starting = asyncio.ensure_future(lifespan.startup())
        await asyncio.sleep(1)

        with pytest.raises(ResourceNotReady, match=r"'shop\.client' .* is starting: it can be"):
            client.current()
        with pytest.raises(ResourceNotReady, match=r"'shop\.index' .* has not been started yet"):
            index.current()
        await asyncio.sleep(5)
        assert client.current() == "client"
        with pytest.raises(ResourceNotReady, match="is starting"):
            index.current()
        await starting
        assert index.current() == "index"

    run_virtually(main)


# Closed.


def test_resource_read_after_shutdown_is_an_error_with_the_time() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = Journal().resource(lifespan, "client", closes=2)
        async with lifespan.run("app") as state:
            await asyncio.sleep(60)
        closed_at = time_of_day(62)
        await asyncio.sleep(600)

        ways: list[Callable[[], object]] = [
            client.current,
            lambda: state["client"],
            lambda: state.client,
            lambda: client({"lifespan_app.run": lifespan.last_run}),
        ]
        for way in ways:
            with pytest.raises(ResourceClosed) as caught:
                way()
            assert "Resource 'shop.client' (tests/engine/journal.py:" in str(caught.value)
            assert f"is closed since {closed_at}: the lifespan has ended." in str(caught.value)
        assert "client" not in state

    run_virtually(main)


def test_resource_read_while_it_closes_is_closed_already() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = Journal().resource(lifespan, "client", closes=3)
        await lifespan.startup()
        stopping = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(1)
        with pytest.raises(ResourceClosed, match=f"is closing since {time_of_day(0)}"):
            client.current()
        await stopping

    run_virtually(main)


def test_resource_can_be_read_until_its_turn_to_close() -> None:
    read: list[str] = []

    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(lifespan, "client")
        journal.resource(lifespan, "index", closes=3, depends_on=[client])
        await lifespan.startup()
        stopping = asyncio.ensure_future(lifespan.shutdown())
        await asyncio.sleep(1)
        read.append(client.current())
        await stopping

    run_virtually(main)

    assert read == ["client"]


def test_plain_value_is_closed_too(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        handle: Resource[Any] = lifespan.resource(name="number")(lambda: 3)
        async with lifespan.run("app"):
            assert handle.current() == 3
        with pytest.raises(ResourceClosed, match="is closed since"):
            handle.current()

    run(main)


def test_crashed_resource_has_time_and_reason() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        @lifespan.resource
        @written_in("shop.lifespan")
        async def feed() -> AsyncIterator[str]:
            async def listen() -> None:
                await asyncio.sleep(30)
                raise ConnectionResetError("the other side has gone")

            async with asyncio.TaskGroup() as group:
                group.create_task(listen())
                yield "a feed"

        async with lifespan.run("app") as state:
            await asyncio.sleep(60)
            ways: list[Callable[[], object]] = [feed.current, lambda: state["feed"]]
            for way in ways:
                with pytest.raises(ResourceClosed) as caught:
                    way()
                assert f"crashed at {time_of_day(30)}: ConnectionResetError: " in str(caught.value)
            assert "feed" not in state
        with pytest.raises(ResourceClosed, match="crashed at"):
            feed.current()

    run_virtually(main)


def test_failed_optional_resource_has_time_and_reason() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = Journal().resource(
            lifespan, "client", opens=3, open_error=OSError("nobody there"), required=False
        )
        async with lifespan.run("app") as state:
            assert "client" not in state
            with pytest.raises(ResourceClosed) as caught:
                client.current()
            assert f"did not come up, at {time_of_day(3)}: OSError: nobody there." in str(
                caught.value
            )

    run_virtually(main)


def test_optional_resource_that_took_too_long_has_the_reason() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        client = Journal().resource(lifespan, "client", opens=60, timeout=2, required=False)
        async with lifespan.run("app"):
            await asyncio.sleep(30)
            with pytest.raises(ResourceClosed) as caught:
                client.current()
            assert f"did not come up, at {time_of_day(2)}: LimitPassed" in str(caught.value)
            assert "within its limit of 2 s" in str(caught.value)

    run_virtually(main)


def test_skipped_resource_names_its_dependency() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(
            lifespan, "client", open_error=OSError("nobody there"), required=False
        )
        index = journal.resource(lifespan, "index", depends_on=[client])
        async with lifespan.run("app"):
            with pytest.raises(ResourceClosed) as caught:
                index.current()
            text = str(caught.value)
            assert "'shop.index' (tests/engine/journal.py:" in text
            assert "was skipped: it needs 'shop.client' (tests/engine/journal.py:" in text
            assert "which failed: OSError: nobody there." in text

    run_virtually(main)


def test_resource_of_a_startup_that_failed_is_closed_since_the_rollback() -> None:
    async def main(lifespan: Lifespan, loop: VirtualLoop) -> None:
        journal = Journal()
        client = journal.resource(lifespan, "client", closes=1)
        journal.start(lifespan, "fails", 4, OSError("nobody there"))
        never = journal.resource(lifespan, "never", priority=1)
        with pytest.raises(OSError, match="nobody there"):
            await lifespan.startup()

        with pytest.raises(ResourceClosed) as caught:
            client.current()
        assert f"is closed since {time_of_day(5)}: the startup was rolled back." in str(
            caught.value
        )
        with pytest.raises(ResourceClosed, match="was skipped: the startup had already failed"):
            never.current()

    run_virtually(main)


def test_closed_object_is_not_kept_alive_by_its_run(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        client_of(lifespan)
        async with lifespan.run("app"):
            pass
        assert lifespan.last_run is not None
        assert [unit.value for unit in lifespan.last_run.hook_runs] == [None]

    run(main)


# Not in this run.


def test_resource_of_another_service_type_has_the_reason_when_read(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        @lifespan.resource(service_types=["worker"])
        @written_in("shop.lifespan")
        async def client() -> str:
            return "a client"

        async with lifespan.run("app") as state:
            ways: list[Callable[[], object]] = [client.current, lambda: state["client"]]
            for way in ways:
                with pytest.raises(NotRunning) as caught:
                    way()
                assert f"({HERE}:{client.hook.line})" in str(caught.value)
                assert "is for service type worker, not app" in str(caught.value)

    run(main)


def test_resource_that_was_declared_too_late_has_the_reason(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        async with lifespan.run("app"):
            client = client_of(lifespan)
            with pytest.raises(NotRunning) as caught:
                client.current()
            assert "it was declared after the run's plan was made" in str(caught.value)

    run(main)


def test_unknown_name_lists_the_resources_and_suggests_the_nearest(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        client_of(lifespan)
        async with lifespan.run("app") as state:
            with pytest.raises(KeyError) as caught:
                state["cleint"]
            assert str(caught.value) == (
                "The state holds no 'cleint'. Did you mean 'client'? Resources there are: client."
            )

    run(main)


# No lifespan at all.


def test_reading_where_no_lifespan_runs_is_an_error_with_a_remedy(lifespan: Lifespan) -> None:
    client = client_of(lifespan)

    ways: list[Callable[[], object]] = [
        client.current,
        lambda: client({"type": "http"}),
        lambda: client(object()),
    ]
    for way in ways:
        with pytest.raises(NotRunning) as caught:
            way()
        text = str(caught.value)
        assert text.startswith("Resource 'client' (")
        assert f"{HERE}:{client.hook.line})" in text
        assert "no lifespan is running here" in text
        assert "'with lifespan.run_sync():'" in text


def test_reading_on_a_loop_where_no_lifespan_runs_says_so(run: RunOnLoop) -> None:
    async def main(lifespan: Lifespan) -> None:
        client = client_of(lifespan)
        with pytest.raises(NotRunning, match="no lifespan is running here") as caught:
            client.current()
        assert "'async with lifespan.run():'" in str(caught.value)

    run(main)
