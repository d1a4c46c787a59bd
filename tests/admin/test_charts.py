"""Charts have a column for each start or step, oldest first."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from lifespan_app.admin.charts import MOST_COLUMNS, Column, chart
from tests import records
from tests.admin.project import HOME, LIST


def test_longest_duration_is_as_high_as_the_chart() -> None:
    drawn = chart([("new", 1.0), ("old", 2.0)])

    assert drawn.highest == 2.0
    assert drawn.columns == [
        Column(of="old", x="0.00%", width="4.00%", y="0.0%", height="100.0%"),
        Column(of="new", x="5.00%", width="4.00%", y="50.0%", height="50.0%"),
    ]


def test_durations_of_zero_are_visible() -> None:
    assert [column.height for column in chart([("new", 0.0), ("old", 0.0)]).columns] == ["3.0%"] * 2


def test_newest_durations_fill_a_chart() -> None:
    drawn = chart([(number, 1.0) for number in range(MOST_COLUMNS + 1)])

    assert [column.of for column in drawn.columns] == [*range(MOST_COLUMNS)][::-1]


def test_new_release_is_marked_on_the_overview(reader: Client) -> None:
    for ago, release in enumerate(["1.9.0", "1.9.0", "1.8.2", "1.8.2"], start=1):
        records.healthy(ago=ago * 100, release=release)

    page = reader.get(HOME).content.decode()

    assert re.findall(r'<line class="release" x1="([\d.]+%)"', page) == ["10.00%"]


@pytest.mark.parametrize("count", [1, 3])
def test_page_of_a_hook_has_a_column_for_each_of_its_starts(reader: Client, count: int) -> None:
    for number in range(count):
        records.healthy(ago=100 * (number + 1))

    page = reader.get(f"{LIST}hook/catalogue/index/").content.decode()

    chart_of_hook = page.partition('class="lifespan-columns"')[2].partition("</svg>")[0]
    assert chart_of_hook.count("<rect") == count
