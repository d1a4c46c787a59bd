from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from library.models import Book

from lifespan_app.errors import LifespanError

from .lifespan import index, spelling
from .process import this_process

KEPT_SHOWN = 6


def front_page(request: HttpRequest) -> HttpResponse:
    """Search the index, and show the hooks of this process."""
    books = index(request)
    query = request.GET.get("q", "").strip()
    found = books.search(query) if query else []
    return render(
        request,
        "search/front_page.html",
        {
            "query": query,
            "found": found,
            "meant": meant(request, query) if query and not found else "",
            "indexed": len(books),
            "kept": [] if query else Book.objects.order_by("-kept_at")[:KEPT_SHOWN],
            "process": this_process(),
        },
    )


def meant(request: HttpRequest, query: str) -> str:
    """Return a corrected query; "" if there is none, or the resource is not up yet."""
    try:
        corrected = spelling(request).corrected(query)
    except LifespanError:
        return ""
    return corrected if corrected != query else ""
