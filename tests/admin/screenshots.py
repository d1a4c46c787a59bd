"""Take the pictures of docs/admin.rst: `python -m tests.admin.screenshots docs/screenshots`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize

from tests.admin.project import HOME, LIST, AdminProject, AdminServer
from tests.browsers import PHONE, launched

WIDE = ViewportSize(width=1120, height=900)
UP_TO_THE_WATERFALL = ViewportSize(width=1120, height=1300)


def logged_in(browser: Browser, url: str, **options: Any) -> Page:
    page = browser.new_context(base_url=url, **options).new_page()
    page.goto("/admin/login/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill("root")
    page.get_by_role("button", name="Log in").click()
    return page


def take(folder: Path) -> None:
    """Fill a project, serve it, and keep its pages in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, launched() as browser:
        project = AdminProject(Path(temporary))
        project.migrate()
        project.fill("plain")
        with AdminServer(project) as server:
            page = logged_in(browser, server.url, viewport=WIDE, color_scheme="light")
            run = f"{LIST}{project.pks['degraded']}/change/"
            for name, path, size in (
                ("overview", HOME, WIDE),
                ("list", LIST, WIDE),
                ("run", run, UP_TO_THE_WATERFALL),
            ):
                page.set_viewport_size(size)
                page.goto(path)
                if hide := page.get_by_role("button", name="Toggle navigation"):
                    if hide.count() and page.locator("#main.shifted").count():
                        hide.click()
                page.evaluate("scrollTo(0, 0)")
                page.screenshot(path=folder / f"{name}.png")
            phone = logged_in(browser, server.url, viewport=PHONE, color_scheme="dark")
            phone.goto(run)
            phone.get_by_role("heading", name="Startup").scroll_into_view_if_needed()
            phone.screenshot(path=folder / "phone.png")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
