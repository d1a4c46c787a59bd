"""The tables in the docs say what was observed."""

from __future__ import annotations

from tests.matrix.cells import is_written, kept
from tests.matrix.situations import all_cells
from tests.matrix.tables import FOLDER, texts


def test_every_cell_was_observed_and_no_other_is_kept() -> None:
    found = {(situation, column) for situation, row in kept().items() for column in row}

    assert found == all_cells()


def test_the_tables_in_the_docs_are_made_of_the_cells() -> None:
    made = texts(kept())
    if is_written():
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (FOLDER / name).write_text(text, encoding="utf-8")

    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == made
