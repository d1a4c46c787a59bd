from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from lifespan_app.errors import LifespanError

from .board import NoticeServiceError
from .lifespan import notice_board


async def notices(request: HttpRequest) -> HttpResponse:
    """Show the notices, or why there are none."""
    found: dict[str, object]
    try:
        found = {"notices": await notice_board(request).notices()}
    except (LifespanError, NoticeServiceError) as error:
        found = {"error": error}
    return render(request, "notices/notices.html", {**found, "url": settings.NOTICES_URL})
