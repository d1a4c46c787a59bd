"""Take the picture of a terminal for README.rst: `python -m tests.console.screenshots docs/screenshots`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from html import escape
from itertools import groupby
from pathlib import Path

import pyte

from tests.browsers import launched
from tests.projects import Project
from tests.terminals import Terminal

COMMAND = ("manage.py", "runlifespan", "--once")
SHOP = """
import asyncio

from lifespan_app import lifespan


@lifespan.resource
async def http_client():
    await asyncio.sleep(0.041)
    yield "client"


@lifespan.resource
async def database_pool():
    await asyncio.sleep(0.118)
    yield "pool"
"""
SEARCH = """
import asyncio

from lifespan_app import lifespan


@lifespan.resource
async def index(database_pool):
    await asyncio.sleep(0.432)
    yield "index"


@lifespan.resource(required=False)
async def suggestions(http_client):
    await asyncio.sleep(0.08)
    raise ConnectionError("http://suggest.example refused the connection")


@lifespan.background
async def refresh_index(index, http_client):
    await asyncio.Event().wait()


@lifespan.on_shutdown
async def save_index(index):
    await asyncio.sleep(0.063)
"""
# The log goes to a file in many projects: its lines would stand between those of the command.
ELSEWHERE = {
    "version": 1,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "loggers": {"lifespan_app": {"handlers": ["null"], "propagate": False}},
}
COLUMNS, LINES = 92, 40
GREY = "#d4d4d4"
COLOURS = {"red": "#f48771", "green": "#7ec699", "brown": "#e2c08d", "cyan": "#75beff"}
PAGE = """<!doctype html><style>
body {{ margin: 0; background: #1e1e1e }}
pre {{ margin: 0; padding: 20px 24px; width: max-content; color: {grey};
       font: 14px/1.45 "DejaVu Sans Mono", monospace }}
</style><pre>$ python {command}
{screen}</pre>"""


def html_of(sent: bytes) -> str:
    """Return what a terminal shows of these bytes, with its colours."""
    screen = pyte.Screen(COLUMNS, LINES)
    pyte.ByteStream(screen).feed(sent)
    lines = []
    for number in range(LINES):
        cells = [screen.buffer[number][column] for column in range(COLUMNS)]
        line = ""
        for (colour, bold), part in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
            style = (
                f"color: {COLOURS.get(colour, GREY)}; font-weight: {'bold' if bold else 'normal'}"
            )
            text = "".join(cell.data for cell in part)
            line += f'<span style="{style}">{escape(text)}</span>'
        lines.append(line)
    while lines and not screen.display[len(lines) - 1].strip():
        lines.pop()
    return "\n".join(lines)


def take(folder: Path) -> None:
    """Start and stop a project in a terminal, and keep what is seen there in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        project = Project(Path(temporary)).app("shop", lifespan=SHOP).app("search", lifespan=SEARCH)
        project.settings(LIFESPAN={"HISTORY": False}, LOGGING=ELSEWHERE)
        with Terminal(columns=COLUMNS, lines=LINES) as terminal:
            subprocess.run(
                [sys.executable, *COMMAND],
                cwd=project.folder,
                env={**project.environment, "TERM": "xterm"},
                stdout=terminal.slave,
                stderr=terminal.slave,
                check=True,
            )
            # Each hook has a line at the start and one at the stop.
            terminal.until(
                lambda: (
                    terminal.text.count("http_client") == terminal.text.count("database_pool") == 2
                ),
                "the stop of the last hook was not seen",
            )
            sent = terminal.sent
    html = PAGE.format(command=" ".join(COMMAND), screen=html_of(sent), grey=GREY)
    with launched() as browser:
        page = browser.new_page(device_scale_factor=1.5)
        page.set_content(html)
        page.locator("pre").screenshot(path=folder / "terminal.png")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
