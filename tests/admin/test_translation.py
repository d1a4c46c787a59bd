"""Every text of the pages can be translated.

The pages are shown in a language that puts each text it is given between ⟦ and ⟧. What is visible
outside of them must come from the records, which speak of fruit only, or be a number or a sign.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.utils import dateformat, timezone
from django.utils.translation import trans_real

from lifespan_app.leases.rows import Key
from lifespan_app.models import LifespanRun
from tests import records
from tests.admin.conftest import client_of
from tests.admin.project import HOME, LEASES, LIST
from tests.leases import stored

DATA = re.compile(
    r"""
    ⟦[^⟦⟧]*⟧                        # a text, with nothing of another one in it
    | \d{4}-\d\d-\d\d | [A-Z]{3,4} (?=[)\s]|$)   # a day, a time zone
    | [0-9a-f]{8}(?:-[0-9a-f-]+)?   # a UUID
    | manage\.py\s[\w\s-]+
    """,
    re.VERBOSE,
)
WORD = re.compile(r"[^\W\d_]{2,}")
SPOKEN = ("title", "aria-label", "alt", "placeholder")
UNSPOKEN = {"script", "style", "code", "pre"}


class Visible(HTMLParser):
    """Collect what a reader sees or hears of the content of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"input", "br", "link", "meta", "img"}:
            self._open.append(tag)
        self.texts += [value for name, value in attrs if name in SPOKEN and value]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attrs if name in SPOKEN and value]

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not UNSPOKEN & set(self._open):
            self.texts.append(data)


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put every text between ⟦ and ⟧."""
    one, some = trans_real.DjangoTranslation.gettext, trans_real.DjangoTranslation.ngettext

    def gettext(self: trans_real.DjangoTranslation, message: str) -> str:
        return f"⟦{one(self, message)}⟧"

    def ngettext(self: trans_real.DjangoTranslation, single: str, plural: str, n: int) -> str:
        return f"⟦{some(self, single, plural, n)}⟧"

    monkeypatch.setattr(trans_real.DjangoTranslation, "gettext", gettext)
    monkeypatch.setattr(trans_real.DjangoTranslation, "ngettext", ngettext)


def of_fruit(run: LifespanRun) -> None:
    """Take every word out of a run that it has not from its pages."""
    changed = {"service_type": "apple", "host": "pear", "release": "1", "environment": "fig"}
    changed |= {"server": "plum", "ended_by": "lime", "error": "date", "slowest_hook": "kiwi.kiwi"}
    changed["readiness_reason"] = run.readiness_reason and "date"
    fruit = {"key": "kiwi.kiwi", "reason": "lime", "last_crash": "date"}
    jobs = [{**job, **fruit} for job in run.jobs]
    LifespanRun.objects.filter(pk=run.pk).update(**changed, jobs=jobs)
    for step in run.steps.all():
        step.app_label = step.name = "kiwi"
        step.reason = "lime"
        step.error = step.exception = step.error and "date"
        step.waiting_at = step.waiting_at and "fig"
        step.file = step.traceback = "fig"
        step.needs = [["kiwi.kiwi", "lime"] for _ in step.needs]
        step.log = [[1, "lime", "fig", "plum"] for _ in step.log]
        step.save()


FRUIT = {"apple", "pear", "fig", "plum", "lime", "kiwi", "date"}


def untranslated(html: str) -> list[str]:
    """Return the words that no translator has seen."""
    reader = Visible()
    reader.feed(html)
    # Together, as a text may hold others, and tags.
    rest = " ".join(reader.texts)
    while (shorter := DATA.sub(" ", rest)) != rest:
        rest = shorter
    return [word for word in WORD.findall(rest) if word not in FRUIT]


def content(html: str) -> str:
    """Return the part of a page that is ours: Django's frame is Django's to translate."""
    return html[html.index('<div id="content"') : html.index("<!-- END Content -->")]


@pytest.mark.once
@pytest.mark.usefixtures("marked")
def test_no_page_has_a_word_that_can_not_be_translated(reader: Client) -> None:
    runs = records.of_every_status()
    for run in runs.values():
        of_fruit(run)
    addresses = [HOME, LIST, f"{LIST}?q=nowhere", f"{LIST}hook/kiwi/kiwi/", f"{LIST}hook/no/no/"]
    addresses += [f"{LIST}{run.pk}/change/" for run in runs.values()]

    for address in addresses:
        found = untranslated(content(reader.get(address).content.decode()))
        known = {"service", "no", "app", "api", "worker", "scheduler", "server", "test", "reader"}
        assert set(found) - known == set(), address


@pytest.mark.usefixtures("marked")
def test_no_empty_page_has_a_word_that_can_not_be_translated(reader: Client) -> None:
    for address in (HOME, LIST):
        found = untranslated(content(reader.get(address).content.decode()))
        assert set(found) - {"app", "api", "worker", "scheduler", "server", "test"} == set()


@pytest.mark.usefixtures("marked")
def test_leases_have_no_word_that_can_not_be_translated(db: None) -> None:
    stored.held(Key("kiwi.plum", "", "", ""))
    stored.failed(Key("kiwi.lime", "", "", ""), error="date")
    client = client_of("somebody", "view_lifespanlease", "change_lifespanlease")

    found = untranslated(content(client.get(LEASES).content.decode()))

    # The host; Django's own words: that of its search button, and the month.
    month = dateformat.format(timezone.localtime(), "N").strip(".")
    assert set(found) - {"web", "Search", month} == set()


@pytest.mark.usefixtures("marked")
def test_other_pages_have_no_word_that_can_not_be_translated(root: Client) -> None:
    of_fruit(records.healthy())
    selected = {"action": "delete_selected", "_selected_action": [LifespanRun.objects.get().pk]}
    pages = [
        root.get("/admin/"),
        root.post(LIST, selected),
        root.post(LIST, {**selected, "post": "yes"}, follow=True),
    ]

    found = {word for page in pages for word in untranslated(content(page.content.decode()))}

    assert found - {"app", "api", "worker", "scheduler", "server", "test", "root"} == set()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("marked", "no_tables")
def test_missing_tables_have_no_word_that_can_not_be_translated(root: Client) -> None:
    for address in (HOME, LIST, "/admin/"):
        assert set(untranslated(content(root.get(address).content.decode()))) <= {"root"}


def test_word_that_was_forgotten_is_found() -> None:
    assert untranslated('<p>⟦Run ⟦api⟧⟧ <b title="Forgotten">too</b></p>') == ["Forgotten", "too"]
