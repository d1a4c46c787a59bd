"""JSON that a command prints, held against the schema in the documentation."""

from __future__ import annotations

import json
from typing import Any

from jsonschema import Draft202012Validator

from tests.documents import DOCS

SCHEMA = DOCS / "commands" / "checklifespan-1.schema.json"


def schema() -> Any:
    """Return the schema."""
    return json.loads(SCHEMA.read_text(encoding="utf-8"))


def errors_of(document: str) -> list[str]:
    """Return what the schema finds wrong with a document."""
    found = Draft202012Validator(schema()).iter_errors(json.loads(document))
    return [error.message for error in found]
