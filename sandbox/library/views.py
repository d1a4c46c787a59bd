from __future__ import annotations

from http import HTTPStatus
from time import perf_counter

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from .lifespan import http_client
from .lookup import CatalogueError, look_up
from .models import Book


async def book(request: HttpRequest, isbn: str) -> HttpResponse:
    """Show a book. If it is not stored yet, look it up in the catalogue, and store it."""
    kept = await Book.objects.filter(isbn=isbn).afirst()
    if kept is not None:
        return render(request, "library/book.html", {"book": kept})

    began = perf_counter()
    try:
        facts = await look_up(http_client(request), isbn)
    except CatalogueError as error:
        return render(
            request,
            "library/no_catalogue.html",
            {"isbn": isbn, "error": error},
            status=HTTPStatus.BAD_GATEWAY,
        )
    took = perf_counter() - began
    if facts is None:
        return render(request, "library/no_book.html", {"isbn": isbn}, status=HTTPStatus.NOT_FOUND)
    kept = await Book.objects.keep(facts)
    return render(request, "library/book.html", {"book": kept, "milliseconds": took * 1000})
