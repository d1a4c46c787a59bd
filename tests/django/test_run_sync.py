"""``lifespan.run_sync()`` where there is no server: in commands of one's own, and in the shell."""

from __future__ import annotations

import signal

import pytest

from tests.projects import Project
from tests.servers import Kind, Server

HOOKS = """
import asyncio

from lifespan_app import lifespan
import journal


class Client:
    def __init__(self):
        self.loop = asyncio.get_running_loop()

    async def get(self, page):
        assert asyncio.get_running_loop() is self.loop
        return f"{page} by {lifespan.report().service_type}"


@lifespan.resource
async def client():
    journal.write("opens")
    yield Client()
    journal.write("closes")
"""

FETCH = """
from django.core.management.base import BaseCommand
from lifespan_app import lifespan
from shop.lifespan import client
import journal


class Command(BaseCommand):
    def handle(self, **options):
        with lifespan.run_sync("worker") as state:
            assert client.current() is state["client"] is state.client
            self.stdout.write(lifespan.call(client.current().get, "emma"))
            journal.write("body")
"""

PEEK = """
from django.core.management.base import BaseCommand
from shop.lifespan import client


class Command(BaseCommand):
    def handle(self, **options):
        client.current()
"""


@pytest.fixture
def shop(project: Project) -> Project:
    return project.app("shop", lifespan=HOOKS).file("shop/management/commands/fetch.py", FETCH)


def command(project: Project, *arguments: str) -> Server:
    kind = Kind(name="a command", command=("manage.py",), needs=())
    return Server(project, kind, options=arguments, ready=False)


@pytest.mark.every_pair
def test_management_command_uses_open_resources(shop: Project) -> None:
    done = shop.manage("fetch")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "emma by worker\n"
    assert shop.events() == ["opens", "body", "closes"]


def test_command_without_a_lifespan_gets_a_remedy(shop: Project) -> None:
    """No plan is opened by a command by itself."""
    shop.file("shop/management/commands/peek.py", PEEK)
    done = shop.manage("peek")

    assert done.returncode == 1
    assert "NotRunning" in done.stderr
    assert "run_sync()" in done.stderr
    assert shop.events() == []


def test_shell_opens_a_plan_for_a_block(shop: Project) -> None:
    source = (
        "from lifespan_app import lifespan\n"
        "from shop.lifespan import client\n"
        "with lifespan.run_sync('worker') as state:\n"
        "    print(lifespan.call(state.client.get, 'emma'))\n"
    )
    done = shop.manage("shell", "--verbosity", "0", "--command", source)

    assert done.stdout == "emma by worker\n", done.stderr
    assert shop.events() == ["opens", "closes"]


@pytest.mark.every_pair
def test_async_code_of_a_command_opens_a_plan_on_its_own_loop(shop: Project) -> None:
    source = (
        "import asyncio\n"
        "from lifespan_app import lifespan\n"
        "from shop.lifespan import client\n"
        "async def main():\n"
        "    async with lifespan.run('worker'):\n"
        "        print(await client.current().get('emma'))\n"
        "asyncio.run(main())\n"
    )
    done = shop.manage("shell", "--verbosity", "0", "--command", source)

    assert done.stdout == "emma by worker\n", done.stderr


def test_error_of_a_failed_start_is_the_commands(shop: Project) -> None:
    shop.app(
        "late",
        lifespan="from lifespan_app import lifespan\n"
        "@lifespan.on_start(priority=1)\nasync def fail():\n    raise OSError('no')\n",
    )

    done = shop.manage("fetch")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "OSError: no",
        "Raised by lifespan hook 'late.fail' (late/lifespan.py:2) at startup.",
    ]
    assert shop.events() == ["opens", "closes"]


@pytest.mark.every_pair
def test_ctrl_c_in_the_body_closes_open_resources(shop: Project) -> None:
    shop.file(
        "shop/management/commands/fetch.py",
        FETCH.replace(
            'journal.write("body")', 'journal.write("body"); import time; time.sleep(99)'
        ),
    )
    with command(shop, "fetch") as process:
        process.wait_for_event("body")
        process.signal(signal.SIGINT)

        assert process.wait() == -signal.SIGINT
    assert shop.events() == ["opens", "body", "closes"]


WAITS = """
import asyncio
import signal
import threading
from pathlib import Path

from lifespan_app import lifespan
import journal


async def wait():
    journal.write("waits")
    while not Path("interrupt").exists():
        await asyncio.sleep(0.01)
    # The loop's thread is not the main one, which runs the handler.
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    await asyncio.sleep(99)
"""


@pytest.mark.parametrize("heard_by", ["the main thread", "another thread"])
@pytest.mark.parametrize(
    "when", ["during the startup", "during a call", "during a call with a timeout"]
)
def test_ctrl_c_ends_a_wait_and_closes_open_resources(
    shop: Project, when: str, heard_by: str
) -> None:
    if when == "during the startup":
        shop.app("late", lifespan=f"{WAITS}\nlifespan.on_start(priority=1)(wait)\n")
    else:
        call = {"during a call": "wait", "during a call with a timeout": "wait, timeout=50"}[when]
        fetch = FETCH.replace('client.current().get, "emma"', call)
        shop.file("shop/waits.py", WAITS)
        shop.file("shop/management/commands/fetch.py", f"from shop.waits import wait\n{fetch}")
    with command(shop, "fetch") as process:
        process.wait_for_event("waits")
        if heard_by == "the main thread":
            process.signal(signal.SIGINT)
        else:
            shop.file("interrupt", "")

        assert process.wait() == -signal.SIGINT
    assert shop.events() == ["opens", "waits", "closes"]
