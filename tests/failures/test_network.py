"""Failures of real connections name the address, and the setting that holds it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import httpx
import pytest
import redis
import redis.asyncio
from django.utils.functional import SimpleLazyObject

from tests.brokers import Redis
from tests.failures.certificates import certificate, listening
from tests.failures.conftest import Fail
from tests.needs import needs_redis
from tests.servers import _free_port

if TYPE_CHECKING:
    from pytest_django import Settings


@pytest.fixture
def port() -> int:
    """Return a port at which nobody listens."""
    return _free_port()


def test_address_in_config_is_named(fail: Fail, settings: Settings, port: int) -> None:
    settings.LIFESPAN = {"CONFIG": {"feed": {"host": "127.0.0.1", "port": port}}}

    async def shop() -> None:
        await asyncio.open_connection("127.0.0.1", port)

    failed = fail(shop)
    assert failed.cause == (
        f"Nothing listens at 127.0.0.1:{port} (LIFESPAN['CONFIG']['feed']): the connection was refused."
    )
    assert failed.action.startswith(
        f"Start the service at 127.0.0.1:{port}, or correct LIFESPAN['CONFIG']['feed']."
    )
    assert "retry=" in failed.action


def test_localhost_with_two_addresses_is_one_address(
    fail: Fail, settings: Settings, port: int
) -> None:
    settings.FEED_URL = f"http://localhost:{port}/feed"

    async def shop() -> None:
        await asyncio.open_connection("localhost", port)

    assert f":{port} (FEED_URL): the connection was refused." in fail(shop).cause


def test_refused_sync_socket_is_named(fail: Fail, port: int) -> None:
    def shop() -> None:
        socket.create_connection(("127.0.0.1", port))

    assert f"Nothing listens at 127.0.0.1:{port}: " in fail(shop).cause


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_refused_connection_of_httpx_is_named(
    fail: Fail, port: int, is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTICES", f"http://127.0.0.1:{port}/")

    def shop() -> None:
        httpx.get(f"http://127.0.0.1:{port}/")

    async def shop_async() -> None:
        async with httpx.AsyncClient() as client:
            await client.get(f"http://127.0.0.1:{port}/")

    failed = fail(shop_async if is_async else shop)
    assert f"Nothing listens at 127.0.0.1:{port} (the environment variable NOTICES)" in failed.cause
    assert "ConnectError" in failed.message.splitlines()[0]


def test_refused_connection_of_aiohttp_is_named(fail: Fail, port: int) -> None:
    async def shop() -> None:
        async with aiohttp.ClientSession() as session:
            await session.get(f"http://127.0.0.1:{port}/")

    assert f"Nothing listens at 127.0.0.1:{port}: " in fail(shop).cause


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_redis_that_does_not_run_is_named(
    fail: Fail, port: int, settings: Settings, is_async: bool
) -> None:
    location = f"redis://127.0.0.1:{port}/1"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}
    }

    def shop() -> None:
        redis.Redis.from_url(location).ping()

    async def shop_async() -> None:
        async with redis.asyncio.Redis.from_url(location) as client:
            await client.ping()

    failed = fail(shop_async if is_async else shop)
    assert f"127.0.0.1:{port} (CACHES['default']['LOCATION']): the connection " in failed.cause
    assert "or correct CACHES['default']['LOCATION']." in failed.action


def test_lazy_object_in_a_frame_is_left_alone(fail: Fail, port: int) -> None:
    def make() -> object:
        raise AssertionError("it was made")

    def shop() -> None:
        self = host = SimpleLazyObject(make)
        assert self is host
        socket.create_connection(("127.0.0.1", port))

    assert f"Nothing listens at 127.0.0.1:{port}: " in fail(shop).cause


@needs_redis
def test_wrong_password_of_redis_is_named(fail: Fail) -> None:
    with Redis() as server:
        redis.Redis.from_url(server.url).config_set("requirepass", "right-one")

        def shop() -> None:
            redis.Redis.from_url(server.url, password="wrong-one").ping()

        failed = fail(shop)
    assert failed.cause == "Redis refuses the user: user or password is missing or wrong."


def test_host_of_redis_without_an_address_is_named(fail: Fail, settings: Settings) -> None:
    settings.REDIS_URL = "redis://cache.invalid"

    def shop() -> None:
        redis.Redis.from_url("redis://cache.invalid").ping()

    failed = fail(shop)
    assert failed.cause.startswith("The host 'cache.invalid' can't be resolved (REDIS_URL)")
    assert failed.action.startswith("Correct REDIS_URL, or look at the name resolution")


def test_host_without_an_address_is_named(fail: Fail) -> None:
    def shop() -> None:
        urllib.request.urlopen("http://notices.invalid/")

    failed = fail(shop)
    assert failed.cause.startswith("The host 'notices.invalid' can't be resolved: ")
    assert failed.message.splitlines()[0].endswith(failed.cause)


def test_service_that_does_not_answer_is_named(fail: Fail) -> None:
    with listening(silent=True) as port:

        def shop() -> None:
            httpx.get(f"http://127.0.0.1:{port}/", timeout=0.05)

        failed = fail(shop)
    assert "does not answer in time" in failed.cause


class TestTLS:
    """A server with a bad certificate, or without TLS."""

    def failure(self, fail: Fail, port: int, trusted: Path | None = None) -> str:
        context = ssl.create_default_context(cafile=trusted)

        def shop() -> None:
            urllib.request.urlopen(f"https://localhost:{port}/", context=context)

        failed = fail(shop)
        assert failed.action
        assert failed.cause.startswith(f"The server at localhost:{port} ")
        return failed.cause

    def test_certificate_signed_by_itself_is_named(self, fail: Fail, tmp_path: Path) -> None:
        with listening(certificate(tmp_path)) as port:
            assert "its certificate is signed by itself" in self.failure(fail, port)

    def test_expired_certificate_is_named(self, fail: Fail, tmp_path: Path) -> None:
        file = certificate(tmp_path, days=-1)
        with listening(file) as port:
            assert "its certificate has expired" in self.failure(fail, port, file)

    def test_certificate_of_another_host_is_named(self, fail: Fail, tmp_path: Path) -> None:
        file = certificate(tmp_path, host="books.invalid")
        with listening(file) as port:
            assert "its certificate is for another host" in self.failure(fail, port, file)

    def test_server_without_tls_is_named(self, fail: Fail) -> None:
        with listening() as port:
            assert "does not speak TLS" in self.failure(fail, port)

    def test_bad_certificate_is_named_for_an_async_client(self, fail: Fail, tmp_path: Path) -> None:
        async def shop() -> None:
            async with httpx.AsyncClient() as client:
                await client.get(f"https://localhost:{port}/")

        with listening(certificate(tmp_path)) as port:
            failed = fail(shop)
        assert "its certificate is signed by itself" in failed.cause
