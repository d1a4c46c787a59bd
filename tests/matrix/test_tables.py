"""The tables that docs/servers/ is built from are made of the cells that are kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import indent

from tests.documents import DOCS
from tests.matrix.cells import Cells, is_written, kept
from tests.matrix.columns import COLUMNS, Column
from tests.matrix.situations import (
    SERVING,
    SITUATIONS,
    STARTING,
    STOPPING,
    Situation,
    all_cells,
    has_cell,
)

FOLDER = DOCS / "servers" / "tables"
NOTHING = "–"
PAGES = tuple(dict.fromkeys(column.page for column in COLUMNS))


def texts(cells: Cells) -> dict[str, str]:
    """Return the text of every file, by its name."""
    groups = (SERVING, STARTING, STOPPING)
    whole = "\n".join(of_group(group, cells) for group in groups)
    return {"whole.rst": whole} | {f"{page}.rst": of_page(page, cells) for page in PAGES}


def of_group(group: str, cells: Cells) -> str:
    """Return a table of all servers in the situations of one group."""
    situations = [situation for situation in SITUATIONS if situation.group == group]
    rows = [["Server", *(situation.title for situation in situations)]]
    for column in COLUMNS:
        rows.append([named(column), *(cell(situation, column, cells) for situation in situations)])
    return table(rows, title=group)


def of_page(page: str, cells: Cells) -> str:
    """Return a table of the situations under the columns of one server."""
    columns = [column for column in COLUMNS if column.page == page]
    rows = [["Situation", *map(named, columns)]]
    for situation in SITUATIONS:
        if any(has_cell(situation, column) for column in columns):
            rows.append([situation.title, *(cell(situation, column, cells) for column in columns)])
    return table(rows)


def named(column: Column) -> str:
    """Return the name of a column as it is typed."""
    return f"``{column.name}``"


def cell(situation: Situation, column: Column, cells: Cells) -> str:
    """Return what a cell says."""
    return cells[situation.key][column.name] if has_cell(situation, column) else NOTHING


def table(rows: Sequence[Iterable[str]], title: str = "") -> str:
    """Return a table whose first row and first column are headings."""
    head = f".. list-table:: {title}".rstrip() + "\n   :header-rows: 1\n   :stub-columns: 1\n\n"
    listed = ("\n".join(f"  - {text}" for text in row) for row in rows)
    return head + indent("\n".join(f"*{text[1:]}" for text in listed), "   ") + "\n"


def test_every_cell_was_observed_and_no_other_is_kept() -> None:
    found = {(situation, column) for situation, row in kept().items() for column in row}

    assert found == all_cells()


def test_tables_in_the_docs_are_made_of_the_cells() -> None:
    made = texts(kept())
    if is_written():
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (FOLDER / name).write_text(text, encoding="utf-8")

    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == made
