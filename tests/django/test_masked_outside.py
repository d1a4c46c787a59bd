"""Secrets are masked in each text about a hook that leaves the process; tracebacks in the log are not ours."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lifespan_app import Lifespan
from lifespan_app.engine.error_text import UNMASKABLE, mask_with, one_line
from lifespan_app.errors import HookError
from lifespan_app.health.status_file import StatusFile, pending_of
from lifespan_app.integration.adapter import DjangoAdapter
from lifespan_app.integration.redaction import MASK
from lifespan_app.probe import pending, read
from tests.engine.exchange import Server
from tests.projects import Project

SECRET = "hunter2-of-the-bucket"
ADDRESS = f"s3://key:{SECRET}@files/books"


def shop(lifespan: Lifespan, *, required: bool = True) -> None:
    @lifespan.resource(required=required)
    async def bucket() -> AsyncIterator[str]:
        raise ConnectionError(f"no {ADDRESS}")
        yield "never"


def from_log(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "lifespan_app"]


async def test_message_for_the_server_is_masked(lifespan: Lifespan) -> None:
    shop(lifespan)
    answer = await Server(lifespan).startup()
    assert f"ConnectionError: no s3://{MASK}@files/books" in answer["message"]
    assert SECRET not in answer["message"]


async def test_lines_of_ours_in_the_log_are_masked_and_tracebacks_are_not(
    lifespan: Lifespan, caplog: pytest.LogCaptureFixture
) -> None:
    shop(lifespan)
    await Server(lifespan).startup()
    lines = [record.getMessage() for record in from_log(caplog)]
    assert any(MASK in line for line in lines)
    assert not any(SECRET in line for line in lines)
    assert SECRET in caplog.text


async def test_report_is_masked(lifespan: Lifespan) -> None:
    shop(lifespan, required=False)
    async with lifespan.run():
        report = lifespan.report()
    assert report is not None
    [step] = [step for step in report.steps if step.error]
    assert step.error == f"no s3://{MASK}@files/books"
    assert SECRET not in step.traceback
    assert "raise ConnectionError" in step.traceback


async def test_reason_that_a_resource_can_not_be_read_is_masked(lifespan: Lifespan) -> None:
    shop(lifespan, required=False)
    async with lifespan.run() as state:
        with pytest.raises(KeyError, match="ConnectionError: no s3://") as refused:
            _ = state["bucket"]
    assert SECRET not in str(refused.value)


async def test_failing_check_of_a_resource_is_masked(
    lifespan: Lifespan, caplog: pytest.LogCaptureFixture
) -> None:
    @lifespan.resource
    async def bucket() -> AsyncIterator[str]:
        yield "files"

    @bucket.check
    async def answers(bucket: str) -> None:
        raise ConnectionError(f"no {ADDRESS}")

    async with lifespan.run():
        await lifespan.runs[-1].check()
    assert f"s3://{MASK}@files" in caplog.text
    assert SECRET not in "".join(record.getMessage() for record in from_log(caplog))


async def test_progress_is_masked_in_the_status_file_and_by_the_probe(
    lifespan: Lifespan, tmp_path: Path
) -> None:
    file = tmp_path / "status.json"
    lifespan.observe(StatusFile(file))
    told = asyncio.Event()

    @lifespan.resource(wait=False)
    async def books() -> AsyncIterator[str]:
        lifespan.progress(0.5, f"from {ADDRESS}")
        told.set()
        await asyncio.sleep(3600)
        yield "books"

    async with lifespan.run():
        await told.wait()
        while "50" not in "".join(pending(read(os.fspath(file)))):
            await asyncio.sleep(0.01)
        report = lifespan.report()
        assert report is not None
        assert pending_of(report)[0]["doing"] == f"from s3://{MASK}@files/books"
        assert SECRET not in file.read_text()
        [text] = pending(read(os.fspath(file)))
        assert f"from s3://{MASK}@files/books" in text


def test_value_of_a_setting_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from lifespan_app.integration.redaction import forget_secrets

    monkeypatch.setenv("SHOP_TOKEN", "abcdef-12345")
    forget_secrets()
    assert one_line(ValueError("refused: abcdef-12345")) == f"ValueError: refused: {MASK}"


def test_text_that_can_not_be_masked_is_left_out() -> None:
    def fail(text: str) -> str:
        raise ValueError(text)

    mask_with(fail)
    try:
        assert one_line(OSError(ADDRESS)) == f"OSError: {UNMASKABLE}"
    finally:
        mask_with(DjangoAdapter().masked)


def test_error_of_an_engine_without_django_is_as_it_is() -> None:
    mask_with(str)
    try:
        assert one_line(HookError(ADDRESS)) == f"HookError: {ADDRESS}"
    finally:
        mask_with(DjangoAdapter().masked)


HOOKS = f"""
from lifespan_app import lifespan


@lifespan.resource(required={{required}})
def bucket():
    raise ConnectionError("no {ADDRESS}")
    yield
"""


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("form", ["text", "json"])
def test_checklifespan_masks_what_it_prints(project: Project, form: str, required: bool) -> None:
    project.app("shop", lifespan=HOOKS.format(required=required))
    done = project.manage("checklifespan", "--run", "--format", form)
    printed = done.stdout + done.stderr
    # The traceback is the project's logging's: Django prints it to standard error.
    ours = "\n".join(
        line for line in printed.splitlines() if not line.startswith("ConnectionError:")
    )
    assert "s3://********************@files" in " ".join(ours.split())
    assert "raise ConnectionError" in ours
    assert SECRET not in ours.replace(f'raise ConnectionError("no {ADDRESS}")', "")
    if form == "json":
        found: dict[str, Any] = json.loads(done.stdout)
        assert SECRET not in json.dumps(found)
