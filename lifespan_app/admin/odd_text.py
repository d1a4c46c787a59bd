"""Texts in addresses that the database can't compare with its own: nothing has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern

View = Callable[..., HttpResponseBase]

REFUSALS = ("nul (0x00)", "illegal mix of collations")
"""Parts of the errors of PostgreSQL's drivers, and of MariaDB for letters that its columns can't hold."""


def answering_any_text(urls: Iterable[URLPattern]) -> Iterator[URLPattern]:
    """Yield URLs whose views answer 404 for a text that the database refuses to look for."""
    for url in urls:
        url.callback = answering(url.callback)
        yield url


def answering(view: View) -> View:
    """Return a view that answers 404 for a text that the database refuses to look for."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        # psycopg2 raises a ValueError of its own.
        except (DatabaseError, ValueError) as error:
            if any(part in str(error).lower() for part in REFUSALS):
                raise Http404("The database can't look for this text.") from error
            raise

    return answer
