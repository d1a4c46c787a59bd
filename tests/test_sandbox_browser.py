"""The sandbox's pages in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.browsers import DESK, PHONE
from tests.needs import needs_chromium
from tests.sandboxes import Sandbox, manage_sandbox

EMMA = "9780141439587"
PAGES = ["/", "/?q=the", "/?q=unheard", f"/books/{EMMA}/", "/books/9780000000000/", "/notices/"]
BODY_BACKGROUND = "getComputedStyle(document.body).backgroundColor"

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture
def open_page(chromium: Browser, sandbox: Sandbox) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page of the sandbox; what it logs must be nothing."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def hear(message: ConsoleMessage, path: str, status: int) -> None:
        url = message.location["url"]
        # Chromium itself complains of a page that is not found, also where that is right.
        is_right = status == 404 and url.endswith(path)
        # Django's admin names no icon, so Chromium looks for one.
        is_icon = path.startswith("/admin/") and url.endswith("/favicon.ico")
        if not is_right and not is_icon:
            complaints.append(f"{message.text} ({message.location['url']})")

    def open_it(path: str, *, status: int = 200, **options: Any) -> Page:
        context = chromium.new_context(
            base_url=sandbox.url, **{"viewport": DESK, "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: hear(message, path, status))
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == status
        return page

    yield open_it

    for context in contexts:
        context.close()
    assert complaints == []


def status_of(path: str) -> int:
    return 404 if "0000000000" in path else 200


def test_front_page_finds_a_book_and_its_page_keeps_it(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("/")

    page.get_by_label("Title, author, year or ISBN").fill("dickens twist")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Oliver Twist").click()

    assert page.get_by_role("heading", level=1).text_content() == "Oliver Twist"
    page.get_by_text("Looked up in the catalogue over HTTP just now").wait_for()
    page.get_by_role("link", name="Find another book").click()
    page.get_by_role("heading", name="Kept last").wait_for()
    assert page.get_by_role("link", name="Oliver Twist").count() == 1


@pytest.mark.slow
@pytest.mark.once
def test_search_works_without_scripts_and_with_the_keyboard_alone(
    open_page: Callable[..., Page],
) -> None:
    page = open_page("/", java_script_enabled=False)

    page.get_by_role("searchbox").press_sequentially("austen emma")
    page.keyboard.press("Enter")

    page.get_by_role("heading", name="1 book for “austen emma”").wait_for()
    assert page.get_by_role("searchbox").input_value() == "austen emma"


@pytest.mark.slow
@pytest.mark.once
def test_front_page_shows_that_the_process_is_degraded(open_page: Callable[..., Page]) -> None:
    process = open_page("/").get_by_role("region", name="This process")

    assert process.get_by_text("degraded", exact=True).is_visible()
    row = process.get_by_role("row").filter(has_text="notice_board")
    assert row.get_by_text("failed", exact=True).is_visible()
    assert process.get_by_text("No notice service at").is_visible()


def test_first_screen_of_the_admin_explains_the_degraded_start(
    open_page: Callable[..., Page], sandbox: Sandbox
) -> None:
    printed = manage_sandbox(sandbox.project, "prepare_demo").stdout
    [password] = re.findall(r"^Password:\s+(\S+)$", printed, re.MULTILINE)
    page = open_page("/admin/login/?next=/admin/lifespan_app/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()

    # The process that shows it is the one that is degraded.
    page.get_by_role("heading", name="1 process is serving, degraded.").wait_for()
    failure = page.get_by_role("region", name="Broken now").get_by_role("article")
    assert failure.get_by_role("link", name="notices.notice_board failed after").is_visible()
    assert failure.get_by_text("NoticeServiceError: No notice service at").is_visible()
    assert failure.get_by_role("list", name="What to do").is_visible()
    box = failure.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < DESK["height"]


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_a_phone(open_page: Callable[..., Page], path: str) -> None:
    page = open_page(path, status=status_of(path), viewport=PHONE)

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    wider = page.evaluate(
        """width => [...document.body.querySelectorAll("*")]
            .filter(element => element.getBoundingClientRect().right > width)
            .map(element => element.outerHTML.slice(0, 80))""",
        PHONE["width"],
    )
    assert wider == []


@pytest.mark.slow
@pytest.mark.once
def test_keys_of_hooks_and_jobs_are_not_broken_on_a_phone(open_page: Callable[..., Page]) -> None:
    page = open_page("/", viewport=PHONE)

    lines = page.evaluate(
        """() => [...document.querySelectorAll(".process tbody th")]
            .flatMap(cell => [...cell.childNodes])
            .filter(node => node.nodeType === Node.TEXT_NODE && node.data.trim())
            .map(node => {
                const range = document.createRange();
                range.selectNodeContents(node);
                return [node.data.trim(), range.getClientRects().length];
            })"""
    )
    assert {"forget_books", "http_client"} <= {text for text, _ in lines}
    assert [text for text, count in lines if count > 1] == []


@pytest.mark.slow
@pytest.mark.once
def test_pages_are_dark_in_the_dark_and_light_in_the_light(
    open_page: Callable[..., Page],
) -> None:
    def brightness(scheme: str) -> int:
        colour = open_page("/", color_scheme=scheme).evaluate(BODY_BACKGROUND)
        return sum(int(part) for part in colour.removeprefix("rgb(").rstrip(")").split(","))

    assert brightness("dark") < 3 * 64
    assert brightness("light") > 3 * 192


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_to_complain_of(
    open_page: Callable[..., Page], path: str, scheme: str
) -> None:
    page = open_page(path, status=status_of(path), color_scheme=scheme, viewport=PHONE)

    found = Axe().run(page)

    assert found.violations_count == 0, found.generate_report()
