"""One row is one lease: who may take it, renew it and give it back."""

from __future__ import annotations

import pytest

from lifespan_app.history.recording.clock import Clock
from lifespan_app.leases import rows
from lifespan_app.leases.rows import Holder, Key
from lifespan_app.models import LifespanLease
from tests.leases.stored import HERE, MIGRATE, POLL, failed, held, succeeded

pytestmark = pytest.mark.usefixtures("history_database")

OTHER = Holder("b" * 32, "web-2", 6)
ASCII_ONLY = "OSError: \\U0001f40d \\x00 \\udcff"
"""What columns of an old encoding take."""


def row_of(key: Key) -> LifespanLease:
    row = rows.look(key)
    assert row is not None
    return row


def run_out(key: Key) -> None:
    LifespanLease.objects.filter(pk=key.id).update(until=Clock() - 1)


def test_lease_has_one_holder() -> None:
    assert held() == 1

    assert rows.take(POLL, OTHER, 60) is None


def test_number_grows_with_each_holder_and_not_with_a_renewal() -> None:
    held()
    assert rows.renew(POLL, HERE, 60)
    run_out(POLL)

    assert rows.take(POLL, OTHER, 60) == 2


def test_lease_that_was_taken_can_not_be_renewed() -> None:
    held()
    run_out(POLL)
    rows.take(POLL, OTHER, 60)

    assert not rows.renew(POLL, HERE, 60)
    assert row_of(POLL).holder == OTHER.id


def test_lease_that_was_given_back_is_free_at_once() -> None:
    held()
    rows.end(POLL, HERE, success=False, error="", still_runs=False)

    assert rows.take(POLL, OTHER, 60) == 2


def test_lease_whose_hook_still_runs_is_left_to_run_out() -> None:
    held()
    rows.end(POLL, HERE, success=False, error="it hangs", still_runs=True)

    assert rows.take(POLL, OTHER, 60) is None


def test_old_holder_gives_nothing_back() -> None:
    held()
    run_out(POLL)
    rows.take(POLL, OTHER, 60)

    assert not rows.end(POLL, HERE, success=True, error="", still_runs=False)
    assert row_of(POLL).succeeded_at is None


def test_success_closes_a_lease_for_good() -> None:
    succeeded()

    assert rows.take(MIGRATE, OTHER, 60) is None
    assert row_of(MIGRATE).until == 0


def test_failure_leaves_a_lease_to_the_next() -> None:
    failed()

    assert row_of(MIGRATE).failed_number == 1
    assert rows.take(MIGRATE, OTHER, 60) == 2


def test_release_by_hand_takes_a_lease_from_its_holder_and_keeps_the_number() -> None:
    held()

    assert rows.release([POLL.id]) == 1

    assert not rows.renew(POLL, HERE, 60)
    assert rows.take(POLL, OTHER, 60) == 2


def test_release_by_hand_has_a_start_function_run_again() -> None:
    succeeded()
    rows.release([MIGRATE.id])

    assert rows.take(MIGRATE, OTHER, 60) == 2


@pytest.mark.parametrize(
    "other",
    [
        POLL._replace(hook="books.Poll"),
        POLL._replace(environment="staging"),
        POLL._replace(once="host", value="web-1"),
        POLL._replace(environment="production "),
    ],
    ids=["hook in other letters", "environment", "scope", "a space"],
)
def test_other_hook_scope_or_environment_is_another_lease(other: Key) -> None:
    held()

    assert held(other, OTHER) == 1


@pytest.mark.parametrize(
    "release", ["\udcff", "a\0b", "x" * 300, "2026 🍒"], ids=["surrogate", "NUL", "long", "emoji"]
)
def test_release_may_be_any_text(release: str) -> None:
    key, other = MIGRATE._replace(value=release), MIGRATE._replace(value=f"{release}y")
    succeeded(key)

    assert rows.take(key, OTHER, 60) is None
    assert held(other, OTHER) == 1


def test_error_may_be_any_text() -> None:
    failed(error="OSError: \N{SNAKE} \0 \udcff")

    assert row_of(MIGRATE).error in ("OSError: \N{SNAKE} \\x00 \\udcff", ASCII_ONLY)


def test_result_of_a_run_without_a_table_is_stored_afterwards() -> None:
    rows.store_result(MIGRATE, HERE, success=True, error="")

    assert row_of(MIGRATE).number == 1
    assert rows.take(MIGRATE, OTHER, 60) is None


def test_failure_of_a_run_without_a_table_leaves_the_lease_to_the_next() -> None:
    rows.store_result(MIGRATE, HERE, success=False, error="OSError: \N{SNAKE}")

    assert row_of(MIGRATE).failed_number == 1
    assert rows.take(MIGRATE, OTHER, 60) == 2


def test_secret_in_an_error_is_not_stored() -> None:
    failed(error="OperationalError: can't reach postgres://shop:hunter2@db/shop")

    assert "hunter2" not in row_of(MIGRATE).error
