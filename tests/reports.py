"""Let reports of tests travel between the processes of pytest-xdist, whatever they hold, and at once.

xdist sends a report as UTF-8 and ends the process whose report can't be sent. A test that logs a
lone surrogate on purpose has one in the log that was captured. (-p tests.reports, where xdist runs.)
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have pytest-rerunfailures send at once what it tells and asks xdist's first process."""
    connection = getattr(getattr(config, "failures_db", None), "sock", None)
    if connection is not None:
        # It tells and then asks: TCP holds the second back until the first is acknowledged, which
        # takes 40 ms a test.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape what UTF-8 has no bytes for."""
    return encodable((yield))


def encodable(value: Any) -> Any:
    """Return the same with every text encodable, in dicts and lists too."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(encodable(item) for item in value)
    return value
