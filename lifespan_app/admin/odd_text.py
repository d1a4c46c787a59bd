"""404 for addresses with characters that the columns of the database can't hold: no row has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import URLPattern

from lifespan_app.history.recording.store_errors import is_about_a_character

View = Callable[..., HttpResponseBase]


def answering_any_text(urls: Iterable[URLPattern]) -> Iterator[URLPattern]:
    """Yield URLs whose views answer 404 if the database can't look for a text of the request."""
    for url in urls:
        url.callback = answering(url.callback)
        yield url


def answering(view: View) -> View:
    """Return a view that answers 404 if the database can't look for a text of the request."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        # psycopg2 raises a ValueError for NUL.
        except (DatabaseError, ValueError) as error:
            if is_about_a_character(error):
                raise Http404("The database can't look for this text.") from error
            raise

    return answer
