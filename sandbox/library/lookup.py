"""Requests to the catalogue, over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
from django.conf import settings

from .facts import BookFacts


class CatalogueError(Exception):
    """The catalogue returned no usable response."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"No catalogue at {settings.CATALOGUE_URL} ({reason}). Set CATALOGUE_URL, or "
            "HOST and PORT to where the sandbox is served."
        )


async def look_up(client: httpx.AsyncClient, isbn: str) -> BookFacts | None:
    """Return a book of the catalogue, or None."""
    response = await _get(client, f"{isbn}/")
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    return _book(_json_of(response))


async def all_books(client: httpx.AsyncClient) -> list[BookFacts]:
    """Return every book of the catalogue."""
    match _json_of(await _get(client, "")):
        case {"books": [*items]}:
            return [_book(item) for item in items]
    raise CatalogueError("its answer holds no list of books")


async def _get(client: httpx.AsyncClient, path: str) -> httpx.Response:
    try:
        return await client.get(path)
    except httpx.HTTPError as error:
        raise CatalogueError(str(error) or type(error).__name__) from None


def _json_of(response: httpx.Response) -> Any:
    if not response.is_success:
        raise CatalogueError(f"it answered {response.status_code} {response.reason_phrase}")
    try:
        return response.json()
    except ValueError as error:
        raise CatalogueError("its answer isn't JSON") from error


def _book(item: Any) -> BookFacts:
    try:
        return BookFacts.from_json(item)
    except ValueError as error:
        raise CatalogueError(str(error)) from error
