"""Follow the links of a site, from a few addresses on, as one user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any, NamedTuple, Protocol
from urllib.parse import urldefrag, urljoin, urlsplit

LINKS = {"a": "href", "link": "href", "script": "src", "img": "src", "iframe": "src", "use": "href"}
INLINE = {"style", "onclick", "onload", "onchange", "onsubmit", "onerror", "onfocus", "onmouseover"}
"""Attributes that a strict Content-Security-Policy refuses."""


class Visit(NamedTuple):
    """What came of one address."""

    status: int
    location: str
    """Where a redirect leads."""
    text: str
    inline: tuple[str, ...]
    """What a policy of ``default-src 'self'`` refuses in the page."""
    origin: str
    """The page with the link."""


class Page(HTMLParser):
    """The links of a page, and what is written into it that should be in a file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if (address := given.get(LINKS.get(tag, ""))) is not None:
            self.links.append(address)
            if address.lower().startswith("javascript:"):
                self.inline.append(address)
        self.inline += [f"{tag} {name}" for name in given if name in INLINE]
        if tag == "style":
            self.inline.append("style")
        # Data in JSON is no script.
        if tag == "script" and "src" not in given and given.get("type") != "application/json":
            self.inline.append("script")


class Asks(Protocol):
    """Asks for addresses as a user: Django's test client, or a browser of a real server."""

    def get(self, address: str, /) -> Any:
        """Return Django's response."""


def crawl(client: Asks, starts: Iterable[str], *, queries: int = 5) -> dict[str, Visit]:
    """Return what came of each address that can be reached by links.

    Args:
        client: asks as a user.
        starts: the addresses to begin at.
        queries: with so many query strings each path is asked at most: filters combine without end.
    """
    found: dict[str, Visit] = {}
    asked: Counter[str] = Counter()
    waiting = [(start, "") for start in starts]
    while waiting:
        address, origin = waiting.pop(0)
        path = address.partition("?")[0]
        if address in found or asked[path] >= queries:
            continue
        asked[path] += 1
        answer = client.get(address)
        is_page = answer.get("Content-Type", "").startswith("text/html")
        text = "" if answer.streaming else answer.content.decode(errors="replace")
        page = Page(text if is_page else "")
        location = answer.get("Location", "")
        found[address] = Visit(answer.status_code, location, text, tuple(page.inline), origin)
        for link in (*page.links, location):
            target = urldefrag(urljoin(address, link)).url
            # An address of another site is that site's; logging out would end the crawl.
            if urlsplit(target).netloc == "" and "/logout/" not in target:
                waiting.append((target, address))
    return found
