"""The pages in a real browser: light and dark, on a phone and on a desk, with every status.

With LIFESPAN_TEST_SCREENSHOTS naming a folder, each page is kept there as a picture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
)

from tests.admin.project import HOME, LEASES, LIST, AdminProject, AdminServer
from tests.browsers import DESK, PHONE, TABLET
from tests.needs import needs_chromium

pytestmark = [pytest.mark.slow, pytest.mark.browser, needs_chromium]

# The pages are Django's for a part: the oldest one is asked too. The main pair has the newest.
oldest_django = pytest.mark.every_pair if django.VERSION < (6, 0) else pytest.mark.once

SCREENSHOTS = os.environ.get("LIFESPAN_TEST_SCREENSHOTS")
STORIES = [
    "stopped",
    "shutdown_failed",
    "lost",
    "silent",
    "timed_out",
    "startup_failed",
    "healthy",
    "crashed_job",
    "degraded",
    "stopping",
    "starting",
    "worker_1",
    "many",
    "hostile",
]
OTHERS = {
    "index": "/admin/",
    "overview": HOME,
    "list": LIST,
    "list_of_nothing": f"{LIST}?q=nowhere",
    "leases": LEASES,
    "hook": f"{LIST}hook/catalogue/index/",
    "hook_that_failed": f"{LIST}hook/notices/notice_board/",
    "hook_that_crashed": f"{LIST}hook/search/refresh/",
}
SIZES = {"desk": DESK, "tablet": TABLET, "phone": PHONE}
CUT_OFF = """
[...document.querySelectorAll(
    ".lifespan-scroll, .lifespan-traceback, .results, #result_list th, #result_list td, caption"
)]
    .filter(one => one.scrollWidth > one.clientWidth + 1
        || one.matches("caption") && one.offsetWidth < one.parentElement.offsetWidth - 1)
    .map(one => one.ariaLabel || one.className || one.textContent)
"""
"""The parts of a page that are wider than their place, and squeezed headings of tables."""
LINES_OF = """
word => {
    const texts = document.createTreeWalker(document.querySelector("#result_list"), NodeFilter.SHOW_TEXT)
    while (texts.nextNode()) {
        const at = texts.currentNode.data.indexOf(word)
        if (at < 0) continue
        const range = document.createRange()
        range.setStart(texts.currentNode, at)
        range.setEnd(texts.currentNode, at + word.length)
        return range.getClientRects().length
    }
}
"""
"""The number of lines over which a word of a list is broken."""
# Loading style sheets anew, axe takes what they import for relative to the page.
AXE = {"resultTypes": ["violations"], "preload": False}
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminServer]:
    project = AdminProject(tmp_path_factory.mktemp("admin"))
    project.migrate()
    project.fill()
    with AdminServer(project) as server:
        yield server


@pytest.fixture(scope="module")
def pks(server: AdminServer) -> dict[str, int]:
    assert isinstance(server.project, AdminProject)
    return server.project.pks


@pytest.fixture(scope="module")
def logged_in(chromium: Browser, server: AdminServer) -> dict[str, Any]:
    """Return the cookies of somebody who may do everything."""
    context = chromium.new_context(base_url=server.url)
    page = context.new_page()
    page.goto("/admin/login/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill("root")
    page.get_by_role("button", name="Log in").click()
    state: Any = context.storage_state()
    context.close()
    return dict(state)


@pytest.fixture
def open_page(chromium: Browser, server: AdminServer, logged_in: dict[str, Any]) -> Iterator[Open]:
    """Return a function that opens a page; what the browser complains of must be nothing."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def hear(message: ConsoleMessage) -> None:
        # What has no address comes from axe and the test itself, which write styles into the page.
        if message.location["url"] and not message.location["url"].endswith("/favicon.ico"):
            complaints.append(f"{message.text} ({message.location['url']})")

    def open_it(path: str, **options: Any) -> Page:
        context = chromium.new_context(
            base_url=server.url,
            storage_state=logged_in,  # type: ignore[arg-type]
            **{"viewport": DESK, "reduced_motion": "reduce", **options},
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", hear)
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200
        return page

    yield open_it

    for context in contexts:
        context.close()
    assert complaints == []


def path_of(name: str, pks: dict[str, int]) -> str:
    return OTHERS.get(name) or f"{LIST}{pks[name]}/change/"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=oldest_django if name == "list" else ())
        for name in (*OTHERS, *STORIES)
    ],
)
def test_page_fits_and_axe_finds_nothing_to_complain_of(
    open_page: Open, pks: dict[str, int], name: str
) -> None:
    page = open_page(path_of(name, pks))

    for scheme in ("light", "dark"):
        for size, viewport in SIZES.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(viewport)
            wait_for_colours(page)
            keep(page, f"{name}-{size}-{scheme}")
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
            assert page.evaluate(CUT_OFF) == []
        if (name, scheme) == ("many", "dark"):
            # Ten seconds for 3,000 hooks, in colours that the other pages have as well.
            continue
        found = Axe().run(page, context="#content", options=AXE)
        assert found.violations_count == 0, found.generate_report()


def test_hook_of_a_lease_is_not_broken_on_a_desk(open_page: Open) -> None:
    assert open_page(LEASES).evaluate(LINES_OF, "notices.daily_letters") == 1


def test_number_of_a_lease_has_a_label_where_there_are_no_headings(open_page: Open) -> None:
    page = open_page(LEASES, viewport=PHONE)

    expect(page.locator(".field-lease_number").first).to_have_text(re.compile(r"^number \d+$"))
    expect(page.locator(".lifespan-label").first).to_be_visible()
    page.set_viewport_size(DESK)
    expect(page.locator(".lifespan-label").first).to_be_hidden()


@pytest.mark.parametrize("language", ["de", "fr"])
def test_translated_pages_fit(open_page: Open, pks: dict[str, int], language: str) -> None:
    """German and French words are longer than English ones."""
    for name in (*OTHERS, "startup_failed", "degraded", "crashed_job"):
        page = open_page(path_of(name, pks), locale=language)
        assert page.locator("html").get_attribute("lang") == language
        for size, viewport in SIZES.items():
            page.set_viewport_size(viewport)
            keep(page, f"{name}-{size}-{language}")
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], name
            assert page.evaluate(CUT_OFF) == [], (name, size)
        page.context.close()


def wait_for_colours(page: Page) -> None:
    """Wait until every colour is the new scheme's: Django's admin changes those of links slowly."""
    page.evaluate("Promise.allSettled(document.getAnimations().map(one => one.finished))")


def keep(page: Page, name: str) -> None:
    """Keep a picture of a page, where pictures are wanted."""
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        whole = not name.startswith("many")
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=whole)


def test_style_within_a_page_would_be_complained_of(chromium: Browser, server: AdminServer) -> None:
    page = chromium.new_page(base_url=server.url)
    heard: list[ConsoleMessage] = []
    page.on("console", lambda message: heard.append(message))

    page.goto("/nowhere/")  # Django's page for developers has one

    assert any("inline style" in one.text and one.location["url"] for one in heard)
    page.close()


def test_first_screen_says_what_is_broken_since_when_and_what_to_do(open_page: Open) -> None:
    page = open_page(HOME, java_script_enabled=False)

    broken = page.get_by_role("region", name="Broken now")
    failure = broken.get_by_role("article").filter(has_text="notices.notice_board failed after")
    assert failure.get_by_text("No notice service at http://127.0.0.1:9/notices.txt").is_visible()
    assert failure.get_by_text("notices/lifespan.py:24", exact=True).is_visible()
    since = re.compile(r"2 times, first \d h ago \(.+\), last \d+ min ago")
    assert failure.get_by_text(since).is_visible()
    assert failure.get_by_role("list", name="What to do").is_visible()
    box = broken.get_by_role("article").first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < DESK["height"]


@oldest_django
def test_from_the_overview_to_the_run_to_the_hook_and_back_to_a_run(open_page: Open) -> None:
    page = open_page(HOME)

    page.get_by_role("link", name="notices.notice_board failed after").click()
    page.get_by_role("heading", name="What to do").wait_for()
    page.get_by_role("link", name="notices.notice_board", exact=True).first.click()
    page.get_by_role("heading", name="Hook notices.notice_board").wait_for()
    page.get_by_role("region", name="Newest runs").first.get_by_role("link").first.click()
    page.get_by_role("heading", name="Startup").wait_for()


@oldest_django
def test_list_is_filtered_by_status_service_type_time_and_mode(open_page: Open) -> None:
    page = open_page(LIST)
    rows = page.locator("#result_list tbody tr")
    filters = page.locator("#changelist-filter")
    assert rows.filter(has_text="reloading development server").count() == 0

    filters.get_by_role("link", name="startup failed", exact=True).click()
    expect(rows).to_have_count(4)
    assert set(rows.locator(".lifespan-badge").all_text_contents()) == {"startup failed"}
    filters.get_by_role("link", name="in the last hour", exact=True).click()
    expect(rows).to_have_count(3)
    page.goto(LIST)
    filters.get_by_role("link", name="reloading development server", exact=True).click()
    expect(rows).to_have_count(1)
    page.goto(LIST)
    filters.get_by_role("link", name="plugins", exact=True).click()
    expect(rows).to_have_count(1)


def test_list_is_searched_by_the_beginning_of_a_host_or_a_release_and_by_the_id_of_a_run(
    open_page: Open,
) -> None:
    page = open_page(LIST)
    rows = page.locator("#result_list tbody tr")

    page.get_by_role("searchbox", name="Search").fill("web-9")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "q=web-9" in url)
    expect(rows).to_have_count(1)
    page.goto(f"{LIST}?q=1.9")
    expect(rows).to_have_count(4)
    assert "4 workers of one server start" in (rows.first.text_content() or "")
    short_id = rows.first.locator(".lifespan-id").text_content()
    page.goto(f"{LIST}?q={short_id}")
    expect(rows).to_have_count(1)
    page.goto(f"{LIST}?q=eb-9")
    assert page.get_by_text("No runs match").is_visible()


def test_bar_tells_its_facts_to_the_mouse_and_to_the_keyboard(
    open_page: Open, pks: dict[str, int]
) -> None:
    page = open_page(path_of("degraded", pks))
    bar = page.get_by_role("group", name="Waterfall of the startup").get_by_role("listitem")
    index = bar.filter(has=page.get_by_role("link", name="catalogue.index"))
    facts = index.get_by_text("Waited for library.http_client.")
    assert not facts.is_visible()

    index.hover()
    assert facts.is_visible()
    page.mouse.move(0, 0)
    assert not facts.is_visible()
    index.get_by_role("link").focus()
    assert facts.is_visible()
    page.keyboard.press("Enter")
    assert page.url.endswith(str(index.get_by_role("link").get_attribute("href")))


def test_frames_of_libraries_are_folded_and_open_by_the_keyboard(
    open_page: Open, pks: dict[str, int]
) -> None:
    page = open_page(path_of("degraded", pks))
    traceback = page.get_by_role("region", name="Traceback")
    own = traceback.get_by_text("/srv/shop/notices/board.py")
    library = traceback.get_by_text("httpx/_client.py")
    assert own.is_visible()
    assert not library.is_visible()

    traceback.get_by_text("2 frames of httpx", exact=True).focus()
    page.keyboard.press("Enter")
    assert library.is_visible()


def test_three_thousand_hooks_stay_readable(open_page: Open, pks: dict[str, int]) -> None:
    page = open_page(path_of("many", pks))

    bars = page.get_by_role("group", name="Waterfall of the startup").get_by_role("listitem")
    expect(bars).to_have_count(60)
    assert page.get_by_text("2940 more hooks, none of which took more than").is_visible()
    table = page.get_by_role("region", name="Hooks: startup")
    assert not table.is_visible()
    page.get_by_text("3000 hooks as a table").click()
    assert table.is_visible()


def test_hostile_text_is_shown_as_text(open_page: Open, pks: dict[str, int]) -> None:
    for path in (HOME, LIST, path_of("hostile", pks)):
        page = open_page(path)
        assert page.title() != "owned"
        assert page.locator("#content img, #content script").count() == 0
        assert page.get_by_text("<script>document.title='owned'</script>").first.is_visible()


@oldest_django
def test_runs_are_deleted_after_a_question_that_counts_them(
    open_page: Open, pks: dict[str, int], server: AdminServer
) -> None:
    assert isinstance(server.project, AdminProject)
    page = open_page(f"{LIST}?q=elsewhere")
    assert page.locator("#result_list").count() == 0
    page.goto(f"{LIST}?mode=check")

    page.locator("#result_list .action-select").first.check()
    page.get_by_label("Action:").select_option("Delete selected runs")
    page.get_by_role("button", name=re.compile("^(Go|Run)$")).click()

    page.get_by_text("with 8 steps, will be deleted permanently.").wait_for()
    page.get_by_role("button", name="Delete 1 run").click()
    page.get_by_text("1 run was deleted.").wait_for()
