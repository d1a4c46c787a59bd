"""Leases in a terminal, and their release by hand."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from lifespan_app.leases import rows
from lifespan_app.models import LifespanLease
from tests.leases.stored import HERE, MIGRATE, POLL, failed, held, succeeded

pytestmark = pytest.mark.django_db


def shown(*arguments: str) -> str:
    output = StringIO()
    call_command("showlifespan", *arguments, stdout=output, no_color=True)
    return output.getvalue()


def test_terminal_shows_who_has_a_lease() -> None:
    held()

    text = shown("--leases")

    *words, shown_id = text.splitlines()[1].split()
    expected = ["books.poll,", "cluster,", "production", "held", "web-1", "pid", "5", "1"]
    assert words[: len(expected)] == expected
    assert shown_id == POLL.id[:8]


def test_terminal_shows_how_starts_have_ended() -> None:
    succeeded()
    failed(MIGRATE._replace(value="1.5"))

    text = shown("--leases")

    assert "books.migrate, release 1.4, production\n" in text
    assert "books.migrate, release 1.5, production\n" in text
    assert "    OSError: no space" in text


def test_program_reads_leases_as_json() -> None:
    held()

    [document] = json.loads(shown("--leases", "--format", "json"))

    assert (document["id"], document["state"], document["number"]) == (POLL.id, "held", 1)


def test_lease_is_released_by_the_beginning_of_its_id() -> None:
    held()

    assert shown("--release", POLL.id[:8]) == (
        "'books.poll, cluster, production' is released. It was held.\n"
    )
    assert not rows.renew(POLL, HERE, 60)


def test_unknown_id_releases_nothing() -> None:
    held()

    with pytest.raises(CommandError, match="No lease has an id that begins with 'zz'"):
        shown("--release", "zz")


def test_beginning_of_several_ids_releases_nothing() -> None:
    LifespanLease.objects.bulk_create(LifespanLease(id=f"ab{n}", until=1) for n in range(2))

    with pytest.raises(CommandError, match="2 leases have an id that begins with 'ab'"):
        shown("--release", "ab")

    assert LifespanLease.objects.filter(until=1).count() == 2


def test_id_that_is_missing_does_not_release_the_only_lease() -> None:
    held()

    with pytest.raises(CommandError, match="--release needs the beginning of an id") as raised:
        shown("--release=")

    assert raised.value.returncode == 2
    assert rows.renew(POLL, HERE, 60)


def test_terminal_says_where_there_are_no_leases() -> None:
    with pytest.raises(CommandError, match="No hook has had a lease yet"):
        shown("--leases")
