"""A user's test that asks for it has its run recorded, in its own transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from django.db import connection
from django.test import TestCase, TransactionTestCase

from lifespan_app import Lifespan
from lifespan_app.models import LifespanRun
from lifespan_app.testing import lifespan_running


def books() -> Lifespan:
    lifespan = Lifespan()

    @lifespan.resource
    async def shelf() -> AsyncIterator[str]:
        yield "shelf"

    @lifespan.resource
    def ladder() -> Iterator[str]:
        yield "ladder"

    return lifespan


def look_at_the_run(status: str) -> None:
    run = LifespanRun.objects.get()
    assert (run.status, run.mode, run.environment) == (status, "test", "test")
    phases = ["startup", "startup"] + ["shutdown", "shutdown"] * (status == "stopped")
    assert [step.phase for step in run.steps.all()] == phases


class TestInATestCase(TestCase):
    def test_block_in_a_test_case_is_recorded(self) -> None:
        with lifespan_running(lifespan=books(), history=True):
            look_at_the_run("serving")
        look_at_the_run("stopped")

    async def test_async_block_in_a_test_case_is_recorded(self) -> None:
        from asgiref.sync import sync_to_async

        async with lifespan_running(lifespan=books(), history=True):
            await sync_to_async(look_at_the_run)("serving")
        await sync_to_async(look_at_the_run)("stopped")

    def test_test_case_records_nothing_unasked(self) -> None:
        with lifespan_running(lifespan=books()):
            pass
        assert not LifespanRun.objects.exists()

    def test_failed_startup_in_a_test_case_is_recorded(self) -> None:
        lifespan = books()

        @lifespan.on_start
        async def fails() -> None:
            raise OSError("nobody is there")

        with (
            pytest.raises(OSError, match="nobody"),
            lifespan_running(lifespan=lifespan, history=True),
        ):
            pass
        run = LifespanRun.objects.get()
        assert (run.status, run.error) == ("startup_failed", "OSError: nobody is there")


class TestItsTransaction(TransactionTestCase):
    def test_record_is_written_in_the_tests_transaction(self) -> None:
        from django.db import transaction

        with transaction.atomic():
            with lifespan_running(lifespan=books(), history=True):
                assert LifespanRun.objects.count() == 1
            transaction.set_rollback(True)
        assert not LifespanRun.objects.exists()


@pytest.mark.django_db
async def test_async_pytest_test_is_recorded() -> None:
    from asgiref.sync import sync_to_async

    async with lifespan_running(lifespan=books(), history=True):
        await sync_to_async(look_at_the_run)("serving")
    assert not connection.needs_rollback
