from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from library.models import Book

from .lifespan import index
from .process import this_process

KEPT_SHOWN = 6


def front_page(request: HttpRequest) -> HttpResponse:
    """Search the index, and show what is up in this process."""
    books = index(request)
    query = request.GET.get("q", "").strip()
    return render(
        request,
        "search/front_page.html",
        {
            "query": query,
            "found": books.search(query) if query else [],
            "indexed": len(books),
            "kept": [] if query else Book.objects.order_by("-kept_at")[:KEPT_SHOWN],
            "process": this_process(),
        },
    )
