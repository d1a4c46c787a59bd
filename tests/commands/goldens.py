"""What a command has to print, kept in files: a change of the text is seen in a review.

    LIFESPAN_TEST_GOLDENS=write python -m pytest tests/commands

writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).with_name("golden")


def assert_golden(name: str, text: str) -> None:
    """Compare a text with what is kept under a name."""
    path = FOLDER / name
    if os.environ.get("LIFESPAN_TEST_GOLDENS") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
