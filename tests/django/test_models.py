"""The words of the record are those of the engine, and its tables need no migration of a project's."""

from __future__ import annotations

from enum import StrEnum

import pytest
from django.core.management import call_command
from django.db.models import CharField, TextChoices
from django.test import override_settings

from lifespan_app import models
from lifespan_app.engine.reporting import report
from lifespan_app.models import LifespanRun


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (models.Mode, report.Mode),
        (models.Phase, report.Phase),
        (models.Outcome, report.Outcome),
    ],
)
def test_record_has_the_words_of_the_report(kept: type[TextChoices], told: type[StrEnum]) -> None:
    assert list(kept.values) == list(told)


def test_run_that_is_recorded_can_be_not_ready_and_lost_too() -> None:
    assert set(models.Status.values) == {*report.Status, "not_ready", "lost"}


@pytest.mark.django_db
@pytest.mark.parametrize("field", ["AutoField", "BigAutoField", "SmallAutoField"])
def test_no_migration_is_missing_whatever_keys_a_project_prefers(field: str) -> None:
    with override_settings(DEFAULT_AUTO_FIELD=f"django.db.models.{field}"):
        call_command("makemigrations", "lifespan_app", check=True, dry_run=True, verbosity=0)


def test_every_text_has_the_placeholders_of_the_engine() -> None:
    longest = {"mode": report.Mode, "status": report.Status}

    for name, words in longest.items():
        field = LifespanRun._meta.get_field(name)
        assert isinstance(field, CharField)
        assert field.max_length is not None
        assert max(map(len, words)) <= field.max_length
