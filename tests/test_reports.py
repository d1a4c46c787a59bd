from __future__ import annotations

import logging
import socket

import pytest

from tests.reports import encodable


def test_captured_lone_surrogate_does_not_end_a_test_process() -> None:
    # Its report has this line; under xdist the whole run would end here.
    logging.getLogger("somebody").warning("\udc80")


def test_what_the_plugin_of_second_tries_sends_is_not_held_back(
    pytestconfig: pytest.Config,
) -> None:
    connection = getattr(getattr(pytestconfig, "failures_db", None), "sock", None)

    # A connection is there under xdist, with --reruns or without.
    assert connection is None or connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_encodable_text_stays_as_it_is() -> None:
    report = {"sections": [("log", "ä\N{PILE OF POO}")], "duration": 0.1, "when": None}

    assert encodable(report) == report


def test_unencodable_text_is_escaped_wherever_it_stands() -> None:
    report = {"\udc80": [("log", "\ud800")]}

    assert encodable(report) == {"\\udc80": [("log", "\\ud800")]}
