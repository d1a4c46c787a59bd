"""A catalogue of books as JSON, as some other organisation would serve it.

Nothing else in the sandbox imports this app: it is asked over HTTP.
"""

from django.http import HttpRequest, JsonResponse

from .lifespan import books


async def all_books(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"books": list(books(request).values())})


async def one_book(request: HttpRequest, isbn: str) -> JsonResponse:
    book = books(request).get(isbn)
    if book is None:
        return JsonResponse({"error": f"No book has the ISBN {isbn}."}, status=404)
    return JsonResponse(book)
