"""The address that a failed connection was to, and the setting that holds it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lifespan_app import conf
from lifespan_app.engine.error_text import text_of, tracebacks_of

from .sensitive import explicit_settings

HERE = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})
"""Names of this machine: a resolver replaces one by another."""

PORTS = {
    "amqp": 5672,
    "amqps": 5671,
    "http": 80,
    "https": 443,
    "ldap": 389,
    "memcached": 11211,
    "mongodb": 27017,
    "mysql": 3306,
    "nats": 4222,
    "postgres": 5432,
    "postgresql": 5432,
    "redis": 6379,
    "rediss": 6379,
    "smtp": 25,
    "valkey": 6379,
    "ws": 80,
    "wss": 443,
}
"""The default ports of addresses, by scheme."""

IN_TEXT = (
    re.compile(r"\('(?P<host>[^']+)', (?P<port>\d+)[,)]"),  # of asyncio
    re.compile(r'server at "(?P<host>[^"]+)"[^,]*, port (?P<port>\d+)'),  # of libpq
    re.compile(
        r"connecting to (?P<host>[^\s:]+|\[[^\]\s]+\]):(?P<port>\d+)"
    ),  # of redis-py and others
    re.compile(r"host (?P<host>[^\s:]+):(?P<port>\d+)"),  # of aiohttp
)

NAMES = (("host", "port"), ("remote_host", "remote_port"), ("hostname", "port"), ("_host", "_port"))
"""Names of parameters and attributes, in the functions and objects that connect."""

ADDRESSES = ("address", "addr", "sockaddr", "sa", "server_address", "socket_address")
"""Names of parameters with a pair of host and port."""

DEEPEST = 6
"""The deepest level of nested settings."""


class Address(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


def address_of(error: BaseException) -> Address | None:
    """Return the address that an error is about: from its text, its attributes, or its frames.

    Of the frames' local variables only host and port of the functions that connect are looked at.
    """
    text = text_of(error)
    for pattern in IN_TEXT:
        if found := pattern.search(text):
            return Address(found["host"].strip("[]"), int(found["port"]))
    seen = [found for found in addresses_seen(error) if found is not None]
    # A name that is being resolved has no port there.
    return next((found for found in seen if found.port), next(iter(seen), None))


def addresses_seen(error: BaseException) -> Iterator[Address | None]:
    """Yield the addresses that an error has, and that its frames have, the innermost first."""
    yield pair_in(error)
    for entry in reversed(list(tracebacks_of(error))):
        names = entry.tb_frame.f_locals
        yield in_names(names)
        yield pair_in(names.get("self"))


def in_names(names: Mapping[str, Any]) -> Address | None:
    """Return the address among local variables."""
    for host, port in NAMES:
        if (found := address(names.get(host), names.get(port))) is not None:
            return found
    for name in ADDRESSES:
        value = names.get(name)
        if type(value) is tuple and len(value) >= 2:
            if (found := address(value[0], value[1])) is not None:
                return found
    return None


def pair_in(owner: object) -> Address | None:
    """Return the address among the attributes of an object."""
    for host, port in NAMES:
        with suppress(Exception):
            values = vars(owner)
            if (found := address(values.get(host), values.get(port))) is not None:
                return found
    return None


def address(host: object, port: object) -> Address | None:
    """Return an address of two values, or None if they are none."""
    # type() and not isinstance(): a lazy object in a frame would be made by that.
    name = host.decode(errors="replace") if type(host) is bytes else host
    if type(name) is not str or not name or name.startswith("/"):
        return None
    digits = str(port) if type(port) in (int, str) else ""
    return Address(name, int(digits) if digits.isdecimal() else 0)


def setting_with(wanted: Address) -> str:
    """Return the setting or environment variable that holds an address, or an empty string."""
    for name, value in sources():
        for path, found in addresses_in(value):
            if is_same(found, wanted):
                return f"{name}{path}"
    return ""


def sources() -> Iterator[tuple[str, Any]]:
    """Yield the settings of the project, its ``CONFIG``, and the environment, with their names."""
    yield from explicit_settings()
    with suppress(Exception):
        for name, value in conf.config().items():
            yield f"{conf.SETTING}['CONFIG'][{name!r}]", value
    for name, value in os.environ.items():
        yield f"the environment variable {name}", value


def addresses_in(value: Any, depth: int = 0) -> Iterator[tuple[str, Address]]:
    """Yield the addresses in a value, each with its path below the setting."""
    if depth > DEEPEST:
        return
    if isinstance(value, str):
        yield from (("", found) for found in in_text(value))
    elif isinstance(value, Mapping):
        lower = {str(key).lower(): item for key, item in value.items()}
        if (found := address(lower.get("host"), lower.get("port"))) is not None:
            yield "", found
        for key, item in value.items():
            for path, inner in addresses_in(item, depth + 1):
                yield f"[{key!r}]{path}", inner
    elif isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[1], int):
            if (found := address(*value)) is not None:
                yield "", found
        for number, item in enumerate(value):
            for path, inner in addresses_in(item, depth + 1):
                yield f"[{number}]{path}", inner


def in_text(text: str) -> Iterator[Address]:
    """Yield the addresses of a text: of a URL, or ``host:port``; several are separated by commas."""
    for part in map(str.strip, text.split(",")):
        with suppress(ValueError):
            url = urlsplit(part if "://" in part else f"//{part}")
            if url.hostname and (url.scheme or url.port):
                yield Address(url.hostname, url.port or PORTS.get(url.scheme.partition("+")[0], 0))


def is_same(found: Address, wanted: Address) -> bool:
    """Return True if two addresses are of one server, as far as the wanted one is known."""
    here = found.host in HERE and wanted.host in HERE
    is_host = here or found.host.lower() == wanted.host.lower()
    return is_host and (found.port == wanted.port or not wanted.port)
