"""Planted secrets are in nothing that leaves a process, as far as anybody could recognise them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lifespan_app.integration.redaction import MASK, masked
from tests.projects import Project
from tests.security import planted
from tests.security.planted import BY_FORM, KEY, NOT_RECOGNISED, PRIVATE_KEY, TEXTS


def test_there_are_sixty_kinds() -> None:
    assert len(TEXTS) + len(BY_FORM) + 1 >= 60


@pytest.mark.parametrize("kind", TEXTS)
def test_secret_with_a_name_or_in_an_address_is_masked(kind: str) -> None:
    said = masked(f"it failed: {TEXTS[kind]} and so on")

    assert KEY not in said
    assert MASK in said
    assert said.startswith("it failed: ")


@pytest.mark.parametrize("kind", BY_FORM)
def test_secret_is_masked_by_its_form(kind: str) -> None:
    assert masked(f"refused: {BY_FORM[kind]}, sorry") == f"refused: {MASK}, sorry"


def test_private_key_is_masked_whole() -> None:
    assert masked(f"can't read {PRIVATE_KEY}\nsorry") == f"can't read {MASK}\nsorry"
    cut = PRIVATE_KEY.rpartition("\n")[0]
    assert masked(f"can't read {cut}") == f"can't read {MASK}"
    assert masked(repr(PRIVATE_KEY)) == f"'{MASK}'"


@pytest.mark.parametrize("text", NOT_RECOGNISED)
def test_secret_that_nothing_tells_from_a_word_stays(text: str) -> None:
    """The documentation says so; a change here is one there."""
    assert masked(text) == text


HOOKS = """
import contextlib
from lifespan_app import lifespan
from planted import BY_FORM, PRIVATE_KEY, TEXTS

ALL = [*TEXTS.values(), *BY_FORM.values(), PRIVATE_KEY]


def failing(texts):
    error = OSError("the first of the chain")
    for text in texts:
        try:
            raise ConnectionError(text) from error
        except ConnectionError as caught:
            error = caught
            error.add_note(f"note: {text}")
    return error


@lifespan.resource(required=False)
async def chained():
    raise failing(ALL)
    yield


@lifespan.on_start(required=False)
async def grouped():
    raise ExceptionGroup("all of them", [ValueError(text) for text in ALL])


@lifespan.on_start(required=False)
def tried():
    raise OSError("\\n".join(ALL))


@lifespan.resource(wait=False)
async def slow():
    for text in ALL:
        lifespan.progress(0.5, text)
    yield "up"


@lifespan.resource
async def closing():
    yield "open"
    raise RuntimeError("; ".join(ALL))
"""

OURS = """
import logging

class Lines(logging.Handler):
    def emit(self, record):
        with open("lines.txt", "a") as file:
            file.write(record.getMessage() + "\\n")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"lines": {"()": Lines}},
    "loggers": {"lifespan_app": {"handlers": ["lines"], "level": "DEBUG", "propagate": False}},
}
"""

SECRETS = (KEY, *BY_FORM.values(), "MIIEvQIBADANBgkqhkiG9w0BAQ")


def planted_in(project: Project) -> Project:
    project.app("shop", lifespan=HOOKS)
    project.file("planted.py", Path(planted.__file__).read_text())
    project.settings(
        LIFESPAN={"STATUS_FILE": "status.json", "SPOOL_DIR": str(project.folder / "spool")}
    )
    project.settings(OURS)
    return project


def kept(project: Project) -> dict[str, bytes]:
    """Return what the project's processes have written, by the name of the file."""
    return {
        str(path.relative_to(project.folder)): path.read_bytes()
        for path in project.folder.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }


def assert_is_clean(outputs: dict[str, bytes]) -> None:
    found = {
        name: [secret for secret in SECRETS if secret.encode() in text]
        for name, text in outputs.items()
    }
    assert not {name: secrets for name, secrets in found.items() if secrets}


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("has_tables", [True, False], ids=["database", "spool"])
def test_no_output_has_a_planted_secret(project: Project, has_tables: bool) -> None:
    planted_in(project)
    if has_tables:
        assert project.manage("migrate", "--verbosity", "0").returncode == 0

    ran = project.manage("runlifespan", "--once")
    outputs = {"runlifespan": f"{ran.stdout}{ran.stderr}".encode()}
    for command in (
        ("showlifespan",),
        ("showlifespan", "--format", "json"),
        ("showlifespan", "--blame"),
        ("checklifespan", "--run"),
        ("checklifespan", "--run", "--format", "json"),
    ):
        done = project.manage(*command)
        outputs[" ".join(command)] = f"{done.stdout}{done.stderr}".encode()

    kinds = {name.partition("/")[0] for name in kept(project)}
    assert {"lines.txt", "db.sqlite3"} <= kinds if has_tables else {"lines.txt", "spool"} <= kinds
    assert b"failed to start" in kept(project)["lines.txt"]
    assert b"ConnectionError" in outputs["showlifespan"]
    assert_is_clean(outputs | kept(project))
