"""Command lines of servers in README.rst and docs/: every option there is one that the server has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.documents import DOCS, name_of, pages

SERVERS = ("uvicorn", "hypercorn", "granian", "gunicorn", "daphne")

# A server's name, behind its folder if any, and what follows on its line, up to the end of a literal.
COMMAND_LINE = re.compile(rf"(?<![\w.-])({'|'.join(SERVERS)})(?=[ \"])([^`\n]*)")
CONTINUED = re.compile(r"(?:\\|(?<=,))\n +")
LITERAL = re.compile(r"``([^`]+)``")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*|-[a-zA-Z])(?![\w-])")


def text_of(page: Path) -> str:
    """Return a page with each of its literals, and each line that goes on, on one line."""
    text = CONTINUED.sub(" ", page.read_text())
    return LITERAL.sub(lambda literal: " ".join(literal[0].split()), text)


def options_in(text: str, server: str) -> set[str]:
    """Return the options of one server that stand in its command lines."""
    return {
        option
        for name, words in COMMAND_LINE.findall(text)
        for option in OPTION.findall(words)
        if name == server
    }


def options_of_page(page: Path) -> set[str]:
    """Return the options that a server's own page names."""
    return {
        option for literal in LITERAL.findall(text_of(page)) for option in OPTION.findall(literal)
    }


@cache
def known(server: str) -> set[str]:
    """Return the options that a server tells of."""
    told = subprocess.run(
        [sys.executable, "-m", server, "--help"],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        cwd=DOCS,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(OPTION.findall(told.stdout))


@pytest.mark.parametrize("server", SERVERS)
def test_server_has_every_option_that_it_is_given_on_a_page(server: str) -> None:
    given = {
        (name_of(page), option) for page in pages() for option in options_in(text_of(page), server)
    }

    assert len(given) > 0
    assert {(page, option) for page, option in given if option not in known(server)} == set()


@pytest.mark.parametrize("server", SERVERS)
def test_server_has_every_option_that_its_own_page_names(server: str) -> None:
    named = options_of_page(DOCS / "servers" / f"{server}.rst")

    assert named <= known(server)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("    uvicorn a.b:c --lifespan on -x", {"--lifespan", "-x"}),
        ('    CMD ["uvicorn", "a.b:c", "--lifespan", "on"]', {"--lifespan"}),
        ("ExecStart=/srv/venv/bin/uvicorn a.b:c --workers 4", {"--workers"}),
        ("``runlifespan -- uvicorn a.b:c --workers 4`` or --this", {"--workers"}),
        ("uvicorn has ``--reload``", set()),
        ("gunicorn -k uvicorn_worker.UvicornWorker --timeout 3", set()),
    ],
)
def test_options_are_read_from_a_command_line(text: str, options: set[str]) -> None:
    assert options_in(text, "uvicorn") == options
