"""The engine is plain asyncio and plain Python: no Django, and nothing printed, in a new process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest


def run_program(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter, without anything that a test has imported."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


LIST_MODULES = """
    import json, pkgutil, sys, importlib
    before = set(sys.modules)
    {imports}
    print(json.dumps(sorted(set(sys.modules) - before)))
"""
EVERY_ENGINE_MODULE = """
    import lifespan_app.engine
    for found in pkgutil.iter_modules(lifespan_app.engine.__path__):
        importlib.import_module("lifespan_app.engine." + found.name)
"""
EVERY_ERROR = "import lifespan_app.errors"
PUBLIC_NAMES = "from lifespan_app import *"


def modules_imported_by(imports: str) -> list[str]:
    indented = textwrap.indent(textwrap.dedent(imports), "    ").strip()
    ended = run_program(LIST_MODULES.format(imports=indented))
    assert ended.returncode == 0, ended.stderr
    modules: list[str] = json.loads(ended.stdout)
    return modules


@pytest.mark.parametrize(
    "imports",
    ["import lifespan_app", EVERY_ENGINE_MODULE, EVERY_ERROR, PUBLIC_NAMES],
    ids=["the package", "every module of the engine", "the errors", "the public names"],
)
def test_no_django_is_imported(imports: str) -> None:
    roots = {module.partition(".")[0] for module in modules_imported_by(imports)}

    assert not roots & {"django", "asgiref"}


def test_engine_imports_nothing_but_the_standard_library_and_itself() -> None:
    modules = modules_imported_by(EVERY_ENGINE_MODULE)

    foreign = {
        root
        for root in (module.partition(".")[0] for module in modules)
        if root not in sys.stdlib_module_names and not root.startswith(("_", "lifespan_app"))
    }
    assert foreign == set()
    own = {module for module in modules if module.startswith("lifespan_app.")}
    assert all(module.startswith("lifespan_app.engine") for module in own)


def test_importing_the_package_imports_none_of_its_modules() -> None:
    """A probe that only reads a file must not pay for asyncio."""
    modules = modules_imported_by("import lifespan_app")

    assert [module for module in modules if module.startswith("lifespan_app")] == ["lifespan_app"]
    assert "asyncio" not in modules


BARE_PROGRAM = """
    import asyncio, sys
    from lifespan_app import lifespan

    closed = []

    @lifespan.resource
    async def client():
        yield "a client"
        closed.append("client")

    @lifespan.on_start
    def warm_up(client):
        assert client == "a client"

    @lifespan.background
    async def refresh():
        await asyncio.sleep(1_000)

    async def main():
        async with lifespan.run("app") as state:
            assert state["client"] == client.current() == "a client"

    asyncio.run(main())
    assert closed == ["client"]
    assert not [name for name in sys.modules if name.partition(".")[0] in ("django", "asgiref")]
"""


def test_bare_asyncio_program_opens_its_hooks_and_nothing_is_printed() -> None:
    ended = run_program(BARE_PROGRAM)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_bare_program_that_fails_shows_the_hook_and_its_error() -> None:
    program = BARE_PROGRAM.replace("assert client ==", "raise LookupError('no shop'); client ==")
    ended = run_program(program)

    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "LookupError: no shop" in ended.stderr
    assert "Raised by lifespan hook '__main__.warm_up' (" in ended.stderr
