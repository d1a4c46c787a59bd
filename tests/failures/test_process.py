"""Failures within the process, provoked for real: files, memory, modules, variables, loops."""

from __future__ import annotations

import asyncio
import os
import pickle
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import environ
from django.contrib.auth import get_user_model

from lifespan_app import Lifespan
from lifespan_app.errors import LimitPassed
from tests.engine.exchange import Server
from tests.failures.conftest import Fail


def test_port_that_another_process_has_is_named(fail: Fail) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def shop() -> None:
            await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)

        failed = fail(shop)
    assert failed.cause == f"Another process listens at 127.0.0.1:{port} already."
    assert 'service type "server"' in failed.action


def test_module_that_is_not_installed_is_named(fail: Fail) -> None:
    def shop() -> None:
        import_module("nosuch_module")

    failed = fail(shop)
    assert failed.cause == f"The module 'nosuch_module' is not installed for {sys.executable}."


def test_module_that_a_package_does_not_have_is_named(fail: Fail) -> None:
    def shop() -> None:
        import_module("django.nosuch")

    assert fail(shop).cause == "The package 'django' has no module 'django.nosuch' here."


def test_environment_variable_that_is_missing_is_named(fail: Fail) -> None:
    def shop() -> None:
        _ = os.environ["NOSUCH_KEY"]

    failed = fail(shop)
    assert failed.cause == "The environment variable NOSUCH_KEY is not set in this process."
    assert failed.action.startswith("Set NOSUCH_KEY where the process is started")


def test_environment_variable_that_django_environ_misses_is_named(fail: Fail) -> None:
    def shop() -> None:
        environ.Env()("NOSUCH_KEY")

    assert "variable NOSUCH_KEY is not set" in fail(shop).cause


def test_key_that_another_mapping_does_not_have_is_no_variable(fail: Fail) -> None:
    def shop() -> None:
        _ = dict(os.environ)["NOSUCH_KEY"]

    failed = fail(shop)
    assert (failed.cause, failed.error) == ("", "'NOSUCH_KEY'")


def test_orm_without_await_in_an_async_hook_is_named(fail: Fail) -> None:
    async def shop() -> None:
        get_user_model().objects.count()

    failed = fail(shop)
    assert failed.cause.startswith("An async hook calls Django's ORM")
    assert "await Book.objects.acount()" in failed.action


def test_object_of_another_loop_is_named(fail: Fail) -> None:
    loop = asyncio.new_event_loop()
    elsewhere = loop.create_future()

    async def shop() -> None:
        await elsewhere

    failed = fail(shop)
    loop.close()
    assert failed.cause.startswith("An object of asyncio belongs to another event loop")
    assert failed.action == "Make it in a resource, so that it belongs to the loop of this run."


def test_object_of_a_loop_that_has_ended_is_named(fail: Fail) -> None:
    loop = asyncio.new_event_loop()
    loop.close()

    def shop() -> None:
        loop.call_soon(print)

    assert "an event loop that has ended" in fail(shop).cause


@contextmanager
def without_rights() -> Iterator[None]:
    """Have no right of root's, on a Unix where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_file_that_the_process_may_not_read_is_named(fail: Fail, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.touch(mode=0)

    def shop() -> None:
        with without_rights():
            file.read_text()

    failed = fail(shop)
    assert failed.cause.startswith(f"This process may not use {file}: user id ")


def test_file_that_is_missing_is_named(fail: Fail) -> None:
    def shop() -> None:
        Path("nosuch/key.pem").read_text()

    assert fail(shop).cause == f"There is no nosuch/key.pem; the working folder is {Path.cwd()}."


def test_disk_that_is_full_is_named(fail: Fail) -> None:
    def shop() -> None:
        with open("/dev/full", "w") as file:  # noqa: PTH123
            file.write("one")

    assert fail(shop).cause == "The disk is full, or the quota is used up."


def test_memory_that_is_used_up_is_named(fail: Fail) -> None:
    def shop() -> None:
        bytearray(2**62)

    failed = fail(shop)
    assert failed.cause == "This process got no more memory."
    assert "MemoryError" in failed.message.splitlines()[0]


def test_files_that_are_used_up_is_named(fail: Fail) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def shop() -> None:
        held = []
        highest = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 5, hard))
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for number in held:
                os.close(number)

    assert "as many files and sockets open as it may" in fail(shop).cause


async def limit(lifespan: Lifespan, *, required: bool = True) -> str:
    @lifespan.on_start(timeout=0.01, required=required)
    async def slow() -> None:
        await asyncio.sleep(3600)

    server = Server(lifespan)
    answer = await server.startup()
    if answer["type"] == "lifespan.startup.failed":
        await server.raised()
    else:
        await server.shutdown()
    report = lifespan.report() or lifespan.last_run.report()  # type: ignore[union-attr]
    step = report.step("tests.failures.test_process.slow")
    assert "did not start within its limit of 0.01 s. It waits at " in step.cause
    return step.action


async def test_limit_names_the_setting_that_raises_it(lifespan: Lifespan) -> None:
    action = await limit(lifespan)
    setting = "LIFESPAN['HOOKS']['tests.failures.test_process.slow']['timeout']"
    assert action.startswith(f"Raise timeout= of the hook, or {setting}.")


async def test_limit_of_the_platform_is_named(lifespan: Lifespan, settings: object) -> None:
    settings.LIFESPAN = {"PLATFORM": {"startup": 40}}  # type: ignore[attr-defined]
    action = await limit(lifespan)
    assert action.endswith(
        "The platform gives a startup up after 40 s (LIFESPAN['PLATFORM']['startup'])."
    )


def test_error_of_a_limit_can_be_pickled() -> None:
    error = LimitPassed("It took too long.", "Raise it.", server_waits=True)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), vars(again)) == (str(error), vars(error))


def test_error_that_nobody_knows_has_no_sentences(fail: Fail) -> None:
    def shop() -> None:
        raise ValueError("no")

    failed = fail(shop)
    assert (failed.cause, failed.action) == ("", "")
    assert "What to do" not in failed.message
