"""Every page opens, whatever befell the runs, on every admin site."""

from __future__ import annotations

import pytest
from django.test import Client

from tests import records
from tests.admin.project import HOME, LIST


@pytest.mark.parametrize("site", ["/admin/", "/operations/"])
def test_every_page_opens_for_runs_of_every_status(reader: Client, site: str) -> None:
    runs = records.of_every_status()
    addresses = [HOME, LIST, f"{LIST}?mode=all", f"{LIST}hook/catalogue/index/"]
    for run in runs.values():
        addresses += [f"{LIST}{run.pk}/change/", f"{LIST}{run.pk}/json/"]

    for address in addresses:
        answer = reader.get(address.replace("/admin/", site))
        assert answer.status_code == 200, address
        if not address.endswith("/json/"):
            # Links stay on the site that the page belongs to.
            other = "/operations/" if site == "/admin/" else "/admin/"
            assert f'href="{other}' not in answer.content.decode()
